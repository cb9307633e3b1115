"""Every field of a site, and which of them each place shows.

- `SITE_FIELDS`  the fields by name, in the order of files
- `SHOWN`        the fields of each place, in its order
- `shown`        the fields of a place with their headings
- `in_file`      the fields of a kind of file
- `of_component`  a field of the largest site of a component

A field that follows from what is kept of a site is computed in `engine/analysis/site.py` and declared here;
nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.analysis.components import LargestSite
from engine.analysis.site import SiteSummary
from engine.fields.field import File, Range, SiteField
from engine.formats import E4M3_LIMIT, FP16_LIMIT
from engine.quantization.groups import GROUPS, group_of
from engine.session.records import LiveTable
from engine.statistics.totals import SUN_MAGNITUDE, SUN_RATIO

Place = Literal[
    "heatmap", "panel", "depth", "histogram", "quantiles", "moments", "components", "sites", "profile", "line",
    "conditions",
]  # fmt: skip

_X: Final = "activation"
_JSON: Final[tuple[File, ...]] = ("json",)
_TABLE: Final[tuple[File, ...]] = ("table",)
_LIMITS: Final = f"up to {E4M3_LIMIT:,.0f} |x| fits FP8 E4M3 as it is, above {FP16_LIMIT:,.0f} FP16 overflows"
_SIZE: Final = Range(E4M3_LIMIT, FP16_LIMIT, _LIMITS, of_size=True)
# An error spread evenly over a step of M / 127 has the mean square (M / 127)^2 / 12.
_CREST: Final = Range(14, 44, "INT8 per tensor keeps about 52.9 - 20 log10(crest) dB: 30 dB at 14, 20 dB at 44")
_DECIBELS: Final = Range(30, 20, "the rms of the error is 3 % of that of x at 30 dB, and 10 % at 20 dB")
_MEDIAN: Final = Range(None, SUN_RATIO, f"massive if |x| exceeds {SUN_MAGNITUDE:g}, too: Sun et al., arXiv 2402.17762")
_FINITE: Final = Range(0, 0, "what is NaN or infinite is in no other number")


def _column(name: str) -> Callable[[LiveTable], NDArray[np.float64]]:
    return lambda live: live.column(name)


def _peak(found: SiteSummary) -> float:
    return found.max if abs(found.max) >= abs(found.min) else found.min


def _live_crest(live: LiveTable) -> NDArray[np.float64]:
    rms = live.column("rms")
    return np.divide(live.magnitude, rms, out=np.full_like(rms, np.nan), where=rms > 0)


def _live_nonfinite(live: LiveTable) -> NDArray[np.float64]:
    return np.where(live.column("tokens") > 0, live.column("nonfinite"), np.nan)


_ALL: Final = (
    SiteField("name", "text", "", "unique name of the site", "plan", files=_JSON),
    SiteField("site", "text", "", "name of the site", "plan", files=_TABLE, value=lambda site, _: site.name),
    SiteField("layer", "integer", "", "decoder block from 0, empty outside the blocks", "plan", is_optional=True),
    SiteField("component", "text", "", "what is measured", "plan"),
    SiteField("module", "text", "", "dotted path of the hooked module", "plan"),
    SiteField("capture", "text", "", "which side of the module", "plan", files=_JSON, choices=("output", "input")),
    SiteField("kind", "text", "", "what the module is", "plan", files=_JSON),
    SiteField("note", "text", "", "what a reader must know", "plan", files=_JSON),
    SiteField("counts_for_m", "flag", "", "whether M is taken over it", "plan", files=_JSON),
    SiteField("dtype", "text", "", "activation dtype", "kept", choices=("bfloat16", "float16", "float32")),
    SiteField("width", "integer", "elements", "elements per token", "kept"),
    SiteField("exact", "flag", "", "whether quantiles and medians are exact", "kept"),
    SiteField("tokens", "integer", "tokens", "valid tokens", "kept", style="count", is_optional=True),
    SiteField("count", "integer", "elements", "finite elements", "kept", style="count", is_optional=True),
    SiteField("max", "real", _X, "largest x", "kept", style="exact", range=_SIZE, live=_column("max")),
    SiteField("min", "real", _X, "smallest x", "kept", style="exact", range=_SIZE, live=_column("min")),
    SiteField(
        "magnitude", "real", _X, "largest |x|", "kept",
        title="max |x|", style="exact", range=_SIZE, live=lambda live: live.magnitude,
    ),
    SiteField(
        "peak", "real", _X, "the element of largest |x|, with its sign", "kept",
        title="max|x|", style="exact", range=_SIZE, files=(),
        value=lambda _, found: _peak(found), live=lambda live: live.peak,
    ),
    SiteField("mean", "real", _X, "mean of x", "moments"),
    SiteField("std", "real", _X, "population standard deviation of x", "moments"),
    SiteField("abs_mean", "real", _X, "mean of |x|", "moments"),
    SiteField("rms", "real", _X, "root mean square of x", "moments", live=_column("rms")),
    SiteField(
        "kurtosis", "real", "1", "fourth standardised moment", "moments",
        tells="how heavy the tails are; 3 for a normal distribution",
    ),
    SiteField(
        "crest", "real", "1", "magnitude / rms", "moments",
        tells="how far the largest |x| stands out, what INT8 suffers from", range=_CREST, live=_live_crest,
    ),
    SiteField("zero_share", "real", "1", "share of zeros", "histogram", title="zeros", style="share", log=False),
    SiteField("abs_q25", "real", _X, "quantile 0.25 of |x|", "histogram", title="q25"),
    SiteField("abs_median", "real", _X, "lower median of |x|", "histogram", title="median"),
    SiteField("abs_q75", "real", _X, "quantile 0.75 of |x|", "histogram", title="q75"),
    SiteField("abs_q90", "real", _X, "quantile 0.9 of |x|", "histogram", title="q90"),
    SiteField("abs_q99", "real", _X, "quantile 0.99 of |x|", "histogram", title="q99"),
    SiteField(
        "abs_q999", "real", _X, "quantile 0.999 of |x|", "histogram",
        tells="99.9 % of the elements lie at or below it", title="q99.9",
    ),
    SiteField(
        "abs_q9999", "real", _X, "quantile 0.9999 of |x|", "histogram",
        tells="where percentile calibration often clips", title="q99.99",
    ),
    SiteField(
        "nonfinite", "integer", "elements", "elements that are NaN or infinite", "kept",
        tells="anything but 0 is an alarm", title="non-finite", style="count", range=_FINITE,
        files=(), is_optional=True, live=_live_nonfinite,
        value=lambda _, found: found.nonfinite and found.nonfinite.count,
    ),
    SiteField(
        "nan", "integer", "elements", "elements that are NaN", "kept", style="count", files=_TABLE, is_optional=True,
        value=lambda _, found: found.nonfinite and found.nonfinite.nan,
    ),
    SiteField(
        "positive_infinity", "integer", "elements", "elements that are +inf", "kept",
        style="count", files=_TABLE, is_optional=True,
        value=lambda _, found: found.nonfinite and found.nonfinite.positive_infinity,
    ),
    SiteField(
        "negative_infinity", "integer", "elements", "elements that are -inf", "kept",
        style="count", files=_TABLE, is_optional=True,
        value=lambda _, found: found.nonfinite and found.nonfinite.negative_infinity,
    ),
    SiteField(
        "layer_median_ratio", "real", "1", "magnitude / median of |x| over the site", "histogram",
        tells=f"above {SUN_RATIO:g}, and {SUN_MAGNITUDE:g} in itself, it is massive", title="max/median",
        range=_MEDIAN, files=_TABLE, value=lambda _, found: found.sun_layer.ratio,
    ),
    SiteField(
        "layer_median_passes", "flag", "", "massive by the layer median", "histogram",
        files=_TABLE, is_optional=True, value=lambda _, found: found.sun_layer.passes,
    ),
    SiteField(
        "token_median_ratio", "real", "1", "magnitude / median of |x| over its own token", "token medians",
        range=_MEDIAN, files=_TABLE, value=lambda _, found: found.sun_token.peak_ratio,
    ),
    SiteField(
        "token_median_passes", "flag", "", "massive by the token median", "token medians",
        files=_TABLE, is_optional=True, value=lambda _, found: found.sun_token.passes,
    ),
    SiteField(
        "sun_tokens", "integer", "tokens", "tokens that pass by their own median", "token medians",
        style="count", files=_TABLE, is_optional=True, value=lambda _, found: found.sun_token.tokens,
    ),
    SiteField(
        "group", "text", "", f"in which the site is judged: {', '.join(GROUPS)}", "plan",
        files=_TABLE, choices=tuple(GROUPS), value=lambda site, _: group_of(site),
    ),
    SiteField(
        "sqnr", "real", "dB", "what INT8 per tensor leaves, the largest |x| as threshold", "quantiser",
        tells="bad is hot", title="SQNR int8 dB", style="decibels",
        log=False, bounds=(50.0, 0.0), range=_DECIBELS, files=(),
    ),
)  # fmt: skip
SITE_FIELDS: Final[Mapping[str, SiteField]] = {one.name: one for one in _ALL}

SHOWN: Final[Mapping[Place, tuple[str | tuple[str, str], ...]]] = {
    "heatmap": (
        "peak", "rms", "crest", "nonfinite", "abs_q999", "abs_q9999", "abs_median", "layer_median_ratio", "kurtosis",
        "sqnr",
    ),
    "panel": ("rms", "crest", "abs_median", "abs_q999", "kurtosis", "tokens", "abs_q9999"),
    "depth": (("peak", "max"), "abs_q999", "abs_median"),
    "histogram": ("zero_share", "abs_median", "abs_q99", "abs_q999", ("magnitude", "max")),
    "quantiles": (
        ("abs_q25", "25 %"), "abs_median", ("abs_q75", "75 %"), ("abs_q90", "90 %"), ("abs_q99", "99 %"),
        ("abs_q999", "99.9 %"), ("abs_q9999", "99.99 %"), ("magnitude", "max"),
    ),
    "moments": ("mean", "std", "rms", "kurtosis", "zero_share", "crest"),
    "components": ("magnitude", "abs_q9999", "abs_q999", "abs_median", "rms", "crest", "nonfinite"),
    "sites": ("magnitude", "max", "min", ("abs_median", "median |x|"), "rms", "crest", "kurtosis"),
    "profile": ("magnitude", "abs_q999", "rms", "abs_median"),
    "line": ("max", "rms", "abs_q999"),
    "conditions": (("magnitude", "max"), "crest", "kurtosis"),
}  # fmt: skip
"""Names, or names with a heading that differs from the field's title.

`heatmap`, `panel`, `depth`, `histogram`, `quantiles` and `moments` are on the screen (the last two in the site's tab
Distribution); `components` (the largest site of each, in Markdown, HTML and `show`), `sites` (HTML) and `profile` (a
chart) are in reports; `line` is a site as `engine.open` prints it; `conditions` is what `--fail-on` compares.
"""


def shown(place: Place) -> tuple[tuple[str, SiteField], ...]:
    """Heading and field of everything that a place shows, in its order."""
    pairs = ((one, "") if isinstance(one, str) else one for one in SHOWN[place])
    return tuple((heading or SITE_FIELDS[name].heading, SITE_FIELDS[name]) for name, heading in pairs)


def in_file(file: File) -> tuple[SiteField, ...]:
    """The fields that a kind of file has, in its order."""
    return tuple(one for one in SITE_FIELDS.values() if file in one.files)


def of_component(field: SiteField, found: LargestSite) -> Any:
    """A field of the component's largest site; NaN and infinities are those of all its sites."""
    return found.nonfinite if field.name == "nonfinite" else field.of(found.record, found.site)
