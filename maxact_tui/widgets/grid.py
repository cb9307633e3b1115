"""The heatmap's shape: which site is in which cell.

- `Grid`       rows, columns, and the site number of each cell
- `make_grid`  from a hook plan
- `site_record`  what a filter can ask of a site
- `column_title` what stands above its column
- `TITLES`     column titles of at most seven cells
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from engine.sites.site import COMPONENTS, GEMM_COMPONENTS, HookPlan, Site
from maxact_tui.texts.filtering import Value

NOWHERE = -1
TITLES = {
    "attn_input": "attn.in",
    "o_proj_input": "o.in",
    "attn_output": "attn",
    "attn_post_norm": "attn.pn",
    "mlp_input": "mlp.in",
    "router_input": "rout.in",
    "router_logits": "router",
    "mlp_gate": "gate",
    "down_proj_input": "down.in",
    "expert_input": "exp.in",
    "expert_gate": "exp.gat",
    "expert_down_input": "exp.dwn",
    "mlp_output": "mlp",
    "mlp_post_norm": "mlp.pn",
    "hidden": "hidden",
}
_OUTSIDE_ROWS = {"embedding": "embed", "final_norm": "norm", "lm_head_input": "head"}


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Layers down, components across.

    Sites outside the blocks (embedding, final norm) get a row of their own in the residual stream's column, before
    or after the layers, so that reading down that column follows the residual stream through the model.

    Attributes:
        columns: component of each column, with the suffix that tells two of a kind apart.
        titles: what stands above each column.
        rows: label of each row.
        sites: site number of each cell, int64 [rows, columns], -1 where there is none.
        banners: text across the whole of a row that has no cells, by row.
    """

    columns: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[str, ...]
    sites: NDArray[np.int64]
    banners: Mapping[int, str] = field(default_factory=dict)

    def cell_of(self, site: int) -> tuple[int, int] | None:
        """(row, column) of a site."""
        found = np.argwhere(self.sites == site)
        return (int(found[0, 0]), int(found[0, 1])) if len(found) else None

    def narrowed(self, kept: Collection[int]) -> Grid:
        """The rows and columns that hold any of these sites, and of the cells only theirs."""
        sites = np.where(np.isin(self.sites, list(kept)), self.sites, NOWHERE)
        rows, columns = np.flatnonzero((sites >= 0).any(axis=1)), np.flatnonzero((sites >= 0).any(axis=0))
        return Grid(
            tuple(self.columns[i] for i in columns),
            tuple(self.titles[i] for i in columns),
            tuple(self.rows[i] for i in rows),
            sites[np.ix_(rows, columns)],
        )

    def nearest(self, site: int, kept: Collection[int]) -> int:
        """The one of some sites that is nearest to a site, in its column rather than in its row."""
        row, column = self.cell_of(site) or (0, 0)
        cells = np.argwhere(np.isin(self.sites, list(kept)))
        found = cells[(np.abs(cells - (row, column)) @ (1, len(self.rows))).argmin()]
        return int(self.sites[found[0], found[1]])

    def column_sites(self, column: int) -> list[int]:
        """The sites of one column from top to bottom."""
        return [int(number) for number in self.sites[:, column] if number != NOWHERE]


def make_grid(plan: HookPlan) -> Grid:
    """The grid of a plan; the paper's columns in the field's order, then those of the GEMM inputs."""
    inside = [(number, site) for number, site in enumerate(plan.sites) if site.layer is not None]
    columns = tuple(sorted({_column(site) for _, site in inside}, key=_order)) or ("hidden",)
    first_inside = inside[0][0] if inside else len(plan.sites)
    outside = [(number, site) for number, site in enumerate(plan.sites) if site.layer is None]
    above = [one for one in outside if one[0] < first_inside]
    below = [one for one in outside if one[0] >= first_inside]
    stream = columns.index("hidden") if "hidden" in columns else len(columns) - 1
    rows = [_OUTSIDE_ROWS.get(site.component, site.name)[:5] for _, site in above]
    rows += [f"L{layer}" for layer in range(plan.layers)]
    rows += [_OUTSIDE_ROWS.get(site.component, site.name)[:5] for _, site in below]
    sites = np.full((len(rows), len(columns)), NOWHERE, np.int64)
    for row, (number, _) in enumerate(above):
        sites[row, stream] = number
    for number, site in inside:
        if site.layer is not None and site.layer < plan.layers:
            sites[len(above) + site.layer, columns.index(_column(site))] = number
    for row, (number, _) in enumerate(below):
        sites[len(above) + plan.layers + row, stream] = number
    return Grid(columns, tuple(TITLES.get(c, _short(c)) for c in columns), tuple(rows), sites)


def site_record(site: Site) -> dict[str, Value]:
    """Layer and component, the latter by its name and by the title of its column."""
    column = _column(site)
    return {"layer": site.layer, "comp": (column, column_title(site))}


def column_title(site: Site) -> str:
    """What stands above the site's column."""
    column = _column(site)
    return TITLES.get(column, _short(column))


def _column(site: Site) -> str:
    """Component with the suffix of a second site of a kind: `attn_output_mamba` of `layer_3_attn_output_mamba`."""
    return site.name.removeprefix(f"layer_{site.layer}_")


def _order(column: str) -> tuple[bool, int, str]:
    """The paper's components from left to right, then what matrix products read."""
    places = [i for i, component in enumerate(COMPONENTS) if column.startswith(component)]
    longest = max(places, key=lambda i: len(COMPONENTS[i]), default=len(COMPONENTS))
    is_gemm = longest < len(COMPONENTS) and COMPONENTS[longest] in GEMM_COMPONENTS
    return is_gemm, longest, column


def _short(column: str) -> str:
    words = ["".join(letters) for is_word, letters in groupby(column, str.isalnum) if is_word]
    return ".".join(word[:3] for word in words)[:7]
