"""What the two views of a text have in common: tokens, their values, and a cursor that belongs to the screen.

- `TokenView`     shows a text; says where a step of the cursor leads
- `TokenCursor`   a token and a layer
- `token_styles`  one style per level for text, also where there are no colours
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from rich.style import Style
from textual.message import Message

from maxact_tui.terminal.palette import Look
from maxact_tui.texts.pieces import CONTINUATION, ShownPiece
from maxact_tui.texts.visible import visible
from maxact_tui.watching.probes import Tokens
from maxact_tui.widgets.abstract import AbstractMeta
from maxact_tui.widgets.layertokens import LayerTokens
from maxact_tui.widgets.lines import Lines

NOTHING = "∅"
CURSOR_STYLE = Style(bold=True, reverse=True)
MASSIVE_STYLE = Style(bold=True, underline=True)
_WITHOUT_COLOUR = (Style(dim=True), Style(), Style(bold=True), Style(bold=True), Style(bold=True, underline=True))


@dataclass(frozen=True, slots=True)
class TokenCursor:
    """Where the cursor is: a token of the text, and a layer as a row of the component's column."""

    token: int = 0
    layer: int = 0


class TokenView(Lines, metaclass=AbstractMeta):
    """A text whose tokens carry values.

    Args:
        look: what the terminal can show.
    """

    class Pointed(Message):
        """The user clicked a token, or one of its layers."""

        def __init__(self, cursor: TokenCursor) -> None:
            super().__init__()
            self.cursor = cursor

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._tokens: Tokens | None = None
        self._layers: LayerTokens | None = None
        self._cursor = TokenCursor()

    def offer(self, tokens: Tokens, layers: LayerTokens | None, cursor: TokenCursor) -> bool:
        """Show a text, coloured where its values are known; returns whether anything visible changed."""
        self._tokens, self._layers, self._cursor = tokens, layers, cursor
        return self.picture() if self.size else False

    @abstractmethod
    def picture(self) -> bool:
        """Draw the visible part; returns whether anything visible changed."""

    @abstractmethod
    def step(self, rows: int, columns: int) -> TokenCursor:
        """Where an arrow key leads."""

    @abstractmethod
    def page(self, direction: int) -> TokenCursor:
        """Where a page up or down leads."""

    def edge(self, direction: int) -> TokenCursor:
        """The first or the last token."""
        return self._at(0 if direction < 0 else len(self._tokens or ()) - 1)

    def _at(self, token: int, layer: int | None = None) -> TokenCursor:
        """A cursor within the text and its layers."""
        last = max(len(self._tokens or ()) - 1, 0)
        layer = self._cursor.layer if layer is None else layer
        if self._layers is not None:
            layer = min(max(layer, 0), len(self._layers.labels) - 1)
        return TokenCursor(min(max(token, 0), last), layer)


def shown_text(piece: ShownPiece, look: Look, space: str) -> str:
    """What a token's cell holds; never empty, so that every token can be seen and pointed at."""
    if piece.continues:
        return look.own(CONTINUATION)
    return visible(piece.text, space=space, ascii_only=look.ascii_only) or ("0" if look.ascii_only else NOTHING)


def token_styles(look: Look) -> tuple[Style, ...]:
    """A style per level; without colours the largest stand out by weight."""
    plain = all(not style for style in look.ramp)
    return _WITHOUT_COLOUR if plain and look.levels == len(_WITHOUT_COLOUR) else look.ramp


def scrolled(top: int, place: int, page: int, total: int) -> int:
    """First visible row: by half a page where the place would leave, because every row is then painted anew."""
    if not top <= place < top + page:
        top = place - page // 2
    return max(min(top, total - page), 0)
