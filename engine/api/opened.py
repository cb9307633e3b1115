"""A session file as other programs read it.

- `Session`  read only, live or finished
- `open`     a path or the name of a session -> `Session`
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.api.errors import NotFoundError
from engine.api.sites import Key, SiteView, SiteViews
from engine.session.library import SUFFIX, sessions_folder
from engine.session.reader import SessionReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.analysis.compare import Comparison
    from engine.analysis.maximum import Maximum
    from engine.analysis.model import ModelSummary
    from engine.analysis.threads import Thread
    from engine.quantization.board import Board


class Session:
    """A session, read only; numbers are those of its last checkpoint, and read anew after the next one.

    Use it as a context manager, or `close` it; an engine may go on writing meanwhile.

    Args:
        path: the file.

    Raises:
        engine.session.schema.SessionError: at opening and later, where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = SessionReader(path)
        self._checkpoint = -1
        self._known: dict[Any, Any] = {}

    def close(self) -> None:
        """Close the file."""
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> str:
        """What was measured, as it was asked for."""
        return self.reader.meta().job.model

    @property
    def phase(self) -> str:
        """What its engine is doing: `running`, `paused`, `finished`, `stopped`, `failed`, `gone`, ..."""
        return self.reader.status().phase

    @property
    def is_finished(self) -> bool:
        """Whether every sample was measured."""
        return self.phase == "finished"

    @property
    def sites(self) -> SiteViews:
        """All sites, in the order of a forward pass."""
        found: SiteViews = self._once("sites", lambda: SiteViews(self.reader.meta().plan, self._view))
        return found

    def __getitem__(self, key: Key) -> SiteView:
        """One site, by name, by place (`"L11 hidden"`, `(11, "hidden")`), or by number.

        Raises:
            NotFoundError: there is none.
        """
        return self.sites[key]

    @property
    def summary(self) -> ModelSummary:
        """Everything that is said about the model."""
        from engine.analysis.model import analyse

        found: ModelSummary = self._once("summary", lambda: analyse(self.reader))
        return found

    @property
    def maximum(self) -> Maximum | None:
        """M with its sites and headroom; None before the first number.

        Of a run without the paper's sites it is the largest GEMM input, and `is_m` is false.
        """
        return self.summary.maximum

    @property
    def trajectories(self) -> tuple[Thread, ...]:
        """Massive activations followed through the layers, largest first."""
        return self.summary.threads

    @property
    def board(self) -> Board:
        """Every site under every quantiser."""
        from engine.quantization.populations import read_board

        found: Board = self._once("board", lambda: read_board(self.reader))
        return found

    def compare(self, *others: Session) -> Comparison:
        """This session beside others: conditions, M, sites and trajectories."""
        from engine.report.comparison import gather_sides

        return gather_sides([one.reader for one in (self, *others)])[0]

    def to_pandas(self, table: str = "sites") -> Any:
        """A table as a `pandas.DataFrame`: `sites`, `top`, `channels`, `samples` or `quantization`.

        Raises:
            NotFoundError: there is no such table.
            MaxactError: pandas is not installed.
        """
        from engine.api.frames import to_pandas

        return to_pandas(self.reader, self.summary, table)

    def to_arrow(self, table: str = "sites") -> Any:
        """A table as a `pyarrow.Table`, unit and meaning of every column in its metadata; `polars.from_arrow` reads it.

        Raises:
            NotFoundError: there is no such table.
            MaxactError: pyarrow is not installed.
        """
        from engine.api.frames import to_arrow

        return to_arrow(self.reader, self.summary, table)

    def __repr__(self) -> str:
        status = self.reader.status()
        samples = f"{status.samples_done:,} of {status.samples_total:,} samples"
        return f"<session {self.path.name.removesuffix(SUFFIX)}: {self.model}, {status.phase}, {samples}>"

    def _repr_html_(self) -> str:
        """M and the heatmap, as in the report: what a notebook shows."""
        from engine.report.html import fragment
        from engine.report.source import gather

        return fragment(gather(self.reader))

    def _view(self, number: int) -> SiteView:
        plan = self.reader.meta().plan
        assert plan is not None, "a site has a plan"
        found: SiteView = self._once(
            number, lambda: SiteView(self.reader, number, plan.sites[number], self.reader.totals(number))
        )
        return found

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made since the last checkpoint, or made now."""
        newest = self.reader.checkpoint_number()
        if newest != self._checkpoint:
            self._checkpoint, self._known = newest, {}
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


def open(session: str | Path) -> Session:  # the name that reads right at the caller: engine.open
    """Open a session file, live or finished, for reading.

    Args:
        session: a path, or the name of a session in the sessions folder, which may be shortened while it is clear.

    Raises:
        NotFoundError: there is no such file.
        engine.session.schema.SessionError: it cannot be read.
    """
    path = Path(session)
    if path.exists():
        return Session(path)
    folder = sessions_folder()
    found = sorted(folder.glob(f"{path.name.removesuffix(SUFFIX)}*{SUFFIX}")) if path.name == str(session) else []
    if len(found) == 1:
        return Session(found[0])
    if found:
        names = ", ".join(one.name.removesuffix(SUFFIX) for one in found[:5])
        raise NotFoundError(f"{session} may be any of {len(found)} sessions, such as {names}; give more of the name")
    raise NotFoundError(f"there is no session {session}; maxact-tui sessions lists those in {folder}")
