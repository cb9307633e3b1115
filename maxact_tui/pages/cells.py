"""From a snapshot to the heatmap's cells.

- `CellMaker`     keeps the cells of a measure, and makes new ones only where the value changed
- `decibel_text`  a number of decibels
- `bad_counts`    how many NaN and infinities sites hold
- `legend_line`   what colours and marks mean
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from textual.strip import Strip

from engine.fields.field import SiteField
from maxact_tui.pages.measures import NONFINITE, PEAK, site_values
from maxact_tui.terminal.palette import Look, Scale, from_zero, scale_of
from maxact_tui.texts.numbers import brief, compact
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.heatmap import Cell
from maxact_tui.widgets.lines import Part, line


class CellMaker:
    """The cells of one measure."""

    def __init__(self, look: Look, measure: SiteField = PEAK, *, linear: bool = False) -> None:
        self._look, self.measure, self.linear = look, measure, linear
        self.scale = Scale(1.0, 10.0)
        self.has_values = False
        self.tied_for = "M"
        self.nothing = ("no numbers yet", "no numbers yet")  # of why there are no values, long and short
        self.tokens: int | None = None  # of the checkpoint the values are of, where the run has gone on since
        self._made: dict[int, tuple[tuple[float | None, int, str], Cell]] = {}

    def make(self, snapshot: Snapshot) -> dict[int, Cell]:
        """The cell of every site of the plan."""
        values = site_values(self.measure, snapshot)
        self.has_values = bool(np.isfinite(values).any())
        self.scale = self._scale(values)
        levels = self._levels(values)
        of_checkpoint = snapshot.model is not None and not self.measure.is_live
        tokens = snapshot.model.tokens if snapshot.model is not None and of_checkpoint else None
        self.tokens = tokens if snapshot.as_of(tokens) else None
        if snapshot.maximum is not None:
            self.tied_for = "M" if snapshot.maximum.is_m else "largest"
        tied = set(snapshot.maximum.plateau) if snapshot.maximum is not None else set()
        alarms = bad_counts(snapshot)
        self.nothing = _nothing_words(self.measure, snapshot)
        for site, (value, level) in enumerate(zip(values.tolist(), levels.tolist(), strict=True)):
            mark = "!" if site in alarms else "*" if site in tied else " "
            key = (None if math.isnan(value) else value, level, mark)
            made = self._made.get(site)
            if made is None or made[0] != key:
                self._made[site] = (key, Cell(self._text(value), level, mark))
        return {site: cell for site, (_, cell) in self._made.items()}

    def _levels(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        if self.measure is NONFINITE:
            return np.where(values > 0, self._look.levels - 1, -1)
        is_size = self.measure.bounds is None and not self.scale.log
        return self.scale.levels(np.abs(values) if is_size else values, self._look.levels)

    def _scale(self, values: NDArray[np.float64]) -> Scale:
        if self.measure.bounds is not None:
            return Scale(*self.measure.bounds, self.measure.log)
        return scale_of(values) if self.measure.log and not self.linear else from_zero(values)

    def _text(self, value: float) -> str:
        return "" if math.isnan(value) else brief(value, self.measure.style, ascii_only=self._look.ascii_only)


def decibel_text(decibels: float, look: Look) -> str:
    """`31.4`, `-2.1`, `∞` for no error, `-` where it is unknown; at most six cells."""
    return brief(decibels, "decibels", ascii_only=look.ascii_only)


_RAMP_ROOM = 16  # cells below which a ramp and its bounds would push the marks out


def legend_line(look: Look, maker: CellMaker, width: int = 80) -> Strip:
    """The measure, its ramp from low to high, and the marks or how old the values are, in `width` cells."""
    title: Part = (f" {maker.measure.heading} ", "title")
    room = width - len(title[0]) - 1
    if not maker.has_values:
        return line(look, title, (maker.nothing[room <= 30], "dim"))
    if maker.measure is NONFINITE:
        return line(look, title, ("! marks sites with NaN or infinity" if room > 34 else "! NaN or infinity", "dim"))
    scale = maker.scale
    low, high = compact_bound(scale.low), compact_bound(scale.high)
    high += "" if scale.log or not maker.measure.log else " lin"
    if room < _RAMP_ROOM and maker.tokens is None:
        return line(look, title, (f"* {maker.tied_for}", "dim"))
    marks = f"  * {maker.tied_for}, tied" if room > 50 else f"  * {maker.tied_for}"
    tail = marks if maker.tokens is None else f"  as of {compact(maker.tokens)}" + " tokens" * (room > 50)
    glyphs = max(min(room - len(low) - len(high) - len(tail) - 2, look.levels), 3)
    levels = np.linspace(0, look.levels - 1, glyphs).round().astype(int).tolist()
    ramp: list[Part] = [(look.level_glyphs[level], look.ramp[level]) for level in levels]
    return line(look, title, (f"{low} ", "dim"), *ramp, (f" {high}", "dim"), (tail, "dim"))


def compact_bound(value: float) -> str:
    """A power of ten as people write it: `0.01`, `10`, `1k`, `1e6`."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e") if value else "0"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def bad_counts(snapshot: Snapshot) -> dict[int, int]:
    """How many NaN and infinities each site holds, of those that hold any."""
    if snapshot.live is None:
        return {}
    counts = np.nan_to_num(snapshot.live.column("nonfinite"))
    return {int(site): int(counts[site]) for site in np.flatnonzero(counts > 0)}


def _nothing_words(measure: SiteField, snapshot: Snapshot) -> tuple[str, str]:
    """Why no site has a number of this measure, and the same in fewer cells."""
    if measure.is_live:
        bad = bool(bad_counts(snapshot))
        return ("no finite element", "no finite element") if bad else ("no numbers yet", "no numbers yet")
    if not snapshot.checkpoint:
        return "comes with the first checkpoint", "waits for a checkpoint"
    is_board, damages = measure.got == "quantiser", snapshot.damages
    if (snapshot.board if is_board else snapshot.model) is None:
        return ("damaged numbers" if (damages.board if is_board else damages.model) else "reading …",) * 2
    if snapshot.meta is not None and snapshot.meta.job.detail == "lean":
        return "not measured in lean detail", "not in lean detail"
    return ("no finite element",) * 2 if bad_counts(snapshot) else ("not measured",) * 2
