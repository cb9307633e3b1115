"""The actions that places share: moving about, tabs, going back.

- `cursor_moves`  a cursor in a heatmap or a text
- `SCROLLING`     a list or page
- `TABS`          a row of tabs
- `BACK`          leave the screen
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action

SCROLLING = (
    Action("scroll(-1)", ("up", "k"), "", "One line up.", "↑ k", id="up"),
    Action("scroll(1)", ("down", "j"), "", "One line down.", "↓ j", id="down"),
    Action("scroll_page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("scroll_page(1)", ("pagedown",), "", "One page down.", "PgDn", id="page_down"),
    Action("scroll_edge(-1)", ("home", "g"), "", "To the top.", "Home g", id="top"),
    Action("scroll_edge(1)", ("end", "G"), "", "To the end.", "End G", id="end"),
)
TABS = (
    Action("tab(1)", ("tab",), "next", "Next tab.", id="next_tab"),
    Action("tab(-1)", ("shift+tab",), "", "Previous tab.", id="previous_tab"),
)
BACK = Action("back", ("escape",), "back", "Back to where you came from.", "esc")


def cursor_moves(
    *, up: str, down: str, left: str, right: str, first: str, last: str, page: str = "One page"
) -> tuple[Action, ...]:
    """The keys of a cursor, with a sentence for help and palette each; `page` begins those of a page."""
    return (
        Action("cursor(-1,0)", ("up", "k"), "", up, "↑ k", id="up"),
        Action("cursor(1,0)", ("down", "j"), "", down, "↓ j", id="down"),
        Action("cursor(0,-1)", ("left", "h"), "", left, "← h", id="left"),
        Action("cursor(0,1)", ("right", "l"), "", right, "→ l", id="right"),
        Action("page(-1)", ("pageup",), "", f"{page} up.", "PgUp", id="page_up"),
        Action("page(1)", ("pagedown",), "", f"{page} down.", "PgDn", id="page_down"),
        Action("edge(-1)", ("home", "g"), "", first, "Home g", id="top"),
        Action("edge(1)", ("end", "G"), "", last, "End G", id="end"),
    )
