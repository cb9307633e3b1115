"""The sites of a session, as other programs read them.

- `SiteView`   one site: numbers, quantiles, the largest elements, channels, samples, histogram
- `SiteViews`  all of a session; prints as a table
- `Element`    one of the largest |x| with its token
- `Histogram`  the distinct values of a site with their counts
- `find_site`  a name, a place or a number -> the site's number
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from engine.analysis.channels import channel_maxima
from engine.analysis.model import find_address
from engine.analysis.site import SiteSummary, summarise
from engine.api.errors import NotFoundError
from engine.base.wording import printable, short
from engine.fields.registry import shown
from engine.statistics.patterns import pattern_values, quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.session.reader import SessionReader
    from engine.sites.site import HookPlan, Site
    from engine.statistics.totals import SiteTotals

Key = str | int | tuple[int | None, str]

_PLACE = re.compile(r"l(?:ayer)?[\s_.]*(\d+)[\s_.]+(\w+)", re.IGNORECASE)
_SHORT = {"attn": "attn_output", "mlp": "mlp_output", "gate": "mlp_gate", "router": "router_logits"}
_SHOWN = 40  # sites that are printed of a longer list


@dataclass(frozen=True, slots=True)
class Element:
    """One of the largest |x| of a site.

    Attributes:
        value: x with its sign.
        sample, position, channel: where it is.
        category: of its sample.
        token: the text its token contributes; what does not print is escaped.
    """

    value: float
    sample: int
    position: int
    channel: int
    category: str
    token: str


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """The distinct values of a site.

    Attributes:
        values: float64 [n], ascending; for float32 each stands for the numbers that share its upper 16 bits.
        counts: int64 [n].
        exact: whether every value is one that occurred (16-bit activations).
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    exact: bool


class SiteView:
    """One site of a session, as of one checkpoint. Unknown numbers are NaN.

    Args:
        reader: of the session.
        number: of the site in the hook plan.
        site: its record.
        totals: what is kept of it; None where nothing was seen.
    """

    def __init__(self, reader: SessionReader, number: int, site: Site, totals: SiteTotals | None) -> None:
        self._reader, self.number, self.record, self.totals = reader, number, site, totals

    @property
    def name(self) -> str:
        """`layer_11_hidden`."""
        return self.record.name

    @property
    def layer(self) -> int | None:
        """Decoder block from 0; None outside the blocks."""
        return self.record.layer

    @property
    def component(self) -> str:
        """`hidden`, `attn_output`, `mlp_input`, ..."""
        return self.record.component

    @property
    def module(self) -> str:
        """Dotted path of the hooked module."""
        return self.record.module

    @cached_property
    def summary(self) -> SiteSummary | None:
        """Every number of the site at once; None where nothing was seen."""
        return summarise(self.totals) if self.totals is not None else None

    @property
    def max(self) -> float:
        """The element with the largest |x|, with its sign."""
        found = self.summary
        if found is None or math.isnan(found.max):
            return math.nan
        return found.max if abs(found.max) >= abs(found.min) else found.min

    @property
    def magnitude(self) -> float:
        """The largest |x|."""
        return self.summary.magnitude if self.summary is not None else math.nan

    def quantile(self, q: float | Sequence[float]) -> float | NDArray[np.float64]:
        """Quantiles of |x|: exact for 16-bit activations, else known to 0.8 %.

        Args:
            q: one level or several, from 0 to 1.

        Raises:
            ValueError: a level outside of these.
        """
        levels = np.atleast_1d(np.asarray(q, np.float64))
        if not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"a quantile of {q}: levels lie between 0 and 1")
        if self.totals is None or not self.totals.has_histogram:
            found = np.full(len(levels), np.nan)
        else:
            found = np.minimum(quantiles(self.totals.dtype, self.totals.histogram, tuple(levels)), self.magnitude)
        return float(found[0]) if np.ndim(q) == 0 else found

    def top(self, count: int = 10) -> list[Element]:
        """The elements with the largest |x|, largest first, at most 100."""
        if self.totals is None:
            return []
        found = []
        for value, sample, position, channel in self.totals.top[:count].tolist():
            at = find_address(self._reader, sample, position, channel)
            token = printable(at.piece.decode("utf-8", "backslashreplace"))
            found.append(Element(value, sample, position, channel, at.category, token))
        return found

    @property
    def channels(self) -> NDArray[np.float32]:
        """The largest |x| of each channel, float32 [D], NaN where nothing finite is known; empty if not measured."""
        if self.totals is None or not self.totals.has("channel_max"):
            return np.zeros(0, np.float32)
        return channel_maxima(self.totals).astype(np.float32)

    @property
    def samples(self) -> NDArray[np.float32]:
        """The largest |x| of each sample, float32 [N], NaN for those not measured; empty where nothing was seen."""
        return self.totals.sample_max if self.totals is not None else np.zeros(0, np.float32)

    @property
    def histogram(self) -> Histogram | None:
        """The values that occurred with their counts; None where none were counted (lean detail)."""
        if self.totals is None or not self.totals.has_histogram:
            return None
        values, counts = pattern_values(self.totals.dtype), self.totals.histogram
        seen = np.flatnonzero((counts > 0) & np.isfinite(values))
        order = seen[np.argsort(values[seen], kind="stable")]
        return Histogram(values[order], counts[order], self.totals.dtype != "float32")

    def __getattr__(self, name: str) -> Any:
        """The fields of `summary`: `rms`, `mean`, `std`, `kurtosis`, `crest`, `abs_median`, `nonfinite`, ..."""
        if name.startswith("_") or name not in SiteSummary.__dataclass_fields__:
            raise AttributeError(f"a site has no {name!r}; there are: {', '.join(SiteSummary.__dataclass_fields__)}")
        return getattr(self.summary, name) if self.summary is not None else math.nan

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *SiteSummary.__dataclass_fields__]

    def __repr__(self) -> str:
        return f"<site {self.name}: {_line(self)}>" if self.totals is not None else f"<site {self.name}: nothing seen>"


