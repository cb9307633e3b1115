"""Two or more sessions side by side: what was different before, then what came out different.

- `Limit`          how large a difference is nothing but noise
- `SiteRow`        one site in every session
- `CommonThread`   a thread that every session has
- `Comparison`, `compare`

Sites are matched by name, threads by sample, position and channel where the tokens are the same. A ratio is marked
as noise if batch composition and dtype explain it: as far as `maxact-tui stability` has measured on one of the two
sessions, else within a stated bound. The bounds: on SmolLM2-135M-Instruct the maxima of all sites agree within 2 %
between machines in the same dtype, and all but a few within 5 % between bfloat16 and float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.analysis.conditions import Difference, dtype_of, find_differences
from engine.analysis.model import ModelSummary
from engine.analysis.stability import Stability
from engine.analysis.threads import Thread

SAME_DTYPE_NOISE: Final = 0.02
OTHER_DTYPE_NOISE: Final = 0.05
_OVER_ZERO: Final = 1e3  # a distance beyond every quotient of two floats


@dataclass(frozen=True, slots=True)
class Limit:
    """How large a relative difference to the first session is nothing but noise.

    Attributes:
        value: of M and of most sites; `by_site` where a site's own rerun differed by more.
        is_measured: by `maxact-tui stability` on one of the two sessions; else it is a stated bound.
        by_site: larger limits of single sites, by name.
    """

    value: float
    is_measured: bool
    by_site: dict[str, float]

    def of(self, site: str) -> float:
        """The limit of one site."""
        return self.by_site.get(site, self.value)


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site in every session.

    Attributes:
        name, component, layer: of the site.
        magnitudes: M_site per session, NaN where it has no such site.
        ratios: each over the first session's; NaN where either is unknown, infinite over zero.
        is_noise: per session, whether the ratio is explained by numerical noise.
        nonfinite: per session, how many elements are NaN or infinite; None where it has no such site, or does not say.
    """

    name: str
    component: str
    layer: int | None
    magnitudes: tuple[float, ...]
    ratios: tuple[float, ...]
    is_noise: tuple[bool, ...]
    nonfinite: tuple[int | None, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether it holds NaN or infinity in some sessions and not in others, or another number of them."""
        return len({one for one in self.nonfinite if one is not None}) > 1

    @property
    def distance(self) -> float:
        """How far it is from the same in all sessions: infinite where NaN or infinity make the difference.

        Else the largest |log ratio|; less for noise, least for the unknown.
        """
        if self.breaks:
            return math.inf
        found = [
            -1 / (1 + abs(math.log(r))) if noise else abs(math.log(r)) if 0 < r < math.inf else _OVER_ZERO
            for r, noise in zip(self.ratios[1:], self.is_noise[1:], strict=True)
            if not math.isnan(r)
        ]
        return max(found, default=-math.inf)

    @property
    def differs(self) -> bool:
        """Whether it differs in some session by more than noise."""
        return self.distance > 0

    @property
    def gap(self) -> float:
        """How far the session that is furthest from the first is off, as a share: 0 for equal; NaN where unknown."""
        known = [abs(r - 1) for r in self.ratios[1:] if not math.isnan(r)]
        return max(known, default=math.nan)


@dataclass(frozen=True, slots=True)
class CommonThread:
    """The same (sample, position, channel) as a thread of every session; `threads` has one per session."""

    sample: int
    position: int
    channel: int
    threads: tuple[Thread, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sessions side by side; everything indexed by session is in their order, ratios are over the first.

    Attributes:
        names: one per session, made distinct.
        differences: conditions that are not the same, to be read first.
        magnitudes: M per session, NaN without one.
        ratios: of M.
        is_noise: per session, whether the ratio of M is explained by noise.
        sites: sites that at least two sessions have, in forward order of the first.
        only_in: per session, the names of sites that no other session has.
        profiles: (layer, a_l) of the hidden states per session.
        relative_depths: layer / (number of layers - 1) of each profile point, to put models of different depth on
            one axis.
        threads: threads in common; None where the tokens differ, so that addresses mean different things.
        channels: per session, channels of its threads, the commonest first.
        limits: per session, what is noise against the first.
    """

    names: tuple[str, ...]
    differences: tuple[Difference, ...]
    magnitudes: tuple[float, ...]
    ratios: tuple[float, ...]
    is_noise: tuple[bool, ...]
    sites: tuple[SiteRow, ...]
    only_in: tuple[tuple[str, ...], ...]
    profiles: tuple[tuple[tuple[int, float], ...], ...]
    relative_depths: tuple[tuple[float, ...], ...]
    threads: tuple[CommonThread, ...] | None
    channels: tuple[tuple[int, ...], ...]
    limits: tuple[Limit, ...]


def compare(
    summaries: Sequence[ModelSummary], names: Sequence[str], stabilities: Sequence[Stability | None] = ()
) -> Comparison:
    """Put sessions side by side, the first being what the others are compared with.

    Args:
        summaries: of the sessions.
        names: one each.
        stabilities: what `maxact-tui stability` has measured on each; may be left out.

    Raises:
        ValueError: fewer than two sessions, or not one name per session.
    """
    if len(summaries) < 2 or len(names) != len(summaries):
        raise ValueError("a comparison needs two or more sessions, and a name for each")
    magnitudes = tuple(s.maximum.magnitude if s.maximum and s.maximum.is_m else math.nan for s in summaries)
    ratios = tuple(_ratio(m, magnitudes[0]) for m in magnitudes)
    measured = [*stabilities, *[None] * (len(summaries) - len(stabilities))]
    limits = tuple(
        _limit(summaries[0], other, (measured[0], one)) for other, one in zip(summaries, measured, strict=True)
    )
    sites, only_in = _sites(summaries, limits)
    return Comparison(
        names=_distinct(names),
        differences=find_differences(summaries),
        magnitudes=magnitudes,
        ratios=ratios,
        is_noise=_noise(ratios, [limit.value for limit in limits]),
        sites=sites,
        only_in=only_in,
        profiles=tuple(s.profile for s in summaries),
        relative_depths=tuple(_relative_depth(s) for s in summaries),
        threads=_common_threads(summaries) if _same_tokens(summaries) else None,
        channels=tuple(_channels(s.threads) for s in summaries),
        limits=limits,
    )


def _limit(first: ModelSummary, other: ModelSummary, measured: Sequence[Stability | None]) -> Limit:
    """What is noise between two sessions; a rerun on one device says nothing about another's kernels."""
    best: Limit | None = None
    for summary, stability, dtype in zip((first, other), measured, (dtype_of(other), dtype_of(first)), strict=True):
        value = stability.explains(dtype) if stability is not None else math.nan
        if stability is None or math.isnan(value) or _kernels(first) != _kernels(other) or summary.plan is None:
            continue
        own = np.abs(stability.batch) + (0 if dtype == stability.dtype else np.abs(stability.rounding))
        names = [site.name for site in summary.plan.sites]
        larger = {name: float(x) for name, x in zip(names, own, strict=False) if x > value}
        if best is None or value > best.value:
            best = Limit(value, True, larger)
    if best is not None:
        return best
    return Limit(SAME_DTYPE_NOISE if dtype_of(first) == dtype_of(other) else OTHER_DTYPE_NOISE, False, {})


def _kernels(summary: ModelSummary) -> tuple[str, frozenset[str]]:
    """What decides which matrix products run: the attention's implementation, and the kinds of devices."""
    places = dict(summary.provenance.get("device_map") or {}).values()
    kinds = frozenset("cuda" if str(p).isdigit() else str(p).partition(":")[0] for p in places)
    return str(summary.provenance.get("attention", "")), kinds


def _same_tokens(summaries: Sequence[ModelSummary]) -> bool:
    """Whether (sample, position) means the same token in all sessions."""
    keys = {
        (
            s.corpus.get("hash"),
            s.provenance.get("tokenizer_hash"),
            s.job.policy,
            s.plan.hidden_size if s.plan else None,
        )
        for s in summaries
    }
    return len(keys) == 1 and summaries[0].corpus.get("hash") is not None


def _sites(
    summaries: Sequence[ModelSummary], limits: Sequence[Limit]
) -> tuple[tuple[SiteRow, ...], tuple[tuple[str, ...], ...]]:
    found: dict[str, list[float]] = {}
    bad: dict[str, list[int | None]] = {}
    places: dict[str, tuple[str, int | None]] = {}
    for number, summary in enumerate(summaries):
        for site, values in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True):
            held = values.nonfinite.count if values is not None and values.nonfinite is not None else None
            if values is not None and (values.count or held):
                places.setdefault(site.name, (site.component, site.layer))
                found.setdefault(site.name, [math.nan] * len(summaries))[number] = values.magnitude
                bad.setdefault(site.name, [None] * len(summaries))[number] = held
    rows: list[SiteRow] = []
    only_in: list[list[str]] = [[] for _ in summaries]
    for name, measured in found.items():
        owners = [n for n, value in enumerate(measured) if not math.isnan(value) or bad[name][n]]
        if len(owners) == 1:
            only_in[owners[0]].append(name)
            continue
        ratios = tuple(_ratio(value, measured[0]) for value in measured)
        component, layer = places[name]
        is_noise = _noise(ratios, [limit.of(name) for limit in limits])
        rows.append(SiteRow(name, component, layer, tuple(measured), ratios, is_noise, tuple(bad[name])))
    return tuple(rows), tuple(tuple(names) for names in only_in)


