"""NVIDIA ModelOpt's quantization config: a preset, and the modules that are better left alone.

- `modelopt`  the config as YAML, which `yaml.safe_load` turns into the dict that `mtq.quantize` takes
- `SCHEMES`   what there are configs for, the usual one first

The structure is that of `modelopt.torch.quantization.config.QuantizeConfig` of ModelOpt 0.47: `quant_cfg` is a list of
entries applied in order, `quantizer_name` a wildcard matched against `<module>.input_quantizer` and the like. The
presets are `FP8_DEFAULT_CFG`, `FP8_PER_CHANNEL_PER_TOKEN_CFG` and `NVFP4_DEFAULT_CFG`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from engine.report.recipe import Judgement, heading, share_in_words
from engine.session.reader import SessionReader

DEFAULT: Final = "nvfp4"
SCHEMES: Final = ("nvfp4", "fp8", "fp8-dynamic")
_NVFP4: Final = {
    "num_bits": "e2m1",
    "block_sizes": {-1: 16, "type": "dynamic", "scale_bits": "e4m3"},
    "effective_bits": 4.5,
}
_FP8: Final = {"num_bits": "e4m3", "axis": None}
# (weights, inputs) of each preset.
_QUANTIZERS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "nvfp4": (_NVFP4, _NVFP4),
    "fp8": (_FP8, _FP8),
    "fp8-dynamic": ({**_FP8, "axis": 0}, {**_FP8, "type": "dynamic", "block_sizes": {-1: None}}),
}
# What every preset of ModelOpt leaves alone in language models (configs/ptq/units/default_disabled_quantizers).
_NEVER: Final = (
    "*block_sparse_moe.gate*", "*linear_attn.conv1d*", "*self_attention.conv1d*", "*linear_attn.in_proj_a*",
    "*linear_attn.in_proj_b*", "*lm_head*", "*mixer.conv1d*", "*mlp.gate.*", "*mlp.shared_expert_gate.*",
    "*output_layer*", "*proj_out.*", "*router*", "mtp.*", "output.*", "*embed_vision*", "*vision_tower*", "*visual*",
    "*vision_model*", "*multi_modal_projector*",
)  # fmt: skip
_NEVER_CLASSES: Final = ("nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d", "nn.LeakyReLU", "nn.Embedding")


def modelopt(reader: SessionReader, found: Judgement) -> str:
    """The config that a judgement of a session comes to, in YAML."""
    weights, inputs = _QUANTIZERS[found.deployment.name]
    lines = [
        *heading(reader, found, "NVIDIA ModelOpt"),
        "# model = mtq.quantize(model, yaml.safe_load(open(THIS_FILE)), forward_loop)",
        "quant_cfg:",
        _entry("*", enable=False),
        _entry("*weight_quantizer", cfg=weights),
        _entry("*input_quantizer", cfg=inputs),
        *(_entry(name, enable=False) for name in _NEVER),
        *(_entry("*", parent_class=name, enable=False) for name in _NEVER_CLASSES),
        *(f"{_entry(f'{name}.*', enable=False)}  # a router" for name, _ in found.routers),
    ]
    for loss in found.alone:
        words = share_in_words(loss)
        names = [f"{name}.*" for name in loss.modules] or [f"{loss.site.module}.*"]
        lines += [f"{_entry(name, enable=False)}  # {words}" for name in names]
    return "\n".join([*lines, "algorithm: max"]) + "\n"


def _entry(quantizer: str, **fields: Any) -> str:
    """One entry of the list, as YAML in one line."""
    return f"  - {_flow({'quantizer_name': quantizer, **fields})}"


def _flow(value: Any) -> str:
    """A value in YAML's flow style; JSON has no number as a key."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)
