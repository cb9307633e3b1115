"""The heatmap repaints only what changed, and its cursor never stands on nothing."""

from __future__ import annotations

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from engine.sites.site import HookPlan, Site
from maxact_tui.terminal.palette import choose_look
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.heatmap import Cell, HeatColumn, Heatmap

PICTURE = """\
         attn  hidden
embed             0.1
   L0    -1.2    31.5
   L1 ▸ -2.50     115*
   L2              17!
 norm              46
"""


def plan(layers: int = 3) -> HookPlan:
    sites = [Site("embedding", None, "embedding", "embed")]
    for layer in range(layers):
        if layer != 2:
            sites.append(Site(f"layer_{layer}_attn_output", layer, "attn_output", f"l{layer}.attn"))
        sites.append(Site(f"layer_{layer}_hidden", layer, "hidden", f"l{layer}"))
    sites.append(Site("final_norm", None, "final_norm", "norm"))
    return HookPlan(tuple(sites), (), "llama", layers, 8, "model")


class OneHeatmap(App[None]):
    """Only a heatmap."""

    def __init__(self, hook_plan: HookPlan) -> None:
        super().__init__()
        self.heatmap = Heatmap(choose_look("256"), make_grid(hook_plan))

    def compose(self) -> ComposeResult:
        """The heatmap."""
        yield self.heatmap


CELLS = {
    0: Cell("0.1", 0),
    1: Cell("-1.2", 1),
    2: Cell("31.5", 4),
    3: Cell("-2.50", 1),
    4: Cell("115", 6, "*"),
    5: Cell("17", 4, "!"),
    6: Cell("46", 5),
}


def drawn(heatmap: Heatmap, rows: int) -> str:
    parts = [heatmap._labels, *heatmap._columns.values()]
    return "".join("".join(part.render_line(y).text for part in parts).rstrip() + "\n" for y in range(rows))


async def test_layers_stand_in_rows_and_the_stream_in_one_column() -> None:
    app = OneHeatmap(plan())
    async with app.run_test(size=(40, 10)):
        app.heatmap.place(3)
        app.heatmap.show(CELLS)
        assert [row.rstrip() for row in drawn(app.heatmap, 6).split("\n")] == PICTURE.split("\n")


async def test_only_changed_cells_are_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = OneHeatmap(plan())
    async with app.run_test(size=(40, 10)) as pilot:
        app.heatmap.show(CELLS)
        await pilot.pause()
        painted: list[tuple[str, tuple[Region, ...]]] = []
        refresh = HeatColumn.refresh

        def watched(self: HeatColumn, *regions: Region, **options: bool) -> HeatColumn:
            painted.append((self._column, regions))
            return refresh(self, *regions, **options)

        monkeypatch.setattr(HeatColumn, "refresh", watched)
        assert not app.heatmap.show(dict(CELLS))
        assert painted == []
        assert app.heatmap.show({**CELLS, 4: Cell("116", 6, "*")})
        assert painted == [("hidden", (Region(0, 3, 8, 1),))]


async def test_the_cursor_skips_gaps_and_stops_at_the_edges() -> None:
    app = OneHeatmap(plan())
    async with app.run_test(size=(40, 10)):
        heatmap = app.heatmap
        heatmap.place(2)
        heatmap.move(0, -1)
        assert heatmap.site == 1
        heatmap.move(1, 0)
        heatmap.move(1, 0)
        assert heatmap.site == 3
        heatmap.edge(1)
        assert heatmap.site == 3
        heatmap.move(0, 1)
        heatmap.edge(1)
        assert heatmap.site == 6
        heatmap.move(0, -1)
        assert heatmap.site == 6
        heatmap.edge(-1)
        assert heatmap.site == 0


@pytest.mark.parametrize("rows", [3, 5, 8, 40])
async def test_the_cursor_is_always_visible(rows: int) -> None:
    app = OneHeatmap(plan(60))
    async with app.run_test(size=(40, rows)):
        for _ in range(70):
            app.heatmap.move(1, 0)
            assert "▸" in drawn(app.heatmap, rows)
        app.heatmap.page(-1)
        assert "▸" in drawn(app.heatmap, rows)


async def test_a_click_moves_the_cursor() -> None:
    app = OneHeatmap(plan())
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.click(app.heatmap, offset=(6 + 8 + 3, 3))
        await pilot.pause()
        assert app.heatmap.site == 4


def test_every_site_of_a_plan_has_its_cell() -> None:
    grid = make_grid(plan(7))
    assert sorted(grid.sites[grid.sites >= 0].tolist()) == list(range(len(plan(7).sites)))
    assert grid.rows == ("embed", *(f"L{i}" for i in range(7)), "norm")
    assert grid.cell_of(999) is None


def test_two_sites_of_a_kind_in_a_layer_get_a_column_each() -> None:
    sites = (
        Site("layer_0_attn_output", 0, "attn_output", "a"),
        Site("layer_0_attn_output_mamba", 0, "attn_output", "b"),
        Site("layer_0_hidden", 0, "hidden", "c"),
    )
    grid = make_grid(HookPlan(sites, (), "hybrid", 1, 8, ""))
    assert grid.columns == ("attn_output", "attn_output_mamba", "hidden")
    assert np.array_equal(grid.sites, [[0, 1, 2]])
    assert all(len(title) <= 7 for title in grid.titles)
