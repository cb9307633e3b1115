"""The actions of the screens that show texts and channels; `actions.TABLES` has them.

- `CHANNELS`  channels across layers
- `PROBE`     a text with values: the sample view and the prompt probe
- `PROMPT`    the prompt probe alone
- `WRITING`   the box a prompt is typed in
- `PROMPTS`   the list of earlier prompts
- `VERSUS`    two prompts side by side
- `OPENING`   what opens these screens from the heatmap and from a site
"""

from __future__ import annotations

from maxact_tui.keymap.action import Action
from maxact_tui.keymap.moving import cursor_moves

SAMPLE = Action(
    "app.sample", ("y",), "sample", "The text of the sample that holds this value, coloured token by token."
)
OPENING = (
    Action("app.channels", ("c",), "channels", "The largest channels across the layers."),
    Action("app.prompt", ("p",), "prompt", "Type a text of yours and run it through the model: tokens by layers."),
)

_COMPONENT = (
    Action("component(1)", ("tab",), "component", "Next component.", id="next_component"),
    Action("component(-1)", ("shift+tab",), "", "Previous component.", id="previous_component"),
)
_SITE = Action(
    "app.site_here",
    ("enter",),
    "site",
    "Everything about the site under the cursor; esc there leads back here.",
    id="site",
)

CHANNELS = (
    *cursor_moves(
        up="Move the cursor to the layer above.",
        down="Move the cursor to the layer below.",
        left="Move the cursor to the channel on the left.",
        right="Move the cursor to the channel on the right.",
        page="One page of layers",
        first="First row.",
        last="Last row.",
    ),
    _SITE,
    *_COMPONENT,
)

PROBE = (
    *cursor_moves(
        up="The token above.",
        down="The token below.",
        left="The token before; in the heatmap the layer before.",
        right="The next token; in the heatmap the next layer.",
        first="First token.",
        last="Last token.",
    ),
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

WRITING = (
    Action("run", ("enter",), "run", "Run the text through the model."),
    Action("policy(1)", ("tab",), "tokens", "Tokens by the next policy: raw, +BOS, chat template.", id="next_policy"),
    Action("policy(-1)", ("shift+tab",), "", "Tokens by the policy before.", id="previous_policy"),
    Action("line_break", ("ctrl+n", "alt+enter"), "new line", "Begin a new line in the text."),
    Action("earlier", ("ctrl+o",), "earlier", "Earlier prompts; what was typed is there again when the box is opened."),
    Action("back", ("escape",), "leave", "Leave the box: the prompt that was run last is shown below it.", "esc"),
)

PROMPTS = (
    Action("choose", ("enter",), "show", "Show the prompt again."),
    Action("mark", ("space",), "mark", "Mark the prompt, or take the mark away."),
    Action("compare", ("c",), "compare", "Compare the two marked prompts."),
)

VERSUS = _COMPONENT
