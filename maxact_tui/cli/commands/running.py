"""Commands that start an engine: measure, demo, resume.

- `measure`  make the session file, start the engine, show it
- `resume`   start an engine on an existing session file, show it
- `add`      more texts for a run
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from corpus.reading import load_corpus
from engine.base.job import Job
from engine.process import allow, start_engine
from engine.session.library import new_path
from engine.session.newfile import discard_session, forget_logs
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.requests import send_command
from engine.session.rights import asked_rights
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.session.writing import write
from maxact_tui.cli.arguments import check_job
from maxact_tui.cli.awaiting import opened, patience_of
from maxact_tui.cli.commands.steering import go_on, newest
from maxact_tui.cli.options import RunOptions
from maxact_tui.cli.output import reader_may_leave
from maxact_tui.errors import UserError
from maxact_tui.keymap.settings import load_settings
from maxact_tui.terminal.printing import note, say_document
from maxact_tui.watching.finding import find_session, short_name

if TYPE_CHECKING:
    from engine.report.conditions import Condition

Way = Literal["headless", "plain", "screen"]


def measure(job: Job, options: RunOptions) -> int:
    """Start a run and show it: on the screen in a terminal, else headless.

    Raises:
        UserError, CorpusError: options exclude each other, or there is no such model, corpus or device.
        UserError, SessionError: the session file or the engine could not be started.
        ReportError: `--fail-on` has a condition that is not known.
    """
    if options.bos and options.chat:
        raise UserError("--bos and --chat exclude each other: a chat template brings its own BOS", code=2)
    if options.ab and job.policy != "raw":
        raise UserError("--ab compares with a raw run; leave --bos and --chat away", code=2)
    check_job(job)
    conditions = _conditions(options.fail_on)
    way = _way(headless=options.headless or options.json or options.ab is not None or bool(conditions))
    path = (options.session or new_path(job.model)).expanduser().absolute()
    _create(path, job)
    allow(path, asked_rights(job))
    forget_logs(path.parent)
    if options.ab:
        return _run_pair(path, options, conditions)
    return _launch(path, way, as_json=options.json, debug=options.debug, disposable=True, fail_on=conditions)


def resume(
    session: Path | None, *, anyway: bool, headless: bool, as_json: bool, debug: bool, fail_on: str | None = None
) -> int:
    """Continue a paused run, or a session that ended before its time.

    Raises:
        UserError: it runs already, or is finished.
    """
    conditions, way = _conditions(fail_on), _way(headless=headless)
    path = find_session(session) if session is not None else newest(("paused",))
    patience = patience_of(path)
    with opened(path, patience) as reader:
        status = patience.wait_for(lambda _: reader.status())
    name = short_name(path)
    if status.phase == "finished":
        raise UserError(f"{name} is finished; look at it with: maxact-tui open {name}")
    if status.phase == "paused":
        go_on(path)
    elif status.phase not in ENDED:
        raise UserError(f"{name} is {status.phase} right now; look at it with: maxact-tui open {name}")
    elif anyway:
        _accept_changes(path)
    started = status.phase == "paused"
    return _launch(path, way, as_json=as_json, debug=debug, disposable=False, is_started=started, fail_on=conditions)


def add(
    session: Path,
    corpus: str,
    samples: int | None,
    *,
    headless: bool,
    as_json: bool,
    debug: bool,
    fail_on: str | None = None,
) -> int:
    """Ask a run for more texts; starts an engine for a run that has ended.

    Raises:
        CorpusError: the texts cannot be read.
        UserError: there is nothing to add to yet.
    """
    conditions, way = _conditions(fail_on), _way(headless=headless)
    path = find_session(session)
    source = corpus if corpus == "starter" else str(Path(corpus).expanduser().absolute())
    load_corpus(source, limit=samples)  # said here, rather than by an engine that took a minute to start
    patience = patience_of(path)
    with opened(path, patience) as reader:
        status, measured = patience.wait_for(lambda _: (reader.status(), reader.checkpoint_number() > 0))
    name = short_name(path)
    if status.phase in ENDED and not measured:
        raise UserError(f"{name} ended before it measured anything; first: maxact-tui resume {name}")
    send_command(path, "add", {"corpus": source, "samples": samples}, patience)
    if status.phase in ENDED:
        return _launch(path, way, as_json=as_json, debug=debug, disposable=False, fail_on=conditions)
    if status.phase == "paused":
        note(f"{name} takes the texts up and stays paused; go on with: maxact-tui resume {name}")
        return 0
    when = "once its model is loaded" if status.phase in ("starting", "loading") else "after its present batch"
    note(f"{name} takes the texts up {when}; see its progress with: maxact-tui open {name}")
    return 0


def _way(*, headless: bool) -> Way:
    """How a run will be shown; asked first, so that nothing is made or begun where the settings cannot be used."""
    if headless:
        return "headless"
    if load_settings().plain:
        return "plain"
    return "screen" if sys.stdin.isatty() and sys.stdout.isatty() else "headless"


def _create(path: Path, job: Job) -> None:
    """Make the session file; a name that is taken is an error of whoever gave it."""
    is_taken = os.path.lexists(path)
    try:
        SessionWriter.create(path, job).close()
    except SessionError as error:
        raise UserError(str(error), code=2 if is_taken else 1) from error


def _accept_changes(path: Path) -> None:
    """Let the engine go on although model, corpus or versions have changed."""
    write(path, lambda writer: writer.set_meta(resume_anyway=True), patience_of(path))


def _conditions(text: str | None) -> tuple[Condition, ...]:
    """What `--fail-on` asks for, refused before anything is made where it is not known."""
    if text is None:
        return ()
    from engine.report.conditions import parse_conditions

    return parse_conditions(text)


def _run_pair(path: Path, options: RunOptions, conditions: Sequence[Condition]) -> int:
    """Run both policies one after the other and print the comparison."""
    from maxact_tui.cli.headless import follow
    from maxact_tui.watching.pairing import start_partner, write_pair

    _start(path, disposable=True)
    code = follow(path, as_json=options.json, debug=options.debug, disposable=True, summary=False)
    if code:
        return code
    partner = start_partner(path, options.ab)
    code = follow(partner, as_json=options.json, debug=options.debug, disposable=True, summary=False)
    if code:
        return code
    (report,) = write_pair(path, partner, "json" if options.json else "markdown")
    with reader_may_leave():
        say_document(report.read_bytes())
        note(f"comparison: {report}")
    return _judge_pair((path, partner), conditions)


def _judge_pair(paths: Sequence[Path], conditions: Sequence[Condition]) -> int:
    """1 if a condition holds for either session, each in a line that names it."""
    if not conditions:
        return 0
    from engine.report.conditions import failures
    from maxact_tui.cli.headless import tell_failures

    failed = []
    for path in paths:
        with SessionReader(path) as reader:
            failed += [f"{text} ({path.stem})" for text in failures(conditions, reader)]
    return tell_failures(failed)


def _launch(
    path: Path,
    way: Way,
    *,
    as_json: bool,
    debug: bool,
    disposable: bool,
    is_started: bool = False,
    fail_on: Sequence[Condition] = (),
) -> int:
    """Start the engine unless it is, and show the run; `disposable` is a session that holds nothing yet."""
    if way != "screen":
        if not is_started:
            _start(path, disposable=disposable)
        if way == "plain":
            from maxact_tui.cli.plain import tell

            return tell(path)
        from maxact_tui.cli.headless import follow

        return follow(path, as_json=as_json, debug=debug, disposable=disposable, fail_on=fail_on)
    from maxact_tui.terminal.preparing import prepare_terminal, wants_ascii
    from maxact_tui.terminal.splash import show_splash, take_back

    prepare_terminal()
    show_splash(path.name, ascii_only=wants_ascii())
    try:
        if not is_started:
            _start(path, disposable=disposable)
    except UserError:
        take_back()
        raise
    from maxact_tui.cli.commands.opening import say_goodbye
    from maxact_tui.shell.app import run_app

    code = run_app(path)
    say_goodbye(path, debug=debug)
    return code


def _start(path: Path, *, disposable: bool) -> None:
    try:
        start_engine(path, patience_of(path))
    except (OSError, SessionError) as error:
        if disposable:
            discard_session(path)
        raise UserError(f"the engine could not be started: {error}") from error
