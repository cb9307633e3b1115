"""Which element of a router's output holds the raw logits.

- `declared_element`  what transformers itself declares for a router class
- `router_weight`     the [E, D] weight and bias behind the logits, to recompute them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from engine.sites.modules import is_linear


def declared_element(router: nn.Module | None, owners: Iterable[nn.Module]) -> int | None:
    """The tuple index that the model class declares for `router`'s logits, None where it declares none.

    transformers keeps, for each model class, which element of which class is recorded as `router_logits`. The
    registry is private, so a version without it is no error: the self-check then finds the element.
    """
    if router is None:
        return None
    for owner in owners:
        for recorder in _recorders(owner):
            target = getattr(recorder, "target_class", None)
            if isinstance(target, type) and isinstance(router, target):
                return int(recorder.index)
    return None


def _recorders(owner: nn.Module) -> Iterator[Any]:
    try:
        from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY
    except ImportError:
        return
    declared = _CAN_RECORD_REGISTRY.get(owner).get("router_logits")
    yield from declared if isinstance(declared, (list, tuple)) else (declared,)


def router_weight(router: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """(weight [E, D], bias [E] or None) of a router or of the one linear inside it; None if there is no such pair."""
    holders = [router, *(module for module in router.modules() if module is not router and is_linear(module))]
    for holder in holders:
        weight = getattr(holder, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim == 2:
            bias = getattr(holder, "bias", None)
            return weight, bias if isinstance(bias, torch.Tensor) else None
    return None
