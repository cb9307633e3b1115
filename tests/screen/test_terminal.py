"""In a real pseudo-terminal: what goes over the wire, how it starts, and every way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.screen import sessions
from tests.screen.terminal import PROGRAM, Terminal
from tests.waiting import until

# Everything the app itself may write; a token's title, clear or clipboard sequence is not among them.
OWN_SEQUENCES = {
    b"\x1b[m", b"\x1b[H", b"\x1b[?h", b"\x1b[?l", b"\x1b[?$p", b"\x1b[>u", b"\x1b[<u", b"\x1b[n", b"\x1b[J", b"\x1b[X",
    b"\x1b]default\x07",
}  # fmt: skip
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l")
TEN_COMPONENTS = (
    "attn_input", "o_proj_input", "attn_output", "attn_post_norm", "mlp_input",
    "mlp_gate", "down_proj_input", "mlp_output", "mlp_post_norm", "hidden",
)  # fmt: skip


@contextmanager
def ticking(script: sessions.SessionScript, share: float) -> Iterator[list[int]]:
    """Four ticks a second at most, each changing a share of the cells; the list grows by one with each."""
    stop = threading.Event()
    ticks: list[int] = []

    def tick() -> None:
        while not stop.wait(0.25):
            script.status = script.status.changed(samples_done=3)
            script.tick(share, growth=float(script.random.uniform(0.5, 2.0)))
            ticks.append(len(ticks))

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield ticks
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_the_first_paint_is_small_and_idle_costs_nothing(finished_session: Path, size: tuple[int, int]) -> None:
    with Terminal(finished_session, *size) as terminal:
        terminal.wait_for("M 23,168")
        terminal.wait_for("token in context")
        terminal.quiet()
        assert len(terminal.raw) <= 40 * 1024
        assert terminal.rate_over(3.0) <= 200


def test_what_another_program_wrote_over_is_painted_again(finished_session: Path) -> None:
    with Terminal(finished_session, 120, 36) as terminal:
        terminal.wait_for("token in context")
        terminal.quiet()
        before = terminal.text
        terminal.screen.erase_in_display(2)
        assert terminal.text != before
        terminal.press("\x0c")
        terminal.wait_for(lambda t: t.text == before)
        terminal.quiet()
        assert terminal.text == before, "and it stays"


@pytest.mark.parametrize(("share", "most"), [(0.01, 4 * 1024), (0.10, 16 * 1024)])
def test_a_live_heatmap_stays_within_its_budget(tmp_path: Path, share: float, most: int) -> None:
    script = sessions.SessionScript(tmp_path / "live.maxact", layers=64, components=TEN_COMPONENTS, massive=None).load()
    script.tick().checkpoint()
    with Terminal(script.path, 140, 72) as terminal, ticking(script, share) as ticks:
        terminal.wait_for("L63")
        terminal.wait_for("token in context")
        began = len(ticks)
        terminal.wait_for(lambda _: len(ticks) >= began + 8)  # whatever else the first frames have left to paint
        began, before, now = len(ticks), len(terminal.raw), time.monotonic()
        terminal.wait_for(lambda _: len(ticks) >= began + 24)
        # Of as many seconds as the ticks stand for, or as have passed: a busy machine ticks more slowly.
        seconds = max((len(ticks) - began) / 4, time.monotonic() - now)
        received = len(terminal.raw) - before
        assert 0 < received <= most * seconds
        assert psutil.Process(terminal.pid).memory_info().rss < 120e6


def test_a_paused_run_costs_nearly_nothing(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    script.status = script.status.changed(phase="paused")
    script.writer.set_status(script.status)
    with Terminal(script.path) as terminal:
        terminal.wait_for("PAUSED")
        terminal.quiet()
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(0.5):
                script.writer.beat(time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        assert terminal.rate_over(3.0) <= 200
        stop.set()
        thread.join()


def test_keys_are_answered_while_data_streams_over_a_slow_link(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "live.maxact", layers=64, components=TEN_COMPONENTS, massive=None).load()
    script.tick().checkpoint()
    with Terminal(script.path, 140, 72, rate=100_000) as terminal, ticking(script, 0.5) as ticks:
        terminal.wait_for("L60")
        terminal.wait_for("token in context")
        began = len(ticks)
        terminal.wait_for(lambda _: len(ticks) >= began + 8)  # so that frames could have queued up
        before = len(terminal.raw)
        terminal.press("?")
        terminal.wait_for("Heatmap")
        # Frames that were queued before the key's own would have come first.
        assert len(terminal.raw) - before < 60 * 1024


def test_a_terminal_that_never_answers_is_drawn_to_all_the_same(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "live.maxact").load().tick()
    with Terminal(script.path, answers=False, env={"IMPATIENT": "1"}) as terminal:
        terminal.wait_for("1/14 samples")
        for done in (4, 12):
            script.status = script.status.changed(samples_done=done)
            script.tick()
            terminal.wait_for(f"{done + 1}/14 samples")


def test_the_screen_is_as_large_as_the_terminal_whatever_was_exported(finished_session: Path) -> None:
    with Terminal(finished_session, 120, 36, env={"COLUMNS": "80", "LINES": "24"}) as terminal:
        terminal.wait_for("M 23,168")
        terminal.quiet()
        assert terminal.text.splitlines()[35].strip().endswith("quit")


def test_columns_stay_aligned_beside_hostile_tokens(finished_session: Path) -> None:
    with Terminal(finished_session, 200, 60) as terminal:
        terminal.wait_for("massive tokens")
        terminal.quiet()
        rows = [terminal.cells(y) for y in range(60)]
        start = next(y for y, row in enumerate(rows) if "massive tokens" in "".join(row))
        edge = "".join(rows[start]).index("max|x|") + len("max|x|")
        # pyte and terminals disagree about the width of emoji; every other row must keep the next pane's column.
        beside = [row for row in rows[start + 1 : start + 16] if not {"👍", "🔬"} & set(row)]
        assert len(beside) >= 8
        assert all(row[edge - 1] != " " and row[edge] == " " for row in beside), terminal.text


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_restores_the_terminal_and_leaves_the_engine_alone(tmp_path: Path, number: int) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    with Terminal(script.path) as terminal:
        terminal.wait_for("M 23,168")
        terminal.signal(number)
        assert terminal.exit_code() == 3
        assert all(sequence in terminal.raw for sequence in RESTORED)
    assert script.writer.new_commands() == []


def test_ctrl_c_leaves_only_when_pressed_twice(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    with Terminal(script.path) as terminal:
        terminal.wait_for("M 23,168")
        terminal.press("\x03")
        terminal.wait_for("ctrl+c again")
        terminal.read(2.5)  # more time to take it away; the notice of this program stays for longer than any test takes
        assert "ctrl+c again" in terminal.text, "the second one counts as long as it is asked for"
        terminal.press("\x03")
        assert terminal.exit_code() == 130
        assert all(sequence in terminal.raw for sequence in RESTORED)
    assert script.writer.new_commands() == []


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_the_screen_even_where_hangups_are_ignored(tmp_path: Path, ignored: bool) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    command = [sys.executable, "-c", code + PROGRAM, str(script.path)]
    with Terminal(script.path, command=command) as terminal:
        terminal.wait_for("M 23,168")
        terminal.close()
        until(lambda: _ended(terminal))


def test_keys_typed_ahead_reach_the_screen_they_are_meant_for(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    with Terminal(script.path) as terminal:
        terminal.wait_for("M 23,168")
        terminal.press(":threads\r")
        terminal.wait_for("Threads: massive activations")
        terminal.press("\x1b")
        terminal.wait_for(lambda t: "Threads: massive activations" not in t.text)
        terminal.press("ql")
        assert terminal.exit_code() == 3


def test_a_storm_of_resizes_never_crashes(tmp_path: Path) -> None:
    sizes = [(200, 60), (20, 4), (80, 24), (1, 1), (300, 100), (59, 15), (60, 16), (111, 33)]
    script = sessions.running(tmp_path / "run.maxact")
    with Terminal(script.path, 120, 36) as terminal, ticking(script, 0.5):
        terminal.wait_for("token in context")
        for seconds in (0.1, 0.02, 0.0):  # a window that is dragged sends sizes faster than they can be drawn
            for columns, rows in sizes * 2:
                terminal.resize(columns, rows)
                terminal.read(seconds)
        terminal.resize(80, 24)
        terminal.wait_for("M 23,168")
        terminal.press("ql")
        assert terminal.exit_code() == 3


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"MAXACT_ASCII": "1"}, {"TERM": "xterm"}])
def test_plainer_terminals_get_glyphs_beside_the_numbers(clean_session: Path, env: dict[str, str | None]) -> None:
    with Terminal(clean_session, env=env) as terminal:
        terminal.wait_for("23.2k*")
        terminal.wait_for("token in context")
        body = terminal.text.split("\n")[5:20]
        ascii_only = "MAXACT_ASCII" in env
        assert any(glyph in row for row in body for glyph in ("░" if not ascii_only else ".",))
        if ascii_only:
            assert terminal.text.isascii()
        if "NO_COLOR" in env:
            assert b"38;5" not in terminal.raw
            assert b"48;5" not in terminal.raw


def test_the_screen_never_loads_torch_or_transformers() -> None:
    code = (
        "import maxact_tui.shell.application, maxact_tui.shell.app, maxact_tui.watching.exporter, sys, plotext;"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def _ended(terminal: Terminal) -> bool:
    pid, status = os.waitpid(terminal.pid, os.WNOHANG)
    if pid:
        terminal.status = status
    return bool(pid)
