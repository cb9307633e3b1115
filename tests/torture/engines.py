"""Two to six engines started at once on one session, some of them killed: one works, nothing is counted twice.

- `run`  so many rounds, each with a session of its own
"""

from __future__ import annotations

import random
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path

from engine.session.reader import SessionReader
from tests.engine.running import assert_equal_totals, new_session, read_totals, tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.starting import engine, server
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
    context = server()
    model = folder / "model"
    if not (model / "tokenizer.json").exists():
        tiny_llama_folder(model)
    job = tiny_job(model, write_corpus(folder / "texts.jsonl"))
    whole = folder / f"whole{seed}.maxact"
    whole.unlink(missing_ok=True)
    _play(context, new_session(whole, job), random.Random(0), 1, kills=False)
    tally = Tally()
    for number in range(rounds):
        chance = random.Random(f"{seed} {number}")
        path = folder / f"race{seed}-{number}.maxact"
        path.unlink(missing_ok=True)
        try:
            _play(context, new_session(path, job), chance, chance.randint(2, 6), kills=chance.random() < 0.5)
            with SessionReader(path) as reader:
                times = Counter(reader.samples_done().tolist())
                assert reader.status().phase == "finished", reader.status().detail
            assert max(times.values()) == 1, "a sample was counted twice"
            assert_equal_totals(read_totals(path), read_totals(whole))
        except TimeoutError as error:
            print(f"engines: seed {seed} round {number}: {error}", flush=True)
            tally += Tally(rounds=1, hangs=1)
        except AssertionError as error:
            print(f"engines: seed {seed} round {number}: {error}", flush=True)
            tally += Tally(rounds=1, lost=1)
        else:
            tally += Tally(rounds=1)
        finally:
            for left in folder.glob(f"{path.name}*"):
                left.unlink(missing_ok=True)
    return tally


def _play(context: ForkServerContext, path: Path, chance: random.Random, engines: int,
          *, kills: bool) -> None:  # fmt: skip
    """Start so many at once, kill some at random, and let one finish.

    Raises:
        TimeoutError: one never ends.
        AssertionError: more than one ran to its end at once, or one ended otherwise.
    """
    processes = [context.Process(target=engine, args=(str(path),)) for _ in range(engines)]
    for process in processes:
        process.start()
    if kills:
        victim = chance.choice(processes)
        victim.join(chance.random() * 2)
        victim.kill()
    for process in processes:
        process.join(LONGEST_SECONDS)
        if process.is_alive():
            process.kill()
            raise TimeoutError("an engine does not end")
        assert process.exitcode in (0, 1, -9), f"an engine ended with {process.exitcode}"
    with SessionReader(path) as reader:
        is_over = reader.status().phase == "finished"
    if not is_over:
        last = context.Process(target=engine, args=(str(path),))
        last.start()
        last.join(LONGEST_SECONDS)
        if last.is_alive():
            last.kill()
            raise TimeoutError("the engine that goes on does not end")
        assert last.exitcode == 0, f"the engine that goes on ended with {last.exitcode}"
