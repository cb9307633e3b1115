"""The tables of actions, one per place: key bindings, footer, help and command palette all come from them.

A new screen adds a name to `Place`, a tuple of its rows, and a line to `TABLES`; nothing else needs to know.

- `Place`     where an action works: a screen, or `app` for everywhere
- `Keys`      the user's own keys: "PLACE.NAME" of an action -> Textual key names
- `TABLES`    title and actions of each place, in the order of the help
- `actions_of` the actions of places
- `key_of`    how the key of an action is written
- `everywhere` the actions of `app` that work at places
- `setting`   what the key map calls an action
- `bindings`  Textual key bindings of a place
- `footer`    the keys worth showing in one line, most useful first
- `help_sections`  everything, grouped, for the help screen
- `commands`  what the command palette offers
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from maxact_tui.keymap import appactions, popupactions, resultactions, textactions
from maxact_tui.keymap.action import Action
from maxact_tui.keymap.moving import BACK, SCROLLING, TABS, cursor_moves

if TYPE_CHECKING:
    from textual.binding import Binding

Place = Literal[
    "monitor",
    "site",
    "board",
    "tuning",
    "list",
    "channels",
    "probe",
    "prompt",
    "writing",
    "prompts",
    "versus",
    "threads",
    "compare",
    "reading",
    "choice",
    "palette",
    "number",
    "export",
    "app",
]
Keys = Mapping[str, tuple[str, ...]]
DEFAULT_KEYS: Keys = MappingProxyType({})

REVERSE = Action("reverse", ("S",), "", "Turn the order round.")
TABLE = (
    Action("app.filter", ("slash",), "filter", "Filter what is shown; see `The filter` below.", "/"),
    Action("sort", ("s",), "sort", "Sort by the next column; after the last as the rows come."),
    REVERSE,
)

MONITOR = (
    *cursor_moves(
        up="Move the cursor to the layer above.",
        down="Move the cursor to the layer below.",
        left="Move the cursor to the component on the left.",
        right="Move the cursor to the component on the right.",
        page="One page of layers",
        first="First row.",
        last="Last row.",
    ),
    Action("app.open_site", ("enter",), "site", "Everything about the site under the cursor."),
    Action("to_maximum", ("x",), "to M", "Jump to the site where M is; again for the next tied site."),
    Action("next_pane", ("tab",), "pane", "Next pane beside the heatmap."),
    Action("measure(1)", ("m",), "measure", "Next measure in the heatmap (max, rms, crest, ...)."),
    Action(
        "app.pause",
        ("space",),
        "pause",
        "Pause the run after its batch, resume it, or continue one that broke off.",
    ),
    Action("app.threads", ("t",), "threads", "Massive activations followed through the layers."),
    *textactions.OPENING,
    Action("app.board", ("i",), "INT8", "The board: every site under every quantiser, and what exceeds fp16 and e4m3."),
    Action("app.filter", ("slash",), "filter", "Show only some rows and columns; see `The filter` below.", "/"),
    Action("clear", ("escape",), "", "Show every row and column again.", "esc"),
    textactions.SAMPLE,
    *resultactions.OPENING,
    Action("app.ab", ("b",), "", "Run the same samples with BOS (or without, if this run had it), then compare."),
    Action("app.log", ("v",), "events", "The event log."),
    Action(
        "app.other_session(1)",
        ("right_parenthesis",),
        "",
        "Next of the sessions opened here, with the cursor where you left it.",
        id="next_session",
        pair=") (",
    ),
    Action(
        "app.other_session(-1)",
        ("left_parenthesis",),
        "",
        "Previous of the sessions opened here.",
        id="previous_session",
    ),
    Action("app.browse", ("o",), "open", "Open another session."),
    Action("previous_pane", ("shift+tab",), "", "Previous pane beside the heatmap."),
    Action("pane(0)", ("1",), "", "Pane: the largest activations in their context.", id="pane_tokens"),
    Action("pane(1)", ("2",), "", "Pane: the largest channels.", id="pane_channels"),
    Action("pane(2)", ("3",), "", "Pane: this component over the depth of the model.", id="pane_depth"),
    Action("pane(3)", ("4",), "", "Pane: histogram of |x|.", id="pane_histogram"),
    Action("axis", ("a",), "", "Colours on a linear axis, or on a logarithmic one again."),
    Action("measure(-1)", ("M",), "", "Previous measure in the heatmap.", id="previous_measure"),
)

SITE = (
    *TABS,
    Action("sideways(1)", ("right", "l"), "", "Next tab; on the INT8 tab the threshold up.", "→ l", id="right"),
    Action("sideways(-1)", ("left", "h"), "", "Previous tab; on the INT8 tab the threshold down.", "← h", id="left"),
    Action("tab_at(0)", ("1",), "", "Tab: the 100 largest activations.", id="tab_tokens"),
    Action("tab_at(1)", ("2",), "", "Tab: channels.", id="tab_channels"),
    Action("tab_at(2)", ("3",), "", "Tab: distribution.", id="tab_distribution"),
    Action("tab_at(3)", ("4",), "", "Tab: samples and categories.", id="tab_samples"),
    Action("tab_at(4)", ("5",), "", "Tab: INT8 and other quantisers; up and down choose one.", id="tab_int8"),
    replace(textactions.SAMPLE, keys=("y", "enter")),
    *textactions.OPENING,
    *TABLE,
    *SCROLLING,
    Action(
        "neighbour(-1)",
        ("left_square_bracket",),
        "layer",
        "The same component one layer up.",
        id="layer_up",
        pair="[ ]",
    ),
    Action("neighbour(1)", ("right_square_bracket",), "", "The same component one layer down.", id="layer_down"),
    BACK,
)

BOARD = (
    *cursor_moves(
        up="The site above.",
        down="The site below.",
        left="The quantiser on the left.",
        right="The quantiser on the right.",
        page="One page of sites",
        first="First site.",
        last="Last site.",
    ),
    Action(
        "app.open_tuned", ("enter",), "site", "The site under this quantiser: its threshold, who carries the error."
    ),
    Action("sort", ("s",), "sort", "Sort by the column under the cursor, worst first; again as the model computes."),
    REVERSE,
    Action("section", ("w",), "fp16/e4m3", "What exceeds fp16 and e4m3 without a scale, or back to SQNR."),
    Action("app.filter", ("slash",), "filter", "Filter the sites; see `The filter` below.", "/"),
    BACK,
    Action("app.gemm_run", ("n",), "GEMM run", "Run the same samples again with the GEMM inputs, if missing."),
)

TUNING = (
    Action(
        "tune(1)", ("full_stop",), "threshold", "Threshold up by a 32nd of an octave.", id="threshold_up", pair=", ."
    ),
    Action("tune(-1)", ("comma",), "", "Threshold down by a 32nd of an octave.", id="threshold_down"),
    Action(
        "tune(16)",
        ("greater_than_sign", "shift+right"),
        "",
        "Threshold up by half an octave.",
        ">",
        id="threshold_far_up",
    ),
    Action(
        "tune(-16)",
        ("less_than_sign", "shift+left"),
        "",
        "Threshold down by half an octave.",
        "<",
        id="threshold_far_down",
    ),
    Action("app.threshold", ("equals_sign",), "type it", "Type a threshold.", "="),
    Action("app.effect", ("Q",), "effect", "Measure on held-out samples what this quantiser does to the predictions."),
    Action("own_threshold", ("r",), "", "The quantiser's own threshold again, nothing left out."),
    Action("without_first", ("0",), "", "What if position 0 of every sample were left out?"),
    Action(
        "keep_channels(1)",
        ("plus",),
        "what if",
        "What if one more channel were kept in bf16?",
        id="keep_more",
        pair="0 + -",
    ),
    Action("keep_channels(-1)", ("minus",), "", "What if one channel fewer were kept in bf16?", id="keep_fewer"),
)

LIST = (
    Action("choose", ("enter",), "open", "Open the session or the thread's site, or go to the site of the event."),
    *TABLE,
    *SCROLLING,
    BACK,
)

TABLES: dict[Place, tuple[str, tuple[Action, ...]]] = {
    "monitor": ("Heatmap", MONITOR),
    "site": ("Site", SITE),
    "board": ("Board of quantisers", BOARD),
    "tuning": ("Board and INT8 tab: the threshold", TUNING),
    "list": ("Lists: threads, sessions", LIST),
    "channels": ("Channels across layers", (*textactions.CHANNELS, BACK)),
    "probe": ("Sample and prompt", (*textactions.PROBE, BACK)),
    "prompt": ("Prompt", textactions.PROMPT),
    "writing": ("The box for a prompt", textactions.WRITING),
    "prompts": ("Earlier prompts", (*textactions.PROMPTS, *SCROLLING, BACK)),
    "versus": ("Two prompts", (*textactions.VERSUS, *SCROLLING, BACK)),
    "threads": ("Threads", (textactions.SAMPLE,)),
    "compare": ("Comparison of sessions", (*resultactions.COMPARE, BACK)),
    "reading": ("Pages of text, such as this one", popupactions.READING),
    "choice": ("Questions", popupactions.CHOICE),
    "palette": ("All commands", popupactions.PALETTE),
    "number": ("A number to type", popupactions.NUMBER),
    "export": ("Export", popupactions.EXPORT),
    "app": ("Everywhere", appactions.EVERYWHERE),
}
# What opens over a screen has few of the keys that work everywhere: the others would act on the screen below.
_OVER_SCREENS: dict[Place, tuple[str, ...]] = {
    "reading": ("picture", "repaint"),
    **dict.fromkeys(("choice", "palette", "number", "export", "writing"), ("help", "picture", "repaint")),
}


def actions_of(*places: Place, keys: Keys = DEFAULT_KEYS) -> list[Action]:
    """The actions of these places, in the order of their tables, with the user's keys where there are any."""
    return [_with_keys(place, action, keys) for place in places for action in TABLES[place][1]]


