"""What exactly was loaded, JSON-ready, for the session file.

- `Provenance`         the record
- `Origin`             the part of it that is known before the model is
- `describe`           make it from a loaded model
- `package_versions`   the versions that decide about numbers
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.base.private import attention_of

_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "gguf", "maxact-tui")
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What exactly was loaded; every field is JSON-ready.

    Attributes:
        model: as the user asked for it.
        resolved: the hub id, or the absolute path.
        revision: the revision asked for; None for the default.
        commit: the hub's commit hash; None for local files.
        architecture: the class of the model, such as `LlamaForCausalLM`.
        model_type: the family, such as `llama`.
        parameters: how many, tied ones counted once.
        dtype: the type most parameters have as loaded.
        checkpoint_dtype: the type most elements have in the files; None when it cannot be told (pickles).
        quantization: the checkpoint's original method (`mxfp4`, `gguf Q4_1`, ...); None for none.
        device_map: module prefix to device; the empty prefix is the whole model.
        weight_hash: identity of the weight files: `sha256:` over every byte of them.
        weight_sample: `sampled-sha256:` of them (see `sampled_identity`), by which earlier sessions know them.
        tokenizer: the class of the tokenizer.
        tokenizer_hash: sha256 of what decides how text becomes tokens.
        context_window: positions the model was made for; None if its configuration does not say.
        attention: the attention implementation.
        versions: of the packages that decide about numbers.
        notes: what the user should know about this load.
    """

    model: str
    resolved: str
    revision: str | None
    commit: str | None
    architecture: str
    model_type: str
    parameters: int
    dtype: str
    checkpoint_dtype: str | None
    quantization: str | None
    device_map: dict[str, str]
    weight_hash: str
    weight_sample: str
    tokenizer: str
    tokenizer_hash: str
    context_window: int | None
    attention: str | None
    versions: dict[str, str]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**asdict(self), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known about a model before it is loaded; the fields are those of `Provenance`."""

    model: str
    resolved: str
    revision: str | None
    commit: str | None
    checkpoint_dtype: str | None
    quantization: str | None
    weight_hash: str
    weight_sample: str
    notes: tuple[str, ...]


def describe(model: Any, tokenizer: Any, origin: Origin, notes: Sequence[str]) -> Provenance:
    """The record of a loaded model.

    Args:
        model: the loaded model.
        tokenizer: its tokenizer.
        origin: what was known before.
        notes: what was learnt while loading, put after the origin's notes.
    """
    config = model.config
    return Provenance(
        model=origin.model,
        resolved=origin.resolved,
        revision=origin.revision,
        commit=origin.commit,
        architecture=type(model).__name__,
        model_type=str(config.model_type),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=main_dtype(model),
        checkpoint_dtype=origin.checkpoint_dtype,
        quantization=origin.quantization,
        device_map=device_map(model),
        weight_hash=origin.weight_hash,
        weight_sample=origin.weight_sample,
        tokenizer=type(tokenizer).__name__,
        tokenizer_hash=tokenizer_hash(tokenizer),
        context_window=context_window(config),
        attention=attention_of(config),
        versions=package_versions(),
        notes=(*origin.notes, *notes),
    )


def main_dtype(model: Any) -> str:
    """The type most parameters of a model have, in PyTorch's words without `torch.`."""
    counts: Counter[str] = Counter()
    for parameter in model.parameters():
        counts[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return max(counts, key=lambda name: counts[name])


def device_map(model: Any) -> dict[str, str]:
    """Module prefix to device; the empty prefix is the whole model."""
    spread: Mapping[str, Any] | None = getattr(model, "hf_device_map", None)
    if spread and set(spread) != {""}:
        return {prefix: f"cuda:{place}" if isinstance(place, int) else str(place) for prefix, place in spread.items()}
    return {"": str(model.device)}


def context_window(config: Any) -> int | None:
    """How many positions a model was made for; None if its configuration does not say."""
    text = config.get_text_config(decoder=True)
    for holder in (text, config):
        for field in _CONTEXT_FIELDS:
            value = getattr(holder, field, None)
            if isinstance(value, int) and value > 0:
                return value
    return None


def tokenizer_hash(tokenizer: Any) -> str:
    """A sha256 of what decides how text becomes tokens: vocabulary, rules and chat template."""
    digest = hashlib.sha256(type(tokenizer).__name__.encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        digest.update(backend.to_str().encode())
    else:
        for token, number in sorted(tokenizer.get_vocab().items()):
            digest.update(f"\0{number}\0{token}".encode(errors="surrogatepass"))
    digest.update(repr(getattr(tokenizer, "chat_template", None)).encode())
    return f"sha256:{digest.hexdigest()}"


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide about numbers."""
    import torch

    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    # The index's wheel calls itself 2.13.0 and holds 2.13.0+cu130; which build computed belongs to the numbers.
    return {**versions, "torch": torch.__version__}
