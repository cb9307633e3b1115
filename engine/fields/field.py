"""One field of a site: its name, unit and meaning, how it is got, and how it is shown.

- `SiteField`  the declaration
- `Kind`, `File`, `Got`  of what type it is, which files it is in, what it follows from
- `GOT`        what that means for its exactness
- `Range`      which values are good, and which are bad
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.analysis.site import SiteSummary
from engine.base.wording import Style
from engine.session.records import LiveTable
from engine.sites.site import Site

Kind = Literal["text", "integer", "real", "flag"]
File = Literal["json", "table"]
Got = Literal["plan", "kept", "moments", "histogram", "token medians", "quantiser"]

GOT: Final[Mapping[Got, str]] = {
    "plan": "known before the run",
    "kept": "exact, in every detail",
    "moments": "exact: from the histogram of 16-bit dtypes, from sums of powers of float32; not in lean detail",
    "histogram": "from the histogram: exact for 16-bit dtypes, to a relative 2^-7 for float32; not in lean detail",
    "token medians": "from the median of each token; not in lean detail",
    "quantiser": "from the histogram, by rounding every value as the quantiser does; not in lean detail",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Which values are good, and which are bad; those between are neither.

    Attributes:
        good: up to here it is good, this included; from here on where `bad` is smaller. None where that is not known.
        bad: above it is bad; below where `good` is larger. None where that is not known.
        why: what happens there, or who says so.
        of_size: whether it is |value| that is compared.
    """

    good: float | None
    bad: float | None
    why: str
    of_size: bool = False

    @property
    def low_is_bad(self) -> bool:
        """Whether small values are the bad ones."""
        return self.good is not None and self.bad is not None and self.good > self.bad


@dataclass(frozen=True, slots=True)
class SiteField:
    """One field of a site.

    Attributes:
        name: its key in JSON, its column in tables, its attribute of `SiteSummary` or `Site` if `value` is not given.
        kind: of its values.
        unit: `activation` for the activation's own, `1` for ratios and shares, empty for names.
        meaning: what it is, in a few words that begin small and end without a stop.
        tells: what a reader learns from it, in the same form; empty where the meaning says enough.
        title: what headings and legends call it, if not by its name.
        got: what it follows from.
        style: how its numbers are written.
        value: of a site and its summary; None for what is got elsewhere.
        live: of all sites, float64 [sites], NaN where unknown; None for what is known at checkpoints alone.
        log: whether its axis is logarithmic.
        bounds: the ends of its colour scale, cold and hot; None where they follow from the values.
        range: which values are good and bad.
        files: the documents that have it.
        is_optional: whether a flag, text or whole number may be unknown; any real number may.
        choices: the texts that it can be; empty for any.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    got: Got
    tells: str = ""
    title: str = ""
    style: Style = "short"
    value: Callable[[Site, SiteSummary], Any] | None = None
    live: Callable[[LiveTable], NDArray[np.float64]] | None = None
    log: bool = True
    bounds: tuple[float, float] | None = None
    range: Range | None = None
    files: tuple[File, ...] = ("json", "table")
    is_optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """What it is called above a column, and beside a number."""
        return self.title or self.name

    @property
    def is_live(self) -> bool:
        """Whether it is known at every tick; the others are at every checkpoint."""
        return self.live is not None

    @property
    def sentence(self) -> str:
        """What it is, and what it tells."""
        text = f"{self.meaning}: {self.tells}" if self.tells else self.meaning
        return f"{text[0].upper()}{text[1:]}."

    def of(self, site: Site, found: SiteSummary) -> Any:
        """Its value at a site; NaN or None where it is unknown.

        Raises:
            LookupError: it follows from more than the summary (`got` is `quantiser`).
        """
        if self.got == "quantiser":
            raise LookupError(f"{self.name} is not known of a site alone")
        if self.value is not None:
            return self.value(site, found)
        return getattr(site if self.got == "plan" else found, self.name)
