"""A model and its tokenizer, ready to be measured.

- `LoadedModel`  model, tokenizer, and what exactly they are
- `load_model`   load what a job asks for
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.loading.environment import hub_offline, prepare_environment

prepare_environment()

import torch  # noqa: E402  # the switches above are read when transformers is imported

from engine.base.computing import SUMMED_NOTE, sums_in_float32  # noqa: E402
from engine.base.importing import loading_modules  # noqa: E402
from engine.base.job import Job  # noqa: E402
from engine.base.private import attention_of  # noqa: E402
from engine.formats import FP16_LIMIT  # noqa: E402
from engine.loading.architecture import auto_class, read_config, read_tokenizer  # noqa: E402
from engine.loading.cache import Hashing, is_hashed  # noqa: E402
from engine.loading.checkpoint import Checkpoint, read_checkpoint, sampled_identity  # noqa: E402
from engine.loading.device import check_device, place  # noqa: E402
from engine.loading.errors import LoadError, classify  # noqa: E402
from engine.loading.gguf import convert_gguf, require_memory  # noqa: E402
from engine.loading.gguf_header import gguf_identity, inspect_gguf  # noqa: E402
from engine.loading.progress import LoadProgress, Report, Reporter, bars_reported  # noqa: E402
from engine.loading.provenance import Origin, Provenance, describe  # noqa: E402
from engine.loading.quantized import QuantPlan, quant_plan  # noqa: E402
from engine.loading.resolve import Source, resolve  # noqa: E402
from engine.messages import Code  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and its tokenizer.

    Attributes:
        model: in evaluation mode, on its devices, needing no gradients.
        tokenizer: pads on the right.
        provenance: what exactly was loaded.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    provenance: Provenance


def load_model(job: Job, report: Report) -> LoadedModel:
    """Load the model a job asks for, from the hub, a folder or a GGUF file.

    Args:
        job: its fields model, revision, device, dtype, trust_remote_code and allow_pickle are read.
        report: told of the progress, at most 20 times a second, perhaps from other threads, one call at a time. What it
            raises cancels the load and is raised from here unchanged.

    Raises:
        LoadError: the model cannot be loaded; one line with the next step, the original exception in `__cause__`.
    """
    reporter = Reporter(report)
    try:
        return _load(job, reporter)
    except Exception as error:
        if reporter.cancelled is not None:
            raise reporter.cancelled from None
        found = classify(error, job.model, revision=job.revision, device=job.device)
        if found is error:
            raise
        raise found from error


def _load(job: Job, reporter: Reporter) -> LoadedModel:
    if job.dtype not in _DTYPES:
        raise LoadError(f"there is no dtype '{job.dtype}'", hint=f"use one of {', '.join(_DTYPES)}", kind="unsupported")
    check_device(job.device)
    source = resolve(job, reporter)
    reporter(LoadProgress(Code.IMPORTING))
    with loading_modules():  # takes seconds, of which the screen should know the reason
        import transformers.modeling_utils  # noqa: F401

    origin = Origin(
        model=job.model,
        resolved=source.hub_id or str(source.path),
        revision=job.revision,
        commit=source.commit,
        checkpoint_dtype=None,
        quantization=None,
        weight_hash="",
        weight_sample="",
        notes=source.notes,
    )
    if source.kind == "folder":
        return _load_folder(job, source.path, origin, reporter)
    with _converted(job, source, origin, reporter) as (settled_job, folder, known):
        return _load_folder(settled_job, folder, known, reporter)


@contextmanager
def _converted(job: Job, source: Source, origin: Origin, reporter: Reporter) -> Iterator[tuple[Job, Path, Origin]]:
    """A GGUF file as a safetensors folder, with the job's dtype settled, and what is known of its origin."""
    facts = inspect_gguf(source.path)
    dtype = facts.dtype if job.dtype == "auto" else job.dtype
    if not is_hashed(source.path):  # nobody waits for the hash of a file that does not fit
        require_memory(source.path, dtype, facts)
    identity = gguf_identity(source.path, reporter)
    conversion = convert_gguf(source.path, dtype, facts, identity, reporter)
    packed = facts.quantization
    notes = [*origin.notes, *conversion.notes]
    if packed is not None:
        notes.append(f"the GGUF file's {packed} weights were dequantised to {dtype}")
    try:
        yield (
            replace(job, dtype=dtype),
            conversion.folder,
            replace(
                origin,
                checkpoint_dtype=facts.stored,
                quantization=f"gguf {packed}" if packed else None,
                weight_hash=identity,
                weight_sample=sampled_identity([source.path]),
                notes=tuple(notes),
            ),
        )
    finally:
        if conversion.temporary:
            shutil.rmtree(conversion.folder, ignore_errors=True)


