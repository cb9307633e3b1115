"""Numbers of an earlier checkpoint say as of how many tokens they are, and none contradicts another of its screen."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.channelmap import channel_map
from engine.session.reader import SessionReader
from maxact_tui.pages.channelcells import channel_cells, place_lines, place_of
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.numbers import signed
from maxact_tui.watching import looking
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.screen.conftest import Shown, matches, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.sessions import SessionScript


@pytest.fixture(autouse=True)
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model is looked at as a whole long after each checkpoint."""
    monkeypatch.setattr(looking, "MODEL_DUTY", 1e9)


def run(path: Path) -> SessionScript:
    """A run after its first checkpoint, at 8 of 14 samples."""
    script = SessionScript(path).load()
    for _ in range(8):
        tick(script)
    return checkpoint(script)


def tick(script: SessionScript) -> None:
    """One more sample, with as many tokens as it has."""
    script.tick()
    done = sum(len(sample.token_ids) for sample in script.samples[: script.status.samples_done])
    script.status = script.status.changed(tokens_done=done)
    script.writer.tick(script.status, script.live)


def checkpoint(script: SessionScript) -> SessionScript:
    """Totals of every site, over the samples that are done."""
    totals = [script._totals(number) for number in range(len(script.plan.sites))]
    script.writer.checkpoint(script.status, totals, np.arange(script.status.samples_done))
    return script


async def test_channels_and_threads_say_as_of_how_many_tokens_they_are(shown: Shown, tmp_path: Path) -> None:
    script = run(tmp_path / "run.maxact")
    seen = f"as of {script.status.tokens_done:,} tokens"
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.view is not None)
        for key, title in (("c", "Channels across layers"), ("t", "Threads: ")):
            await pilot.press(key)
            await settle(pilot, shows(title))
            await settle(pilot, lambda app: "channel 50" in screen_text(app) or "L11-L28" in screen_text(app))
            assert (seen in screen_text(pilot.app)) == (key == "t"), "the numbers are of now"
            if key == "c":
                tick(script)
            await settle(pilot, matches(f"{title}.*{seen}"))
            await pilot.press("escape")


async def test_the_detail_of_a_channel_has_the_number_of_its_cell(shown: Shown, tmp_path: Path) -> None:
    script = run(tmp_path / "run.maxact")
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, lambda app: app.snapshot.view is not None)
        await pilot.press("c")
        await settle(pilot, lambda app: app.snapshot.model_at == 1 and "channel 50" in screen_text(app))
        first = script.status.tokens_done
        tick(script)
        checkpoint(script)
        screen = pilot.app.screen
        assert isinstance(screen, ChannelsScreen)
        await settle(pilot, lambda _: screen._found is not None and screen._found.tokens > first)
        assert pilot.app.snapshot.model_at == 1
        for _ in range(5):
            await pilot.press("down", "right")
            here = screen._here()
            assert here is not None
            text = screen_text(pilot.app)
            cell = re.search(r"▸ *([-\d.ke]+)", text)
            detail = re.search(r"(?:x =|max\|x\|) (-?[\d,.]+)$", text, re.MULTILINE)
            assert cell is not None
            assert detail is not None
            assert cell[1] == signed(float(detail[1].replace(",", "")))
        await settle(pilot, shows(f"(as of {first:,} tokens)"))


def test_sign_and_token_of_a_channel_come_with_its_maximum(tmp_path: Path) -> None:
    script = run(tmp_path / "run.maxact")
    look = Look(script.path)
    snapshot = look.again(Wish(None, model=True))
    while snapshot is not None and snapshot.model is None:
        snapshot = look.again(Wish(None, model=True))
    assert snapshot is not None
    tick(script)
    checkpoint(script)
    with SessionReader(script.path) as reader:
        sites = [number for number, site in enumerate(script.plan.sites) if site.component == "hidden"]
        found = channel_map(reader, sites, 8)
    look.close()
    assert snapshot.model is not None
    assert found.tokens == script.status.tokens_done > snapshot.model.tokens
    colours = choose_look("256")
    cells = channel_cells(found, snapshot, colours)
    known = 0
    for cell, shown in cells.items():
        here = place_of(found, snapshot, cell)
        if here.entry is not None:
            known += 1
            assert abs(here.entry.value) == pytest.approx(here.magnitude)
            assert shown.text == signed(here.entry.value)
        site = script.plan.sites[here.site]
        assert signed(abs(here.magnitude)) in shown.text
        assert "as of" in place_lines(here, site, None, colours, 80)[1].text
    assert known > len(sites)


def test_the_title_fits_a_narrow_window(tmp_path: Path) -> None:
    from dataclasses import replace

    from maxact_tui.pages.channelcells import channel_title
    from maxact_tui.watching.snapshot import Snapshot

    script = run(tmp_path / "run.maxact")
    with SessionReader(script.path) as reader:
        found = channel_map(reader, [4], 8)
    snapshot = Snapshot(script.path, status=script.status.changed(tokens_done=9_000_000))
    title = channel_title(replace(found, tokens=8_000_000), snapshot, "mlp_output", choose_look("256"), 80)
    assert title.cell_length <= 80
    assert "as of 8,000,000 tokens  the 8 largest" in title.text
