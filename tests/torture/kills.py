"""Commands and their engines, killed with SIGKILL at random moments, in both journal modes.

- `run`       so many rounds; each kills one command, its engine or both, looks at what is left, and has it done again
- `COMMANDS`  which
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.schema import SessionError
from tests.engine.running import (
    assert_equal_parts,
    assert_equal_totals,
    read_totals,
)
from tests.torture.judging import UntoldError, require_told
from tests.torture.making import stopped_session
from tests.torture.place import JOURNALS, LONGEST_SECONDS, SAMPLES, Place, count_samples, empty
from tests.torture.starting import Started, is_fresh, starter
from tests.torture.tally import Tally

FRESH_SECONDS = 8.0  # what two real starts add to a command and its engine
VICTIMS = ("both", "both", "command", "engine")


@dataclass(frozen=True, slots=True)
class Play:
    """One round of one command."""

    place: Place
    home: Path
    name: str
    number: int
    chance: random.Random
    fresh: bool

    @property
    def journal(self) -> str:
        """The journal mode of every session that is made."""
        return JOURNALS[self.number // len(COMMANDS) % 2]

    def killed(self, *words: object, session: Path | None = None) -> None:
        """Start a command, kill it, its session's engine or both at a random moment, and wait until both have ended.

        Raises:
            UntoldError: only the engine was killed, and the command does not say so in lines for the user.
            TimeoutExpired: only one was killed, and the other hangs.
        """
        victim = self.chance.choice(VICTIMS) if session else "both"
        within = self.place.seconds[self.name] + FRESH_SECONDS * self.fresh
        started = self._start(*words)
        if started.has_ended(self.chance.random() * within):
            return
        if victim != "engine" or session is None:
            started.kill()
        if session is None:
            return
        if victim == "command":
            self._let_end(session)
        killed = starter().kill_engines(session)
        while victim == "engine" and not killed and not started.has_ended(0.01):
            killed = starter().kill_engines(session)
        if victim == "engine":
            try:
                require_told(started, LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                started.kill()
                raise

    def finish(self, *words: object) -> None:
        """Run a command to its end.

        Raises:
            AssertionError: it fails.
            UntoldError: not in lines for the user.
            TimeoutExpired: it hangs.
        """
        started = self._start(*words)
        code = require_told(started, LONGEST_SECONDS)
        assert code == 0, f"{words[0]} fails afterwards: {started.errors()[-300:]!r}"

    def _start(self, *words: object) -> Started:
        return starter().command(*words, home=self.home, journal=self.journal, fresh=self.fresh)

    def _let_end(self, session: Path) -> None:
        """An engine whose command was killed measures to its end; one that only answers waits for more, and is left."""
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            try:
                with SessionReader(session) as reader:
                    if reader.status().phase in ENDED:
                        return
            except SessionError:
                if not session.exists():
                    return
                raise
            time.sleep(0.05)
        raise subprocess.TimeoutExpired([str(session)], LONGEST_SECONDS)


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Kill a command per round.

    Args:
        rounds: how many.
        seed: of moments and victims; printed.
        folder: for everything that is made.
    """
    print(f"kills: seed {seed}, {rounds} rounds", flush=True)
    place = _place(folder)
    return sum((_round(place, seed, number) for number in range(rounds)), Tally())


@cache
def _place(folder: Path) -> Place:
    return Place(folder)


