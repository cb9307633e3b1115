"""How this house runs a model: without gradients, and with products of bfloat16 that no CPU is slow at.

- `computing`       within this block a model's forward pass is computed that way
- `sums_in_float32`  whether a model's products of bfloat16 are summed by us, and why that is told

A CPU without instructions for bfloat16 gets each product of such matrices from a plain loop: 4.7 times slower than the
same product of float32 (SmolLM2-135M on AVX2, 2 x 256 tokens), and with other roundings than everywhere else. Such a
product is made here in float32 and rounded once at its end, which is what instructions for bfloat16 do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from engine.base.private import DispatchMode, has_bfloat16_products

SUMMED_NOTE = (
    "this CPU has no bfloat16 instructions: products are summed in float32 and rounded to bfloat16, as those would do"
)
_aten = torch.ops.aten
_PRODUCTS = frozenset(
    operation.default
    for operation in (_aten.linear, _aten.matmul, _aten.einsum, _aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm)
)


class _SummedInFloat32(DispatchMode):  # type: ignore[misc]  # of torch, which is not followed
    """Matrix products of bfloat16 on the CPU, made of float32."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func not in _PRODUCTS or not _is_narrow(args):
            return func(*args, **named)
        return func(*_widened(args), **named).to(torch.bfloat16)


def sums_in_float32(model: torch.nn.Module) -> bool:
    """Whether products of this model's weights would be slow on this CPU as they are."""
    has_such = any(one.dtype == torch.bfloat16 and one.device.type == "cpu" for one in model.parameters())
    return has_such and not has_bfloat16_products()


@contextmanager
def computing(model: torch.nn.Module) -> Iterator[None]:
    """Within this block the model's forward pass needs no gradients, and its products are fast on any CPU."""
    with torch.inference_mode(), _SummedInFloat32() if sums_in_float32(model) else nullcontext():
        yield


def _is_narrow(given: Sequence[Any]) -> bool:
    """Whether the factors are of bfloat16 and on the CPU."""
    flat = [one for part in given for one in (part if isinstance(part, list | tuple) else (part,))]
    factors = [one for one in flat if isinstance(one, torch.Tensor)]
    return all(one.dtype == torch.bfloat16 and one.device.type == "cpu" for one in factors)


def _widened(given: Sequence[Any]) -> list[Any]:
    return [
        part.float() if isinstance(part, torch.Tensor) else _widened(part) if isinstance(part, list | tuple) else part
        for part in given
    ]
