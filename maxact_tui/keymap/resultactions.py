"""Rows of the tables of actions: exporting, comparing, and the comparison screen.

- `OPENING`  in the heatmap
- `COMPARE`  on the comparison screen
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action
from maxact_tui.keymap.moving import TABS, cursor_moves

OPENING = (
    Action("app.export", ("e",), "export", "Write results: formats to choose from, into a folder beside the session."),
    Action("app.compare", ("d",), "compare", "Set this session beside another: what differs, site by site."),
)
COMPARE = (
    *TABS,
    Action(
        "tab_at(0)", ("1",), "", "Tab: what was different, what came out, sites that differ most.", id="tab_summary"
    ),
    Action("tab_at(1)", ("2",), "", "Tab: ratios of max |x|, layers by components.", id="tab_sites"),
    Action("tab_at(2)", ("3",), "", "Tab: the residual stream of all sessions on one axis.", id="tab_profile"),
    Action("tab_at(3)", ("4",), "", "Tab: threads in common.", id="tab_threads"),
    Action("tab_at(4)", ("5",), "", "Tab: INT8 and other quantisers side by side.", id="tab_int8"),
    Action("other", ("n",), "session", "Ratios of the next session, of three or more."),
    *cursor_moves(
        up="One line or layer up.",
        down="One line or layer down.",
        left="The component on the left.",
        right="The component on the right.",
        first="To the top.",
        last="To the end.",
    ),
)
