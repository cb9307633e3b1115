"""The tables of actions, one per place: key bindings, footer, help and command palette all come from them.

A new screen adds a name to `Place`, a tuple of its rows, and a line to `TABLES`; nothing else needs to know.

- `Place`     where an action works: a screen, or `app` for everywhere
- `Keys`      the user's own keys: "PLACE.NAME" of an action -> Textual key names
- `TABLES`    title and actions of each place, in the order of the help
- `actions_of` the actions of places
- `setting`   what the key map calls an action
- `bindings`  Textual key bindings of a place
- `footer`    the keys worth showing in one line, most useful first
- `help_sections`  everything, grouped, for the help screen
- `commands`  what the command palette offers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from textual.binding import Binding

from maxact_tui.action import Action

Place = Literal["monitor", "site", "list", "app"]
Keys = Mapping[str, tuple[str, ...]]
DEFAULT_KEYS: Keys = MappingProxyType({})

SCROLLING = (
    Action("scroll(-1)", ("up", "k"), "", "One line up.", "↑ k", id="up"),
    Action("scroll(1)", ("down", "j"), "", "One line down.", "↓ j", id="down"),
    Action("scroll_page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("scroll_page(1)", ("pagedown",), "", "One page down.", "PgDn", id="page_down"),
    Action("scroll_edge(-1)", ("home", "g"), "", "To the top.", "Home g", id="top"),
    Action("scroll_edge(1)", ("end", "G"), "", "To the end.", "End G", id="end"),
)
TABLE = (
    Action("app.filter", ("slash",), "filter", "Filter what is shown; see `The filter` below.", "/"),
    Action("sort", ("s",), "sort", "Sort by the next column; after the last as the rows come."),
    Action("reverse", ("S",), "", "Turn the order round."),
)
BACK = Action("back", ("escape",), "back", "Back to where you came from.", "esc")

MONITOR = (
    Action("cursor(-1,0)", ("up", "k"), "", "Move the cursor to the layer above.", "↑ k", id="up"),
    Action("cursor(1,0)", ("down", "j"), "", "Move the cursor to the layer below.", "↓ j", id="down"),
    Action("cursor(0,-1)", ("left", "h"), "", "Move the cursor to the component on the left.", "← h", id="left"),
    Action("cursor(0,1)", ("right", "l"), "", "Move the cursor to the component on the right.", "→ l", id="right"),
    Action("page(-1)", ("pageup",), "", "One page of layers up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown",), "", "One page of layers down.", "PgDn", id="page_down"),
    Action("edge(-1)", ("home", "g"), "", "First row.", "Home g", id="top"),
    Action("edge(1)", ("end", "G"), "", "Last row.", "End G", id="end"),
    Action("app.open_site", ("enter",), "site", "Everything about the site under the cursor."),
    Action("to_maximum", ("x",), "to M", "Jump to the site where M is; again for the next tied site."),
    Action("next_pane", ("tab",), "pane", "Next pane beside the heatmap."),
    Action("measure(1)", ("m",), "measure", "Next measure in the heatmap (max, rms, crest, ...)."),
    Action("app.pause", ("space",), "pause", "Pause the run after the current batch, or resume it."),
    Action("app.threads", ("t",), "threads", "Massive activations followed through the layers."),
    Action("app.filter", ("slash",), "filter", "Show only some rows and columns; see `The filter` below.", "/"),
    Action("clear", ("escape",), "", "Show every row and column again.", "esc"),
    Action("app.export", ("e",), "export", "Write HTML, Markdown, JSON and the paper's files beside the session."),
    Action("app.ab", ("b",), "", "Run the same samples with BOS (or without, if this run had it), then compare."),
    Action("app.log", ("v",), "events", "The event log."),
    Action("app.browse", ("o",), "open", "Open another session."),
    Action("previous_pane", ("shift+tab",), "", "Previous pane beside the heatmap."),
    Action("pane(0)", ("1",), "", "Pane: the largest activations in their context.", id="pane_tokens"),
    Action("pane(1)", ("2",), "", "Pane: the largest channels.", id="pane_channels"),
    Action("pane(2)", ("3",), "", "Pane: this component over the depth of the model.", id="pane_depth"),
    Action("pane(3)", ("4",), "", "Pane: histogram of |x|.", id="pane_histogram"),
    Action("measure(-1)", ("M",), "", "Previous measure in the heatmap.", id="previous_measure"),
)

SITE = (
    Action("tab(1)", ("tab", "right", "l"), "next", "Next tab.", id="next_tab"),
    Action("tab(-1)", ("shift+tab", "left", "h"), "", "Previous tab.", id="previous_tab"),
    Action("tab_at(0)", ("1",), "", "Tab: the 100 largest activations.", id="tab_tokens"),
    Action("tab_at(1)", ("2",), "", "Tab: channels.", id="tab_channels"),
    Action("tab_at(2)", ("3",), "", "Tab: distribution.", id="tab_distribution"),
    Action("tab_at(3)", ("4",), "", "Tab: samples and categories.", id="tab_samples"),
    *TABLE,
    *SCROLLING,
    Action(
        "neighbour(-1)", ("left_square_bracket",), "layer", "The same component one layer up.", "[ ]", id="layer_up"
    ),
    Action("neighbour(1)", ("right_square_bracket",), "", "The same component one layer down.", "]", id="layer_down"),
    BACK,
)

LIST = (
    Action("choose", ("enter",), "open", "Open the session, or go to the site of the thread or event."),
    *TABLE,
    *SCROLLING,
    BACK,
)

EVERYWHERE = (
    Action("palette", ("colon", "ctrl+p"), "more", "All commands, with search.", ":"),
    Action("help", ("question_mark", "f1"), "help", "This help.", "?"),
    Action("theme", (), "", "Theme: dark, light or the terminal's own 16 colours, in turn."),
    Action("repaint", ("ctrl+l",), "", "Paint everything again, after another program wrote over it.", "ctrl+l"),
    Action("leave", ("q",), "quit", "Leave; a run goes on without this screen if you like."),
)

TABLES: dict[Place, tuple[str, tuple[Action, ...]]] = {
    "monitor": ("Heatmap", MONITOR),
    "site": ("Site", SITE),
    "list": ("Lists: threads, sessions", LIST),
    "app": ("Everywhere", EVERYWHERE),
}


def actions_of(*places: Place, keys: Keys = DEFAULT_KEYS) -> list[Action]:
    """The actions of these places, in the order of their tables, with the user's keys where there are any."""
    return [_with_keys(place, action, keys) for place in places for action in TABLES[place][1]]


