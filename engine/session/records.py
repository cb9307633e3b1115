"""The frozen records of a session file.

- `Phase`, `Status`   what the engine is doing, with heartbeat and progress
- `LiveTable`         the newest scalars of every site
- `Event`             something that mattered, with its moment
- `REPLACES`, `without_replaced`  which events take the place of earlier ones
- `Command`           a request of a screen, and the engine's answer
- `Result`            what was asked of the loaded model beside the measuring, and came out
- `SampleRecord`      one corpus sample as it was tokenised
- `SessionInfo`       one line of the session list
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError, amounts, build, check, moment
from engine.messages import Message, as_written, read_message, words
from engine.statistics.fields import LIVE_FIELDS, LiveRow

Phase = Literal["starting", "loading", "running", "paused", "finished", "stopped", "failed", "gone", "damaged"]
ENDED: frozenset[Phase] = frozenset({"finished", "stopped", "failed", "gone"})
BROKEN_OFF: frozenset[Phase] = frozenset({"failed", "gone"})
"""Ended without a last checkpoint: what came after the one before is lost."""

_PHASES: Final = frozenset(get_args(Phase))
_LARGEST_PID: Final = 2**31


@dataclass(frozen=True, slots=True)
class Status:
    """What the engine is doing. Times are Unix seconds of the engine's clock.

    Attributes:
        phase: two are never stored: a reader says `gone` when an engine that should beat does not, and a list says
            `damaged` of a file that cannot be read.
        message: the step within the phase, or how it ended and why; None where the phase says it all.
        done: progress of the loading step, in `unit`; total 0 where it is unknown.
        pid: process id of the engine, 0 before it started; only meaningful on `host`.
        boot: an identifier of the machine's boot, so that a recycled pid is not taken for the engine.
        start_ticks: when the process began, in clock ticks since boot, for the same reason; 0 where it is not known.
        namespace: the process id namespace (container) in which `pid` means something; empty where it is not known.
        lock: 1 if the engine holds the session's lock, so that it is gone where nobody holds it.
        running_seconds: of measuring alone: neither loading nor pauses nor what was asked of the model in between.
        tokens_per_second: of the newest batches; readers want `rate`.
    """

    phase: Phase = "starting"
    message: Message | None = None
    done: int = 0
    total: int = 0
    unit: str = ""
    pid: int = 0
    host: str = ""
    boot: str = ""
    start_ticks: int = 0
    namespace: str = ""
    lock: int = 0
    started: float = 0.0
    heartbeat: float = 0.0
    ended: float = 0.0
    batches_done: int = 0
    batches_total: int = 0
    samples_done: int = 0
    samples_total: int = 0
    tokens_done: int = 0
    tokens_total: int = 0
    padded_tokens: int = 0
    running_seconds: float = 0.0
    tokens_per_second: float = 0.0
    peak_bytes: int = 0

    @property
    def detail(self) -> str:
        """The sentence of the message, for showing; empty without one."""
        return words(self.message)

    @property
    def rate(self) -> float:
        """Tokens per second: of the newest batches while it goes on, of all measuring once it is over; 0 unknown."""
        if self.phase in ENDED and self.running_seconds > 0:
            return self.tokens_done / self.running_seconds
        return self.tokens_per_second

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the present rate, None while it is unknown."""
        left = self.tokens_total - self.tokens_done
        return left / self.tokens_per_second if self.tokens_per_second > 0 and left >= 0 else None

    @property
    def padding_share(self) -> float:
        """Padding as a share of all token places computed so far."""
        places = self.tokens_done + self.padded_tokens
        return self.padded_tokens / places if places else 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Status:
        """Read what `to_json` wrote, ignoring fields of a newer version.

        Raises:
            UnsoundError: a field is of another type, or no engine says such a thing.
        """
        status = amounts(build(cls, {name: value for name, value in data.items() if name != "message"}))
        if data.get("message") is not None:
            status = status.changed(message=read_message(data["message"]))
        elif said := check(str, data.get("detail", ""), "detail"):  # of a version before there were codes
            status = status.changed(message=as_written(said))
        if status.phase not in _PHASES or not 0 <= status.pid < _LARGEST_PID:
            raise UnsoundError("it is not what a run writes")
        for at in (status.started, status.heartbeat, status.ended):
            moment(at)
        return status

    def changed(self, **changes: Any) -> Status:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, eq=False)
