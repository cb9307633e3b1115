"""A progress bar for a run in this process, in a terminal or a notebook.

- `shown_progress`  shows it for the length of a `with` block
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from engine.base.wording import printable
from engine.session.reader import SessionReader
from engine.session.schema import SessionError

LOOK_SECONDS = 0.25


@contextmanager
def shown_progress(session: Path, *, wanted: bool) -> Iterator[None]:
    """Follow a session while this block runs, in a thread."""
    if not wanted:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(session, done), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(session: Path, done: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar, SessionReader(session) as reader:
        task = bar.add_task("starting", total=None, rate="")
        while not done.wait(LOOK_SECONDS):
            try:
                status = reader.status()
            except SessionError:  # being written; the next look will tell
                continue
            rate = f"{status.tokens_per_second:,.0f} tokens/s" if status.tokens_per_second else ""
            bar.update(
                task,
                description=printable(status.detail or status.phase),
                completed=status.tokens_done,
                total=status.tokens_total or None,
                rate=rate,
            )
