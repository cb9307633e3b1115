"""Each block computed again with one of its sites quantised, on a few tokens: how far its output moves, token by token.

- `replay`            the local errors of every site under some schemes
- `choose_stretches`  which tokens: beginnings of evaluation samples
- `TOKENS`, `LENGTHS`  how many of them, and of one sample

A block is called again with the very arguments the model gave it, so everything that happens inside it counts:
softmax, gates, norms, routers; and it costs one block for each site and scheme instead of a whole forward. At the end
it is called unchanged: that must give the same output, or the family's blocks cannot be computed again, which is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from corpus.sampling import stratified_order
from corpus.tokenization import TokenizedCorpus
from engine.base.memory import is_out_of_memory
from engine.effect.changes import Quantiser, SiteNumbers
from engine.effect.errors import EffectError
from engine.effect.interventions import Quantise, parse_intervention
from engine.effect.replacing import replaced
from engine.messages import Code, Message, message
from engine.preparation.prepare import Prepared
from engine.sites.backbone import find_backbone
from engine.sites.errors import SiteError
from engine.sites.hooks import attach
from engine.sites.site import HookPlan
from engine.statistics.local_errors import SUMS, LocalErrors, bin_of

TOKENS: Final = 512
LENGTHS: Final = (64, 32, 16, 8)
_SAME: Final = 1e-3  # relative change of a block's output that is called none
_STREAM_TOKENS: Final = SUMS.index("stream_tokens")
_STREAM_SQUARES: Final = SUMS.index("stream_squares")

Numbers = Callable[[int], SiteNumbers | None]
Problem = Callable[[int, Message], None]


def choose_stretches(tokenized: TokenizedCorpus, samples: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Token ids of the beginnings of some samples, in an order that mixes the categories.

    Args:
        tokenized: the corpus.
        samples: to choose from.
        seed: orders them.

    Returns:
        Batches without padding, int64 [samples, T] with T of `LENGTHS` (less for still shorter samples), of at most
        `TOKENS` tokens in all.
    """
    found: dict[int, list[NDArray[np.integer[Any]]]] = {}
    left = TOKENS
    for place in stratified_order([tokenized.categories[number] for number in samples], seed):
        ids = tokenized.tokens(samples[place])
        ids = ids[: next((length for length in LENGTHS if length <= len(ids)), len(ids))]
        if len(ids) > left:
            break
        left -= len(ids)
        if len(ids):
            found.setdefault(len(ids), []).append(ids)
    return [np.stack(stretches).astype(np.int64) for stretches in found.values()]


def replay(
    prepared: Prepared,
    numbers: Numbers,
    schemes: Sequence[str],
    stretches: Sequence[NDArray[np.int64]],
    problem: Problem,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, LocalErrors]:
    """What each scheme at each site does to its tokens and to the stream behind its block.

    None of the caller's hooks may be on the model.

    Args:
        prepared: the model and its plan.
        numbers: of a site's calibration samples; a site without any is left out.
        schemes: names of quantisers.
        stretches: token ids, int64 [samples, T] each.
        problem: called with a site and what could not be done; with -1 where it is no single site's.
        progress: called after each block that was computed again, with how many were and how many there are.

    Returns:
        By site number.
    """
    blocks = _sites_of_blocks(prepared.loaded.model, prepared.plan)
    total = len(stretches) * sum(bool(path and sites) for path, sites in blocks.items())
    steps = count(1)
    work = _Replay(prepared, numbers, schemes, blocks, lambda: progress(next(steps), total))
    for ids in stretches:
        try:
            work.run(torch.from_numpy(ids).to(prepared.device))
        except EffectError as error:
            problem(-1, message(Code.NO_DAMAGE, reason=str(error)))
            return {}
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the activations that did not fit
            problem(-1, message(Code.NO_DAMAGE_MEMORY))
            return {}
    for path in work.unlike:
        problem(blocks[path][0], message(Code.NO_DAMAGE_REPEAT, block=path))
    return work.found()


