"""One component of a model over one text: layers x tokens, as levels and digits ready to be drawn.

- `LayerTokens`      the values of one component at every token, layer by layer
- `make_layers`      from a probe
- `thresholds_of`    |x| above which an element is massive, of every site
- `token_records`    the tokens as records to copy
- `massive_tokens`   where the massive tokens of a layer are
- `NO_VALUE`, `BAD`  the digit of a cell without a value, and of one with NaN or infinity
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maxact_tui.terminal.palette import Look, Scale, scale_of
from maxact_tui.texts.filtering import Record, Value
from maxact_tui.watching.probes import ProbeView, Tokens
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import Grid

NO_VALUE, BAD = " ", "!"
_DIGITS = np.array([".", *"0123456789", "+", NO_VALUE])
BELOW_ONE, ABOVE_ALL, UNKNOWN = 0, 11, 12


@dataclass(frozen=True, slots=True, eq=False)
class LayerTokens:
    """One component of a model over one text; L layers (rows of the grid's column), T tokens.

    Attributes:
        component: the column's name.
        sites: number of each layer's site.
        labels: what each layer is called, `L11`.
        values: float32 [L, T], signed value of the largest |x|, NaN where unknown.
        bad: bool [L, T], there is NaN or infinity.
        channels: int32 [L, T], where it is, also of what is bad; -1 where unknown.
        levels: int64 [L, T], place on the ramp, -1 where unknown.
        digits: str [L, T], the power of ten of |x|: `4` for 10,000 and more, `.` below 1; `!` for what is bad.
        thresholds: float64 [L], |x| above which an element is massive, NaN where unknown.
        massive: bool [L, T], |x| is above it.
        scale: what the levels mean.
        peaks: int64 [T], the layer (row) where |x| of each token is largest.
        layer_peaks: int64 [L], the token where |x| of each layer is largest; its first bad one where it has any.
        largest: the largest |x| of all, NaN where nothing is known.
    """

    component: str
    sites: tuple[int, ...]
    labels: tuple[str, ...]
    values: NDArray[np.float32]
    bad: NDArray[np.bool_]
    channels: NDArray[np.int32]
    levels: NDArray[np.int64]
    digits: NDArray[np.str_]
    thresholds: NDArray[np.float64]
    massive: NDArray[np.bool_]
    scale: Scale
    peaks: NDArray[np.int64]
    layer_peaks: NDArray[np.int64]
    largest: float

    def peak_value(self, token: int) -> float:
        """Signed value of the largest |x| of a token over all layers, NaN where unknown."""
        return float(self.values[self.peaks[token], token])


def make_layers(
    view: ProbeView, grid: Grid, column: int, thresholds: NDArray[np.float64], look: Look
) -> LayerTokens | None:
    """One column of the grid over a text; None where the probe is of another plan.

    Args:
        view: the text's values.
        grid: the plan's grid.
        column: which component.
        thresholds: of every site, float64 [sites].
        look: what the terminal can show.
    """
    rows = [row for row in range(len(grid.rows)) if grid.sites[row, column] >= 0]
    sites = [int(grid.sites[row, column]) for row in rows]
    if not sites or max(sites) >= len(view.maxima) or len(view.tokens) != view.maxima.shape[1]:
        return None
    values, bad = view.maxima[sites], view.bad[sites]
    magnitudes = np.abs(values).astype(np.float64)
    known = np.where(np.isnan(magnitudes), -1.0, magnitudes)
    largest = float(known.max(initial=-1.0))
    # The bounds alone decide the scale, and two numbers are quicker to look at than all.
    scale = scale_of(np.array([known.min(where=known > 0, initial=np.inf), largest]) if largest > 0 else magnitudes)
    limits = thresholds[sites]
    with np.errstate(invalid="ignore"):
        massive = magnitudes > limits[:, None]
    return LayerTokens(
        component=grid.columns[column],
        sites=tuple(sites),
        labels=tuple(grid.rows[row] for row in rows),
        values=values,
        bad=bad,
        channels=view.channels[sites],
        levels=scale.levels(magnitudes, look.levels),
        digits=np.where(bad, BAD, _digits(magnitudes)),
        thresholds=limits,
        massive=massive,
        scale=scale,
        peaks=known.argmax(axis=0),
        layer_peaks=np.where(bad.any(axis=1), bad.argmax(axis=1), known.argmax(axis=1)),
        largest=largest if largest >= 0 else float("nan"),
    )


def thresholds_of(snapshot: Snapshot) -> NDArray[np.float64]:
    """|x| above which an element is massive by Sun's criterion, float64 [sites].

    By the layer median over the run's corpus; NaN for sites whose median is not known (yet).
    """
    plan = snapshot.plan
    found = np.full(len(plan.sites) if plan is not None else 0, np.nan)
    for number, summary in enumerate(snapshot.summaries[: len(found)]):
        if summary is not None and not np.isnan(summary.sun_layer.median):
            found[number] = summary.sun_layer.threshold
    return found


def massive_tokens(layers: LayerTokens, layer: int) -> list[int]:
    """The tokens of a layer that are massive, in the order of the text."""
    return [int(token) for token in np.flatnonzero(layers.massive[layer])]


def token_records(tokens: Tokens, layers: LayerTokens | None, layer: int) -> list[Record]:
    """Every token as a record, with its values at one layer where they are known."""
    records: list[Record] = []
    for token, piece in enumerate(tokens.pieces):
        record: dict[str, Value] = {"position": token, "token_id": int(tokens.token_ids[token]), "piece": repr(piece)}
        if layers is not None:
            record |= {
                "site": f"{layers.labels[layer]} {layers.component}",
                "value": float(layers.values[layer, token]),
                "channel": int(layers.channels[layer, token]),
                "massive": _verdict(layers, layer, token),
                "nonfinite": "yes" if layers.bad[layer, token] else "no",
            }
        records.append(record)
    return records


def _verdict(layers: LayerTokens, layer: int, token: int) -> str | None:
    """Whether a token is massive at a layer; None where its value or the layer's median is not known."""
    if np.isnan(layers.values[layer, token]) or np.isnan(layers.thresholds[layer]):
        return None
    return "yes" if layers.massive[layer, token] else "no"


def _digits(magnitudes: NDArray[np.float64]) -> NDArray[np.str_]:
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.clip(np.floor(np.log10(magnitudes)) + 1, BELOW_ONE, ABOVE_ALL)
    found: NDArray[np.str_] = _DIGITS[np.where(np.isnan(place), UNKNOWN, place).astype(np.int64)]
    return found
