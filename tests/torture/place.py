"""Where commands are killed: a model, texts, and what each command makes of them when nobody kills it.

- `Place`  the folder with all of it
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from engine.base.job import Job
from engine.session.reader import SessionReader
from tests.engine.killing import Killer
from tests.engine.running import EVERY_BATCH, tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.making import other_texts, stopped_session
from tests.torture.starting import starter

LONGEST_SECONDS = 300
JOURNALS = ("wal", "delete")
SAMPLES, MORE = 24, 8


class Place:
    """A folder with a model, texts, and what each command makes of them when nobody kills it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model = folder, folder / "model"
        if not (self.model / "tokenizer.json").exists():
            tiny_llama_folder(self.model)
        self.corpus = write_corpus(folder / "texts.jsonl", 60)
        self.more = other_texts(folder / "more.jsonl", MORE)
        self.killers = {name: Killer(empty(folder / name), self.model, self.corpus, 0, name) for name in JOURNALS}
        self.seconds: dict[str, float] = {}
        home = empty(folder / "undisturbed")
        self.whole, self.other, self.added = (home / f"{name}.maxact" for name in ("whole", "other", "added"))
        self._time("run", self.measuring(self.whole), home)
        starter().command(*self.measuring(self.other, self.more), home=home).wait(LONGEST_SECONDS)
        shutil.copy(self.whole, self.added)
        self._time("add", ["add", self.added, self.more, "--headless"], home)
        self.merged = home / "merged.maxact"
        self._time("merge", ["merge", self.whole, self.other, "-o", self.merged], home)
        self._time("export", [*self.exporting(self.whole), home / "out"], home)
        tried = Path(shutil.copy(self.whole, home / "tried.maxact"))
        self._time("effect", ["effect", tried, "--samples", "2"], home)
        self._time("stability", ["stability", tried, "--samples", "3"], home)
        self.saved = stopped_session(home / "saved.maxact", self.job)
        self._time("resume", ["resume", self.saved, "--headless"], home)
        assert [count_samples(path) for path in (self.whole, self.other, self.added, self.merged)] == [24, 8, 32, 32]

    @property
    def job(self) -> Job:
        """A run that is saved after every batch."""
        return tiny_job(self.model, self.corpus, **EVERY_BATCH, samples=SAMPLES, quant="full")

    def measuring(self, session: Path, corpus: Path | None = None) -> list[object]:
        """The words that measure into a session."""
        return [self.model, "--corpus", corpus or self.corpus, "--session", session, "--headless", "--samples", SAMPLES,
                "--backend", "torch", "--threads", "1", "--sites", "paper+gemm"]  # fmt: skip

    def exporting(self, session: Path) -> list[object]:
        """The words that export a session into the folder that follows."""
        return ["export", session, "--format", "json,csv,markdown,act-scales", "--force", "-o"]

    def _time(self, name: str, words: list[object], home: Path) -> None:
        began = time.monotonic()
        done = starter().command(*words, home=home)
        assert done.wait(LONGEST_SECONDS) == 0, done.errors()
        self.seconds[name] = time.monotonic() - began


def count_samples(session: Path) -> int:
    """How many samples a session holds."""
    with SessionReader(session) as reader:
        return len(reader.samples_done())


def empty(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
