"""How a decoder block adds its branches to the residual stream, told from the values of one forward.

- `BlockTrace`    what one block received, gave and computed in between
- `trace_blocks`  record a trace of every block while a `with` block is open
- `residual_of`   trace -> kind, and the constants of scaled branches

Kinds: `pre` out = in + branches; `post` the same with the branches' post-norms; `inside` the last branch adds the
stream itself; `scaled` branches times a constant; `parallel` the MLP does not read this block's attention;
`special` none of these, `unknown` where nothing could be compared. Only tokens whose values are all finite are
compared: an overflow or a NaN weight says nothing about the layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from engine.sites.backbone import Backbone
from engine.sites.branches import find_feed_forwards, find_mixers, find_post_norms
from engine.sites.exceptions import FamilyRule
from engine.sites.hooks import first_tensor
from engine.sites.modules import is_norm
from engine.sites.site import Residual

ROUNDINGS = 16
MOST = 0.999


@dataclass(slots=True)
class BlockTrace:
    """One block in one forward, everything float64 on the CPU, [tokens, D].

    Attributes:
        inputs: residual stream before the block, None if it did not run.
        output: residual stream after it.
        mixers: outputs of the token-mixing branches, by path.
        feed_forwards: outputs of the per-token branches, by path.
        post_norms: outputs of the branches' post-norms, by (component, path).
        inner: inputs of norms and branches inside the block.
        epsilon: machine epsilon of the stream's dtype.
    """

    inputs: torch.Tensor | None = None
    output: torch.Tensor | None = None
    mixers: dict[str, torch.Tensor] = field(default_factory=dict)
    feed_forwards: dict[str, torch.Tensor] = field(default_factory=dict)
    post_norms: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    inner: list[torch.Tensor] = field(default_factory=list)
    epsilon: float = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether no tensor of the trace holds NaN or infinity."""
        ends = (x for x in (self.inputs, self.output) if x is not None)
        return all(bool(x.isfinite().all()) for x in (*ends, *_between(self)))


