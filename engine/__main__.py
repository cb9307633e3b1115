"""`python -P -m engine [OPTIONS] SESSION`: run the job of a session file, headless. Started by the command line.

With `--serve` the run is over, and the engine answers requests about its model. `--trust-remote-code` and
`--allow-pickle` give rights that a session file can only ask for.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from pathlib import Path

from engine.base.importing import leave_as_it_stands, loading_modules
from engine.session.engine_lock import EngineLock, Role
from engine.session.logfile import FORMAT, OneLine
from engine.session.rights import Rights
from engine.session.schema import SessionError


def main() -> int:
    """Run the engine; returns the exit code: 0 done or stopped, 1 failed, 2 called wrongly."""
    options = _parse(sys.argv[1:])
    session: Path = options.session.absolute()
    leave_as_it_stands()
    os.chdir("/")  # libraries read settings from the folder they work in, which may be a stranger's
    faulthandler.enable()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    role: Role = "service" if options.serve else "run"
    rights = Rights(options.trust_remote_code, options.allow_pickle)
    try:
        given = options.lock_descriptor
        lock = EngineLock.take(session, role) if given is None else EngineLock.inherited(session, given, role)
        with lock:
            if options.serve:
                with loading_modules():
                    from engine.run.serving import serve

                return serve(session, rights, is_locked=lock.is_held, own_process=True)
            with loading_modules():
                from engine.run.runner import run

            return run(session, rights, is_locked=lock.is_held, own_process=True)
    except SessionError as error:
        logging.getLogger("engine").error("%s", error)
        return 1


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m engine", description="Run a session (maxact-tui does this for you).")
    parser.add_argument("session", type=Path)
    parser.add_argument("--serve", action="store_true", help="answer requests about the model of an ended run")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that comes with the model")
    parser.add_argument("--allow-pickle", action="store_true", help="read pickled weights")
    parser.add_argument("--lock-descriptor", type=int, help="the session's lock, taken by the process that starts this")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
