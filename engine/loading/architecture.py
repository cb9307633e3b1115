"""A model's configuration, its tokenizer, and the class that will hold its weights.

- `read_config`     config.json, checked before transformers guesses about it
- `read_tokenizer`  the tokenizer, padding on the right
- `auto_class`      which of transformers' loaders makes a text model of a configuration
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.base.job import Job
from engine.loading.errors import LoadError, classify, first_line
from engine.loading.hostile import check_config, check_files, check_tokenizer

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.tiktoken")


def read_config(folder: Path, job: Job) -> Any:
    """The configuration of a model folder, as transformers' own class.

    Raises:
        LoadError: config.json is not a JSON object or names no model_type, asks for too much or for foreign code; a
            file of the folder is none.
        Exception: whatever transformers raises about it; `classify` knows.
    """
    from transformers import AutoConfig

    path = folder / "config.json"
    check_files(folder)
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path} is not valid JSON ({error})", hint="fetch the model again", kind="format") from error
    if not isinstance(declared, dict):
        raise LoadError(f"{path} is not a JSON object", hint="fetch the model again", kind="format")
    if not declared.get("model_type"):
        # transformers would guess the family from the folder's name.
        raise LoadError(
            f"{path} names no model_type",
            hint="give a transformers model folder, or add the model_type of its family",
            kind="format",
        )
    check_config(declared, job.model, trust_remote_code=job.trust_remote_code)
    return AutoConfig.from_pretrained(folder, trust_remote_code=job.trust_remote_code, local_files_only=True)


def read_tokenizer(folder: Path, job: Job) -> Any:
    """The tokenizer of a model folder; it pads on the right, whatever its family's habit.

    Raises:
        LoadError: the folder has no tokenizer files, or they cannot be read.
    """
    from transformers import AutoTokenizer

    check_files(folder)
    check_tokenizer(folder, job.model)
    files = [path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)]
    if not files and not job.trust_remote_code:
        raise LoadError(
            f"{job.model} has no tokenizer: none of {', '.join(_TOKENIZER_FILES)} is in {folder}",
            hint="copy the tokenizer files of the model it was made from into that folder",
            kind="format",
        )
    options = {"trust_remote_code": job.trust_remote_code, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except Exception as error:  # the tokenizers library raises nothing more specific
        found = classify(error, job.model)
        if found.kind not in {"internal", "format"}:
            raise found from error
        raise LoadError(
            f"the tokenizer of {job.model} cannot be read: {first_line(error)}",
            hint="fetch its tokenizer files again",
            kind="format",
        ) from error
    tokenizer.padding_side = "right"
    return tokenizer


def auto_class(config: Any, job: Job) -> Any:
    """The loader that makes a decoder with a language head of this configuration.

    Decided by transformers' tables, not by trying: a text-only class where there is one, else the whole multimodal
    model, of which only the text part will run.

    Raises:
        LoadError: the configuration is not that of a causal language model.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    if job.trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return transformers.AutoModelForCausalLM
    if not getattr(config, "is_encoder_decoder", False):
        if type(config) in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING:
            return transformers.AutoModelForCausalLM
        if type(config) in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING:
            return transformers.AutoModelForMultimodalLM
        if type(config) in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            return transformers.AutoModelForImageTextToText
    raise LoadError(
        f"{job.model} is not a causal language model (model_type '{config.model_type}')",
        hint="choose a text-generating decoder model",
        kind="unsupported",
    )
