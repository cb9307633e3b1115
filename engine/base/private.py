"""The door to what torch, transformers and accelerate do not promise: no other module of the engine uses such a name.

Each name with what it is used for, and the first version that is known to have it so. Where one is gone, the function
here says what happens; the house test finds a private name anywhere else. GGUF has a door of its own,
`engine/loading/gguf_patches.py`.

- torch >= 2.11
  - `torch.utils._python_dispatch.TorchDispatchMode`: products of bfloat16 are replaced on slow CPUs (`DispatchMode`)
  - `torch.ops.mkldnn._is_mkldnn_bf16_supported`: whether a CPU is such a one (`has_bfloat16_products`)
  - `nn.Module._modules`: children by name, with shared and empty ones, which `named_children` leaves out
    (`children_of`)
  - `_orig_mod`, `nn.Module._compiled_call_impl`: what torch.compile makes of a module (`is_compiled`)
  - `nn.Module._parameters`: another tensor in a parameter's place for a while (`use_parameter`)
  - `torch.utils._pytree`: the tensors in whatever a block takes and gives (`tree_flatten`, `tree_map`)
- transformers >= 5.17
  - `PretrainedConfig._attn_implementation`: which attention was chosen (`attention_of`)
  - `utils.output_capturing._CAN_RECORD_REGISTRY`: which output of a router holds its logits (`recorders_of`)
  - `integrations.moe._grouped_linear`: the products of fused experts as the library makes them (`grouped_linear`)
  - `_is_expert_parallel`, `_apply_gate` of fused experts: whether they are spread, and what follows their first product
    (`is_expert_parallel`, `apply_gate`)
- accelerate >= 1.12
  - `_hf_hook` of a module: whether it is offloaded, and how (`offload_hook`)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode as DispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = [
    "DispatchMode",
    "apply_gate",
    "attention_of",
    "children_of",
    "grouped_linear",
    "has_bfloat16_products",
    "is_compiled",
    "is_expert_parallel",
    "offload_hook",
    "own_parameter",
    "recorders_of",
    "tree_flatten",
    "tree_map",
    "use_parameter",
]


def has_bfloat16_products() -> bool:
    """Whether this CPU has instructions for products of bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile runs this module: wrapped by it, or compiled in place."""
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None


def children_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """The children of a module by name; of one that is there twice both names, and None under a name without one."""
    found: dict[str, nn.Module | None] = module._modules
    return found


def own_parameter(module: nn.Module, name: str) -> nn.Parameter | None:
    """A module's own parameter of this name; None without one."""
    return module._parameters.get(name)


def use_parameter(module: nn.Module, name: str, value: torch.Tensor | nn.Parameter | None) -> None:
    """Let a module compute with this tensor, which need not be a parameter, until it is given its own again."""
    module._parameters[name] = value


def attention_of(config: Any) -> str | None:
    """The attention implementation that was chosen; None where the configuration does not say."""
    found: str | None = getattr(config, "_attn_implementation", None)
    return found


def recorders_of(owner: nn.Module) -> Iterator[Any]:
    """What transformers records as router logits of this model; nothing in versions without that registry."""
    try:
        from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY
    except ImportError:
        return
    # Keyed by the class's name in every version; only since 5.23 it has a `get` of its own, which takes the model.
    declared = (dict.get(_CAN_RECORD_REGISTRY, str(type(owner))) or {}).get("router_logits")
    yield from declared if isinstance(declared, (list, tuple)) else (declared,)


def grouped_linear(
    rows: torch.Tensor, weight: torch.Tensor, ends: torch.Tensor, *, bias: torch.Tensor | None, is_transposed: bool
) -> torch.Tensor:
    """[S, outputs] of rows sorted by expert, times each expert's own matrix; `ends` are the experts' last rows + 1."""
    from transformers.integrations.moe import _grouped_linear

    product: torch.Tensor = _grouped_linear(rows, weight, ends, bias=bias, is_transposed=is_transposed)
    return product


def is_expert_parallel(experts: Any) -> bool:
    """Whether fused experts are spread over devices; transformers 5.17 does not say, and nothing here spreads them."""
    return bool(getattr(experts, "_is_expert_parallel", False))


def apply_gate(experts: Any, fused: torch.Tensor) -> torch.Tensor:
    """What fused experts make of gate and up, [S, I] of [S, 2 * I]."""
    inner: torch.Tensor = experts._apply_gate(fused)
    return inner


def offload_hook(module: nn.Module) -> Any:
    """Accelerate's hook of a module that does not stay on one device; None without."""
    return getattr(module, "_hf_hook", None)
