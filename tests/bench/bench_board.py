"""How long the board of quantisers takes to compute, and one move of a threshold.

    python tests/bench/bench_board.py SESSION [--sites 300]

SESSION is a finished session file; its sites are repeated until there are as many as asked for.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.quantization.board import compute_board, summarise_schemes
from engine.quantization.distribution import Distribution
from engine.session.reader import SessionReader
from maxact_tui.pages.int8page import int8_page
from maxact_tui.pages.tuning import FINE, Tuning, make_tuner
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching.boardview import read_board
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish

MOVES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("--sites", type=int, default=300)
    options = parser.parse_args()
    with SessionReader(options.session) as reader:
        found = [Distribution.of(totals) for totals in reader.all_totals() if totals is not None]
        sites = list(itertools.islice(itertools.cycle(found), options.sites))
        seconds = [_seconds(lambda: summarise_schemes(compute_board(sites))) for _ in range(5)]
        print(f"board of {len(sites)} sites x 12 schemes: {1e3 * statistics.median(seconds):.0f} ms")
        seconds = [_seconds(lambda: read_board(reader)) for _ in range(3)]
        print(f"read and computed, {len(found)} sites: {1e3 * statistics.median(seconds):.0f} ms")
    watched = Look(options.session)
    snapshot = watched.again(Wish())
    while snapshot is None or snapshot.view is None:
        snapshot = watched.again(Wish()) or snapshot
    tuner, look = make_tuner(snapshot, snapshot.view.site), choose_look("256")
    assert tuner is not None
    for what, start in (("a move", Tuning()), ("with what if", Tuning(without_first=True, channels=2))):
        tuning, seconds = start, []
        for _ in range(MOVES):
            began = time.perf_counter()
            tuning = tuner.moved(tuning, 1 / FINE)
            int8_page(tuner, tuning, "raw", look, 118, 30, has_list=True)
            seconds.append(time.perf_counter() - began)
        print(
            f"threshold, {what}: median {1e3 * statistics.median(seconds):.1f} ms, longest {1e3 * max(seconds):.1f} ms"
        )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
