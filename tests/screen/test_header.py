"""The lines at the top say what is going on, in every state an engine can be in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.maximum import find_maximum
from engine.analysis.nonfinite import live_alarm
from engine.base.job import Job
from engine.messages import Code, as_written, message
from engine.session.reader import SessionMeta
from engine.session.records import Command, LiveTable, Status
from engine.sites.site import HookPlan, Site
from engine.statistics.fields import LIVE_FIELDS
from maxact_tui.pages.header import (
    alarm_lines,
    maximum_lines,
    progress_bar,
    progress_words,
    state_words,
    status_lines,
    token_parts,
)
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching.places import TokenPlace
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line
from tests.screen.sessions import HOSTILE

LOOK = choose_look("256")
NOW = 1_000_100.0
RUNNING = Status(
    phase="running", started=1_000_000.0, heartbeat=NOW, batches_done=2, samples_done=13, samples_total=69,
    tokens_done=3500, tokens_total=14_474, tokens_per_second=66.6,
)  # fmt: skip
META = SessionMeta(Job(model="org/Model-7B"), 1_000_000.0, None, {"dtype": "bfloat16", "device_map": {"": 0}}, {}, {})


def snapshot(status: Status | None, **changes: object) -> Snapshot:
    return Snapshot(Path("/runs/model.maxact"), status=status, meta=META, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RUNNING, "RUNNING 1:40"),
        (RUNNING.changed(phase="loading"), "LOADING 1:40"),
        (RUNNING.changed(phase="paused"), "PAUSED"),
        (RUNNING.changed(phase="finished", ended=1_000_042.0), "FINISHED after 0:42"),
        (RUNNING.changed(phase="failed", ended=1_000_003.0), "FAILED after 0:03"),
        (RUNNING.changed(phase="gone"), "ENGINE GONE"),
    ],
)
def test_each_state_has_its_words(status: Status, words: str) -> None:
    assert state_words(snapshot(status), NOW)[0] == words


def test_a_step_of_a_run_says_how_far_it_is() -> None:
    status = RUNNING.changed(message=message(Code.MEASURING_DAMAGE), done=12, total=60, unit="blocks")
    words = progress_words(status)
    assert words[1] == "measuring the damage by quantisers: 12 of 60 blocks", "seen at 80 columns, too"
    assert not any("ETA" in word for word in words), "the batches' rate says nothing of this step"


def test_a_silent_engine_is_told_apart_from_a_busy_one() -> None:
    assert state_words(snapshot(RUNNING, quiet_seconds=12.0), NOW) == ("RUNNING, silent for 0:12", "warn")


def test_what_was_asked_is_shown_until_it_is_answered() -> None:
    asked = Command(1, NOW, "pause", {}, "new", {})
    assert state_words(snapshot(RUNNING, commands=(asked,)), NOW)[0] == "RUNNING 1:40, pause asked for"


def test_progress_tells_share_samples_rate_and_time_left() -> None:
    first, second = (one.text for one in status_lines(snapshot(RUNNING), LOOK, 120, NOW))
    assert first.startswith(" Model-7B  bfloat16  cuda:0")
    assert first.rstrip().endswith("RUNNING 1:40")
    assert "24 %  13/69 samples  3.50k of 14.5k tokens  66.6 tok/s  ETA 2:45" in second


@pytest.mark.parametrize("phase", ["finished", "stopped"])
def test_a_run_that_is_over_tells_its_average_and_how_long_it_was_measuring(phase: str) -> None:
    status = RUNNING.changed(
        samples_done=69, tokens_done=14_474, tokens_per_second=198.0, running_seconds=190.0, ended=1_000_244.0
    )
    first, second = (one.text for one in status_lines(snapshot(status.changed(phase=phase)), LOOK, 80, NOW))
    assert first.rstrip().endswith(f"{phase.upper()} after 4:04")
    assert "100 %  69/69 samples  14.5k tokens  76.2 tok/s  measuring 3:10" in second
    for going_on in ("running", "paused"):
        assert status.changed(phase=going_on).rate == 198.0


LONG, PATH = as_written("a very long reason " * 20), as_written("reading " + "a/very/long/path/" * 9)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("phase", ["starting", "loading", "running", "finished", "failed", "gone"])
def test_no_header_line_is_wider_than_the_screen(width: int, phase: str) -> None:
    status = RUNNING.changed(phase=phase, message=LONG, done=3, total=99_999_999, unit="bytes")
    for one in status_lines(snapshot(status), LOOK, width, NOW):
        assert one.cell_length <= width + 1


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("total", [0, 272])
def test_a_long_step_of_loading_is_cut_and_its_progress_stays(width: int, total: int) -> None:
    loading = RUNNING.changed(phase="loading", message=PATH, total=total, done=17)
    shown = status_lines(snapshot(loading.changed(unit="tensors")), LOOK, width, NOW)[1]
    assert shown.cell_length <= width
    assert "reading a/very" in shown.text and "…" in shown.text
    assert ("17 of 272 tensors" in shown.text) == bool(total)


def test_a_run_whose_engine_died_names_the_way_on() -> None:
    assert "maxact-tui resume" in status_lines(snapshot(RUNNING.changed(phase="gone")), LOOK, 100, NOW)[1].text


def test_a_reading_problem_is_shown_where_the_progress_was() -> None:
    shown = status_lines(snapshot(RUNNING, problem="disk I/O error"), LOOK, 100, NOW)
    assert "cannot read the file: disk I/O error" in shown[1].text


@pytest.mark.parametrize(("share", "bar"), [(-1, "░░░░"), (0, "░░░░"), (0.5, "██░░"), (1, "████"), (9, "████")])
def test_the_bar_is_always_as_long_as_asked(share: float, bar: str) -> None:
    assert progress_bar(share, 4) == bar


@pytest.mark.parametrize(
    ("magnitude", "verdict"),
    [(23_168.0, "fits fp16, 1.5 bits left"), (131_008.0, "overflows fp16 by 1.0 bits"), (100.0, "fits fp16, 9.4 bits")],
)
def test_the_line_of_m_says_whether_fp16_holds_it(magnitude: float, verdict: str) -> None:
    site = Site("layer_0_hidden", 0, "hidden", "layers.0")
    plan = HookPlan((site,), (), "llama", 1, 64, "model")
    data = np.array([[2.0, -magnitude, 1.0, 10, 0, 0, 0, 7, 0, -1, -1, -1]])
    assert data.shape[1] == len(LIVE_FIELDS)
    live = LiveTable(1, data)
    shown = snapshot(RUNNING, live=live, maximum=find_maximum(plan, live.magnitude, "bfloat16"))
    first, second = (one.text for one in maximum_lines(shown, LOOK, 100))
    assert first.startswith(f" M -{magnitude:,.0f}  at L0 hidden")
    assert verdict in first
    assert "channel 7" in second


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("width", [8, 20, 60])
def test_a_token_in_context_is_exactly_as_wide_as_asked(piece: bytes, width: int) -> None:
    place = TokenPlace(0, 1, 9, "web", "", "", 5, piece, b"before " * 9, piece, b" after" * 9, (2, 12))
    assert line(LOOK, *token_parts(place, LOOK, width, lead=width // 3)).cell_length == width


@pytest.mark.parametrize(("width", "after"), [(60, "; 1 after"), (80, "; 1 site after it"), (140, "; 1 site after it")])
def test_nan_and_infinity_are_one_line_and_m_says_what_it_leaves_out(width: int, after: str) -> None:
    names = ("layer_0_mlp_output", "layer_0_hidden", "layer_1_hidden")
    sites = tuple(Site(name, int(name[6]), name[8:], "m") for name in names)
    plan = HookPlan(sites, (), "llama", 2, 64, "model")
    data = np.array([[2.0, -3.0, 1.0, 10, bad, 0, 0, 7, 0, 4, 1, 9] for bad in (0, 2, 1)])
    live = LiveTable(1, data)
    alarm = live_alarm(plan, live)
    shown = snapshot(RUNNING, live=live, alarm=alarm, maximum=find_maximum(plan, live.magnitude, "bfloat16", 2))
    meta = SessionMeta(Job(model="m"), 0.0, plan, {}, {}, {})
    (strip,) = alarm_lines(replace(shown, meta=meta), LOOK, width, "X")
    assert strip.text.startswith(" first Inf: L0 hidden, sample 4, pos") and after in strip.text and "  X" in strip.text
    assert strip.cell_length <= width
    assert "over finite elements; 2 sites hold Inf/NaN" in maximum_lines(shown, LOOK, 100)[0].text
    assert alarm_lines(replace(shown, meta=meta, alarm=None), LOOK, width, "X") == []