def setting(place: Place, action: Action) -> str:
    """What the key map calls an action."""
    return f"{place}.{action.key_name}"


def bindings(place: Place) -> list[Binding]:
    """Textual's key bindings for a place; hidden, because the footer is drawn by us."""
    return [
        Binding(
            ",".join(action.keys),
            action.name,
            action.help,
            show=False,
            priority=place == "app" or action.opens,
            id=setting(place, action),
        )
        for action in actions_of(place)
        if action.keys
    ]


def footer(*places: Place, keys: Keys = DEFAULT_KEYS) -> list[tuple[str, str]]:
    """(key, label) of the actions worth a place in the footer, in the table's order."""
    return [(action.key_text, action.label) for action in actions_of(*places, keys=keys) if action.label]


def help_sections(*here: Place, keys: Keys = DEFAULT_KEYS) -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, [(key, sentence)]) of everything there is, the places where the user is first."""
    order = [*here, *(place for place in TABLES if place not in here)]
    return [(TABLES[p][0], [(a.key_text, a.help) for a in actions_of(p, keys=keys)]) for p in order]


def commands(*places: Place, keys: Keys = DEFAULT_KEYS) -> list[Action]:
    """What the command palette offers: everything but moving the cursor."""
    moves = ("cursor", "scroll", "page", "edge", "palette")
    return [action for action in actions_of(*places, keys=keys) if not action.name.startswith(moves)]


def _with_keys(place: Place, action: Action, keys: Keys) -> Action:
    chosen = keys.get(setting(place, action))
    return action if chosen is None else replace(action, keys=chosen, shown="")
