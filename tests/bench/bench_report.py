"""How large the HTML report of a large session is, and how long every export of it takes.

`python -m tests.bench.bench_report [LAYERS SAMPLES]`: a synthetic session of 80 blocks and 5,000 samples by default.
Must stay under 3 MB and 5 s for the page.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from engine.report.errors import ReportError
from engine.report.export import FORMATS, render
from engine.session.reader import SessionReader
from engine.statistics.totals import SiteTotals
from tests.screen import sessions

WIDTH = 4_096
MOST_BYTES, MOST_SECONDS = 3_000_000, 5.0


class LargeScript(sessions.SessionScript):
    """The tests' synthetic session with threads planted through the upper two thirds of the hidden states."""

    def _totals(self, number: int) -> SiteTotals:
        totals, site = super()._totals(number), self.plan.sites[number]
        if site.component == "hidden" and site.layer is not None and site.layer >= self.layers // 3:
            totals.top["value"] = np.linspace(24_000, 12_000, len(totals.top))
            totals.top["sample"], totals.top["position"] = np.arange(len(totals.top)) * 7 % len(self.samples), 0
            totals.top["channel"] = 7
            totals.extremes[0] = totals.sample_max[0] = 24_000
        return totals


def main(layers: int, samples: int) -> int:
    """Print a line for each format; 1 if the page is too large or too slow."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.maxact"
        script = LargeScript(path, layers=layers, samples=samples, width=WIDTH, massive=None)
        script.load().tick().checkpoint().finish()
        print(f"{len(script.plan.sites)} sites, {samples:,} samples, session {path.stat().st_size / 1e6:.1f} MB")
        good = True
        for name in FORMATS:
            started = time.perf_counter()
            try:
                with SessionReader(path) as reader:
                    size = sum(len(document.content) for document in render(reader, name))
            except ReportError as error:
                print(f"{name:<16} {error}")
                continue
            seconds = time.perf_counter() - started
            print(f"{name:<16} {size / 1e6:8.2f} MB {seconds:7.2f} s", flush=True)
            good &= name != "html" or (size < MOST_BYTES and seconds < MOST_SECONDS)
    return 0 if good else 1


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]] or [80, 5_000]
    sys.exit(main(*numbers))
