"""What a work on the loaded model is.

- `Work`         a generator function: each `yield` ends a step, its return value is the number of the result it kept
- `WorkContext`  what it may use
- `Progress`     how far it is
- `WorkError`    it cannot be done; one line with the user's next step
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.base.job import Job
from engine.messages import Message
from engine.preparation.prepare import Prepared
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter


class WorkError(Exception):
    """The work cannot be done; the message is one line that names the user's next step."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a work is: `done` of `total` steps (0 where unknown), and what it is at."""

    done: int
    total: int
    message: Message | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WorkContext:
    """What a work may use.

    Attributes:
        prepared: model, plan, tokenised corpus; none of the run's hooks are on the model.
        job: the run's choices.
        reader: the session as it is; its totals are those of the last checkpoint.
        writer: keeps the result, by `add_result`.
    """

    prepared: Prepared
    job: Job
    reader: SessionReader
    writer: SessionWriter


Work = Callable[[WorkContext, Mapping[str, Any]], Generator[Progress, None, int]]
"""Steps run under `computing.computing`. A step takes about as long as a batch; hooks are removed before it ends."""
