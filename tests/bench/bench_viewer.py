"""What the screen costs: opening a large finished session, watching a live one: python -m tests.bench.bench_viewer.

Runs the app in a pseudo-terminal; prints seconds from the start of the process, processor time and bytes.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from tests.screen.sessions import SessionScript
from tests.screen.terminal import Terminal

ROUNDS = 5
SETTLE_SECONDS, WATCH_SECONDS = 12.0, 12.0
SIZES = ((80, 24), (140, 72), (200, 60))


def time_opening(folder: Path) -> None:
    """300 sites, D = 4,096: until the name is there, until M is, until the first plot is."""
    script = SessionScript(folder / "large.maxact", layers=75, samples=70, width=4096, hostile=False).load()
    script.tick().checkpoint().finish()
    seen: dict[str, list[float]] = {"name": [], "M": [], "plot": []}
    for _ in range(ROUNDS):
        with Terminal(script.path, 120, 36) as terminal:
            for what, text in (("name", "arge"), ("M", "M 23,168"), ("plot", "┤")):
                terminal.wait_for(text, 60)
                seen[what].append(time.monotonic() - terminal.started)
    for what, seconds in seen.items():
        print(f"opening, until {what:<5} {statistics.median(seconds):6.2f} s")


def watch_a_run(folder: Path, columns: int, rows: int, share: float) -> None:
    """322 sites, four ticks a second, of each tick this share of the cells changed."""
    components = ("attn_input", "attn_output", "mlp_gate", "mlp_output", "hidden")
    path = folder / f"live-{columns}-{share}.maxact"
    script = SessionScript(path, layers=64, components=components, samples=60, hostile=False).load()
    script.tick().checkpoint()
    over = threading.Event()

    def run() -> None:
        turn = 0
        while not over.wait(0.25):
            script.tick(share, growth=1 + turn % 7 * 0.05)
            turn += 1

    engine = threading.Thread(target=run, daemon=True)
    engine.start()
    with Terminal(path, columns, rows) as terminal:
        terminal.wait_for("M 23,168", 30)
        terminal.read(SETTLE_SECONDS)
        process = psutil.Process(terminal.pid)
        before, received, started = process.cpu_times(), len(terminal.raw), time.monotonic()
        terminal.read(WATCH_SECONDS)
        after, seconds = process.cpu_times(), time.monotonic() - started
        used = after.user + after.system - before.user - before.system
        kibibytes = (len(terminal.raw) - received) / seconds / 1024
    over.set()
    engine.join()
    print(f"{columns}x{rows}, {share:4.0%} changing: {100 * used / seconds:4.1f} % of a core, {kibibytes:5.1f} KiB/s")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        time_opening(Path(folder))
        for columns, rows in SIZES:
            for share in (0.01, 0.1):
                watch_a_run(Path(folder), columns, rows, share)


if __name__ == "__main__":
    main()
