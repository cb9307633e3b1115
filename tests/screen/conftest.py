"""Sessions for the screen's tests, written once; and an app that shows one without a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from textual.pilot import Pilot

from maxact_tui.terminal.preparing import prepare_terminal

prepare_terminal()
os.environ["TEXTUAL_COLOR_SYSTEM"] = "standard"  # the pictures then show the ramp as glyphs
os.environ.pop("NO_COLOR", None)

from maxact_tui.screens.monitor import MonitorScreen  # noqa: E402
from maxact_tui.screens.panel import SitePanel  # noqa: E402
from maxact_tui.shell.application import MaxactApp  # noqa: E402
from tests.screen import sessions  # noqa: E402
from tests.screen.pictures import screen_text  # noqa: E402

if TYPE_CHECKING:

    class ShownApp(MaxactApp):
        """The app as the type checker sees it: which screen is on top is what a test finds out at run time."""

        @property
        def screen(self) -> Any: ...


class AppPilot(Pilot[int]):
    """A pilot whose app is ours."""

    @property
    def app(self) -> ShownApp:
        app = super().app
        assert isinstance(app, MaxactApp)
        return cast("ShownApp", app)


Shown = Callable[..., AbstractAsyncContextManager[AppPilot]]


@pytest.fixture(scope="session")
def finished_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished session with hostile tokens; read only."""
    path = tmp_path_factory.mktemp("sessions") / "smollm2.maxact"
    sessions.finished(path)
    return path


@pytest.fixture(scope="session")
def clean_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished session with ordinary tokens; read only."""
    path = tmp_path_factory.mktemp("sessions") / "clean.maxact"
    sessions.finished(path, hostile=False)
    return path


@pytest.fixture
def shown() -> Shown:
    """Shows a session headlessly: `async with shown(path, 80, 24) as pilot`."""

    @asynccontextmanager
    async def show(path: Path | None, columns: int = 80, rows: int = 24, **options: object) -> AsyncIterator[AppPilot]:
        app = MaxactApp(path, **options)  # type: ignore[arg-type]
        async with app.run_test(size=(columns, rows)):
            yield AppPilot(app)

    return show


async def settle(pilot: Pilot[int], holds: Callable[[ShownApp], bool], seconds: float = 25.0) -> None:
    """Wait until a condition holds for the app.

    Raises:
        AssertionError: it did not in time.
    """
    app = pilot.app
    assert isinstance(app, MaxactApp)
    for _ in range(int(seconds / 0.05)):
        if holds(cast("ShownApp", app)):
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise AssertionError("the app did not get there in time")


def shows(words: str) -> Callable[[MaxactApp], bool]:
    """The condition that these words are on the screen."""
    return lambda app: words in screen_text(app)


def matches(pattern: str) -> Callable[[MaxactApp], bool]:
    """The condition that this is somewhere in one line of the screen."""
    return lambda app: re.search(pattern, screen_text(app)) is not None


def has_screens(count: int) -> Callable[[MaxactApp], bool]:
    """The condition that so many screens lie over each other."""
    return lambda app: len(app.screen_stack) == count


def is_complete(app: MaxactApp) -> bool:
    """Whether the watcher has read everything an ended session with a visible depth plot holds."""
    snapshot = app.snapshot
    if not isinstance(app.screen, MonitorScreen) or snapshot.view is None:
        return False
    panel = app.screen.query_one(SitePanel)
    if app.screen._maker.measure.name == "sqnr":
        return snapshot.board is not None and snapshot.board.checkpoint == snapshot.checkpoint
    wants = panel.wants_model or not app.screen._maker.measure.is_live
    return panel._late is None and (not wants or snapshot.model_at == snapshot.checkpoint)
