"""The actions that work everywhere; `actions.TABLES` has them.

- `EVERYWHERE`
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action

EVERYWHERE = (
    Action("palette", ("colon", "ctrl+p"), "more", "All commands, with search.", ":"),
    Action("help", ("question_mark", "f1"), "help", "This help.", "?"),
    Action(
        "to_nonfinite",
        ("X",),
        "",
        "Go to the first NaN or infinity: the site that a forward reaches first of those that hold any, or the token of"
        " the text that is shown.",
    ),
    Action("copy(1)", ("Y",), "", "Copy what is shown as a table (TSV): to the clipboard and into a file.", id="copy"),
    Action("copy(0)", ("ctrl+y",), "", "Copy the selected row or cell.", "ctrl+y", id="copy_row"),
    Action("picture", ("P",), "", "Write what the screen shows as SVG and as text beside the session."),
    Action("said", ("V",), "", "Everything this screen has told you in its bottom line, whole, the newest first."),
    Action("theme", (), "", "Theme: dark, light or the terminal's own 16 colours, in turn."),
    Action("repaint", ("ctrl+l",), "", "Paint everything again, after another program wrote over it.", "ctrl+l"),
    Action(
        "leave",
        ("q",),
        "quit",
        "Leave the program, from any screen (esc goes back one). All numbers are in the session file, and a run goes on"
        " without this screen if you like.",
    ),
)
