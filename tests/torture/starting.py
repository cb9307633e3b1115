"""Engines as forks of a process that has torch loaded already; a start takes a second instead of eight.

- `server`  starts them
- `engine`  what each runs: `python -m engine SESSION`, its output in the session's log
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOADED = ["engine.run.runner", "transformers.models.llama.modeling_llama"]


def server() -> ForkServerContext:
    """The context whose processes run `engine`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def engine(path: str) -> None:
    """Be the engine of a session; ends the process with its exit code."""
    from engine.__main__ import main
    from engine.session.logfile import open_log

    log = open_log(Path(path))
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    sys.argv = ["engine", path]
    raise SystemExit(main())
