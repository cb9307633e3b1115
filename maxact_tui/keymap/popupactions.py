"""The actions of what opens over a screen; `actions.TABLES` has them.

- `READING`  pages of text: this help, what was exported, effects
- `CHOICE`   questions with a few answers
- `PALETTE`  all commands, with search
- `NUMBER`   a number to type
- `EXPORT`   formats to write
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action

READING = (
    Action("close", ("escape", "q", "enter", "question_mark"), "back", "Close the page.", "esc q"),
    Action("move(-1)", ("up", "k"), "", "One line up.", "↑ k", id="up"),
    Action("move(1)", ("down", "j"), "", "One line down.", "↓ j", id="down"),
    Action("page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown", "space"), "", "One page down.", "PgDn", id="page_down"),
    Action("edge(-1)", ("home", "g"), "", "To the top.", "Home g", id="top"),
    Action("edge(1)", ("end", "G"), "", "To the end.", "End G", id="end"),
)
CHOICE = (
    Action("choose", ("enter",), "take", "Take the selected answer; the letter before an answer takes it at once."),
    Action("move(-1)", ("up", "k"), "", "The answer above.", "↑ k", id="up"),
    Action("move(1)", ("down", "j"), "", "The answer below.", "↓ j", id="down"),
    Action("back", ("escape", "q"), "cancel", "Close without an answer: nothing happens.", "esc q"),
)
PALETTE = (
    Action("choose", ("enter",), "do it", "Do the selected command; letters narrow the list, backspace widens it."),
    Action("move(-1)", ("up",), "", "The command above.", "↑", id="up"),
    Action("move(1)", ("down",), "", "The command below.", "↓", id="down"),
    Action("page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown",), "", "One page down.", "PgDn", id="page_down"),
    Action("back", ("escape",), "back", "Close without a command.", "esc"),
)
NUMBER = (
    Action("take", ("enter",), "take it", "Take the number that was typed."),
    Action("back", ("escape",), "cancel", "Leave things as they were.", "esc"),
)
EXPORT = (
    Action("mark", ("space", "x"), "mark", "Mark the selected format, or take its mark away."),
    Action("mark_all", ("a",), "all", "Mark every format, or none."),
    Action("write", ("enter",), "write", "Write the marked formats; without a mark the selected one."),
    Action("move(-1)", ("up", "k"), "", "The format above.", "↑ k", id="up"),
    Action("move(1)", ("down", "j"), "", "The format below.", "↓ j", id="down"),
    Action("back", ("escape", "q"), "cancel", "Write nothing.", "esc q"),
)
