"""A session told in lines that are appended: for screen readers, logs, and terminals that cannot be drawn on.

Unlike a headless run, which is for scripts, this is for people: everything goes to stdout, events are told as they
happen, any session can be followed, and ctrl+c leaves the run going.

- `tell`      follow a session until it ends, then its summary
- `Narrator`  what is worth a line, snapshot by snapshot
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.base.wording import counted
from engine.messages import Message
from engine.report.alarm import alarm_line
from engine.session.records import ENDED, Event, Status
from engine.session.schema import SessionError
from maxact_tui.pages.header import fp16_verdict, progress_share, progress_words
from maxact_tui.terminal.ending import EXIT_DETACHED, exit_code
from maxact_tui.terminal.preparing import wants_ascii
from maxact_tui.terminal.printing import console, note, say
from maxact_tui.texts.numbers import duration, exact
from maxact_tui.texts.pieces import token_name
from maxact_tui.texts.visible import visible
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Snapshot, Wish

POLL_SECONDS = 0.25
STEP_SHARE = 0.1  # a line of progress at every tenth of the run
STEP_SECONDS = 60.0  # and once a minute
WIDTH_CELLS = 100  # of the summary's tables


class Narrator:
    """Says what has changed since the last snapshot.

    Args:
        ascii_only: write ASCII only.
        clock: monotonic seconds.
    """

    def __init__(self, *, ascii_only: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._ascii_only, self._clock = ascii_only, clock
        self._is_named = False
        self._state: tuple[str, Message | None] = ("", None)
        self._event = 0
        self._answered: set[int] = set()
        self._next_share, self._next_at = STEP_SHARE, clock() + STEP_SECONDS
        self._problem = ""
        self._maximum = self._alarm = ""

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        """The lines worth saying now; no control sequence is in them, whoever wrote the text."""
        for text in self._said(snapshot):
            yield visible(text, space=" ", ascii_only=self._ascii_only)

    def _said(self, snapshot: Snapshot) -> Iterator[str]:
        status = snapshot.status
        if snapshot.problem != self._problem:
            self._problem = snapshot.problem
            if snapshot.problem:
                yield snapshot.problem if snapshot.is_bug else f"cannot read the session: {snapshot.problem}"
        if status is None:
            return
        if not self._is_named and snapshot.plan is not None and snapshot.meta is not None:
            self._is_named = True
            dtype = snapshot.meta.provenance.get("dtype") or snapshot.meta.job.dtype
            yield f"model {snapshot.meta.job.model}, {dtype}, {counted(len(snapshot.plan.sites), 'site')}"
        for event in snapshot.events:
            if event.number > self._event:
                self._event = event.number
                yield _event(event, status.started)
        for command in snapshot.commands:
            if command.number not in self._answered and command.state not in ("new", "working"):
                self._answered.add(command.number)
                yield f"{command.name}: {command.text}"
        yield from self._alarmed(snapshot)
        yield from self._progress(status, snapshot)

    def _alarmed(self, snapshot: Snapshot) -> Iterator[str]:
        """The first NaN or infinity, when there is one and when it moves; how many follow is told with the event."""
        alarm, plan, place = snapshot.alarm, snapshot.plan, snapshot.alarm_place
        if alarm is None or plan is None:
            return
        told = f"{alarm.site} {alarm.sample} {alarm.position} {alarm.channel}"
        if told != self._alarm:
            self._alarm = told
            token = token_name(place.token, place.part, ascii_only=self._ascii_only) if place else ""
            yield alarm_line(alarm, plan, token)

    def _progress(self, status: Status, snapshot: Snapshot) -> Iterator[str]:
        state = (status.phase, status.message if status.phase == "loading" else None)
        share, now = progress_share(status), self._clock()
        is_due = status.phase == "running" and (share >= self._next_share or now >= self._next_at)
        if state == self._state and not is_due:
            return
        self._state = state
        self._next_share, self._next_at = STEP_SHARE * (int(share / STEP_SHARE) + 1), now + STEP_SECONDS
        if status.phase in ("starting", "loading"):
            yield f"{status.phase}: {status.detail}" if status.detail else status.phase
            return
        yield f"{status.phase}: {', '.join(progress_words(status))}"
        if snapshot.maximum is not None and (status.phase == "running" or status.phase in ENDED):
            maximum = _maximum(snapshot)
            if maximum != self._maximum:
                self._maximum = maximum
                yield maximum


def tell(path: Path) -> int:
    """Follow a session to its end on stdout; ctrl+c leaves it going.

    Returns:
        0 done, 1 failed, 3 left running.
    """
    look, narrator = Look(path), Narrator(ascii_only=wants_ascii())
    snapshot: Snapshot | None = None
    try:
        while snapshot is None or not _is_over(snapshot):
            newer = look.again(Wish(None, model=False))
            if newer is None:
                time.sleep(POLL_SECONDS)
                continue
            snapshot = newer
            for text in narrator.lines(snapshot):
                say(text, flush=True)
    except KeyboardInterrupt:
        note(f"left running; come back with: maxact-tui open {path.stem}")
        return EXIT_DETACHED
    finally:
        look.close()
    if snapshot.checkpoint:
        _summary(path)
    return exit_code(snapshot)


def _is_over(snapshot: Snapshot) -> bool:
    """Whether the run has ended and everything up to its end has been read."""
    is_read = snapshot.view is not None or not snapshot.checkpoint or bool(snapshot.problem)
    return snapshot.has_ended and is_read


def _summary(path: Path) -> None:
    from engine.analysis.model import analyse
    from engine.session.reader import SessionReader
    from maxact_tui.cli.summary_view import print_summary

    say("")
    try:
        with SessionReader(path) as reader:
            print_summary(analyse(reader), console(WIDTH_CELLS, colors=False))
    except SessionError as error:
        say(f"no summary: {error}")


def _event(event: Event, started: float) -> str:
    when = duration(event.at - started) if started and event.at >= started else "event"
    return f"{when}: {event.text}" + (f", at {counted(event.tokens, 'token')}" if event.tokens else "")


def _maximum(snapshot: Snapshot) -> str:
    maximum, place = snapshot.maximum, snapshot.maximum_place
    if maximum is None:
        return ""
    text = f"{maximum.name} {exact(maximum.magnitude)} at {maximum.label}, {fp16_verdict(maximum)[0]}"
    if place is not None:
        text += f"; token '{token_name(place.token, place.part)}' at position {place.position} of sample {place.sample}"
    return f"{text}, {place.category}" if place is not None and place.category else text
