"""Plots as lines of text, drawn by plotext.

- `Series`   one curve
- `draw`     curves and labelled ticks to lines of text
- `round_ticks`  ticks at round numbers from zero on
- `load`, `is_loaded`  plotext takes as long to load as a screen to draw: the first one does not wait for it
- `pooled`   at most a few points per column, keeping every extreme
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.base.importing import loading_modules
from maxact_tui.texts.visible import fitted

Ticks = Sequence[tuple[float, str]]
_loaded = threading.Event()
_plotext_lock = threading.Lock()  # plotext draws on one global figure


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One curve; points that are not finite are left out.

    Attributes:
        x, y: float64 [n] each, in the axes' own units (log10 where the axis is logarithmic).
        marker: plotext's `hd` (quarter blocks), `dot`, or any character.
        joined: whether the points are joined by lines.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marker: str = "hd"
    joined: bool = True


def is_loaded() -> bool:
    """Whether plotting takes no longer than the drawing itself."""
    return _loaded.is_set()


def load() -> None:
    """Load the plotting library, for instance in a thread."""
    if not is_loaded():
        with loading_modules():
            import plotext  # noqa: F401

        _loaded.set()


def draw(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    x_ticks: Ticks = (),
    y_ticks: Ticks = (),
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    ascii_only: bool = False,
) -> list[str]:
    """A plot of exactly `height` lines of exactly `width` cells; an empty list where that is too small."""
    if width < 12 or height < 4:
        return []
    load()
    import plotext

    with _plotext_lock:
        figure = plotext.figure
        figure.clear()
        plotext.terminal.limit(False, False)
        figure.plot_size(width, height)
        figure.legend(False)
        for one in series:
            known = np.isfinite(one.x) & np.isfinite(one.y)
            x, y = pooled(one.x[known], one.y[known], 2 * width)
            if len(x):
                marker = "*" if ascii_only else one.marker
                figure.draw(figure.signal(x.tolist(), y.tolist(), marker=marker).lines(one.joined and len(x) > 1))
        for axis, ticks, limits in (("x", x_ticks, x_range), ("y", y_ticks, y_range)):
            ruler = figure.ruler(axis)
            if ticks:
                ruler.ticks([place for place, _ in ticks], [text for _, text in ticks])
            if limits is not None:
                ruler.lim(*limits)
        text = figure.build().string(colorless=True)
    lines = text.rstrip("\n").split("\n")
    return [fitted(row, width) for row in (lines + [""] * height)[:height]]


def round_ticks(high: float, most: int) -> Ticks:
    """At most so many ticks from 0 to `high`, apart by 1, 2 or 5 of a decade."""
    if not high > 0 or not math.isfinite(high):
        return [(0.0, "0")]
    decade = 10.0 ** math.floor(math.log10(high / max(most - 1, 1)))
    step = next(s * decade for s in (1, 2, 5, 10, 20) if high / (s * decade) <= most - 1)
    values = [step * i for i in range(int(high / step) + 1)]
    return [(value, f"{value / 1000:g}k" if 1000 <= value < 1e6 else f"{value:g}") for value in values]


def pooled(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most about `most` points: of each stretch of neighbours only the lowest and the highest, in order."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), max(most // 2, 1) + 1).astype(int)
    kept: list[int] = []
    for start, end in pairwise(edges.tolist()):
        if end > start:
            kept += sorted({start + int(np.argmin(y[start:end])), start + int(np.argmax(y[start:end]))})
    return x[kept], y[kept]
