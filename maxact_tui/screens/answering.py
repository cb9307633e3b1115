"""A dialog that answers once.

- `AnsweringScreen`  the base of every dialog
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

from maxact_tui.keymap.actions import Place
from maxact_tui.screens.steady import Steady

Answer = TypeVar("Answer")


class AnsweringScreen(ModalScreen[Answer], Steady[Answer]):
    """A dialog whose first answer counts: keys typed on while it closes would take down the screen below it."""

    PLACES: ClassVar[tuple[Place, ...]] = ()
    """Whose actions work here."""

    _has_answered = False

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close with an answer; does nothing after the first."""
        if self._has_answered:
            return AwaitComplete()
        self._has_answered = True
        return super().dismiss(result)
