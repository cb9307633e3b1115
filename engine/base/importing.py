"""Loading modules: hundreds of megabytes of code of which no object becomes garbage.

- `loading_modules`    no garbage is looked for while modules are loaded, nor among them later
- `leave_as_it_stands` no garbage is looked for when the process ends
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_modules() -> Iterator[None]:
    """Load modules without looking for garbage, which takes a tenth of the start and finds none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def leave_as_it_stands() -> None:
    """Let the end of the process not look for garbage: with torch loaded that takes most of a second."""
    atexit.register(gc.freeze)
