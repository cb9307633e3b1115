"""Commands about sessions that exist: list, open, attach, show.

- `browse`, `list_all`, `show`, `merge`
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from engine.messages import words
from engine.session.library import sessions_folder
from engine.session.listing import list_sessions
from engine.session.liveness import why_it_ended
from engine.session.reader import SessionReader
from engine.session.records import BROKEN_OFF, SessionInfo, Status
from maxact_tui.cli.output import reader_may_leave
from maxact_tui.errors import UserError
from maxact_tui.keymap.settings import load_settings
from maxact_tui.terminal.printing import console, say, say_path
from maxact_tui.texts.numbers import compact, duration, size
from maxact_tui.texts.visible import visible
from maxact_tui.watching.finding import find_session

if TYPE_CHECKING:
    from engine.analysis.model import ModelSummary

MODEL_CELLS = 24
WIDE_CELLS = 110

UNCHECKED = "written by an earlier version, without checksums: a bit that has changed since may go unnoticed"


def browse() -> int:
    """The session browser in a terminal, the list elsewhere."""
    can_draw = sys.stdin.isatty() and sys.stdout.isatty() and not load_settings().plain
    if not can_draw or not list_sessions():
        return list_all()
    from maxact_tui.terminal.preparing import prepare_terminal

    prepare_terminal()
    from maxact_tui.shell.app import run_browser

    return run_browser()


def list_all() -> int:
    """Print every session, newest first."""
    found = list_sessions()
    if not found:
        say(f"no sessions yet in {sessions_folder()}; make one with: maxact-tui demo")
        return 0
    out = console()
    wide = out.width >= WIDE_CELLS
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("session", no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("model", no_wrap=True, overflow="ellipsis")
    for heading in ("state", "M", "progress", "age", *(("size",) if wide else ())):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for info in found:
        table.add_row(*_row(info, wide=wide))
    out.print(table)
    return 0


def show(session: Path, *, as_json: bool, fail_on: str | None = None) -> int:
    """Print the summary of a session, also of an unfinished one.

    Returns:
        1 if a condition of `fail_on` holds, else 0.

    Raises:
        ReportError: a condition that is not known.
        UserError: nothing has been measured yet.
        SessionError: the file cannot be read.
    """
    from engine.analysis.model import analyse
    from engine.report.conditions import failures, parse_conditions
    from engine.report.worst import summary_document
    from maxact_tui.cli.headless import tell_failures

    conditions = parse_conditions(fail_on) if fail_on is not None else ()
    with SessionReader(find_session(session)) as reader:
        if not len(reader.samples_done()):
            raise UserError(f"{reader.path.name} holds no results yet ({_state(reader.status())})")
        summary = analyse(reader)
        failed = failures(conditions, reader, summary)
        with reader_may_leave():  # what the exit code says is not for the reader alone
            if as_json:
                say(json.dumps(summary_document(reader, summary), allow_nan=False))
            else:
                _print_session(reader, summary)
    return tell_failures(failed)


def _print_session(reader: SessionReader, summary: ModelSummary) -> None:
    """The tables and sentences of `show`."""
    from engine.analysis.stability import read_stability
    from engine.effect.results import read_effects
    from engine.report.sentences import robustness
    from maxact_tui.cli.commands.effects import print_effects
    from maxact_tui.cli.summary_view import print_costs, print_summary

    effects, stability = read_effects(reader), read_stability(reader)
    print_summary(summary, console())
    if summary.status.phase in BROKEN_OFF:
        why = visible(words(why_it_ended(summary.status)), space=" ")
        console().print(Text(f"why it ended: {why}"), soft_wrap=True)
    print_costs(reader, summary, console())
    if not reader.is_checked:
        console().print(Text(UNCHECKED, "yellow"), soft_wrap=True)
    if stability is not None:
        console().print(Text(f"robustness: {robustness(stability)}"), soft_wrap=True)
    if effects:
        say("")
        print_effects(effects)


def merge(sessions: list[Path], output: Path) -> int:
    """Merge sessions into a new one.

    Raises:
        UserError: fewer than two were given.
        MergeError, SessionError: they do not belong together, or a file cannot be used.
    """
    from engine.merging import merge_sessions

    if len(sessions) < 2:
        raise UserError("merge needs at least two sessions: maxact-tui merge A B -o C", code=2)
    target = output.expanduser().absolute()
    merge_sessions([find_session(session) for session in sessions], target)
    say_path(target)
    return 0


def _state(status: Status) -> str:
    """The phase, and why the run was broken off if it was."""
    why = f": {visible(words(why_it_ended(status)), space=' ')}" if status.phase in BROKEN_OFF else ""
    return f"{status.phase}{why}"


def _row(info: SessionInfo, *, wide: bool) -> list[Text]:
    status = info.status
    share = f"{status.samples_done}/{status.samples_total}" if status.samples_total else "-"
    magnitude = "-" if math.isnan(info.magnitude) else compact(info.magnitude)
    if not info.is_m and magnitude != "-":
        magnitude = f"GEMM input {magnitude}"
    if info.nonfinite_sites:
        magnitude = "Inf/NaN" if math.isnan(info.magnitude) else f"{magnitude} Inf/NaN"
    model = Path(info.model).name if Path(info.model).is_absolute() else info.model
    cells = [info.path.stem, status.phase, magnitude, share, duration(time.time() - info.created)]
    if wide:
        cells[1:1] = [visible(model, MODEL_CELLS) or "-"]
        cells.append(size(info.size_bytes))
    return [Text(cell) for cell in cells]