def _round(place: Place, seed: int, number: int) -> Tally:
    name, command = list(COMMANDS.items())[number % len(COMMANDS)]
    home = empty(place.folder / f"round{seed}-{number}")
    play = Play(place, home, name, number, random.Random(f"{seed} {number}"), is_fresh(seed + number))
    where = f"kills: seed {seed} round {number}: {name} ({play.journal})"
    try:
        command(play)
    except AssertionError as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, lost=1)
    except (subprocess.TimeoutExpired, TimeoutError):
        print(f"{where}: it hangs", flush=True)
        return Tally(rounds=1, hangs=1)
    except UntoldError as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    except Exception as error:  # noqa: BLE001  # what is looked for
        print(f"{where}: {error!r}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    finally:
        for left in home.glob("*.maxact"):
            starter().kill_engines(left)
        shutil.rmtree(home, ignore_errors=True)
    return Tally(rounds=1)


def _engine(play: Play) -> None:
    """The engine alone, saved after every batch or in the background; what was lost is counted in batches."""
    killer = play.place.killers[play.journal]
    killer.seed(f"{play.number} {play.chance.random()}")
    killer.play(play.number // len(COMMANDS) // 2)


def _run(play: Play) -> None:
    session = play.home / "run.maxact"
    play.killed(*play.place.measuring(session), session=session)
    if session.exists():
        _go_on(play, session)
    else:
        play.finish(*play.place.measuring(session))
    _require_equal(session, play.place.whole)


def _resume(play: Play) -> None:
    """A session that was made and never measured, killed up to three times on its way."""
    job = play.place.job
    if play.chance.random() < 0.5:  # in the background, as a user's run
        job = replace(job, checkpoint_seconds=0.02)
    session = stopped_session(play.home / "run.maxact", job)
    for _ in range(play.chance.randint(1, 3)):
        play.killed("resume", session, "--headless", session=session)
        _look(session, 0)
    _go_on(play, session)
    _require_equal(session, play.place.saved)


def _go_on(play: Play, session: Path) -> None:
    with SessionReader(session) as reader:
        phase = reader.status().phase
    if phase != "finished":
        play.finish("resume", session, "--headless")


def _export(play: Play) -> None:
    session, out = Path(shutil.copy(play.place.whole, play.home)), play.home / "out"
    before = session.read_bytes()
    words = [*play.place.exporting(session), out]
    play.killed(*words)
    early = {path.name: path.read_bytes() for path in out.glob("[!.]*")} if out.exists() else {}
    play.finish(*words)
    assert session.read_bytes() == before, "reading changed the session"
    for name, content in early.items():
        assert (out / name).read_bytes() == content, f"{name} was not whole"


def _merge(play: Play) -> None:
    first, second = (Path(shutil.copy(path, play.home)) for path in (play.place.whole, play.place.other))
    target = play.home / "merged.maxact"
    words = ["merge", first, second, "-o", target]
    play.killed(*words)
    if not target.exists():
        play.finish(*words)
    _require_equal(target, play.place.merged)
    for path, whole in ((first, play.place.whole), (second, play.place.other)):
        assert path.read_bytes() == whole.read_bytes(), "merging changed a session"


def _add(play: Play) -> None:
    session = Path(shutil.copy(play.place.whole, play.home))
    words = ["add", session, play.place.more, "--headless"]
    play.killed(*words, session=session)
    _look(session, SAMPLES)
    with SessionReader(session) as reader:
        asked = [one for one in reader.commands() if one.name == "add"]
    if asked:  # it is in the session, and whoever goes on has it done
        _go_on(play, session)
    if count_samples(session) == SAMPLES:
        play.finish(*words)
    _require_equal(session, play.place.added)


def _effect(play: Play) -> None:
    _asked(play, "effect", "--samples", "2")


def _stability(play: Play) -> None:
    _asked(play, "stability", "--samples", "3")


def _asked(play: Play, command: str, *options: str) -> None:
    """What only asks an engine about a finished run changes none of its numbers, and can be asked again."""
    session = Path(shutil.copy(play.place.whole, play.home))
    play.killed(command, session, *options, session=session)
    _require_equal(session, play.place.whole)
    play.finish(command, session, *options)
    _require_equal(session, play.place.whole)
    with SessionReader(session) as reader:
        assert reader.results(command), f"{command} left no result"


def _require_equal(session: Path, whole: Path) -> None:
    _look(session, count_samples(whole))
    assert_equal_totals(read_totals(session), read_totals(whole))
    assert_equal_parts(session, whole)


def _look(session: Path, least: int) -> None:
    """The session opens, holds at least these samples, each once."""
    with SessionReader(session) as reader:
        done = Counter(reader.samples_done().tolist())
        reader.all_totals()
    assert len(done) >= least, f"{len(done)} samples are left of {least}"
    assert max(done.values(), default=1) == 1, "a sample was counted twice"


COMMANDS: dict[str, Callable[[Play], None]] = {
    "run": _run, "export": _export, "resume": _resume, "merge": _merge, "add": _add, "effect": _effect,
    "engine": _engine, "stability": _stability,
}  # fmt: skip