def key_of(place: Place, name: str, keys: Keys = DEFAULT_KEYS) -> str:
    """How the first key of an action is written; empty where the user took its keys away."""
    return next(action.key_text for action in actions_of(place, keys=keys) if action.name == name)


def everywhere(*places: Place, keys: Keys = DEFAULT_KEYS) -> list[Action]:
    """The actions of `app` that work at all of these places."""
    named = [_OVER_SCREENS[place] for place in places if place in _OVER_SCREENS]
    return [action for action in actions_of("app", keys=keys) if all(action.name in names for names in named)]


def setting(place: Place, action: Action) -> str:
    """What the key map calls an action."""
    return f"{place}.{action.key_name}"


def bindings(place: Place) -> list[Binding]:
    """Textual's key bindings for a place; hidden, because the footer is drawn by us.

    All have priority, so that keys typed in a burst are obeyed in their order: without it a key goes to the screen and
    comes back, and what is typed after it may have opened another screen by then. Fields to type in keep their keys.
    """
    from textual.binding import Binding  # key names are looked up before Textual is imported

    return [
        Binding(
            ",".join(action.keys),
            action.name,
            action.help,
            show=False,
            priority=True,
            id=setting(place, action),
        )
        for action in actions_of(place)
        if action.keys
    ]


def footer(*places: Place, keys: Keys = DEFAULT_KEYS, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """(key, label) of the actions worth a place in the footer, in the table's order; `without` those of these names."""
    shown = [one for one in actions_of(*places, keys=keys) if one.label and one.name not in without]
    return [(action.pair or action.key_text, action.label) for action in shown]


def help_sections(*here: Place, keys: Keys = DEFAULT_KEYS) -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, [(key, sentence)]) of everything there is, the places where the user is first."""
    order = [*here, *(place for place in TABLES if place not in here)]
    return [(TABLES[p][0], [(a.key_text, a.help) for a in actions_of(p, keys=keys)]) for p in order]


def commands(*places: Place, keys: Keys = DEFAULT_KEYS, without: Collection[str] = ()) -> list[Action]:
    """What the command palette offers: everything but moving the cursor, and but the actions of these names."""
    moves = ("cursor", "scroll", "page", "edge", "palette")
    found = actions_of(*places, keys=keys)
    return [action for action in found if not action.name.startswith(moves) and action.name not in without]


def _with_keys(place: Place, action: Action, keys: Keys) -> Action:
    chosen = keys.get(setting(place, action))
    return action if chosen is None else replace(action, keys=chosen, shown="", pair="")
