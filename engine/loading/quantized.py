"""Quantised checkpoints: dequantised on loading, run as they are, or refused.

- `QuantPlan`   what is done with a checkpoint's quantisation
- `quant_plan`  decide it from a model's configuration
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.formats import FP16_LIMIT
from engine.loading.errors import LoadError

# Their native kernels bypass the modules that are hooked, or compute with activations quantised on the way.
_DEQUANTISED = ("mxfp4", "fp8", "mxfp8", "compressed-tensors")

_RUN_NATIVELY = {
    "bitsandbytes_8bit": "bitsandbytes int8 casts every activation to float16 inside its matrix products, "
    f"so values above {FP16_LIMIT:.0f} overflow there",
    "bitsandbytes_4bit": "the weights stay 4-bit; activations are computed in the compute dtype",
    "gptq": "the weights stay quantised; activations are not",
    "awq": "the weights stay quantised; activations are not",
    "torchao": "torchao's own matrix products are used",
    "quanto": "quanto's own matrix products are used",
    "hqq": "the weights stay quantised; activations are not",
}


@dataclass(frozen=True, slots=True)
class QuantPlan:
    """What is done with a checkpoint's quantisation.

    Attributes:
        method: the checkpoint's `quant_method`; None for an unquantised one.
        config: what to pass as `quantization_config`; None to leave the decision to the checkpoint.
        dequantised: whether the weights are plain after loading.
        notes: what the user should know.
    """

    method: str | None
    config: Any = None
    dequantised: bool = False
    notes: tuple[str, ...] = ()


def quant_plan(config: Any, model: str) -> QuantPlan:
    """Decide what to do with the quantisation a model's configuration declares.

    transformers ignores a `quant_method` it does not know, tries to read the packed weights as plain ones and fills
    what is missing with random numbers; so an unknown one is refused here.

    Raises:
        LoadError: the method is unknown, or a package it needs is missing.
    """
    declared = _declared(config)
    if declared is None:
        return QuantPlan(None)
    method = _method(declared)
    if method in _DEQUANTISED:
        note = f"the {method} weights were dequantised on loading, so that every module runs and can be measured"
        return QuantPlan(method, _dequantising_config(method, model), True, (note,))
    if method in _RUN_NATIVELY:
        return QuantPlan(method, None, False, (f"quantised with {method}: {_RUN_NATIVELY[method]}",))
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    if method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise LoadError(
            f"{model} is quantised with '{method}', which transformers does not know",
            hint="use an unquantised version of the model",
            kind="unsupported",
        )
    return QuantPlan(method, None, False, (f"quantised with {method}; its modules have not been tried with hooks",))


def _declared(config: Any) -> dict[str, Any] | None:
    for holder in (config, config.get_text_config(decoder=True)):
        declared = getattr(holder, "quantization_config", None)
        if declared is not None:
            return dict(declared) if isinstance(declared, dict) else dict(declared.to_dict())
    return None


def _method(declared: dict[str, Any]) -> str:
    method = declared.get("quant_method")
    if declared.get("load_in_8bit"):
        return "bitsandbytes_8bit"
    if declared.get("load_in_4bit"):
        return "bitsandbytes_4bit"
    return str(getattr(method, "value", method))


def _dequantising_config(method: str, model: str) -> Any:
    from transformers import CompressedTensorsConfig, FineGrainedFP8Config, Mxfp4Config

    if method == "mxfp4":
        return Mxfp4Config(dequantize=True)
    if method in {"fp8", "mxfp8"}:
        return FineGrainedFP8Config(dequantize=True)
    try:
        return CompressedTensorsConfig(dequantize=True)
    except ImportError as error:
        raise LoadError(
            f"{model} is quantised with compressed-tensors, and that package is not installed",
            hint="pip install compressed-tensors",
            kind="dependency",
        ) from error
