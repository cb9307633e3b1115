"""Taking away what the screen shows: to the clipboard and into files.

- `TakingApp`  the part of the application that copies and takes pictures
- `Copyable`   a screen with something to copy
"""

from __future__ import annotations

import os
import time
from typing import Protocol, runtime_checkable

from maxact_tui.shell.leaving import LeavingApp
from maxact_tui.terminal.clipboard import clipboard_sequence, picture_of, write_beside
from maxact_tui.terminal.private import rows_of, send
from maxact_tui.texts.visible import home_path, visible

_WRITTEN = "written to "


@runtime_checkable
class Copyable(Protocol):
    """A screen with something to copy."""

    def copied(self, *, whole: bool) -> str:
        """What is selected, or everything that is shown, as tab-separated text; empty if there is nothing."""


class TakingApp(LeavingApp):
    """Copies and takes pictures; stands among the application's bases."""

    def action_copy(self, whole: int) -> None:
        """Send the selected row or cell (the whole table if `whole`) to the terminal's clipboard, and write a file.

        A terminal does not say whether it took the text; the file is there in any case.
        """
        text = self.screen.copied(whole=bool(whole)) if isinstance(self.screen, Copyable) else ""
        if not text:
            self.say("nothing to copy here")
            return
        sequence = clipboard_sequence(text)
        if sequence is not None:
            send(self, sequence)
        rows = text.count("\n") - 1
        what = f"{rows:,} {'row' if rows == 1 else 'rows'}"
        if sequence is None:
            sent = f"{what}: too long for a terminal's clipboard"
        elif "TMUX" in os.environ:
            sent = f"{what} sent to tmux (needs set-clipboard on)"
        else:
            sent = f"{what} sent to the terminal's clipboard"
        name = visible(f"{self._session.stem}-copy.tsv", space=" ") if self._session is not None else ""
        written = self._written("copy.tsv", text)
        has_file = written.startswith(_WRITTEN)
        self.say(f"{sent}; {written}", *((f"{sent}; {name}", f"{what} sent; {name}") if has_file else ()))

    def action_picture(self) -> None:
        """Write what the screen shows as a picture and as plain text."""
        title = visible(self.snapshot.path.stem, space=" ")
        strips = rows_of(self.screen)
        text = "\n".join(strip.text.rstrip() for strip in strips) + "\n"
        name = time.strftime("screen-%Y%m%d-%H%M%S")
        self._written(f"{name}.txt", text)
        said = self._written(f"{name}.svg", picture_of(self.export_screenshot(title=title)))
        self.say(f"picture and .txt beside it {said}")

    def _written(self, ending: str, text: str) -> str:
        """Write a file beside the session, and say so."""
        if self._session is None:
            return "not written: no session is open"
        try:
            path = write_beside(self._session, ending, text)
        except OSError as error:
            return f"not written beside the session: {error.strerror or error}"
        return f"{_WRITTEN}{home_path(path)}"
