"""A run without the screen: progress on stderr, the summary on stdout.

- `follow`  watch a session until its engine ends; returns the exit code
- `watch`   show the progress alone
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.analysis.maximum import Maximum, find_maximum
from engine.analysis.nonfinite import live_alarm
from engine.base.wording import counted
from engine.messages import Code, key_of, words
from engine.messages.endings import names_the_way_on
from engine.process import describe_death
from engine.report.alarm import excluded_words
from engine.session.library import log_path
from engine.session.liveness import why_it_ended
from engine.session.logfile import level_of, read_end
from engine.session.newfile import discard_session
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Status
from engine.session.requests import send_command
from engine.session.writing import fold
from maxact_tui.cli.awaiting import patience_of
from maxact_tui.cli.bar import Bar
from maxact_tui.cli.output import drop_unwritten, reader_may_leave
from maxact_tui.cli.pace import Pace
from maxact_tui.errors import UserError
from maxact_tui.terminal.ending import EXIT_DETACHED
from maxact_tui.terminal.printing import console, note, say
from maxact_tui.texts.numbers import compact, exact, percent
from maxact_tui.texts.visible import visible
from maxact_tui.watching.finding import short_name

if TYPE_CHECKING:
    from engine.report.conditions import Condition

POLL_SECONDS = 0.2


def follow(
    path: Path,
    *,
    as_json: bool,
    debug: bool,
    disposable: bool,
    summary: bool = True,
    fail_on: Sequence[Condition] = (),
) -> int:
    """Show a run's progress until it ends, then its summary.

    ctrl+c asks the engine to stop after the batch in hand; a second one leaves it running.

    Args:
        path: the session file, whose engine has just been started.
        as_json: one JSON object on stdout instead of the tables.
        debug: on failure, print the engine's log.
        summary: print the summary at the end.
        disposable: remove the session if the run failed before it measured anything.
        fail_on: conditions under which a run that is done counts as failed; a line on stderr for each that holds.

    Returns:
        0 done, 1 if a condition holds, 3 left running because nobody reads how far it is, 130 interrupted.

    Raises:
        UserError: the run failed, or was stopped by somebody else; the reason in one line.
    """
    with SessionReader(path) as reader:
        try:
            status, interrupted = _await_end(reader)
        except BrokenPipeError:
            drop_unwritten()
            return EXIT_DETACHED
        if status is None:
            return 130
        measured = len(reader.samples_done()) > 0
        if measured and summary:
            with reader_may_leave():
                _print_summary(reader, as_json=as_json)
        found = _failures(reader, fail_on) if measured and fail_on else []
    fold(path)
    if status.phase in ("failed", "gone"):
        _fail(path, status, debug=debug, remove=disposable and not measured)
    if not path.exists():
        raise UserError(f"the session file {path} was removed while it ran; nothing was kept")
    if status.phase == "stopped" and not interrupted:
        raise UserError(_stopped(path, status))
    with reader_may_leave():
        note(f"session: {path}")
    failed = tell_failures(found)
    return 130 if interrupted else failed


def tell_failures(failed: Sequence[str]) -> int:
    """A line on stderr for each condition of `--fail-on` that holds; 1 if there is any, else 0."""
    with reader_may_leave():
        for text in failed:
            note(f"maxact-tui: failed on {text}")
    return int(bool(failed))


def _await_end(reader: SessionReader) -> tuple[Status | None, bool]:
    """Watch a run to its end, which ctrl+c asks for; a second one leaves it running.

    Returns:
        The last status, None where the run was left; whether ctrl+c was pressed.
    """
    try:
        return watch(reader), False
    except KeyboardInterrupt:
        note("stopping after this batch; ctrl+c again leaves it running in the background")
    try:
        send_command(reader.path, "stop", patience=patience_of(reader.path))
        return watch(reader), True
    except KeyboardInterrupt:
        note(f"left running; come back with: maxact-tui open {short_name(reader.path)}")
        return None, True


def _stopped(path: Path, status: Status) -> str:
    """Why a run that somebody else has stopped is not done."""
    done = f"after {status.samples_done:,} of {counted(status.samples_total, 'sample')}"
    when = done if status.samples_total else "before it began"
    return f"stopped from elsewhere {when}; continue with: maxact-tui resume {short_name(path)} (session: {path})"


def _failures(reader: SessionReader, conditions: Sequence[Condition]) -> list[str]:
    from engine.report.conditions import failures

    return failures(conditions, reader)


def _print_summary(reader: SessionReader, *, as_json: bool) -> None:
    from engine.analysis.model import analyse

    summary = analyse(reader)
    if as_json:
        from engine.report.worst import summary_document

        say(json.dumps(summary_document(reader, summary), allow_nan=False))
        return
    from maxact_tui.cli.summary_view import print_costs, print_summary

    print_summary(summary, console())
    print_costs(reader, summary, console())


def _fail(path: Path, status: Status, *, debug: bool, remove: bool) -> None:
    """Raise the run's failure as one line; a session that holds nothing is not left lying about."""
    log = log_path(path)
    if debug:
        note(*read_end(path).splitlines())
    why = why_it_ended(status)
    if remove and why.code == Code.FAILED_STORAGE:
        why = why.changed(resume=None)  # there will be nothing to continue
    reason, names_log = words(why), why.data.get("log") is not None
    if status.phase == "gone":
        word, names_log = _last_word(path), log.exists() and not debug
        reason = f"the engine died, its log ends with: {word}" if word else f"{reason}, dmesg may tell"
        reason += f" (log: {log})" if names_log else ""
    if remove:
        discard_session(path, keep_log=names_log and not debug)
        raise UserError(reason)
    step = "" if names_the_way_on(why) else f"; continue with: maxact-tui resume {short_name(path)}"
    raise UserError(f"{reason}{step} (session: {path})")


