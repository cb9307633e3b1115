"""Commands and their engines, killed with SIGKILL at random moments, in both journal modes.

- `run`       so many rounds; each kills one command, looks at what is left, and runs it again to its end
- `COMMANDS`  which
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.schema import SessionError
from tests.engine.killing import Killer
from tests.engine.running import assert_equal_totals, read_totals, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.tally import Tally

LONGEST_SECONDS = 300
JOURNALS = ("wal", "delete")


class Place:
    """A folder with a model, texts and a whole session, and the commands that are killed in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.random = folder, random.Random(seed)
        self.model, self.whole = folder / "model", folder / "whole.maxact"
        if not (self.model / "tokenizer.json").exists():
            tiny_llama_folder(self.model)
        self.corpus = write_corpus(folder / "texts.jsonl", 60)
        self.more = write_corpus(folder / "more.jsonl", 8)
        self.killers = {name: Killer(_empty(folder / name), self.model, self.corpus, seed, name) for name in JOURNALS}
        if not self.whole.exists():
            unfinished = folder / "unfinished.maxact"
            unfinished.unlink(missing_ok=True)
            words = [self.model, "--corpus", self.corpus, "--session", unfinished, "--headless", "--samples", "24"]
            done = self.start(*words, home=folder)
            assert done.wait(LONGEST_SECONDS) == 0, done.stderr
            unfinished.rename(self.whole)

    def start(self, *words: object, home: Path, journal: str = "wal") -> subprocess.Popen[bytes]:
        """A command in a process of its own, whose sessions are in `home`."""
        environment = os.environ | {"MAXACT_SESSIONS": str(home), "HF_HUB_OFFLINE": "1", "MAXACT_JOURNAL": journal}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "maxact_tui", *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip

    def killed(self, *words: object, home: Path, journal: str, within: float, session: Path | None = None) -> None:
        """Start a command, kill it and the engine of its session at a random moment, and wait for both."""
        process = self.start(*words, home=home, journal=journal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.random.random() * within)
        process.kill()
        process.wait()
        if session is not None:
            kill_engine(session)

    def finish(self, *words: object, home: Path, journal: str) -> None:
        """Run a command to its end.

        Raises:
            AssertionError: it fails.
            TimeoutExpired: it hangs.
        """
        assert self.start(*words, home=home, journal=journal).wait(LONGEST_SECONDS) == 0, f"{words} fails afterwards"


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Kill a command per round.

    Args:
        rounds: how many.
        seed: of moments and commands; printed.
        folder: for everything that is made.
    """
    print(f"kills: seed {seed}, {rounds} rounds", flush=True)
    place = Place(folder, seed)
    return sum((_round(place, seed, number) for number in range(rounds)), Tally())


def _round(place: Place, seed: int, number: int) -> Tally:
    name, command = list(COMMANDS.items())[number % len(COMMANDS)]
    journal = JOURNALS[number // len(COMMANDS) % 2]
    where = f"kills: seed {seed} round {number}: {name} ({journal})"
    home = _made(place.folder / f"round{os.getpid()}-{number}")
    try:
        command(place, home, journal, number)
    except AssertionError as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, lost=1)
    except subprocess.TimeoutExpired:
        print(f"{where}: it hangs", flush=True)
        return Tally(rounds=1, hangs=1)
    except Exception as error:  # noqa: BLE001  # what is looked for
        print(f"{where}: {error!r}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return Tally(rounds=1)


def _measure(place: Place, _home: Path, journal: str, number: int) -> None:
    place.killers[journal].play(number)


def _export(place: Place, home: Path, journal: str, _number: int) -> None:
    session, out = Path(shutil.copy(place.whole, home)), home / "out"
    before = session.read_bytes()
    words = ["export", session, "--format", "json,csv,markdown", "-o", out]
    place.killed(*words, home=home, journal=journal, within=3)
    early = {path.name: path.read_bytes() for path in out.glob("[!.]*")} if out.exists() else {}
    place.finish(*words, "--force", home=home, journal=journal)
    assert session.read_bytes() == before, "reading changed the session"
    for name, content in early.items():
        assert (out / name).read_bytes() == content, f"{name} was not whole"


def _merge(place: Place, home: Path, journal: str, _number: int) -> None:
    first, second = (Path(shutil.copy(place.whole, home / f"{name}.maxact")) for name in "ab")
    target = home / "c.maxact"
    place.killed("merge", first, second, "-o", target, home=home, journal=journal, within=4)
    if target.exists():
        with SessionReader(target) as reader:
            assert len(reader.samples_done()) in (24, 48), "a merged session with some of its samples"
    for path in (first, second):
        assert path.read_bytes() == place.whole.read_bytes(), "merging changed a session"


def _add(place: Place, home: Path, journal: str, _number: int) -> None:
    session = Path(shutil.copy(place.whole, home))
    words = ["add", session, place.more, "--headless"]
    place.killed(*words, home=home, journal=journal, within=12, session=session)
    _look(session, 24)
    with SessionReader(session) as reader:
        status, asked = reader.status(), [one for one in reader.commands() if one.name == "add"]
    if status.phase != "finished":
        place.finish("resume", session, "--headless", home=home, journal=journal)
    elif not any(one.state == "done" for one in asked):
        place.finish(*words, home=home, journal=journal)
    _look(session, 24)


def _effect(place: Place, home: Path, journal: str, _number: int) -> None:
    session = Path(shutil.copy(place.whole, home))
    words = ["effect", session, "--samples", "2"]
    place.killed(*words, home=home, journal=journal, within=15, session=session)
    _look(session, 24)
    assert_equal_totals(read_totals(session), read_totals(place.whole))


def _look(session: Path, least: int) -> None:
    """The session opens, holds at least these samples, each once."""
    with SessionReader(session) as reader:
        done = Counter(reader.samples_done().tolist())
        reader.all_totals()
    assert len(done) >= least, f"{len(done)} samples are left of {least}"
    assert max(done.values()) == 1, "a sample was counted twice"


def kill_engine(session: Path) -> None:
    """Kill whatever engine works on a session, and wait until it is gone."""
    with suppress(SessionError), SessionReader(session) as reader:
        for status in (reader.status(), reader.service()):
            if status is None or status.phase in ENDED or not status.pid:
                continue
            with suppress(ProcessLookupError):
                os.kill(status.pid, signal.SIGKILL)
            end = time.monotonic() + LONGEST_SECONDS
            while Path(f"/proc/{status.pid}").exists() and time.monotonic() < end:
                time.sleep(0.02)


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return _made(folder)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


COMMANDS: dict[str, Callable[[Place, Path, str, int], None]] = {
    "run": _measure, "export": _export, "resume": _measure, "merge": _merge, "add": _add, "effect": _effect,
}  # fmt: skip
