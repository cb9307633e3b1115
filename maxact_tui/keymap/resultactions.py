"""Rows of the tables of actions: exporting, comparing, and the comparison screen.

- `OPENING`  in the heatmap
- `COMPARE`  on the comparison screen
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action

OPENING = (
    Action("app.export", ("e",), "export", "Write results: formats to choose from, into a folder beside the session."),
    Action("app.compare", ("d",), "compare", "Set this session beside another: what differs, site by site."),
)
COMPARE = (
    Action("tab(1)", ("tab",), "next", "Next tab.", id="next_tab"),
    Action("tab(-1)", ("shift+tab",), "", "Previous tab.", id="previous_tab"),
    Action(
        "tab_at(0)", ("1",), "", "Tab: what was different, what came out, sites that differ most.", id="tab_summary"
    ),
    Action("tab_at(1)", ("2",), "", "Tab: ratios of max |x|, layers by components.", id="tab_sites"),
    Action("tab_at(2)", ("3",), "", "Tab: the residual stream of all sessions on one axis.", id="tab_profile"),
    Action("tab_at(3)", ("4",), "", "Tab: threads in common.", id="tab_threads"),
    Action("tab_at(4)", ("5",), "", "Tab: INT8 and other quantisers side by side.", id="tab_int8"),
    Action("other", ("n",), "session", "Ratios of the next session, of three or more."),
    Action("cursor(-1,0)", ("up", "k"), "", "One line or layer up.", "↑ k", id="up"),
    Action("cursor(1,0)", ("down", "j"), "", "One line or layer down.", "↓ j", id="down"),
    Action("cursor(0,-1)", ("left", "h"), "", "The component on the left.", "← h", id="left"),
    Action("cursor(0,1)", ("right", "l"), "", "The component on the right.", "→ l", id="right"),
    Action("page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown",), "", "One page down.", "PgDn", id="page_down"),
    Action("edge(-1)", ("home", "g"), "", "To the top.", "Home g", id="top"),
    Action("edge(1)", ("end", "G"), "", "To the end.", "End G", id="end"),
)
