"""The actions of the screens that show texts and channels; `actions.TABLES` has them.

- `CHANNELS`  channels across layers
- `PROBE`     a text with values: the sample view and the prompt probe
- `PROMPT`    the prompt probe alone
- `PROMPTS`   the list of earlier prompts
- `VERSUS`    two prompts side by side
- `OPENING`   what opens these screens from the heatmap and from a site
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action

SAMPLE = Action(
    "app.sample", ("y",), "sample", "The text of the sample that holds this value, coloured token by token."
)
OPENING = (
    Action("app.channels", ("c",), "channels", "The largest channels across the layers."),
    Action("app.prompt", ("p",), "prompt", "Any text of yours through the model: tokens by layers."),
)

_COMPONENT = (
    Action("component(1)", ("tab",), "component", "Next component.", id="next_component"),
    Action("component(-1)", ("shift+tab",), "", "Previous component.", id="previous_component"),
)
_SITE = Action("site", ("enter",), "site", "Everything about the site under the cursor.")

CHANNELS = (
    Action("cursor(-1,0)", ("up", "k"), "", "Move the cursor to the layer above.", "↑ k", id="up"),
    Action("cursor(1,0)", ("down", "j"), "", "Move the cursor to the layer below.", "↓ j", id="down"),
    Action("cursor(0,-1)", ("left", "h"), "", "Move the cursor to the channel on the left.", "← h", id="left"),
    Action("cursor(0,1)", ("right", "l"), "", "Move the cursor to the channel on the right.", "→ l", id="right"),
    Action("page(-1)", ("pageup",), "", "One page of layers up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown",), "", "One page of layers down.", "PgDn", id="page_down"),
    Action("edge(-1)", ("home", "g"), "", "First row.", "Home g", id="top"),
    Action("edge(1)", ("end", "G"), "", "Last row.", "End G", id="end"),
    _SITE,
    *_COMPONENT,
)

PROBE = (
    Action("cursor(-1,0)", ("up", "k"), "", "The token above.", "↑ k", id="up"),
    Action("cursor(1,0)", ("down", "j"), "", "The token below.", "↓ j", id="down"),
    Action("cursor(0,-1)", ("left", "h"), "", "The token before; in the heatmap the layer before.", "← h", id="left"),
    Action("cursor(0,1)", ("right", "l"), "", "The next token; in the heatmap the next layer.", "→ l", id="right"),
    Action("page(-1)", ("pageup",), "", "One page up.", "PgUp", id="page_up"),
    Action("page(1)", ("pagedown",), "", "One page down.", "PgDn", id="page_down"),
    Action("edge(-1)", ("home", "g"), "", "First token.", "Home g", id="top"),
    Action("edge(1)", ("end", "G"), "", "Last token.", "End G", id="end"),
    Action("view", ("v",), "view", "The text, or the heatmap of tokens and layers."),
    Action("layer(-1)", ("left_square_bracket",), "layer", "One layer up.", id="layer_up", pair="[ ]"),
    Action("layer(1)", ("right_square_bracket",), "", "One layer down.", id="layer_down"),
    Action(
        "massive(1)",
        ("n",),
        "massive",
        "The next massive token of this layer (Sun et al.).",
        id="next_massive",
        pair="n N",
    ),
    Action("massive(-1)", ("N",), "", "The massive token before.", id="previous_massive"),
    *_COMPONENT,
    _SITE,
)

PROMPT = (
    Action("app.prompt", ("p",), "new", "Type or paste a prompt."),
    Action("history", ("o",), "earlier", "Earlier prompts of this session: show one again, or compare two."),
)

PROMPTS = (
    Action("choose", ("enter",), "show", "Show the prompt again."),
    Action("mark", ("space",), "mark", "Mark the prompt, or take the mark away."),
    Action("compare", ("c",), "compare", "Compare the two marked prompts."),
)

VERSUS = _COMPONENT
