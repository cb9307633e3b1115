"""Single bits of a finished session, changed: the file is refused, or nothing that is shown changes.

- `run`     flip so many bits, each in a fresh copy
- `shown`   everything that the summary and the exports say of a session
- `finished_run`  a session of a real run, to flip bits of
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.analysis.model import analyse
from engine.report.complete import complete_dict
from engine.report.summary import summary_dict
from engine.run import runner
from engine.session.listing import list_sessions
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError, SessionError
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.tally import Tally

Flip = Callable[[bytearray, random.Random], str]


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Flip one bit of a finished session per round; round n of a seed is the same whenever it is run.

    Args:
        rounds: how many.
        seed: of the places; printed, and with the round beside every failure.
        folder: for the session and its copies; what is there already is used again.
    """
    session = folder / "whole.maxact"
    if not session.exists():
        finished_run(folder, session)
    print(f"flips: seed {seed}, {rounds} rounds", flush=True)
    return sum((flip_once(session, seed, number) for number in range(rounds)), Tally())


def flip_once(session: Path, seed: int, number: int) -> Tally:
    """One round: a bit anywhere in the file, every other time in the first pages, where the structure is."""
    whole, expected = session.read_bytes(), _expected(session)
    places = random.Random(f"{seed} {number}")
    most = len(whole) if number % 2 else min(16 * 4096, len(whole))
    place, bit = places.randrange(most), places.randrange(8)
    folder = session.parent / "flipped"
    folder.mkdir(exist_ok=True)
    copy = folder / session.name
    shutil.copy(session, copy)
    with copy.open("r+b") as file:
        file.seek(place)
        file.write(bytes([whole[place] ^ 1 << bit]))
    where = f"flips: seed {seed} round {number}: byte {place} bit {bit}"
    try:
        found = shown(copy)
    except SessionError as error:
        if str(error).isprintable():
            return Tally(rounds=1)
        print(f"{where}: more than a line: {error!r}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    except Exception as error:  # noqa: BLE001  # what is looked for
        print(f"{where}: {error!r}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    if found != expected:
        print(f"{where}: {_difference(found, expected)}", flush=True)
        return Tally(rounds=1, silent=1)
    return Tally(rounds=1)


def shown(session: Path) -> str:
    """What the list, the summary and the complete export say of a session, as one text."""
    with SessionReader(session) as reader:
        said = [summary_dict(analyse(reader)), complete_dict(reader)]
    (listed,) = list_sessions(session.parent)
    if listed.status.phase == "damaged":
        raise DamagedError(session, listed.status.detail)
    about = [listed.model, listed.status.to_json(), listed.magnitude, listed.created, listed.nonfinite_sites]
    return json.dumps([*said, about], sort_keys=True, default=str)


def finished_run(folder: Path, session: Path) -> None:
    """A session of a tiny random Llama over a few texts."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    if not model.exists():
        tiny_llama_folder(model)
    assert runner.run(new_session(session, tiny_job(model, write_corpus(folder / "texts.jsonl")))) == 0


def _expected(session: Path) -> str:
    kept = session.with_suffix(".shown.json")
    if not kept.exists():
        lonely = session.parent / "alone"
        lonely.mkdir(exist_ok=True)
        kept.write_text(shown(Path(shutil.copy(session, lonely))))
    return kept.read_text().replace(str(session.parent / "alone"), str(session.parent / "flipped"))


def _difference(found: str, expected: str) -> str:
    place = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), 0)
    return f"{expected[max(place - 40, 0) : place + 40]!r} became {found[max(place - 40, 0) : place + 40]!r}"
