"""The engine room: model -> hooks -> statistics -> session. Headless; never imports Textual.

What other programs use is `open`, `measure` and `watch`; see `engine.api`. Each room may import those below it:

- `engine.api`          what other programs use
- `engine.run`          the loop: batch, forward pass, tick, checkpoint, request           (torch)
- `engine.merging`      sessions of parts of a corpus into one                            (numpy)
- `engine.report`       exports of a session                                              (numpy)
- `engine.effect`       quantise for real, or ablate: what predictions become             (torch)
- `engine.work`         what else the loaded model is asked for, between batches          (torch)
- `engine.preparation`  a model with its hook plan and batches, ready to run              (torch)
- `engine.analysis`     what the totals mean: M, verdicts, emergence, convergence         (numpy)
- `engine.quantization` what a quantiser makes of a site, from its histogram              (numpy)
- `engine.process`      start an engine, detached                                         (psutil)
- `engine.session`      the session file: writer and reader                               (numpy, sqlite3)
- `engine.statistics`   what is kept of each site; `totals` and `patterns` are numpy only (torch)
- `engine.sites`        where to look: the hook plan, and hooks on it                     (torch)
- `engine.loading`      a model and its tokenizer, from the hub, a folder or a GGUF file  (torch)
- `engine.schemes`, `engine.scheme_names`  the registry of quantisers; their names        (numpy)
- `engine.formats`      the table of number formats                                       (numpy)
- `engine.base`         what every room may use

Rooms marked numpy may be imported by the screen; rooms marked torch may not. `make lint` checks every arrow.
"""

from __future__ import annotations

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