class SiteViews(Sequence[SiteView]):
    """All sites of a session, in the order of a forward pass; by number, name (`L11 hidden`) or (layer, component).

    Args:
        plan: the hook plan; None before the engine has made one.
        view: makes the view of a site.
    """

    def __init__(self, plan: HookPlan | None, view: Callable[[int], SiteView]) -> None:
        self._sites = plan.sites if plan is not None else ()
        self._view = view

    def __len__(self) -> int:
        return len(self._sites)

    @overload
    def __getitem__(self, key: Key) -> SiteView: ...
    @overload
    def __getitem__(self, key: slice) -> list[SiteView]: ...
    def __getitem__(self, key: Key | slice) -> SiteView | list[SiteView]:
        if isinstance(key, slice):
            return [self._view(number) for number in range(len(self))[key]]
        return self._view(find_site(self._sites, key))

    def __iter__(self) -> Iterator[SiteView]:
        return map(self._view, range(len(self)))

    def __repr__(self) -> str:
        rows = [" ".join([f"{'site':28}", *(f"{heading:>10}" for heading, _ in shown("line"))])]
        rows += [f"{view.name:28} {_line(view)}" for view in self[:_SHOWN]]
        return "\n".join([*rows, f"... {len(self) - _SHOWN} more"] if len(self) > _SHOWN else rows)


def find_site(sites: Sequence[Site], key: Key) -> int:
    """The number of a site.

    Args:
        sites: of the hook plan.
        key: its number, its name (`layer_11_hidden`), its place (`L11 hidden`, `L11.mlp`) or (layer, component).

    Raises:
        NotFoundError: there is none; the nearest is named.
    """
    if isinstance(key, int):
        if not -len(sites) <= key < len(sites):
            raise NotFoundError(f"there is no site {key}: this session has {len(sites)}")
        return key % len(sites)
    wanted = _named(key) if isinstance(key, str) else key
    for number, site in enumerate(sites):
        if wanted in (site.name, (site.layer, site.component)):
            return number
    names = [site.name for site in sites]
    text = key if isinstance(key, str) else f"layer_{key[0]}_{key[1]}"
    nearest = difflib.get_close_matches(text, names, n=1, cutoff=0.4)
    raise NotFoundError(f"there is no site {key!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else ""))


def _named(text: str) -> str | tuple[int | None, str]:
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        return text.strip()
    return int(found[1]), _SHORT.get(found[2].lower(), found[2].lower())


def _line(view: SiteView) -> str:
    found = view.summary
    numbers = [math.nan if found is None else one.of(view.record, found) for _, one in shown("line")]
    return " ".join(f"{short(value):>10}" for value in numbers)
