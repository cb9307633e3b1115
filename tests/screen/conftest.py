"""Sessions for the screen's tests, written once; and an app that shows one without a terminal."""

from __future__ import annotations

import os
import re
import time
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
from maxact_tui.shell import application, leaving, ordering  # noqa: E402
from maxact_tui.shell.application import MaxactApp  # noqa: E402
from tests.screen import sessions  # noqa: E402
from tests.screen.pictures import UPDATE, check_picture, picture, screen_text  # noqa: E402
from tests.waiting import PATIENCE_SECONDS  # noqa: E402

# Until a picture that never comes is given up; one that is made anew is taken once the screen has had time to settle.
PICTURE_SECONDS = 3.0 if UPDATE else 60.0

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
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Shows a session headlessly: `async with shown(path, 80, 24) as pilot`.

    What the app does for some seconds only (it shows a notice, it keeps a key that waits for numbers) it does for
    longer than any test takes, because a busy machine may need these seconds for a single frame.
    """
    for module, name in (
        (ordering, "SETTLE_SECONDS"), (ordering, "LONGEST_HOLD_SECONDS"),
        (leaving, "NOTICE_SECONDS"), (application, "NOTICE_SECONDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, PATIENCE_SECONDS)

    @asynccontextmanager
    async def show(path: Path | None, columns: int = 80, rows: int = 24, **options: object) -> AsyncIterator[AppPilot]:
        app = MaxactApp(path, **options)  # type: ignore[arg-type]
        async with app.run_test(size=(columns, rows)):
            yield AppPilot(app)

    return show


async def settle(pilot: Pilot[int], holds: Callable[[ShownApp], bool]) -> None:
    """Wait until a condition holds for the app.

    Raises:
        AssertionError: it never did.
    """
    app = pilot.app
    assert isinstance(app, MaxactApp)
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds(cast("ShownApp", app)):
        assert time.monotonic() < end, f"the app never got there; the screen is:\n{screen_text(app)}"
        await pilot.pause(0.05)
    await pilot.pause()


async def pictured(pilot: Pilot[int], name: str, cleaned: Callable[[str], str] = str) -> None:
    """Wait until the screen looks as in the picture of that name, less what `cleaned` takes out of it.

    Raises:
        AssertionError: it never does; the difference is that of the last look.
    """
    end = time.monotonic() + PICTURE_SECONDS
    expected = picture(name)
    while cleaned(screen_text(pilot.app)) != expected and time.monotonic() < end:
        await pilot.pause(0.05)
    await pilot.pause()
    check_picture(name, cleaned(screen_text(pilot.app)))


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
