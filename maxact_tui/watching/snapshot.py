"""What a screen draws, at one moment, as frozen records.

- `SiteView`   one site as of a checkpoint
- `Damages`    what of a checkpoint cannot be read
- `Snapshot`   everything the screen draws
- `Wish`       what the screen wants to see
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.session.records import ENDED, Command, Event, LiveTable, Result, Status
from engine.session.requests import Request, Standing
from engine.statistics.fields import LiveRow
from maxact_tui.texts.numbers import grouped

if TYPE_CHECKING:
    from engine.analysis.maximum import Maximum
    from engine.analysis.model import ModelSummary
    from engine.analysis.nonfinite import Alarm
    from engine.analysis.site import SiteSummary
    from engine.session.reader import SessionMeta
    from engine.sites.site import HookPlan, Site
    from engine.statistics.totals import SiteTotals
    from maxact_tui.watching.boardview import BoardView, SiteQuant
    from maxact_tui.watching.machine import Usage
    from maxact_tui.watching.places import TokenPlace

THREADS_SHOWN = 200


@dataclass(frozen=True, slots=True, eq=False)
class SiteView:
    """One site as of a checkpoint.

    Attributes:
        site: its number in the hook plan.
        record: its record there.
        checkpoint: number of the checkpoint.
        totals: everything kept of it.
        summary: its fields.
        places: the token of each entry of `summary.top`, None where the session does not hold it.
        quant: what quantisers make of it.
        tokens: seen by the run at that checkpoint.
    """

    site: int
    record: Site
    checkpoint: int
    totals: SiteTotals
    summary: SiteSummary
    places: tuple[TokenPlace | None, ...]
    quant: SiteQuant
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Damages:
    """Why numbers of the last checkpoint cannot be read, each empty where they can, or were not asked for.

    Attributes:
        view: those of the focused site.
        model: those of the whole model.
        board: what quantisers make of all sites.
    """

    view: str = ""
    model: str = ""
    board: str = ""

    @property
    def any(self) -> str:
        """One of them."""
        return self.view or self.model or self.board


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything the screen draws, at one moment.

    Attributes:
        path: the session file.
        status: of the engine; None until the file could be read.
        meta: job, plan, provenance; None until the file could be read.
        live: newest scalars of every site, None before the first tick.
        maximum: M so far.
        maximum_place: the token that holds M.
        alarm: the first non-finite element in the order of a forward; None while all are finite.
        alarm_place: the token it is at.
        focus: number of the site under the cursor, None before there is a plan.
        focus_place: the token that holds the focused site's largest |x|.
        view: the focused site at the last checkpoint; None before it was read.
        checkpoint: how many checkpoints were written.
        model: everything about the model at a checkpoint; None until a pane or a measure asks for it.
        model_at: the checkpoint it belongs to.
        board: what quantisers make of all sites; None until a screen or a measure asks for it.
        thread_places: the token of each of `model.threads`, for the first `THREADS_SHOWN` of them.
        samples_done: numbers of the samples finished by the last checkpoint, in run order, int32 [n].
        labels: (number, category, tokens) of every sample.
        events: every event so far.
        commands: what was asked of the engine, with its answers.
        requests: what this screen has asked for and `commands` does not hold yet, the oldest first.
        results: what work on the loaded model has given, oldest first; without their arrays.
        service: the engine that answers requests about an ended run; None where there never was one.
        last_words: the last lines of the engine's log, of a run that broke off; else empty.
        problem: why the file, or part of its numbers, cannot be read at the moment, else empty.
        damages: which part.
        is_bug: the problem is a mistake of the program, not the file's.
        quiet_seconds: age of the engine's last sign of life.
        usage: what the engine takes of this machine; None where it is elsewhere or over.
        read_only: this screen sends nothing to the engine.
    """

    path: Path
    status: Status | None = None
    meta: SessionMeta | None = None
    live: LiveTable | None = None
    maximum: Maximum | None = None
    maximum_place: TokenPlace | None = None
    alarm: Alarm | None = None
    alarm_place: TokenPlace | None = None
    focus: int | None = None
    focus_place: TokenPlace | None = None
    view: SiteView | None = None
    checkpoint: int = 0
    model: ModelSummary | None = None
    model_at: int = 0
    board: BoardView | None = None
    thread_places: tuple[TokenPlace | None, ...] = ()
    samples_done: NDArray[np.int32] | None = None
    labels: tuple[tuple[int, str, int], ...] = ()
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()
    requests: tuple[Request, ...] = ()
    results: tuple[Result, ...] = ()
    service: Status | None = None
    last_words: tuple[str, ...] = ()
    problem: str = ""
    damages: Damages = Damages()
    is_bug: bool = False
    quiet_seconds: float = 0.0
    usage: Usage | None = None
    read_only: bool = False

    @property
    def summaries(self) -> tuple[SiteSummary | None, ...]:
        """Of all sites; empty until asked for."""
        return self.model.sites if self.model is not None else ()

    @property
    def plan(self) -> HookPlan | None:
        """The hook plan, None until the engine has found the sites."""
        return self.meta.plan if self.meta is not None else None

    def asked(self, name: str) -> list[Request]:
        """Every request of this name, the oldest first."""
        found = [Request.sent(command) for command in self.commands if command.name == name]
        return found + [request for request in self.requests if request.name == name]

    def standing(self, request: Request) -> Standing:
        """Where a request stands."""
        return request.standing(self.commands, self.status, self.service)

    @property
    def has_ended(self) -> bool:
        """Whether no engine works on this session any more."""
        return self.status is not None and self.status.phase in ENDED

    def as_of(self, tokens: int | None) -> str:
        """`as of N tokens` for what is of a checkpoint the run has gone on from since; else empty."""
        seen = self.status.tokens_done if self.status is not None else 0
        return f"as of {grouped(tokens)} tokens" if tokens and tokens < seen else ""

    def live_row(self, site: int | None) -> LiveRow | None:
        """The newest scalars of a site; None before the first, or without a site."""
        return self.live.row(site) if self.live is not None and site is not None else None

    def peak_of(self, site: int) -> tuple[int, int] | None:
        """(sample, position) of a site's largest |x| so far; None where nothing was seen."""
        row = self.live_row(site)
        return (int(row.sample), int(row.position)) if row is not None and row.sample >= 0 else None

    def place_of(self, site: int) -> tuple[int, int] | None:
        """(sample, position) of a site's largest |x|; of its first NaN or infinity where nothing is finite."""
        bad = self.bad_of(site)
        return self.peak_of(site) or (bad[:2] if bad is not None else None)

    def bad_of(self, site: int) -> tuple[int, int, int] | None:
        """(sample, position, channel) of a site's first NaN or infinity so far; None where none was seen."""
        row = self.live_row(site)
        if row is None or not row.bad_sample >= 0:  # NaN, too, is no address
            return None
        return int(row.bad_sample), int(row.bad_position), int(row.bad_channel)

    @property
    def is_served(self) -> bool:
        """Whether an engine is there that answers requests about the ended run."""
        return self.service is not None and self.service.phase not in ENDED


@dataclass(frozen=True, slots=True)
class Wish:
    """What the screen wants to see.

    Attributes:
        focus: the site; None follows M.
        model: everything about the model.
        board: what quantisers make of all sites.
    """

    focus: int | None = None
    model: bool = False
    board: bool = False
