"""The one table of actions: key bindings, footer, help and command palette all come from it.

- `Action`    one thing the user can do
- `ACTIONS`   all of them
- `bindings`  Textual key bindings of a place
- `footer`    the keys worth showing in one line, most useful first
- `help_sections`  everything, grouped, for the help screen
- `commands`  what the command palette offers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Place = Literal["app", "monitor", "site", "list"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the user can do.

    Attributes:
        name: the method `action_NAME` of the place, or with `app.` of the application, and its arguments.
        keys: Textual key names; the first is the one that is shown.
        label: one or two words for the footer, empty to leave it out there.
        help: one sentence for help and palette.
        place: the screen that has it; `app` is everywhere.
        shown: how the key is written, where Textual's name is not what is printed on it.
    """

    name: str
    keys: tuple[str, ...]
    label: str
    help: str
    place: Place
    shown: str = ""

    @property
    def key_text(self) -> str:
        """How the first key is written in the footer and the help."""
        return self.shown or self.keys[0]


ACTIONS: tuple[Action, ...] = (
    Action("cursor(-1,0)", ("up", "k"), "", "Move the cursor to the layer above.", "monitor", "↑ k"),
    Action("cursor(1,0)", ("down", "j"), "", "Move the cursor to the layer below.", "monitor", "↓ j"),
    Action("cursor(0,-1)", ("left", "h"), "", "Move the cursor to the component on the left.", "monitor", "← h"),
    Action("cursor(0,1)", ("right", "l"), "", "Move the cursor to the component on the right.", "monitor", "→ l"),
    Action("page(-1)", ("pageup",), "", "One page of layers up.", "monitor", "PgUp"),
    Action("page(1)", ("pagedown",), "", "One page of layers down.", "monitor", "PgDn"),
    Action("edge(-1)", ("home", "g"), "", "First row.", "monitor", "Home g"),
    Action("edge(1)", ("end", "G"), "", "Last row.", "monitor", "End G"),
    Action("app.open_site", ("enter",), "site", "Everything about the site under the cursor.", "monitor"),
    Action("to_maximum", ("x",), "to M", "Jump to the site where M is; again for the next tied site.", "monitor"),
    Action("next_pane", ("tab",), "pane", "Next pane beside the heatmap.", "monitor"),
    Action("measure(1)", ("m",), "measure", "Next measure in the heatmap (max, rms, crest, ...).", "monitor"),
    Action("app.pause", ("space",), "pause", "Pause the run after the current batch, or resume it.", "monitor"),
    Action("app.threads", ("t",), "threads", "Massive activations followed through the layers.", "monitor"),
    Action(
        "app.export",
        ("e",),
        "export",
        "Write HTML, Markdown, JSON and the paper's files beside the session.",
        "monitor",
    ),
    Action(
        "app.ab", ("b",), "", "Run the same samples with BOS (or without, if this run had it), then compare.", "monitor"
    ),
    Action("app.log", ("v",), "events", "The event log.", "monitor"),
    Action("app.browse", ("o",), "open", "Open another session.", "monitor"),
    Action("previous_pane", ("shift+tab",), "", "Previous pane beside the heatmap.", "monitor"),
    Action("pane(0)", ("1",), "", "Pane: the largest activations in their context.", "monitor"),
    Action("pane(1)", ("2",), "", "Pane: the largest channels.", "monitor"),
    Action("pane(2)", ("3",), "", "Pane: this component over the depth of the model.", "monitor"),
    Action("pane(3)", ("4",), "", "Pane: histogram of |x|.", "monitor"),
    Action("measure(-1)", ("M",), "", "Previous measure in the heatmap.", "monitor"),
    Action("choose", ("enter",), "open", "Open the session, or go to the site of the thread.", "list"),
    Action("scroll(-1)", ("up", "k"), "", "One line up.", "list", "↑ k"),
    Action("scroll(1)", ("down", "j"), "", "One line down.", "list", "↓ j"),
    Action("scroll_page(-1)", ("pageup",), "", "One page up.", "list", "PgUp"),
    Action("scroll_page(1)", ("pagedown",), "", "One page down.", "list", "PgDn"),
    Action("scroll_edge(-1)", ("home", "g"), "", "To the top.", "list", "Home g"),
    Action("scroll_edge(1)", ("end", "G"), "", "To the end.", "list", "End G"),
    Action("back", ("escape",), "back", "Back to where you came from.", "list", "esc"),
    Action("tab(1)", ("tab", "right", "l"), "next", "Next tab.", "site"),
    Action("tab(-1)", ("shift+tab", "left", "h"), "", "Previous tab.", "site"),
    Action("tab_at(0)", ("1",), "", "Tab: the 100 largest activations.", "site"),
    Action("tab_at(1)", ("2",), "", "Tab: channels.", "site"),
    Action("tab_at(2)", ("3",), "", "Tab: distribution.", "site"),
    Action("tab_at(3)", ("4",), "", "Tab: samples and categories.", "site"),
    Action("scroll(-1)", ("up", "k"), "", "One line up.", "site", "↑ k"),
    Action("scroll(1)", ("down", "j"), "", "One line down.", "site", "↓ j"),
    Action("scroll_page(-1)", ("pageup",), "", "One page up.", "site", "PgUp"),
    Action("scroll_page(1)", ("pagedown",), "", "One page down.", "site", "PgDn"),
    Action("scroll_edge(-1)", ("home", "g"), "", "To the top.", "site", "Home g"),
    Action("scroll_edge(1)", ("end", "G"), "", "To the end.", "site", "End G"),
    Action("neighbour(-1)", ("left_square_bracket",), "layer", "The same component one layer up.", "site", "[ ]"),
    Action("neighbour(1)", ("right_square_bracket",), "", "The same component one layer down.", "site", "]"),
    Action("back", ("escape",), "back", "Back to where you came from.", "site", "esc"),
    Action("palette", ("colon", "ctrl+p"), "more", "All commands, with search.", "app", ":"),
    Action("help", ("question_mark", "f1"), "help", "This help.", "app", "?"),
    Action("leave", ("q",), "quit", "Leave; a run goes on without this screen if you like.", "app"),
)


def bindings(place: Place) -> list[Binding]:
    """Textual's key bindings for a place; hidden, because the footer is drawn by us."""
    return [
        Binding(",".join(action.keys), action.name, action.help, show=False, priority=_opens(action))
        for action in ACTIONS
        if action.place == place
    ]


def _opens(action: Action) -> bool:
    """Whether an action opens a screen; it then runs before the next key is looked at, which is meant for that."""
    return action.place == "app" or action.name.startswith("app.")


def footer(*places: Place) -> list[tuple[str, str]]:
    """(key, label) of the actions worth a place in the footer, in the table's order."""
    return [(a.key_text, a.label) for place in places for a in ACTIONS if a.place == place and a.label]


def help_sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, [(key, sentence)]) of everything there is."""
    titles: tuple[tuple[Place, str], ...] = (
        ("monitor", "Heatmap"),
        ("site", "Site"),
        ("list", "Lists: threads, sessions"),
        ("app", "Everywhere"),
    )
    sections = [(title, [(a.key_text, a.help) for a in ACTIONS if a.place == place]) for place, title in titles]
    return [section for section in sections if section[1]]


def commands(*places: Place) -> list[Action]:
    """What the command palette offers: everything but moving the cursor."""
    moves = ("cursor", "scroll", "page", "edge", "palette")
    return [a for place in places for a in ACTIONS if a.place == place and not a.name.startswith(moves)]