@dataclass(slots=True)
class _Tracer:
    """Fills the traces; `current` is the block that is running, for modules shared between blocks."""

    planes: bool
    traces: list[BlockTrace]
    current: int = -1

    def stream(self, value: Any) -> torch.Tensor | None:
        """The residual stream in a raw value as float64 [tokens, D]."""
        x = first_tensor(tuple(value) if isinstance(value, (tuple, list)) else (value,), {})
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.is_meta:
            return None
        if self.planes and x.ndim == 4:
            x = x[0]
        return x.detach().reshape(-1, x.shape[-1]).to("cpu", torch.float64)

    def enter(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = first_tensor(args, kwargs)
        if isinstance(x, torch.Tensor):
            self.current = index
            self.traces[index].inputs = self.stream(x)
            if x.is_floating_point():
                self.traces[index].epsilon = float(torch.finfo(x.dtype).eps)


@contextmanager
def trace_blocks(backbone: Backbone, rule: FamilyRule) -> Iterator[list[BlockTrace]]:
    """Record every block of the next forward; the hooks go when the `with` block ends."""
    tracer = _Tracer(rule.planes, [BlockTrace() for _ in backbone.blocks])
    with ExitStack() as stack:
        for index, (_, block) in enumerate(backbone.blocks):
            for handle in _hook_block(tracer, index, block, rule):
                stack.callback(handle.remove)
        yield tracer.traces


def _hook_block(tracer: _Tracer, index: int, block: nn.Module, rule: FamilyRule) -> Iterator[Any]:
    trace = tracer.traces[index]

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        tracer.enter(index, args, kwargs)

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        trace.output = tracer.stream(output)

    def keep(store: dict[Any, torch.Tensor], key: Any) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            x = tracer.stream(output)
            if tracer.current == index and x is not None:
                store[key] = x

        return hook

    def inner(_module: nn.Module, args: Any, kwargs: Any) -> None:
        x = tracer.stream(first_tensor(args, kwargs))
        if tracer.current == index and x is not None:
            trace.inner.append(x)

    yield block.register_forward_pre_hook(before, with_kwargs=True)
    yield block.register_forward_hook(after)
    mixers = find_mixers(block)
    branches = find_feed_forwards(block, rule, {mixer.path for mixer in mixers})
    for mixer in mixers:
        yield _at(block, mixer.path).register_forward_hook(keep(trace.mixers, mixer.path))
    for branch in branches:
        path = branch.path or branch.output
        yield _at(block, path).register_forward_hook(keep(trace.feed_forwards, path))
    for component, path in find_post_norms(block):
        yield _at(block, path).register_forward_hook(keep(trace.post_norms, (component, path)))
    watched = {branch.path for branch in branches}
    for path, module in block.named_modules():
        if path and path.count(".") <= 1 and (is_norm(module) or path in watched):
            yield module.register_forward_pre_hook(inner, with_kwargs=True)


def _at(block: nn.Module, path: str) -> nn.Module:
    return block.get_submodule(path)


def residual_of(trace: BlockTrace) -> tuple[Residual, list[float]]:
    """The block's residual kind, and for `scaled` the constant of each branch."""
    if trace.inputs is None or trace.output is None or trace.inputs.shape != trace.output.shape:
        return "unknown", []
    trace = _finite_tokens(trace)
    if trace.inputs is None or trace.output is None or not trace.output.any():
        return "unknown", []  # of zeros alone every layout would hold
    fitting = [x for x in (*trace.mixers.values(), *trace.feed_forwards.values()) if x.shape == trace.inputs.shape]
    if any(_same(trace, x, trace.output, x) for x in trace.feed_forwards.values() if x.shape == trace.output.shape):
        return "inside", []
    if trace.post_norms and _adds_up(trace, _after_norms(trace)):
        return "post", []
    if fitting and _adds_up(trace, fitting):
        return ("parallel" if _is_parallel(trace) else "pre"), []
    factors = _factors(trace, fitting)
    if factors is not None:
        return "scaled", factors
    return "special", []


def _between(trace: BlockTrace) -> list[torch.Tensor]:
    """Everything a trace holds but the stream before and after the block."""
    return [*trace.mixers.values(), *trace.feed_forwards.values(), *trace.post_norms.values(), *trace.inner]


def _finite_tokens(trace: BlockTrace) -> BlockTrace:
    """The trace of the tokens that are finite in every tensor of it; tensors with other rows count as they are."""
    if trace.is_finite or trace.inputs is None or trace.output is None:
        return trace
    tokens = len(trace.inputs)
    aligned = [x for x in (trace.inputs, trace.output, *_between(trace)) if len(x) == tokens]
    keep = torch.stack([x.isfinite().all(dim=-1) for x in aligned]).all(dim=0)

    def kept(x: torch.Tensor) -> torch.Tensor:
        return x[keep] if len(x) == tokens else x

    return BlockTrace(
        inputs=kept(trace.inputs),
        output=kept(trace.output),
        mixers={path: kept(x) for path, x in trace.mixers.items()},
        feed_forwards={path: kept(x) for path, x in trace.feed_forwards.items()},
        post_norms={key: kept(x) for key, x in trace.post_norms.items()},
        inner=[kept(x) for x in trace.inner],
        epsilon=trace.epsilon,
    )


def _after_norms(trace: BlockTrace) -> list[torch.Tensor]:
    """The branches as they are added: their post-norms where they have one."""
    attention = [x for (component, _), x in trace.post_norms.items() if component == "attn_post_norm"]
    feed_forward = [x for (component, _), x in trace.post_norms.items() if component == "mlp_post_norm"]
    return [*(attention or trace.mixers.values()), *(feed_forward or trace.feed_forwards.values())]


def _adds_up(trace: BlockTrace, branches: list[torch.Tensor]) -> bool:
    """Whether out = in + branches, up to the rounding of a few additions, in nearly all elements."""
    if trace.inputs is None or trace.output is None or any(x.shape != trace.inputs.shape for x in branches):
        return False
    parts = torch.stack([trace.inputs, *branches])
    return _same(trace, parts.sum(dim=0), trace.output, parts.abs().sum(dim=0))


def _same(trace: BlockTrace, a: torch.Tensor, b: torch.Tensor, size: torch.Tensor) -> bool:
    """Whether a and b agree within rounding errors of numbers as large as `size`, in nearly all elements."""
    close = (a - b).abs() <= ROUNDINGS * trace.epsilon * size.abs()
    return bool(close.double().mean() >= MOST)


def _is_parallel(trace: BlockTrace) -> bool:
    """Whether nothing inside the block reads in + a mixer's output, although there is an MLP to read it."""
    if not trace.mixers or not trace.feed_forwards or trace.inputs is None:
        return False
    fitting = [x for x in trace.mixers.values() if x.shape == trace.inputs.shape]
    for mixers in (*([x] for x in fitting), fitting):
        middle = torch.stack([trace.inputs, *mixers]).sum(dim=0)
        size = torch.stack([trace.inputs, *mixers]).abs().sum(dim=0)
        if any(x.shape == middle.shape and _same(trace, middle, x, size) for x in trace.inner):
            return False
    return True


def _factors(trace: BlockTrace, branches: list[torch.Tensor]) -> list[float] | None:
    """Constants c with out = in + sum of c * branch, by least squares; None where no constants fit."""
    if trace.inputs is None or trace.output is None or not branches:
        return None
    delta = (trace.output - trace.inputs).reshape(-1, 1)
    columns = torch.stack([x.reshape(-1) for x in branches], dim=1)
    solution = torch.linalg.lstsq(columns, delta).solution
    size = trace.inputs.abs() + trace.output.abs() + sum(x.abs() for x in branches)
    fitted = trace.inputs + (columns @ solution).reshape(trace.inputs.shape)
    factors = [float(c) for c in solution[:, 0]]
    # A factor of zero means a branch that goes elsewhere, which is another layout and no scaling.
    fits = min(abs(factor) for factor in factors) > 1e-4 and _same(trace, fitted, trace.output, size)
    return factors if fits else None