def _load_folder(job: Job, folder: Path, origin: Origin, reporter: Reporter) -> LoadedModel:
    # Code of the repository may live in another repository, which has to be fetched.
    with nullcontext() if job.trust_remote_code else hub_offline():
        reporter(LoadProgress(Code.READING_CONFIG))
        config = read_config(folder, job)
        loader = auto_class(config, job)
        plan = quant_plan(config, job.model)
        checkpoint = read_checkpoint(folder, allow_pickle=job.allow_pickle, model=job.model)
        dtype, dtype_notes = _choose_dtype(job, config, checkpoint, plan)
        needed_bytes = checkpoint.loaded_bytes(
            dtype.itemsize if dtype is not None else None, plan.method, dequantised=plan.dequantised
        )
        device_map = place(job.device, needed_bytes, job.model)
        reporter(LoadProgress(Code.READING_TOKENIZER))
        tokenizer = read_tokenizer(folder, job)
        reporter(LoadProgress(Code.LOADING_WEIGHTS))
        hashing_beside = Hashing(() if origin.weight_hash else checkpoint.files)
        options: dict[str, Any] = {} if plan.config is None else {"quantization_config": plan.config}
        with bars_reported(reporter, Code.LOADING_WEIGHTS), hashing_beside as hashing:
            model, info = loader.from_pretrained(
                folder,
                config=config,
                dtype=dtype or "auto",
                device_map=device_map,
                trust_remote_code=job.trust_remote_code,
                use_safetensors=bool(checkpoint.elements),
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
            identity = hashing.result(lambda d, n: reporter(LoadProgress(Code.HASHING, d, n, "bytes")))
    _refuse_incomplete(info, job.model)
    model.eval().requires_grad_(False)
    known = replace(
        origin,
        checkpoint_dtype=origin.checkpoint_dtype or checkpoint.dtype,
        quantization=origin.quantization or plan.method,
        weight_hash=origin.weight_hash or identity,
        weight_sample=origin.weight_sample or sampled_identity(checkpoint.files),
    )
    notes = [*plan.notes, *dtype_notes, *_notes(model, tokenizer, info)]
    return LoadedModel(model, tokenizer, describe(model, tokenizer, known, notes))


def _choose_dtype(
    job: Job, config: Any, checkpoint: Checkpoint, plan: QuantPlan
) -> tuple[torch.dtype | None, tuple[str, ...]]:
    """The type the weights are loaded in, None to let transformers look into pickles; and what to know about it.

    `auto` follows the configuration, as everywhere in the field, then the files, then bfloat16 for packed weights.
    """
    if job.dtype != "auto":
        return getattr(torch, job.dtype), ()
    stored = checkpoint.dtype
    plain = stored if stored in _DTYPES else None
    declared = getattr(config, "dtype", None) or getattr(config.get_text_config(decoder=True), "dtype", None)
    if declared is not None:
        name = str(declared).removeprefix("torch.")
        if name not in _DTYPES:
            return torch.bfloat16, (f"config.json names {name}, which cannot be computed in: bfloat16 was used",)
        if plan.method is None and plain is not None and plain != name:
            return getattr(torch, name), (f"config.json says {name}, the files hold {plain}: {name} was used",)
        return getattr(torch, name), ()
    if plain is not None:
        return getattr(torch, plain), ()
    return (None if stored is None else torch.bfloat16), ()


def _refuse_incomplete(info: Mapping[str, Any], model: str) -> None:
    """Refuse what transformers accepts: weights that are not in the files are random numbers after a load."""
    missing = sorted(info.get("missing_keys") or ())
    mismatched = sorted(str(entry[0]) for entry in info.get("mismatched_keys") or ())
    for names, what in ((missing, "are not in its files"), (mismatched, "have other shapes in its files")):
        if names:
            raise LoadError(
                f"{len(names)} weights of {model} {what}, the first is {names[0]}",
                hint="fetch the model again, or check that config.json belongs to these weights",
                kind="format",
            )
    if info.get("error_msgs"):
        raise LoadError(
            f"weights of {model} could not be read: {info['error_msgs'][0]}", hint="fetch it again", kind="format"
        )


def _notes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: Mapping[str, Any]) -> list[str]:
    notes = []
    unused = sorted(info.get("unexpected_keys") or ())
    if unused:
        notes.append(f"{len(unused)} tensors of the files belong to no module and were not loaded, such as {unused[0]}")
    if attention_of(model.config) == "eager":
        notes.append("eager attention: the memory of a batch grows with the square of its longest sample")
    if sums_in_float32(model):
        notes.append(SUMMED_NOTE)
    if model.dtype == torch.float16:
        limit = f"float16 cannot hold activations above {FP16_LIMIT:.0f}"
        notes.append(f"{limit}: use --dtype bfloat16 if some are not finite")
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        notes.append(f"the tokenizer knows {len(tokenizer)} tokens and the model {rows}: is it this model's?")
    devices = {str(parameter.device.type) for parameter in model.parameters()}
    if "meta" in devices or len(devices) > 1:
        notes.append("part of the model does not fit on the GPU and is copied there for every batch: this is slow")
    return notes