def _last_word(path: Path) -> str:
    """The last line of the engine's log where it tells more than that all was well; a killed one wrote nothing."""
    last = describe_death(path, 1)
    return visible(last[0], space=" ") if last and level_of(last[0]) != "INFO" else ""


def watch(reader: SessionReader, label: str = "") -> Status:
    """Follow the engine to its end: a bar in a terminal, a line now and then elsewhere, each after `label`."""
    if sys.stderr.isatty():
        return _watch_with_bar(reader, label)
    pace, told = Pace(label), None
    while True:
        status = reader.status()
        if status.phase in ENDED:
            return status
        if status.phase in ("starting", "loading") or status.total:
            step, text = key_of(status.message), _loading_text(status)
            pace.say(step, text, pace.seconds_left(step, status.done, status.total))
        else:
            maximum = _maximum(reader)
            news = f", {_maximum_text(maximum)}" if maximum is not None and maximum != told else ""
            if pace.say(status.phase, _running_text(status) + news, _seconds_left(status)):
                told = maximum
        time.sleep(POLL_SECONDS)


def _watch_with_bar(reader: SessionReader, label: str) -> Status:
    with Bar("starting") as bar:
        while True:
            status = reader.status()
            if status.phase in ENDED:
                return status
            _update_bar(bar, status, _maximum(reader), label)
            time.sleep(POLL_SECONDS)


def _update_bar(bar: Bar, status: Status, maximum: Maximum | None, label: str) -> None:
    if status.phase in ("starting", "loading") or status.total:
        bar.show(label + (status.detail or "starting"), status.done, status.total)
        return
    note = f"{status.samples_done}/{counted(status.samples_total, 'sample')}  {status.rate:,.0f} tok/s"
    if maximum is not None:
        note += f"  {'M' if maximum.is_m else 'input'} {compact(maximum.magnitude)} {maximum.label}"
    bar.show(label + status.phase, status.tokens_done, status.tokens_total, note)


def _loading_text(status: Status) -> str:
    amount = f" {status.done:,}/{status.total:,} {status.unit}".rstrip() if status.total else ""
    return f"{status.detail or 'starting'}{amount}"


def _running_text(status: Status) -> str:
    """How far a run is, without what follows from the clock alone."""
    samples, tokens = counted(status.samples_total, "sample"), counted(status.tokens_total, "token")
    if not status.samples_done:
        return f"{status.phase}: {samples}, {tokens}"
    share = percent(status.tokens_done / max(status.tokens_total, 1))
    return f"{status.phase}: {share}, {status.samples_done:,}/{samples}, {status.rate:,.0f} tok/s"


def _seconds_left(status: Status) -> float | None:
    return status.eta_seconds if status.phase == "running" and status.samples_done else None


def _maximum_text(maximum: Maximum | None) -> str:
    if maximum is None:
        return ""
    excluded = f" ({excluded_words(maximum.excluded_sites)})" if maximum.excluded_sites else ""
    return f"{maximum.name} {exact(maximum.magnitude)} at {maximum.label}{excluded}"


def _maximum(reader: SessionReader) -> Maximum | None:
    live, plan = reader.live(), reader.meta().plan
    if live is None or plan is None:
        return None
    alarm = live_alarm(plan, live)
    return find_maximum(plan, live.magnitude, "", len(alarm.sites) if alarm else 0)
