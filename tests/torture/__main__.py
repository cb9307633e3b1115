"""Every torture in turns, for minutes or hours; goes on where it was broken off: `python -m tests.torture`.

`make torture` runs all of it, `make torture MINUTES=10` a part. What has been run is kept in the folder with its seed,
so that each round can be run again; `--table FILE` writes what it has come to, with date and commit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from tests.test_house import HOME
from tests.torture.tally import Tally


@dataclass(frozen=True, slots=True)
class Part:
    """One torture: its module in this package, how many rounds make it whole, and how many are run in one turn."""

    module: str
    title: str
    rounds: int
    turn: int


PARTS = (
    Part("kills", "kills over all commands, both journal modes", 1000, 16),
    Part("mutate", "mutated files x 8 commands", 1000, 10),
    Part("flips", "flipped bits", 2000, 40),
    Part("hostile", "hostile models and corpora", 500, 10),
    Part("engines", "rounds of two engines and more", 200, 4),
)


def main(arguments: list[str]) -> int:
    """Run what is left; 1 if anything was found, else 0."""
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=0.0, help="at most so long; 0 for all of it")
    parser.add_argument("--folder", type=Path, default=HOME / "build" / "torture", help="for everything that is made")
    parser.add_argument("--seed", type=int, help="of a new series; a random one by default")
    parser.add_argument("--only", choices=[part.module for part in PARTS], action="append", help="only this part")
    parser.add_argument("--table", type=Path, help="write the table of what was run into this file")
    wanted = parser.parse_args(arguments)
    wanted.folder = wanted.folder.resolve()  # engines work in a folder of their own
    wanted.folder.mkdir(parents=True, exist_ok=True)
    kept = wanted.folder / "series.json"
    series = _read(kept, wanted.seed)
    end = time.monotonic() + 60 * wanted.minutes if wanted.minutes else float("inf")
    waiting = [part for part in PARTS if not wanted.only or part.module in wanted.only]
    while waiting and time.monotonic() < end:
        # The one that is furthest behind its share, so that a short series has some of each.
        part = min(waiting, key=lambda one: tally_of(series, one).rounds / one.rounds)
        if not _turn(part, series, wanted.folder) or tally_of(series, part).rounds >= part.rounds:
            waiting.remove(part)
        kept.write_text(json.dumps(series, indent=1))
    print("\n".join(table(series)))
    if wanted.table is not None:
        write_table(wanted.table, table(series))
    return int(not all(tally_of(series, part).is_clean for part in PARTS))


def _read(kept: Path, seed: int | None) -> dict[str, dict[str, int]]:
    """What was run before: a tally for each part, and the seed of the series."""
    if kept.exists():
        series: dict[str, dict[str, int]] = json.loads(kept.read_text())
        if seed is None or series["series"]["seed"] == seed:
            print(f"torture: goes on with seed {series['series']['seed']}, from {kept}")
            return series
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(f"torture: seed {chosen}, kept in {kept}")
    return {"series": {"seed": chosen}}


def _turn(part: Part, series: dict[str, dict[str, int]], folder: Path) -> bool:
    """Run some rounds of a part; False where its module is not there."""
    try:
        module = importlib.import_module(f"tests.torture.{part.module}")
    except ModuleNotFoundError:
        print(f"torture: there is no tests.torture.{part.module}")
        return False
    before, began = tally_of(series, part), time.monotonic()
    seed = series["series"]["seed"] * 100_000 + before.rounds  # each turn has rounds of its own
    rounds = min(part.turn, part.rounds - before.rounds)
    series[part.module] = asdict(before + module.run(rounds, seed, folder / part.module))
    print(f"{part.module}: {60 * rounds / (time.monotonic() - began):.1f} rounds a minute", flush=True)
    return True


def tally_of(series: dict[str, dict[str, int]], part: Part) -> Tally:
    """What a part has come to so far."""
    return Tally(**series.get(part.module, {}))


def table(series: dict[str, dict[str, int]]) -> list[str]:
    """The lines of a Markdown table: a row for each part."""
    names = [field.name for field in fields(Tally)]
    rows = ["| Torture | of | " + " | ".join(names) + " |", "| --- " + "| --: " * (len(names) + 1) + "|"]
    for part in PARTS:
        values = asdict(tally_of(series, part))
        rows.append(f"| {part.title} | {part.rounds:,} | " + " | ".join(f"{values[name]:,}" for name in names) + " |")
    return rows


def write_table(path: Path, rows: list[str]) -> None:
    """Write what was run into a document of the repository, in place of what stood between its marks."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=HOME, capture_output=True, text=True, check=False
    ).stdout.strip()
    said = f"Run on {datetime.now(UTC):%d %B %Y}, commit `{commit or 'unknown'}`."
    begin, end = "<!-- torture -->", "<!-- /torture -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text("\n".join([before + begin, "", said, "", *rows, "", end + after]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
