"""A question with a few answers, each with a letter.

- `ChoiceScreen`  asks; gives back the chosen name, None for esc
- `partner_choices` what running the samples again under another policy means
- `continue_choices` what going on with a run that ended before its time means
- `leave_choices` what leaving a running session can mean
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.events import Key

from engine.base.job import Policy
from engine.base.wording import counted
from engine.session.records import Status
from maxact_tui.keymap import actions
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import duration
from maxact_tui.watching.pairing import partner_policy
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import Choice


class ChoiceScreen(AnsweringScreen[str | None]):
    """Asks one question.

    Args:
        look: what the terminal can show.
        question: one line.
        choices: the answers; the first is preselected.
    """

    CSS_PATH = "choice.tcss"
    PLACES = ("choice",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("choice")]

    def __init__(self, look: Look, question: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._look, self._question, self._choices = look, question, tuple(choices)
        self._selected = 0

    def compose(self) -> ComposeResult:
        """A box with the question and its answers."""
        with Vertical(id="choice"):
            yield Lines(self._look, id="choice-lines")

    def on_mount(self) -> None:
        """Make room for every answer."""
        lines = self.query_one("#choice-lines", Lines)
        lines.styles.height = len(self._choices) + 4
        self.draw()

    def action_back(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)

    def action_move(self, by: int) -> None:
        """Select another answer."""
        self._selected = (self._selected + by) % len(self._choices)
        self.draw()

    def action_choose(self) -> None:
        """Take the selected answer."""
        self.dismiss(self._choices[self._selected].name)

    def on_key(self, event: Key) -> None:
        """A letter takes its answer at once."""
        for choice in self._choices:
            if event.key == choice.letter:
                event.stop()
                self.dismiss(choice.name)
                return

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        look = self._look
        shown = [line(look, (self._question, "title")), line(look)]
        for number, choice in enumerate(self._choices):
            here = number == self._selected
            shown.append(
                line(
                    look, "▸ " if here else "  ", (choice.letter, "key"), (f"  {choice.text}", "title" if here else "")
                )
            )
        shown += [line(look), line(look, ("enter or the letter; esc cancels", "dim"))]
        self.query_one("#choice-lines", Lines).show(shown)


def partner_choices(policy: Policy, status: Status) -> tuple[str, list[Choice]]:
    """The question before a second run of the same samples, which says what it costs; and its answers."""
    other = {"bos": "with BOS", "raw": "without BOS"}[partner_policy(policy)]
    took = f", {duration(status.running_seconds)} last time" if status.running_seconds else ""
    start = Choice("start", "s", f"start it: the model is loaded once more{took}")
    return f"Run all {counted(status.samples_total, 'sample')} again {other}?", [
        start,
        Choice("cancel", "c", "run nothing"),
    ]


def gemm_choices(status: Status) -> tuple[str, list[Choice]]:
    """The question before a run that measures the GEMM inputs, too, which says what it costs; and its answers."""
    took = f", {duration(status.running_seconds)} without them" if status.running_seconds else ""
    start = Choice("start", "s", f"start it, in a session of its own: the model is loaded once more{took}")
    return f"Run all {counted(status.samples_total, 'sample')} again, with the GEMM inputs?", [
        start,
        Choice("cancel", "c", "run nothing"),
    ]


def continue_choices(status: Status, saved: int) -> tuple[str, list[Choice]]:
    """The question before a run that ended before its time goes on, and its answers."""
    total = counted(status.samples_total, "sample")
    done = f"{saved:,} of {total} are saved" if saved and status.samples_total else "nothing is saved yet"
    return f"Continue this run? {done}.", [
        Choice("continue", "c", "continue it: the model is loaded once more"),
        Choice("not", "n", "leave it as it is"),
    ]


def leave_choices(*, may_stop: bool) -> list[Choice]:
    """Leave it running, stop it (where that is allowed), or stay."""
    choices = [Choice("leave", "l", "leave it running; attach again with: maxact-tui attach")]
    if may_stop:
        choices.append(Choice("stop", "s", "stop it after the current batch; resume later"))
    return [*choices, Choice("stay", "c", "stay here")]
