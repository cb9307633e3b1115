"""One decoder block run again on what it was given, with the output of some modules divided and their readers' inputs
multiplied.

- `Call`             one call of a module: what it was given and what it gave
- `Watched`, `watch_calls`  the calls of every block and norm in one forward
- `Pair`, `run_block`  a block with some pairs smoothed
- `powers_of_two`    a divisor for each channel
- `is_same`          equal but for rounding
- `fresh`            copies of tensors
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import nn

from engine.base.private import tree_flatten, tree_map
from engine.sites.backbone import Backbone
from engine.sites.modules import is_norm, walk

_FACTORS: Final = (0.5, 2.0, 4.0)
_SEED: Final = 23


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a module: copies of what it was given and what it gave."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


@dataclass(slots=True)
class Watched:
    """What one forward showed.

    Attributes:
        blocks: the first call of each decoder block, by its number.
        norms: the only call of each norm with a weight of its own, by dotted path; None for one called more often.
    """

    blocks: dict[int, Call] = field(default_factory=dict)
    norms: dict[str, Call | None] = field(default_factory=dict)


class Pair(Protocol):
    """A module to be smoothed and the linears that read it; paths within the block."""

    @property
    def smooth(self) -> str:
        """Path of the module whose output is divided."""

    @property
    def balance(self) -> tuple[str, ...]:
        """Paths of the linears whose inputs are multiplied."""


@contextmanager
def watch_calls(backbone: Backbone) -> Iterator[Watched]:
    """Keep the calls of every block and norm of the next forward."""
    seen = Watched()
    with ExitStack() as stack:
        for layer, (prefix, block) in enumerate(backbone.blocks):
            stack.enter_context(_noting(block, _keeping_first(seen.blocks, layer)))
            for path, module in walk(block):
                if is_norm(module) and isinstance(getattr(module, "weight", None), nn.Parameter):
                    stack.enter_context(_noting(module, _keeping_only(seen.norms, f"{prefix}.{path}")))
        yield seen


def run_block(block: nn.Module, call: Call, candidates: Sequence[Pair]) -> Any:
    """The block on what it was given, with these smoothings."""
    args, kwargs = fresh((call.args, call.kwargs))
    with ExitStack() as stack:
        for number, one in enumerate(candidates):
            scale = powers_of_two(block.get_submodule(one.balance[0]).in_features, number)
            stack.callback(block.get_submodule(one.smooth).register_forward_hook(_dividing(scale)).remove)
            for path in one.balance:
                hook = block.get_submodule(path).register_forward_pre_hook(_multiplying(scale), with_kwargs=True)
                stack.callback(hook.remove)
        return block(*args, **kwargs)


def _dividing(scale: torch.Tensor) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        return output / scale.to(output.device, output.dtype) if isinstance(output, torch.Tensor) else output

    return hook


def _multiplying(scale: torch.Tensor) -> Callable[..., Any]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def larger(x: torch.Tensor) -> torch.Tensor:
            return x * scale.to(x.device, x.dtype)

        return (larger(args[0]), *args[1:]) if args else args, {k: larger(v) for k, v in kwargs.items()}

    return hook


def powers_of_two(width: int, number: int) -> torch.Tensor:
    """float32 [width] of powers of two, others for another number."""
    choice = torch.randint(len(_FACTORS), (width,), generator=torch.Generator().manual_seed(_SEED + number))
    return torch.tensor(_FACTORS)[choice]


def is_same(x: Any, expected: torch.Tensor) -> bool:
    """Equal but for the last bit or two, row by row; where one is not finite, neither is the other."""
    if not isinstance(x, torch.Tensor) or x.shape != expected.shape:
        return False
    if not expected.is_floating_point() or not expected.numel():
        return bool(torch.equal(x, expected))
    if not expected.isfinite().any():
        return False  # nothing is proven by numbers that are none
    a, b = (torch.nan_to_num(part.float(), nan=0.0, posinf=0.0, neginf=0.0) for part in (x, expected))
    step = torch.finfo(expected.dtype).eps
    # Beside a massive element the others must be equal by their own measure, which is the row's median.
    ordinary = b.abs().reshape(-1, b.shape[-1] if b.ndim else 1).median(dim=-1).values
    room = 2 * step * b.abs() + step * ordinary.reshape(*b.shape[:-1], 1)
    is_close = bool(((a - b).abs() <= room).all())
    return is_close and bool(torch.equal(x.isfinite(), expected.isfinite()))


def fresh(value: Any) -> Any:
    """The same with every tensor copied: families change tensors in place."""
    return tree_map(lambda one: one.clone() if isinstance(one, torch.Tensor) else one, value)


@contextmanager
def _noting(module: nn.Module, keep: Callable[[Call], None]) -> Iterator[None]:
    """Copies of what the module is given, taken before it runs, and of what it gives."""
    given: list[Any] = []

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        given[:] = fresh((args, kwargs))

    def after(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        if given and not any(isinstance(x, torch.Tensor) and x.is_meta for x in tree_flatten(output)[0]):
            keep(Call(given[0], given[1], fresh(output)))

    hooks = (
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _keeping_first(calls: dict[int, Call], layer: int) -> Callable[[Call], None]:
    def keep(call: Call) -> None:
        calls.setdefault(layer, call)

    return keep


def _keeping_only(calls: dict[str, Call | None], path: str) -> Callable[[Call], None]:
    def keep(call: Call) -> None:
        calls[path] = None if path in calls else call

    return keep
