"""Models on which smoothing is tried: every family, and those on which it once did harm; none of their norms is plain.

- `SMOOTHABLE`  names
- `smoothable`  a name -> model and plan
- `smooth`      divide and multiply as SmoothQuant does, in plain torch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from engine.report.mappings import Mapping, kept_smoothings
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.site import HookPlan, Smoothing
from tests.sites import families
from tests.sites.families import FAMILIES, LATENT, LINEAR, LOCAL_EXPERTS, ROUTED_EXPERTS, Family

# Beside those: per-head gated norms (Kimi-Linear, OLMo-Hybrid), a norm between up and down (BitNet), experts that read
# the smoothed norm (JetMoE), an embedding norm that is the residual stream (ModernBERT), a second reader of
# q_a_layernorm (A.X-K2), a block shared by several places (Zamba).
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "bitnet": ("BitNetConfig", families._base()),
    "jetmoe": ("JetMoeConfig", families._base(kv_channels=8, **LOCAL_EXPERTS)),
    "olmo_hybrid": ("OlmoHybridConfig", families._base(**LINEAR)),
    "kimi_linear": (
        "KimiLinearConfig",
        families._base(
            num_key_value_heads=4, moe_intermediate_size=16, linear_num_heads=4, linear_head_dim=8, **LATENT,
            **LOCAL_EXPERTS,
        ),
    ),
    "modernbert_decoder": ("ModernBertDecoderConfig", families._base(local_attention=16)),
    "axk2": ("AXK2Config", families._base(num_key_value_heads=4, first_k_dense_replace=1, **ROUTED_EXPERTS, **LATENT)),
    "vaultgemma": ("VaultGemmaConfig", families._base(head_dim=8, sliding_window=16, query_pre_attn_scalar=8)),
    "zamba": (
        "ZambaConfig",
        families._base(
            num_hidden_layers=6, num_key_value_heads=4, attn_layer_period=3, attn_layer_offset=1, n_mamba_heads=2,
            mamba_d_state=8, use_mamba_kernels=False,
        ),
    ),
}  # fmt: skip
SMOOTHABLE = (*FAMILIES, *FURTHER)


def smoothable(name: str) -> tuple[torch.nn.Module, HookPlan]:
    """A fresh model whose norms differ from each other, and its plan of GEMM inputs."""
    torch.set_num_threads(1)
    if name in FURTHER:
        config, fields = FURTHER[name]
        FAMILIES[name] = Family(config, fields, "")
    try:
        model = families.build(name)
    finally:
        if name in FURTHER:
            del FAMILIES[name]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return model, self_check(model, find_sites(model, "gemm"))


def smooth(model: torch.nn.Module, plan: HookPlan, found: Sequence[Mapping]) -> list[Smoothing]:
    """Smooth by random scales of 0.3 to 3.3 what these patterns mean; what was smoothed."""
    generator = torch.Generator().manual_seed(3)
    chosen = kept_smoothings(plan, found)
    with torch.no_grad():
        for one in chosen:
            module = model.get_submodule(one.smooth)
            weight = module.weight
            scale = (0.3 + 3 * torch.rand(len(weight), generator=generator)).to(weight.dtype)
            if one.law == "offset":
                weight.copy_((1 + weight) / scale - 1)
            else:
                weight.div_(scale if weight.ndim == 1 else scale[:, None])
            if getattr(module, "bias", None) is not None:
                module.bias.div_(scale)
            for path in one.balance:
                model.get_submodule(path).weight.mul_(scale)
    return list(chosen)
