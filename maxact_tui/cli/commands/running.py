"""Commands that start an engine: measure, demo, resume.

- `measure`  make the session file, start the engine, show it
- `resume`   start an engine on an existing session file, show it
- `add`      more texts for a run
"""

from __future__ import annotations

import sys
from pathlib import Path

from corpus.reading import load_corpus
from engine.job import Job
from engine.process import start_engine
from engine.session.library import new_path
from engine.session.reader import SessionReader, send_command
from engine.session.records import ENDED
from engine.session.writer import SessionWriter
from maxact_tui.cli.arguments import check_job
from maxact_tui.cli.commands.steering import go_on, newest
from maxact_tui.cli.options import RunOptions
from maxact_tui.errors import UserError
from maxact_tui.keymap.settings import load_settings
from maxact_tui.watching.finding import find_session, short_name


def measure(job: Job, options: RunOptions) -> int:
    """Start a run and show it: on the screen in a terminal, else headless.

    Raises:
        UserError, CorpusError: options exclude each other, or there is no such model, corpus or device.
        UserError, SessionError: the session file or the engine could not be started.
    """
    if options.bos and options.chat:
        raise UserError("--bos and --chat exclude each other: a chat template brings its own BOS", code=2)
    if options.ab and job.policy != "raw":
        raise UserError("--ab compares with a raw run; leave --bos and --chat away", code=2)
    check_job(job)
    path = (options.session or new_path(job.model)).expanduser().absolute()
    SessionWriter.create(path, job).close()
    if options.ab:
        return _run_pair(path, options)
    return _launch(
        path,
        headless=options.headless or options.json,
        as_json=options.json,
        debug=options.debug,
        disposable=True,
    )


def resume(session: Path | None, *, anyway: bool, headless: bool, as_json: bool, debug: bool) -> int:
    """Continue a paused run, or a session that ended before its time.

    Raises:
        UserError: it runs already, or is finished.
    """
    path = find_session(session) if session is not None else newest(("paused",))
    with SessionReader(path) as reader:
        status = reader.status()
    name = short_name(path)
    if status.phase == "finished":
        raise UserError(f"{name} is finished; look at it with: maxact-tui open {name}")
    if status.phase == "paused":
        go_on(path)
    elif status.phase not in ENDED:
        raise UserError(f"{name} is {status.phase} right now; look at it with: maxact-tui open {name}")
    elif anyway:
        writer = SessionWriter.open(path)
        writer.set_meta(resume_anyway=True)
        writer.close()
    started = status.phase == "paused"
    return _launch(path, headless=headless, as_json=as_json, debug=debug, disposable=False, is_started=started)


def add(session: Path, corpus: str, samples: int | None, *, headless: bool, as_json: bool, debug: bool) -> int:
    """Ask a run for more texts; starts an engine for a run that has ended.

    Raises:
        CorpusError: the texts cannot be read.
        UserError: there is nothing to add to yet.
    """
    path = find_session(session)
    source = corpus if corpus == "starter" else str(Path(corpus).expanduser().absolute())
    load_corpus(source, limit=samples)  # said here, rather than by an engine that took a minute to start
    with SessionReader(path) as reader:
        status, measured = reader.status(), reader.checkpoint_number() > 0
    name = short_name(path)
    if status.phase in ENDED and not measured:
        raise UserError(f"{name} ended before it measured anything; first: maxact-tui resume {name}")
    send_command(path, "add", {"corpus": source, "samples": samples})
    if status.phase in ENDED:
        return _launch(path, headless=headless, as_json=as_json, debug=debug, disposable=False)
    when = "once its model is loaded" if status.phase in ("starting", "loading") else "after its present batch"
    print(f"{name} takes the texts up {when}; see its progress with: maxact-tui open {name}", file=sys.stderr)
    return 0


def _run_pair(path: Path, options: RunOptions) -> int:
    """Run both policies one after the other and print the comparison."""
    from maxact_tui.cli.headless import follow
    from maxact_tui.watching.pairing import start_partner, write_pair

    start_engine(path)
    code = follow(path, as_json=options.json, debug=options.debug, disposable=True, summary=False)
    if code:
        return code
    partner = start_partner(path, options.ab)
    code = follow(partner, as_json=options.json, debug=options.debug, disposable=True, summary=False)
    if code:
        return code
    (report,) = write_pair(path, partner, "json" if options.json else "markdown")
    sys.stdout.write(report.read_text(encoding="utf-8"))
    print(f"comparison: {report}", file=sys.stderr)
    return 0


def _launch(
    path: Path, *, headless: bool, as_json: bool, debug: bool, disposable: bool, is_started: bool = False
) -> int:
    is_plain = not headless and load_settings().plain
    if headless or not (is_plain or (sys.stdin.isatty() and sys.stdout.isatty())):
        if not is_started:
            _start(path)
        from maxact_tui.cli.headless import follow

        return follow(path, as_json=as_json, debug=debug, disposable=disposable)
    if is_plain:
        from maxact_tui.cli.plain import tell

        if not is_started:
            _start(path)
        return tell(path)
    from maxact_tui.terminal.preparing import prepare_terminal, wants_ascii
    from maxact_tui.terminal.splash import show_splash, take_back

    prepare_terminal()
    show_splash(path.name, ascii_only=wants_ascii())
    try:
        if not is_started:
            _start(path)
    except UserError:
        take_back()
        raise
    from maxact_tui.cli.commands.opening import say_goodbye
    from maxact_tui.shell.app import run_app

    code = run_app(path)
    say_goodbye(path, debug=debug)
    return code


def _start(path: Path) -> None:
    try:
        start_engine(path)
    except OSError as error:
        raise UserError(f"the engine could not be started: {error}") from error
