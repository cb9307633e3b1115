"""A page of text over the screen: help, and what the screen has told.

- `ReadingScreen`  a title, scrolled lines, and a line of keys
- `help_lines`     the help, from the table of actions
- `told_lines`     what the screen has told
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.strip import Strip

from engine.formats import FP16_LIMIT
from maxact_tui.keymap import actions
from maxact_tui.keymap.actions import Place, help_sections, key_of
from maxact_tui.pages.measures import MEASURES
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import EXAMPLES, FIELDS, GRAMMAR
from maxact_tui.texts.pieces import CONTINUATION
from maxact_tui.texts.visible import cell_width, fitted, visible
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.scroller import Scroller


class ReadingScreen(AnsweringScreen[None]):
    """A page of text; esc or q closes it.

    Args:
        look: what the terminal can show.
        title: what stands above.
        make: the lines for a width in cells.
    """

    CSS_PATH = "reading.tcss"
    PLACES = ("reading",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("reading")]

    def __init__(self, look: Look, title: str, make: Callable[[int], Sequence[Strip]]) -> None:
        super().__init__()
        self._look, self._title, self._make = look, title, make

    def compose(self) -> ComposeResult:
        """Title, page, keys."""
        yield Lines(self._look, id="reading-title")
        yield Scroller(self._look, id="reading-page")
        yield Lines(self._look, id="reading-keys")

    def on_mount(self) -> None:
        """Fill the page."""
        self.draw()

    def action_close(self) -> None:
        """Back to where the user came from."""
        self.dismiss(None)

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        self._page.move(lines)
        self._draw_keys()

    def action_page(self, direction: int) -> None:
        """Scroll by a page."""
        self._page.page(direction)
        self._draw_keys()

    def action_edge(self, direction: int) -> None:
        """Scroll to an end."""
        self._page.edge(direction)
        self._draw_keys()

    @property
    def _page(self) -> Scroller:
        return self.query_one("#reading-page", Scroller)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        self.query_one("#reading-title", Lines).show([line(self._look, (f" {self._title}", "title"))])
        self._page.fill(self._make(max(self.size.width - 2, 20)))
        self._draw_keys()

    def _draw_keys(self) -> None:
        place = self._page.position
        moves = next(one for one in ("↑↓ PgUp PgDn", "↑↓") if one == "↑↓" or self.size.width >= 33 + cell_width(place))
        keys = line(self._look, (" esc", "key"), " back  ", (moves, "key"), f" scroll   {place}")
        self.query_one("#reading-keys", Lines).show([keys])


def help_lines(look: Look, width: int, here: Sequence[Place] = ()) -> list[Strip]:
    """Everything the keys do, those of the places `here` first; what the screen shows, and what the measures mean."""
    lines = [line(look)]
    palette = key_of("app", "palette", look.keys)
    for title, entries in help_sections(*here, keys=look.keys):
        lines.append(line(look, (title, "heading")))
        for key, sentence in entries:
            # What has no key is found in the palette by the word its sentence begins with.
            found = f"{palette} {sentence.split()[0].strip(':').lower()}"
            lines += _paragraph(look, key or found, sentence, width)
        lines.append(line(look))
    lines.append(line(look, ("What the heatmap can show", "heading")))
    for measure in MEASURES:
        lines += _paragraph(look, measure.heading, measure.sentence, width)
    lines += [line(look), *filter_lines(look, width)]
    lines += [line(look), line(look, ("What the signs mean", "heading"))]
    for sign, meaning in _SIGNS:
        lines += _paragraph(look, sign, meaning, width)
    for characters, meaning in _CHARACTERS:
        signs = " ".join(visible(one, ascii_only=look.ascii_only) for one in characters)
        lines += _paragraph(look, signs, meaning, width)
    return lines + _paragraph(look, CONTINUATION, _CONTINUATION_WORDS, width)


def filter_lines(look: Look, width: int) -> list[Strip]:
    """The grammar of the filter, its fields, and examples."""
    lines = [line(look, ("The filter", "heading"))]
    for sentence in GRAMMAR:
        lines += _paragraph(look, "", sentence, width)
    for field in FIELDS:
        lines += _paragraph(look, field.name, field.meaning, width)
    for query, meaning in EXAMPLES:
        lines.append(line(look, (f"  {fitted(query, 30)} ", "key"), visible(meaning, width - 34, space=" ")))
    return lines


_SIGNS = (
    ("M", "The largest |x| over embedding, attention and MLP outputs, hidden states and final norm."),
    ("no M", "A run without those (--sites gemm); its largest GEMM input stands in M's place, by that name."),
    ("*", "A site that reaches M within one bfloat16 step: all of them are tied."),
    ("!", "A site with NaN or infinite values."),
    ("embed, norm", "Embedding and final norm stand in the column of the residual stream."),
    ("fits fp16", f"M is below {FP16_LIMIT:,.0f}; so many bits (doublings) are left."),
    ("massive", "|x| > 100 and > 1000 x the median of |x|: over the layer (default) or over the token's own values."),
    ("sample 60", "Samples, positions, channels and layers count from 0; entries of a file from 1."),
)
_CHARACTERS = (
    (" \n\t", "A token's space, newline and tab."),
    ("\x1b", "A byte of a token that cannot be printed."),
)
_CONTINUATION_WORDS = (
    "In a text: a token that only goes on with the character the token before began; some scripts take several tokens"
    " for one."
)


def _paragraph(look: Look, head: str, text: str, width: int) -> list[Strip]:
    rows = textwrap.wrap(text, max(width - 16, 20)) or [""]
    lines = [line(look, (f"  {fitted(look.own(head), 11)} ", "key"), rows[0])]
    return lines + [line(look, " " * 14, row) for row in rows[1:]]


def told_lines(told: Sequence[tuple[float, str]], look: Look, width: int) -> list[Strip]:
    """(when, text) of what was said, the newest first, every text whole."""
    lines: list[Strip] = []
    for at, text in reversed(told):
        shown = visible(text, space=" ", ascii_only=look.ascii_only)
        rows = textwrap.wrap(shown, max(width - 11, 20), break_on_hyphens=False) or [""]
        when = time.strftime("%H:%M:%S", time.localtime(at))
        lines += [line(look, (f" {'' if number else when:8}  ", "dim"), row) for number, row in enumerate(rows)]
    return lines or [line(look, (" nothing yet", "dim"))]