class LiveTable:
    """The newest scalars of every site.

    Attributes:
        tick: grows by one with every write.
        data: float64 [sites, len(LIVE_FIELDS)]; rows in the hook plan's order, NaN for sites not seen yet.
    """

    tick: int
    data: NDArray[np.float64]

    def column(self, field: str) -> NDArray[np.float64]:
        """One field of all sites, float64 [sites]."""
        column: NDArray[np.float64] = self.data[:, LIVE_FIELDS.index(field)]
        return column

    def row(self, site: int) -> LiveRow | None:
        """The scalars of one site by name; None where the table has no such site."""
        return LiveRow(*self.data[site].tolist()) if 0 <= site < len(self.data) else None

    @property
    def peak(self) -> NDArray[np.float64]:
        """The element of largest |x| of all sites, with its sign, NaN where nothing was seen."""
        largest, least = self.column("max"), self.column("min")
        return np.where(np.abs(largest) >= np.abs(least), largest, least)

    @property
    def magnitude(self) -> NDArray[np.float64]:
        """M_site = max(|max|, |min|) of all sites, NaN where nothing was seen."""
        return np.maximum(np.abs(self.column("max")), np.abs(self.column("min")))

    @property
    def bad_addresses(self) -> NDArray[np.float64]:
        """Lowest (sample, position, channel) of a non-finite element of each site, [sites, 3], -1 if none."""
        found = np.stack([self.column(name) for name in ("bad_sample", "bad_position", "bad_channel")], axis=1)
        return np.nan_to_num(found, nan=-1.0)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that mattered. `site` is the site's number or None; `tokens` the tokens seen by then."""

    number: int
    at: float
    tokens: int
    kind: str
    message: Message
    site: int | None = None

    @property
    def text(self) -> str:
        """The sentence of the message, for showing."""
        return words(self.message)


REPLACES: Mapping[str, tuple[str, ...]] = {"nonfinite": ("nonfinite", "convergence"), "fp16": ("fp16",)}
"""Kinds of events that count sites: a new one takes the place of those of these kinds that were there."""


def without_replaced(events: Sequence[Event]) -> tuple[Event, ...]:
    """The events, oldest first, without those that a later one has replaced."""
    last = {kind: max((e.number for e in events if e.kind == kind), default=0) for kind in REPLACES}
    if not any(last.values()):
        return tuple(events)
    gone = {(old, number) for kind, number in last.items() if number for old in REPLACES[kind]}
    return tuple(e for e in events if not any(e.kind == old and e.number < number for old, number in gone))


@dataclass(frozen=True, slots=True)
class Command:
    """A request of a screen.

    Attributes:
        state: `new`, `working` (long work, not done yet), `done` or `refused`.
        answer: the engine's reply: `code` and `data` of a message (before schema 3 `text`, one line); while `working`
            also `done` and `total` steps; with a result its number, `result`.
    """

    number: int
    at: float
    name: str
    arguments: dict[str, Any]
    state: str
    answer: dict[str, Any]

    @property
    def message(self) -> Message | None:
        """What the engine said; None before it has said anything."""
        if "code" in self.answer:
            return read_message(self.answer)
        said = self.answer.get("text")
        return as_written(said) if said else None

    @property
    def text(self) -> str:
        """What the engine said as a sentence, for showing, or else the state."""
        return words(self.message) or self.state


@dataclass(frozen=True, slots=True)
class Result:
    """What was asked of the loaded model beside the measuring, and came out; its arrays are in the file beside it.

    Attributes:
        number: grows with every result of the session.
        at: Unix seconds when it was stored.
        kind: `probe`, `effect`, ...
        title: one line that names it in a list.
        settings: what was asked for.
        data: what came out, JSON values.
    """

    number: int
    at: float
    kind: str
    title: str
    settings: dict[str, Any]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SampleRecord:
    """One corpus sample as it was tokenised; `token_ids` is int32 [tokens]."""

    number: int
    category: str
    language: str
    origin: str
    was_cut: bool
    token_ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One line of the session list. `magnitude` is M so far, NaN before the first number; no size counts the log.

    `nonfinite_sites` is how many sites hold NaN or infinity, which are not in M. Without `is_m` the run did not measure
    the sites of M, and `magnitude` is that of the largest GEMM input.

    Of a `damaged` file `status.message` says why, the model is empty, and `created` is when it was last written.
    """

    path: Path
    model: str
    status: Status
    magnitude: float
    created: float
    size_bytes: int
    nonfinite_sites: int = 0
    is_m: bool = True