def _sites_of_blocks(model: nn.Module, plan: HookPlan) -> dict[str, list[int]]:
    """The sites inside each block, by its path; those outside of all under an empty one."""
    found: dict[str, list[int]] = {"": []}
    try:
        paths = [path for path, _ in find_backbone(model).blocks]
    except SiteError:
        paths = []
    for path in paths:
        found[path] = []
    for number, site in enumerate(plan.sites):
        if site.kind == "vision":
            continue
        own = next((path for path in paths if f"{site.module}.".startswith(f"{path}.")), "")
        if own or site.layer is None:
            found[own].append(number)
    return found


class _Replay:
    """The sums of all sites, filled stretch by stretch."""

    def __init__(
        self,
        prepared: Prepared,
        numbers: Numbers,
        schemes: Sequence[str],
        blocks: Mapping[str, Sequence[int]],
        tell: Callable[[], None],
    ) -> None:
        self._model, self._plan, self._text_model = prepared.loaded.model, prepared.plan, prepared.text_model
        self._blocks, self._tell = blocks, tell
        self._numbers, self._schemes = numbers, tuple(schemes)
        self._found: dict[int, SiteNumbers | None] = {}
        self._quantisers: dict[tuple[int, str], Quantiser] = {}
        self._sums: dict[int, LocalErrors] = {}
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._busy = False
        self.unlike: set[str] = set()

    def run(self, ids: torch.Tensor) -> None:
        """A batch of stretches, int64 [samples, T]."""
        outside = self._blocks[""]
        plan = replace(self._plan, sites=tuple(self._plan.sites[number] for number in outside))

        def record(place: int, x: torch.Tensor, _token_index: torch.Tensor | None = None, /) -> None:
            for name in self._schemes:
                if (quantiser := self._quantiser(outside[place], name)) is not None:
                    changed = quantiser(outside[place], x)
                    self._add_tokens(outside[place], name, x, changed)
                    self._add_stream(outside[place], name, x, changed)

        with ExitStack() as stack:
            if outside:
                stack.enter_context(attach(self._model, plan, record, lambda _site, _text: None))
            for path, sites in self._blocks.items():
                if path and sites:
                    stack.enter_context(self._on(path, sites))
            self._text_model(input_ids=ids, attention_mask=None, use_cache=False)

    def found(self) -> dict[int, LocalErrors]:
        """The sums; without the stream where a block cannot be computed again, or does not read what was changed."""
        lost = {number for path in self.unlike for number in self._blocks[path]}
        for number, held in self._sums.items():
            has_error = (held.sums[:, SUMS.index("error_absolute")] > 0) | (held.sums[:, SUMS.index("tokens")] == 0)
            is_unread = (held.sums[:, _STREAM_SQUARES] == 0) & has_error
            held.sums[is_unread | (number in lost), _STREAM_TOKENS : _STREAM_SQUARES + 1] = 0.0
        return self._sums

    @contextmanager
    def _on(self, path: str, sites: Sequence[int]) -> Iterator[None]:
        """Within this block of code the model's block at `path` is computed again after each call."""
        block = self._model.get_submodule(path)

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._busy:
                self._arguments = _copied(args), {name: _copied(value) for name, value in kwargs.items()}

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            if self._busy:
                return
            self._busy = True
            try:
                self._again(path, block, sites, _first(output))
            finally:
                self._busy, self._arguments = False, ((), {})
            self._tell()

        hooks = (
            block.register_forward_pre_hook(before, with_kwargs=True),
            block.register_forward_hook(after),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _again(self, path: str, block: nn.Module, sites: Sequence[int], output: torch.Tensor | None) -> None:
        if output is None:
            self.unlike.add(path)
            return
        for number in sites:
            for name in self._schemes:
                if self._quantiser(number, name) is None:
                    continue
                with replaced(self._model, self._plan, [number], self._change(name)):
                    self._add_stream(number, name, output, self._call(block))
        # The last call is the unchanged one, so that what blocks share (keys and values) is left as it was.
        same = self._call(block)
        if same is None or not _relative(output, same).nan_to_num(0.0).max() <= _SAME:
            self.unlike.add(path)

    def _call(self, block: nn.Module) -> torch.Tensor | None:
        args, kwargs = self._arguments
        return _first(block(*_copied(args), **{name: _copied(value) for name, value in kwargs.items()}))

    def _change(self, name: str) -> Callable[[int, torch.Tensor], torch.Tensor]:
        def change(number: int, x: torch.Tensor) -> torch.Tensor:
            quantiser = self._quantiser(number, name)
            assert quantiser is not None
            changed = quantiser(number, x)
            self._add_tokens(number, name, x, changed)
            return changed

        return change

    def _quantiser(self, number: int, name: str) -> Quantiser | None:
        """Of a site; None for a site without calibration, or without the weights that smoothing needs."""
        if (number, name) not in self._quantisers:
            if number not in self._found:
                self._found[number] = self._numbers(number)
            found, intervention = self._found[number], parse_intervention(name)
            assert isinstance(intervention, Quantise)
            if found is None or found.distribution is None or (intervention.smooths and found.weight_max is None):
                return None
            self._quantisers[number, name] = Quantiser(intervention, {number: found})
        return self._quantisers[number, name]

    def _add_tokens(self, number: int, name: str, x: torch.Tensor, changed: torch.Tensor) -> None:
        """What became of the site's own rows."""
        rows, others = (one.reshape(-1, one.shape[-1]).to(torch.float64) for one in (x, changed))
        finite = rows.isfinite() & others.isfinite()
        rows, others = rows.where(finite, 0.0), others.where(finite, 0.0)
        error, bulk = (others - rows).abs(), rows.abs() <= self._limit(number)
        relative = _ratio(error.norm(dim=-1), rows.norm(dim=-1))[finite.any(-1)]
        sums = torch.stack([
            torch.tensor(float(len(relative)), dtype=torch.float64, device=x.device),
            *torch.zeros(2, dtype=torch.float64, device=x.device),
            (rows != 0).sum().double(),
            ((rows != 0) & (others == 0)).sum().double(),
            rows.where(bulk, 0.0).square().sum(),
            error.where(bulk, 0.0).square().sum(),
            rows.abs().sum(),
            error.sum(),
        ]).cpu().numpy()  # fmt: skip
        held, place = self._held(number), self._schemes.index(name)
        held.sums[place] += sums
        errors = relative.cpu().numpy()
        np.add.at(held.relative[place], bin_of(errors), 1)
        held.worst[place] = max(held.worst[place], errors.max(initial=0.0))

    def _add_stream(self, number: int, name: str, before: torch.Tensor, after: torch.Tensor | None) -> None:
        """How far the stream moved."""
        if after is None:
            return
        moved = _relative(before, after)
        moved = moved[moved.isfinite()]
        held, place = self._held(number), self._schemes.index(name)
        held.sums[place, _STREAM_TOKENS] += len(moved)
        held.sums[place, _STREAM_SQUARES] += float(moved.square().sum())

    def _limit(self, number: int) -> float:
        """|x| above which an element of the site is massive, by its calibration samples."""
        found = self._found[number]
        assert found is not None and found.distribution is not None
        return found.distribution.massive_threshold

    def _held(self, number: int) -> LocalErrors:
        if number not in self._sums:
            self._sums[number] = LocalErrors.empty(self._schemes)
        return self._sums[number]


def _relative(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """||after_t - before_t|| / ||before_t||, float64 [tokens]."""
    rows, others = (one.reshape(-1, one.shape[-1]).to(torch.float64) for one in (before, after))
    return _ratio((others - rows).norm(dim=-1), rows.norm(dim=-1))


def _ratio(error: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Error over size, 0 without an error."""
    return torch.where(error == 0, 0.0, error / size)


def _first(output: Any) -> torch.Tensor | None:
    """The stream in what a block gives: itself, or the first tensor."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    parts = output if isinstance(output, (tuple, list)) else (output,)
    return next((part for part in parts if isinstance(part, torch.Tensor)), None)


def _copied(value: Any) -> Any:
    """The value with floating tensors copied, as families change the stream in place."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.is_floating_point() else value
    return tuple(_copied(part) for part in value) if type(value) is tuple else value
