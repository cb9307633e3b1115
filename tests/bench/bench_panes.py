# ruff: noqa: E402  # Textual reads its settings when it is imported
"""How long every pane takes to open on a session as large as they come.

    python tests/bench/bench_panes.py [--session FILE] [--repeat 3]

The session is synthetic: 96 layers x 12 components, 5,000 samples, a vocabulary of 150,000 tokens. A pane is open when
its key has been pressed and its numbers are drawn; first the time until anything of it is drawn, which is what a user
waits for, then the time until it is complete, where the watcher reads or computes. The first opening is the slowest:
nothing is in a cache. Files are written beside FILE, or into a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maxact_tui.terminal.private import rows_of

sys.path.insert(0, str(Path(__file__).parents[2]))

from maxact_tui.terminal.preparing import prepare_terminal

prepare_terminal()

from functools import partial

import numpy as np
import psutil

from engine.base.importing import loading_modules
from engine.session.records import SampleRecord
from engine.statistics.totals import SiteTotals
from maxact_tui.shell.application import MaxactApp
from tests.screen.sessions import CATEGORIES, SessionScript

LAYERS, SAMPLES, VOCABULARY, WIDTH, LENGTH = 96, 5_000, 150_000, 4_096, 64
COMPONENTS = (
    "attn_input", "o_proj_input", "attn_output", "attn_post_norm", "mlp_input", "router_logits",
    "mlp_gate", "down_proj_input", "mlp_output", "mlp_post_norm", "router_input", "hidden",
)  # fmt: skip
BUDGET_SECONDS = 0.1
FIRST = "first numbers"  # of a start, which has a budget of its own
SIZE = (200, 60)


class LargeScript(SessionScript):
    """A session of that size; sites of a kind share their numbers."""

    _templates: dict[tuple[bool, str], SiteTotals]

    def load(self) -> LargeScript:
        """The plan, the corpus and the vocabulary."""
        self._templates = {}
        self.writer.set_meta(plan=self.plan.to_json(), provenance={"dtype": "bfloat16", "device_map": {"": "cpu"}})
        self.writer.add_samples(self.samples, {number: b" piece%d" % number for number in range(VOCABULARY)})
        self.writer.set_batches([[sample.number] for sample in self.samples])
        self.status = self.status.changed(phase="running")
        self.writer.set_status(self.status)
        return self

    def _sample(self, number: int, hostile: bool) -> SampleRecord:
        ids = self.random.integers(0, VOCABULARY, LENGTH).astype(np.int32)
        return SampleRecord(number, CATEGORIES[number % len(CATEGORIES)], "", f"starter:{number}", False, ids)

    def _totals(self, number: int) -> SiteTotals:
        kind = (self.magnitude(number) > 20_000, self.plan.sites[number].component)
        if kind not in self._templates:
            self._templates[kind] = super()._totals(number)
        return self._templates[kind]


@dataclass(frozen=True, slots=True)
class Pane:
    """One pane: what is pressed, how it is known to be there, how it is known to be complete, how it is left."""

    name: str
    keys: tuple[str, ...]
    shows: str
    is_complete: Callable[[MaxactApp], bool] | None = None
    back: tuple[str, ...] = ("escape",)


def has_model(app: MaxactApp) -> bool:
    """Whether everything about all sites has been computed."""
    return app.snapshot.model is not None


PANES = (
    Pane("depth", ("3",), "Depth]", has_model, ()),
    Pane("measure: rms", ("m",), "rms", None, ("M",)),
    Pane("tokens", ("1",), "token in context", None, ()),
    Pane("channels of the site", ("2",), "massive tokens", None, ()),
    Pane("histogram", ("4",), "Histogram]", None, ()),
    Pane("another site", ("up",), "token in context", lambda app: app.snapshot.view is not None, ("down",)),
    Pane("site", ("enter",), "[Tokens]"),
    Pane("site: channels", ("enter", "2"), "[Channels]"),
    Pane("site: distribution", ("enter", "3"), "[Distribution]"),
    Pane("site: samples", ("enter", "4"), "[Samples]"),
    Pane("site: INT8", ("enter", "5"), "[INT8]"),
    Pane("threads", ("t",), "Threads", has_model),
    Pane("channels across layers", ("c",), "hannels", None),
    Pane("board of quantisers", ("i",), "fp16/e4m3", lambda app: app.snapshot.board is not None),
    Pane("sample", ("y",), "ample"),
    Pane("prompt", ("p",), "rompt"),
    Pane("events", ("v",), "Events"),
    Pane("sessions", ("o",), "Sessions"),
    Pane("export", ("e",), "xport"),
    Pane("palette", ("colon",), "type a few letters"),
    Pane("help", ("question_mark",), "Help"),
)


def shown(app: MaxactApp) -> str:
    """What is on the screen."""
    return "\n".join(strip.text for strip in rows_of(app.screen))


def shows(app: MaxactApp, words: str) -> bool:
    return words in shown(app)


async def opened(app: MaxactApp, holds: Callable[[], bool], seconds: float = 120.0) -> float:
    """Seconds until something holds, looked at whenever the application has nothing to do.

    Raises:
        TimeoutError: it did not in time.
    """
    start = time.perf_counter()
    while not holds():
        await asyncio.sleep(0.002)
        if time.perf_counter() - start > seconds:
            raise TimeoutError(f"the screen is\n{shown(app)}")
    return time.perf_counter() - start


def resident() -> float:
    """Resident memory of this process, in MB."""
    return float(psutil.Process().memory_info().rss / 1e6)


async def measure(session: Path, repeat: int) -> list[tuple[str, float, float, float, float]]:
    """(pane, seconds until it first shows, fastest, until it is first complete, memory in MB) of each pane."""
    rows = []
    start = time.perf_counter()
    with loading_modules():
        app = MaxactApp(session, read_only=True)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, lambda: "M 23,168" in shown(app))
        took = time.perf_counter() - start
        rows.append((FIRST, took, took, 0.0, resident()))
        await opened(app, lambda: app.snapshot.view is not None)
        for pane in PANES:
            times, complete = [], 0.0
            for number in range(repeat):
                start = time.perf_counter()
                for key in pane.keys:
                    app.simulate_key(key)
                    await asyncio.sleep(0)
                await opened(app, partial(shows, app, pane.shows))
                times.append(time.perf_counter() - start)
                if number == 0 and pane.is_complete is not None:
                    await opened(app, partial(pane.is_complete, app))
                    complete = time.perf_counter() - start
                await pilot.pause(0.2)
                await pilot.press(*pane.back)
                for _ in range(3):
                    if app.screen is not app.monitor:
                        await pilot.press("escape")
                await pilot.pause(0.1)
            rows.append((pane.name, times[0], min(times), complete, resident()))
            print(f"  {pane.name}", file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--session", type=Path, help="a file to write and keep, or one written earlier")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        session = options.session or Path(folder) / "large.maxact"
        os.environ["MAXACT_SESSIONS"] = str(session.parent)
        if not session.exists():
            start = time.perf_counter()
            script = LargeScript(
                session, layers=LAYERS, components=COMPONENTS, samples=SAMPLES, width=WIDTH, hostile=False
            ).load()
            script.tick().checkpoint()
            script.finish()
            print(
                f"written in {time.perf_counter() - start:.0f} s: {session.stat().st_size >> 20} MiB", file=sys.stderr
            )
        rows = asyncio.run(measure(session, options.repeat))
    print(f"{LAYERS} layers x {len(COMPONENTS)} components, {SAMPLES:,} samples, {VOCABULARY:,} tokens, {SIZE}")
    print(f"{'pane':<26}{'first ms':>10}{'again ms':>10}{'complete ms':>13}{'MB':>7}")
    for name, first, fastest, complete, megabytes in rows:
        late = "  over budget" if first > BUDGET_SECONDS and name != FIRST else ""
        whole = f"{complete * 1e3:.0f}" if complete else ""
        print(f"{name:<26}{first * 1e3:>10.0f}{fastest * 1e3:>10.0f}{whole:>13}{megabytes:>7.0f}{late}")


if __name__ == "__main__":
    main()
