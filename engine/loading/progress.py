"""What is being loaded: progress, reported at a rate a screen can show.

- `LoadProgress`  one report: phase, done, total, unit
- `Report`        the callback that receives them
- `Reporter`      calls it at most 20 times a second, from any thread
- `ProgressBar`   a stand-in for tqdm that reports instead of drawing
- `bars_reported` a context in which transformers' own bars report too
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from engine.messages import Code

Unit = Literal["tensors", "bytes", "samples"]

_INTERVAL_SECONDS = 0.05
_WEIGHTS_BAR = "Loading weights"


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is.

    Attributes:
        phase: the step of the load, a code without data. It may be reported once without a count.
        done: how much of it is done, in `unit`.
        total: how much there is; None while unknown.
        unit: what is counted.
    """

    phase: Code
    done: int = 0
    total: int | None = None
    unit: Unit = "tensors"


Report = Callable[[LoadProgress], None]


class Reporter:
    """Passes progress on to a callback: every new phase, every end, and at most 20 reports a second between.

    An exception raised by the callback is kept in `cancelled` and raised again at every later report, so that a load
    that runs on several threads stops at the next tensor or chunk.
    """

    def __init__(self, report: Report) -> None:
        self.cancelled: BaseException | None = None
        self._report = report
        self._lock = threading.Lock()
        self._phase: Code | None = None
        self._due = 0.0

    def __call__(self, progress: LoadProgress) -> None:
        """Report, unless the last report of the same phase is less than the interval ago and this is not its end."""
        with self._lock:
            if self.cancelled is not None:
                raise self.cancelled
            now = time.monotonic()
            ended = progress.total is not None and progress.done >= progress.total
            if progress.phase == self._phase and not ended and now < self._due:
                return
            self._phase = progress.phase
            self._due = now + _INTERVAL_SECONDS
            try:
                self._report(progress)
            except BaseException as error:
                self.cancelled = error
                raise


class ProgressBar:
    """Looks like a tqdm bar to the libraries that make one, and reports what it would have drawn.

    Everything of tqdm's that only concerns drawing is accepted and ignored.
    """

    def __init__(
        self,
        iterable: Any = None,
        *,
        reporter: Reporter,
        phase: Code,
        counts: Unit,
        total: int | None = None,
        initial: int = 0,
        **_ignored: Any,
    ) -> None:
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        self.n = initial
        self.format_dict: dict[str, Any] = {"rate": None}
        self._iterable = iterable
        self._reporter = reporter
        self._phase = phase
        self._unit: Unit = counts

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update(1)

    def update(self, n: float | None = 1) -> None:
        """Count `n` more units."""
        self.n += int(n or 0)
        self.refresh()

    def refresh(self, *_ignored: Any, **_also_ignored: Any) -> None:
        """Report the present state."""
        total = None if self.total is None else int(self.total)
        self._reporter(LoadProgress(self._phase, self.n, total, self._unit))

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_ignored: object) -> None:
        return None

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _ignore


def _ignore(*_ignored: Any, **_also_ignored: Any) -> None:
    return None


@contextmanager
def bars_reported(reporter: Reporter, phase: Code | None) -> Iterator[None]:
    """Within it, transformers' bars draw nothing, and the one that counts weights is reported as `phase`, if any."""
    from transformers.utils import logging

    def bar(_factory: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if phase is None or not str(options.get("desc", "")).startswith(_WEIGHTS_BAR):
            return logging.EmptyTqdm(*args, **options)
        return ProgressBar(*args[:1], reporter=reporter, phase=phase, counts="tensors", **options)

    previous = logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        logging.set_tqdm_hook(previous)
