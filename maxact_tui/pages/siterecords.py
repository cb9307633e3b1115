"""The sites of a heatmap as records: what a filter can ask of a cell, and what copying it writes.

- `site_records`  one per site of the plan
- `kept_sites`    numbers of the sites a filter keeps
- `matrix_text`   the heatmap as tab-separated text
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from maxact_tui.texts.filtering import Filter, Record, Value
from maxact_tui.texts.visible import visible
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import NOWHERE, Grid, site_record


def site_records(snapshot: Snapshot) -> list[Record]:
    """Layer, component, largest |x| and where it is, of every site; live, whatever the heatmap shows."""
    plan = snapshot.plan
    if plan is None:
        return []
    categories = {number: visible(category, space=" ") for number, category, _ in snapshot.labels}
    rows: list[Record] = []
    for number, site in enumerate(plan.sites):
        found: dict[str, Value] = {"name": site.name, **site_record(site)}
        row = snapshot.live_row(number)
        if row is not None:
            found |= {"value": abs(row.peak), "x": row.peak, "rms": row.rms, "nonfinite": row.nonfinite}
            found |= {"chan": _known(row.channel), "pos": _known(row.position), "sample": _known(row.sample)}
            found["cat"] = categories.get(int(row.sample))
        rows.append(found)
    return rows


def kept_sites(kept: Filter, snapshot: Snapshot) -> set[int]:
    """Numbers of the sites whose records the filter keeps."""
    return {number for number, record in enumerate(site_records(snapshot)) if kept.holds(record)}


def matrix_text(grid: Grid, values: NDArray[np.float64]) -> str:
    """Layers down and components across, as far as the grid shows them, with the number of each site."""
    lines = [["", *grid.columns]]
    for label, sites in zip(grid.rows, grid.sites.tolist(), strict=True):
        lines.append([label, *("" if site == NOWHERE else _written(float(values[site])) for site in sites)])
    return "".join("\t".join(cells) + "\n" for cells in lines)


def _known(address: float) -> float | None:
    return address if address >= 0 else None


def _written(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"
