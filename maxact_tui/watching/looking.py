"""Reading a session file again and again, only what has changed.

- `Look`   what was read last, and what is new since

What analyses is imported when it is needed: the first numbers do not wait for it.
The file may not be there yet, the engine may be gone, reading may fail: the snapshot says so and keeps the last data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from engine.analysis.maximum import find_maximum
from engine.analysis.nonfinite import live_alarm
from engine.process import describe_death
from engine.session.library import files_of
from engine.session.reader import SessionMeta, SessionReader
from engine.session.records import BROKEN_OFF, LiveTable, Result, without_replaced
from engine.session.schema import BusyError, DamagedError, SessionError
from engine.statistics.fields import LIVE_FIELDS, LiveRow
from maxact_tui.bugs import report_bug
from maxact_tui.watching.memory import give_back
from maxact_tui.watching.places import Places, TokenPlace
from maxact_tui.watching.snapshot import THREADS_SHOWN, Damages, SiteView, Snapshot, Wish

if TYPE_CHECKING:
    from engine.analysis.model import ModelSummary
    from engine.sites.site import Site

_Read = TypeVar("_Read")
LAST_WORDS = 12
STATUS_SECONDS = 1.0
WAIT_SECONDS = 2.0  # for whoever writes the file, before the screen says that it waits
MODEL_DUTY = 40.0  # the model is analysed again after this many times what it took


class Look:
    """One thread's reading state: what was read last, and what has changed since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: SessionReader | None = None
        self._places: Places | None = None
        self._version = -1
        self._status_at = 0.0
        self._model_due = self._board_due = 0.0
        self._late_checkpoint = 0
        self._refused: object = None
        self._damages: dict[str, str] = {}  # `file`, `model`, `board` and `view 7`, with the reason
        self._damaged_at: object = None
        self._last = Snapshot(path)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = self._places = None

    def again(self, wish: Wish) -> Snapshot | None:
        """A newer snapshot, or None if nothing changed."""
        if self._refused is not None and self._refused == (wish, self._imprint()):
            return None  # what is damaged stays so until somebody writes, or something else is wished for
        self._refused = None
        try:
            self._forget_damages()
            changed = self._read(wish)
        except Exception as error:  # noqa: BLE001  # the last boundary of the thread: a mistake of ours is shown, too
            if not isinstance(error, BusyError):
                self.close()
            self._version, self._late_checkpoint = -1, 0
            is_bug = not isinstance(error, (SessionError, OSError))
            if is_bug or isinstance(error, DamagedError):
                self._refused = (wish, self._imprint())
            problem = report_bug(error) if is_bug else self._in_words(error)
            if problem == self._last.problem:
                return None
            changed = replace(self._last, problem=problem, is_bug=is_bug)
        if changed is None:
            return None
        self._last = self._with_last_words(self._marked(changed))
        return self._last

    def _forget_damages(self) -> None:
        """What could not be read of an ended run is tried again once somebody has written, or replaced, the file."""
        if self._damages and self._last.has_ended and self._imprint() != self._damaged_at:
            self._damages = {}
            self.close()
            self._version, self._late_checkpoint = -1, 0

    def _whole(self, part: str, read: Callable[[], _Read]) -> _Read | None:
        """A part of a checkpoint's numbers; None where it is damaged, which is remembered until the next checkpoint."""
        if part in self._damages:
            return None
        try:
            return read()
        except DamagedError as error:
            self._damages[part] = self._in_words(error)
            self._damaged_at = self._imprint()
            return None

    def _marked(self, snapshot: Snapshot) -> Snapshot:
        """With what is damaged, of what it shows; the rest of the session is shown as ever."""
        found = self._damages.get
        damages = Damages(found(f"view {snapshot.focus}", ""), found("model", ""), found("board", ""))
        return replace(snapshot, damages=damages, problem=snapshot.problem or found("file", "") or damages.any)

    def _in_words(self, error: Exception) -> str:
        """Why reading failed, without the name of the file, which is on the screen already."""
        if isinstance(error, BusyError):
            return "another process is writing it; it is tried again"
        after_name = error.after_name if isinstance(error, SessionError) else ""
        return f"it {after_name}" if after_name else str(error)

    def _imprint(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever the file or its write-ahead log is written."""
        found = []
        for path in files_of(self._path)[:2]:
            with suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def _with_last_words(self, snapshot: Snapshot) -> Snapshot:
        """With the end of the engine's log once the run has broken off; without it when it goes on."""
        broken = snapshot.status is not None and snapshot.status.phase in BROKEN_OFF
        if broken == bool(snapshot.last_words):
            return snapshot
        return replace(snapshot, last_words=tuple(describe_death(self._path, LAST_WORDS)) if broken else ())

    def _read(self, wish: Wish) -> Snapshot | None:
        if self._reader is None:
            found = self._whole("file", lambda: SessionReader(self._path, WAIT_SECONDS))
            self._reader = found or SessionReader(self._path, WAIT_SECONDS, is_glance=True)
            self._places = Places(self._reader)
        reader, last = self._reader, self._last
        version, now = reader.data_version(), time.monotonic()
        if version != self._version:
            snapshot = self._quick(reader, wish)
            self._version, self._status_at = version, now
            return snapshot
        if last.meta is not None and self._focus(wish, last) != last.focus:
            return self._with_view(reader, self._focused(replace(last, focus=self._focus(wish, last))))
        if (slow := self._slow(reader, wish, now)) is not None:
            return slow
        if now - self._status_at >= STATUS_SECONDS and last.is_served:
            self._status_at = now
            if (service := reader.service()) is not None and last.service is not None:
                return replace(last, service=service) if service.phase != last.service.phase else None
        if now - self._status_at >= STATUS_SECONDS and not last.has_ended:
            self._status_at = now
            status = reader.status()
            quiet = max(time.time() - status.heartbeat, 0.0) if status.heartbeat else 0.0
            if status != last.status or status.phase != "paused":
                return replace(last, status=status, quiet_seconds=quiet, problem="", is_bug=False)
        is_told = last.problem == self._marked(replace(last, problem="")).problem
        return None if is_told else replace(last, problem="", is_bug=False)

    def _quick(self, reader: SessionReader, wish: Wish) -> Snapshot:
        """Everything that is cheap to read."""
        last, checkpoint = self._last, reader.checkpoint_number()
        if checkpoint != last.checkpoint:
            self._damages = {part: why for part, why in self._damages.items() if part == "file"}  # written anew
        meta = last.meta if last.meta is not None and last.meta.plan is not None else reader.meta()
        live, status = reader.live(), reader.status()
        events = without_replaced(last.events + tuple(reader.events(last.events[-1].number if last.events else 0)))
        commands = tuple(reader.commands())
        # A result comes with the answer to a command.
        is_same = commands == last.commands and last.meta is not None
        snapshot = replace(
            last,
            status=status,
            meta=meta,
            events=events,
            commands=commands,
            results=last.results if is_same else _results(reader),
            service=reader.service(),
            checkpoint=checkpoint,
            problem="",
            is_bug=False,
            quiet_seconds=max(time.time() - status.heartbeat, 0.0) if status.heartbeat else 0.0,
        )
        snapshot = self._with_maximum(replace(snapshot, live=live if live is not None else last.live))
        snapshot = self._focused(replace(snapshot, focus=self._focus(wish, snapshot)))
        # M moved to another site between two checkpoints: its arrays are in the file already.
        moved = snapshot.view is None and snapshot.checkpoint == self._late_checkpoint
        return self._with_view(reader, snapshot) if moved else snapshot

    def _with_maximum(self, snapshot: Snapshot) -> Snapshot:
        """With M and the token that carries it, and with the first non-finite element and its token."""
        meta, live = snapshot.meta, snapshot.live
        if meta is None or meta.plan is None or live is None:
            return snapshot
        alarm = live_alarm(meta.plan, live)
        maximum = find_maximum(meta.plan, live.magnitude, _dtype(meta), len(alarm.sites) if alarm else 0)
        place = self._live_place(live, maximum.site) if maximum else None
        alarm_place = self._places.at(alarm.sample, alarm.position) if alarm and self._places else None
        return replace(snapshot, maximum=maximum, maximum_place=place, alarm=alarm, alarm_place=alarm_place)

    def _focused(self, snapshot: Snapshot) -> Snapshot:
        """With the token of the focused site's peak, and without the view of another site."""
        place = None
        if snapshot.live is not None and snapshot.focus is not None:
            place = self._live_place(snapshot.live, snapshot.focus)
        view = snapshot.view if snapshot.view is not None and snapshot.view.site == snapshot.focus else None
        return replace(snapshot, focus_place=place, view=view)

    def _slow(self, reader: SessionReader, wish: Wish, now: float) -> Snapshot | None:
        """What a checkpoint brought: the focused site's arrays, then the whole model if wished for."""
        last = self._last
        if last.checkpoint == 0 or last.meta is None or last.meta.plan is None:
            return None
        if self._late_checkpoint != last.checkpoint:
            self._late_checkpoint = last.checkpoint
            late = replace(last, samples_done=reader.samples_done(), labels=tuple(reader.sample_labels()))
            return self._with_view(reader, late)
        wants_model = wish.model or last.live is None
        if wants_model and "model" not in self._damages and last.model_at != last.checkpoint and now >= self._model_due:
            from engine.analysis.model import analyse

            model = self._whole("model", lambda: analyse(reader))
            give_back()
            if model is None:
                return last
            took = time.monotonic() - now
            self._model_due = time.monotonic() + (0.0 if last.has_ended else MODEL_DUTY * took)
            places = self._places
            threads = tuple(places.at(t.sample, t.position) for t in model.threads[:THREADS_SHOWN]) if places else ()
            found = replace(last, model=model, model_at=last.checkpoint, thread_places=threads)
            if last.live is not None:
                return found
            # A merged session has totals but never had an engine that ticked.
            found = self._with_maximum(replace(found, live=_live_of(model)))
            return self._with_view(reader, self._focused(replace(found, focus=self._focus(wish, found))))
        board_at = last.board.checkpoint if last.board is not None else 0
        if wish.board and "board" not in self._damages and board_at != last.checkpoint and now >= self._board_due:
            from maxact_tui.watching.boardview import read_board

            board = self._whole("board", lambda: read_board(reader))
            give_back()
            if board is None:
                return last
            took = time.monotonic() - now
            self._board_due = time.monotonic() + (0.0 if last.has_ended else MODEL_DUTY * took)
            return replace(last, board=board)
        return None

    def _with_view(self, reader: SessionReader, snapshot: Snapshot) -> Snapshot:
        """With the focused site's arrays of the last checkpoint."""
        if snapshot.focus is None or self._places is None or not snapshot.checkpoint or snapshot.plan is None:
            return snapshot
        site, record, places = snapshot.focus, snapshot.plan.sites[snapshot.focus], self._places
        view = self._whole(f"view {site}", lambda: _view_of(reader, places, site, record, snapshot.checkpoint))
        return snapshot if view is None else replace(snapshot, view=view)

    def _focus(self, wish: Wish, snapshot: Snapshot) -> int | None:
        if wish.focus is not None:
            return wish.focus
        if snapshot.maximum is not None:
            return snapshot.maximum.site
        return 0 if snapshot.meta is not None and snapshot.meta.plan is not None else None

    def _live_place(self, live: LiveTable, site: int) -> TokenPlace | None:
        row = live.row(site)
        return None if self._places is None or row is None else self._places.at(int(row.sample), int(row.position))


def _view_of(reader: SessionReader, places: Places, site: int, record: Site, checkpoint: int) -> SiteView | None:
    """One site at the last checkpoint; None where nothing of it was saved yet."""
    totals = reader.totals(site)
    if totals is None:
        return None
    from engine.analysis.site import summarise
    from maxact_tui.watching.boardview import read_site_quant

    summary = summarise(totals)
    found = tuple(places.at(entry.sample, entry.position) for entry in summary.top)
    quant = read_site_quant(reader, site, totals)
    saved = reader.checkpoint_status()
    seen = saved.tokens_done if saved is not None else 0
    return SiteView(site, record, checkpoint, totals, summary, found, quant, seen)


def _results(reader: SessionReader) -> tuple[Result, ...]:
    """What came out beside the run; a page that shows an effect can rely on it."""
    found = tuple(reader.results())
    if any(one.kind == "effect" for one in found):
        from engine.effect.results import effects_of

        effects_of(reader.path, found)
    return found


def _live_of(model: ModelSummary) -> LiveTable:
    """The scalars an engine would have written, from the summaries of a checkpoint."""
    from engine.analysis.site import NonFinite, TopEntry

    data = np.full((len(model.sites), len(LIVE_FIELDS)), np.nan)
    data[:, [LIVE_FIELDS.index(field) for field in ("sample", "position", "channel")]] = -1.0
    for number, site in enumerate(model.sites):
        if site is not None:
            top = site.top[0] if site.top else TopEntry(math.nan, -1, -1, -1)
            bad = site.nonfinite or NonFinite(0, 0, 0, -1, -1, -1)
            data[number] = LiveRow(
                max=site.max,
                min=site.min,
                rms=site.rms,
                tokens=site.tokens or 0,
                nonfinite=bad.count,
                sample=top.sample,
                position=top.position,
                channel=top.channel,
                nan=bad.nan,
                bad_sample=bad.sample,
                bad_position=bad.position,
                bad_channel=bad.channel,
            )
    return LiveTable(0, data)


def _dtype(meta: SessionMeta) -> str:
    return str(meta.provenance.get("dtype") or meta.job.dtype)
