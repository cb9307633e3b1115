"""What becomes of results: exporting them, and comparing the session with another.

- `ResultsApp`  the part of the application that opens these dialogs

What makes reports is imported when it is asked for: the first frame does not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from engine.base.wording import counted
from engine.report.errors import ReportError
from engine.session.schema import SessionError
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.shell.textsapp import TextsApp
from maxact_tui.widgets.picker import Choice
from maxact_tui.widgets.prompt import PromptLine

if TYPE_CHECKING:
    from maxact_tui.watching.exporter import Export

LOOK_AGAIN_SECONDS = 0.2


class ResultsApp(TextsApp):
    """Exports and compares; arguments as for `OpeningApp`."""

    compare_first: tuple[Path, ...] = ()
    _is_exporting = False
    _is_warned = False

    def on_mount(self) -> None:
        """Open the comparison that the command line asked for."""
        if self.compare_first:
            self.call_later(self.open_comparison, self.compare_first)

    async def action_leave(self) -> None:
        """Leave; files that are being written are not left half done unasked."""
        if self._is_exporting and not self._is_warned:
            self._is_warned = True
            self.say("an export is being written; q again leaves without it")
        else:
            await super().action_leave()

    async def action_compare(self) -> None:
        """Choose a session to compare the open one with."""
        if self._session is not None:
            await self.push_screen(BrowserScreen(self.look, self._session, to_compare=True), self._on_other_chosen)

    async def open_comparison(self, sessions: Sequence[Path]) -> None:
        """Show sessions side by side; the first is what the others are compared with."""
        from maxact_tui.screens.compare import ComparisonScreen

        await self.push_screen(ComparisonScreen(self.look, sessions), self.redraw)

    async def action_export(self) -> None:
        """Choose formats and write them beside the session."""
        from maxact_tui.screens.export import ExportScreen
        from maxact_tui.watching.exporter import usual_folder

        meta = self.snapshot.meta
        if self.snapshot.checkpoint == 0 or meta is None:
            self.say("nothing to export before the first checkpoint")
        elif self._is_exporting:
            self.say("an export is under way; what it wrote is told at its end")
        elif self._session is not None:
            is_partial = self.snapshot.status is None or self.snapshot.status.phase != "finished"
            asked = ExportScreen(self.look, usual_folder(self._session), meta, partial=is_partial)
            await self.push_screen(asked, self._on_formats_chosen)

    def _on_formats_chosen(self, names: tuple[str, ...] | None) -> None:
        self.redraw()
        if names and self._session is not None:
            self._is_exporting = True
            self._make(self._session, names)

    @work(thread=True, group="export")
    def _make(self, session: Path, names: Sequence[str]) -> None:
        from maxact_tui.watching.exporter import make_export, usual_folder

        try:
            made = make_export(session, names, lambda text: self.call_from_thread(self.say, text))
        except (SessionError, OSError) as error:
            self.call_from_thread(self._end_export, f"export failed: {error}")
        else:
            self.call_from_thread(self._when_uncovered, partial(self._made, made, usual_folder(session)))

    def _made(self, export: Export, folder: Path) -> None:
        """Ask if files are in the way, else write."""
        from maxact_tui.watching.exporter import free_folder, in_the_way

        existing = in_the_way(export, folder)
        if not existing:
            self._write_files(export, folder, force=False)
            return
        free = free_folder(folder)
        count = f"{len(existing)} of the files are" if len(existing) > 1 else f"{existing[0].name} is"
        choices = (
            Choice("overwrite", "r", "replace them"),
            Choice("new", "n", f"write into {free.name} instead"),
            Choice("cancel", "c", "write nothing"),
        )

        def answered(answer: str | None) -> None:
            self.redraw()
            if answer in ("overwrite", "new"):
                self._write_files(export, free if answer == "new" else folder, force=answer == "overwrite")
            else:
                self._end_export("nothing exported")

        self.push_screen(ChoiceScreen(self.look, f"{count} in {folder.name} already", choices), answered)

    @work(thread=True, group="export")
    def _write_files(self, export: Export, folder: Path, *, force: bool) -> None:
        from engine.report.writing import write_documents

        written: list[Path] = []
        problem = ""
        try:
            written = write_documents(export.documents, folder, force=force) if export.documents else []
        except ReportError as error:
            problem = str(error)
        self.call_from_thread(self._tell_written, export, written, problem)

    def _tell_written(self, export: Export, written: Sequence[Path], problem: str) -> None:
        title = f"Exported: {counted(len(written), 'file')}"
        from maxact_tui.screens.export import export_lines

        for text in export.warnings if written else ():
            self.told.append((time.time(), f"warning: {text}"))
        self._end_export(problem or (f"{title.lower()}, in {written[0].parent}" if written else title))
        page = ReadingScreen(self.look, title, lambda width: export_lines(export, written, problem, self.look, width))

        def tell() -> None:
            self.push_screen(page, self.redraw)

        self._when_uncovered(tell)

    def _when_uncovered(self, act: Callable[[], None]) -> None:
        """Do it when no dialog is open and nobody types: keys meant for those would answer what opens over them."""
        if isinstance(self.screen, AnsweringScreen) or isinstance(self.focused, PromptLine):
            self.set_timer(LOOK_AGAIN_SECONDS, partial(self._when_uncovered, act))
        else:
            act()

    def _end_export(self, text: str) -> None:
        self._is_exporting = self._is_warned = False
        if text:
            self.say(text)

    async def _on_other_chosen(self, chosen: Path | None) -> None:
        if chosen is not None and self._session is not None:
            await self.open_comparison([self._session, chosen])
        else:
            self.redraw()
