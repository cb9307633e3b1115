"""Progress as one line on stderr, for a terminal.

- `Bar`  what is being done, a bar, a note, the time so far and the time left
"""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maxact_tui.terminal.printing import error_console

_BAR_CELLS = 28


class Bar:
    """A line that is gone once the work is over; `with Bar("starting") as bar`.

    Args:
        step: what is being done.
    """

    def __init__(self, step: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_CELLS),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=error_console(),
            transient=True,
        )
        self._task = self._progress.add_task(step, total=None, note="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, step: str) -> None:
        """Begin another step: its time is counted from now."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(step, total=None, note="")

    def show(self, step: str, done: int, total: int, note: str = "") -> None:
        """Show how far a step is; a total of 0 is one that nobody knows."""
        self._progress.update(self._task, description=step, completed=done, total=total or None, note=note)
