"""The engine room: model -> hooks -> statistics -> session. Headless; never imports textual.

One straight line, each step a module a newcomer can read in a sitting:

- `engine.job`          what to run, frozen, stored in the session file
- `engine.formats`      number formats, each in one row                                      (numpy)
- `engine.schemes`      quantisers: a format and a rule for its scales; `engine.scheme_names` reads their names
- `engine.loading`      a model and its tokenizer, from the hub, a folder or a GGUF file   (torch)
- `engine.sites`        where to look: the hook plan                                       (torch)
- `engine.hooks`        attach to the sites, as a context manager                          (torch)
- `engine.statistics`   what to keep of each site; `totals` and `patterns` are numpy only  (torch)
- `engine.splitting`    calibration samples, evaluation samples, the rest: chosen, and batches in that order
- `engine.parts`        what is kept where one of these ends, and the sums taken in the pass (torch)
- `engine.runner`       the loop: batch, forward, tick, checkpoint, command                (torch)
- `engine.work`         what else the loaded model is asked for, between batches           (torch)
- `engine.serving`      the same for the model of an ended run                             (torch)
- `engine.session`      the session file: writer and reader                                (numpy, sqlite3)
- `engine.analysis`     what the totals mean: M, verdicts, emergence, threads, convergence (numpy)
- `engine.quantization` what INT8 makes of a site, from its histogram                      (numpy)
- `engine.report`       exports of a session                                               (numpy)
- `engine.process`      start the engine detached                                          (psutil)

Rooms marked numpy may be imported by the screen; rooms marked torch may not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api.errors import MaxactError, NotFoundError, WatchError
    from engine.api.measuring import measure
    from engine.api.opened import Session, open
    from engine.api.watching import watch

__all__ = ["MaxactError", "NotFoundError", "Session", "WatchError", "measure", "open", "watch"]

_HOME = {
    "MaxactError": "engine.api.errors",
    "NotFoundError": "engine.api.errors",
    "WatchError": "engine.api.errors",
    "Session": "engine.api.opened",
    "open": "engine.api.opened",
    "measure": "engine.api.measuring",
    "watch": "engine.api.watching",
}


def __getattr__(name: str) -> Any:
    """What other programs use, imported when it is first asked for: `import engine` alone takes milliseconds."""
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
