"""Two to six engines started at once on one session, some of them killed: one works, nothing is counted twice.

- `run`  so many rounds, each with a session of its own
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from engine.base.job import Job
from engine.session.engine_lock import is_locked
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from tests.engine.running import EVERY_BATCH, assert_equal_totals, read_totals, tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.judging import UntoldError, require_told
from tests.torture.making import stopped_session
from tests.torture.starting import Started, is_fresh, starter
from tests.torture.tally import Tally

LONGEST_SECONDS = 300


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Start engines against each other.

    Args:
        rounds: how many.
        seed: of how many engines and which are killed when; printed.
        folder: for everything that is made.
    """
    print(f"engines: seed {seed}, {rounds} rounds", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    if not (model / "tokenizer.json").exists():
        tiny_llama_folder(model)
    job = tiny_job(model, write_corpus(folder / "texts.jsonl"))
    whole = folder / f"whole{seed}.maxact"
    whole.unlink(missing_ok=True)
    _play(stopped_session(whole, job), random.Random(0), 1, kills=False, fresh=False)
    try:
        return sum((_round(folder, whole, job, seed, number) for number in range(rounds)), Tally())
    finally:
        whole.unlink()


def _round(folder: Path, whole: Path, job: Job, seed: int, number: int) -> Tally:
    chance, where = random.Random(f"{seed} {number}"), f"engines: seed {seed} round {number}"
    home = folder / f"race{seed}-{number}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    path = home / "race.maxact"
    engines, kills = chance.randint(2, 6), chance.random() < 0.5
    if chance.random() < 0.5:  # saved after every batch, so that a second writer would meet the first
        job = replace(job, checkpoint_seconds=EVERY_BATCH["checkpoint_seconds"])
    try:
        _play(stopped_session(path, job), chance, engines, kills=kills, fresh=is_fresh(seed + number))
        with SessionReader(path) as reader:
            times = Counter(reader.samples_done().tolist())
            assert reader.status().phase == "finished", reader.status().detail
        assert max(times.values()) == 1, "a sample was counted twice"
        assert_equal_totals(read_totals(path), read_totals(whole))
    except subprocess.TimeoutExpired as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, hangs=1)
    except (AssertionError, SessionError) as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, lost=1)
    except UntoldError as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    finally:
        starter().kill_engines(path)
        shutil.rmtree(home, ignore_errors=True)
    return Tally(rounds=1)


def _play(path: Path, chance: random.Random, engines: int, *, kills: bool, fresh: bool) -> None:
    """Start so many at once, kill some at random, and let one finish.

    Raises:
        TimeoutExpired: one never ends.
        AssertionError: one ended otherwise than done, refused or killed.
        UntoldError: a command said something that is no line for the user.
    """
    is_command = [chance.random() < 0.5 for _ in range(engines)]
    started = [_start(path, by_command=one, fresh=fresh) for one in is_command]
    if kills:
        victim = chance.randrange(engines)
        if not started[victim].has_ended(chance.random() * (8 if fresh else 2)):
            started[victim].kill()
            if is_command[victim]:
                starter().kill_engines(path)  # whichever there are
    for one, by_command in zip(started, is_command, strict=True):
        if by_command and one.process.poll() != -9:
            require_told(one, LONGEST_SECONDS)
        else:
            code = one.wait(LONGEST_SECONDS)
            assert code in (0, 1, -9), f"an engine ended with {code}"
    _await_free(path)
    with SessionReader(path) as reader:
        is_over = reader.status().phase == "finished"
    if not is_over:
        last = _start(path, by_command=False, fresh=fresh)
        code = last.wait(LONGEST_SECONDS)
        assert code == 0, f"the engine that goes on ended with {code}: {last.errors()[-300:]!r}"


def _await_free(path: Path) -> None:
    """Wait for an engine whose command was killed."""
    end = time.monotonic() + LONGEST_SECONDS
    while is_locked(path):
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired([str(path)], LONGEST_SECONDS)
        time.sleep(0.02)


def _start(path: Path, *, by_command: bool, fresh: bool) -> Started:
    """An engine by itself, or by a command that takes the lock for it."""
    if by_command:
        return starter().command("resume", path, "--headless", home=path.parent, fresh=fresh)
    return starter().engine(path, fresh=fresh)