def _common_threads(summaries: Sequence[ModelSummary]) -> tuple[CommonThread, ...]:
    """Threads at the same address in all sessions, by the first's order; the longest where an address has several."""
    by_address = []
    for summary in summaries:
        longest: dict[tuple[int, int, int], Thread] = {}
        for thread in summary.threads:
            address = (thread.sample, thread.position, thread.channel)
            if address not in longest or len(thread.values) > len(longest[address].values):
                longest[address] = thread
        by_address.append(longest)
    return tuple(
        CommonThread(*address, tuple(of_one[address] for of_one in by_address))
        for address in by_address[0]
        if all(address in of_one for of_one in by_address)
    )


def _channels(threads: Sequence[Thread]) -> tuple[int, ...]:
    counts: dict[int, int] = {}
    for thread in threads:
        counts[thread.channel] = counts.get(thread.channel, 0) + 1
    return tuple(sorted(counts, key=lambda channel: (-counts[channel], channel)))


def _relative_depth(summary: ModelSummary) -> tuple[float, ...]:
    last = max((summary.plan.layers if summary.plan else 1) - 1, 1)
    return tuple(layer / last for layer, _ in summary.profile)


def _ratio(value: float, base: float) -> float:
    if math.isnan(value) or math.isnan(base):
        return math.nan
    if base == 0:
        return 1.0 if value == 0 else math.inf
    return value / base


def _noise(ratios: Sequence[float], limits: Sequence[float]) -> tuple[bool, ...]:
    return tuple(1 / (1 + limit) <= r <= 1 + limit for r, limit in zip(ratios, limits, strict=True))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if list(names).count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, 1))
