"""What all sources of one build share.

- `SourceReading`  limits, the problems met, and how far the reading is
"""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.samples import Progress

_NAMED_PROBLEMS = 200
_REPORT_EVERY = 1 << 20


@dataclass(slots=True)
class SourceReading:
    """Limits, problems and progress of one build; every source function gets the same one.

    Attributes:
        max_bytes: UTF-8 bytes of the longest text that can be used; longer ones are cut or split on the way in.
        progress: called with (bytes read, bytes in all, label) by local sources, (rows, rows at most, label) by others.
        problems: the first 200 problems, one line each.
        problem_count: all problems.
    """

    max_bytes: int
    progress: Progress | None = None
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    done: int = 0
    total: int = 0
    _reported: int = 0

    def problem(self, where: str, why: str) -> None:
        """Count something that was skipped, and name it while there is room."""
        self.problem_count += 1
        if len(self.problems) < _NAMED_PROBLEMS:
            self.problems.append(f"{where}: {why}")

    def start(self, total: int) -> None:
        """Begin a new scale of progress."""
        self.done, self.total, self._reported = 0, total, 0

    def advance(self, amount: int, label: str, every: int = _REPORT_EVERY) -> None:
        """Report progress, but not more often than every `every` units."""
        self.done += amount
        finished = 0 < self.total <= self.done > self._reported
        if self.progress is not None and (self.done - self._reported >= every or finished):
            self._reported = self.done
            # What comes through standard input has no size; then the total grows along.
            self.progress(self.done, max(self.done, self.total), label)
