"""One sample of the corpus, token by token, coloured by its activations.

- `SampleScreen`  gives back the site under the cursor on enter, None for esc
"""

from __future__ import annotations

from pathlib import Path

from textual import work
from textual.message import Message
from textual.strip import Strip

from engine.session.schema import SessionError
from maxact_tui.pages.probelines import sample_head
from maxact_tui.screens.probe import ProbeScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.probes import Tokens, read_tokens, sample_result
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line
from maxact_tui.widgets.tokenview import TokenCursor


class SampleScreen(ProbeScreen):
    """The text of one sample; its values are read from the session, or asked of the engine.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        site: where the cursor is first, None for M's site.
        sample: which sample.
        position: the token the cursor is on first.
        may_ask: whether the engine may be asked.
    """

    class TokensRead(Message):
        """The text was read from the session."""

        def __init__(self, tokens: Tokens) -> None:
            super().__init__()
            self.tokens = tokens

    def __init__(
        self, look: Look, snapshot: Snapshot, site: int | None, *, sample: int, position: int, may_ask: bool
    ) -> None:
        super().__init__(look, snapshot, site, may_ask=may_ask)
        self._sample = sample
        self.cursor = TokenCursor(max(position, 0), 0)

    def on_mount(self) -> None:
        """Read the text, and its values where the session holds them; else ask for them."""
        self._read_text(self.path, self._sample)
        known = sample_result(self.snapshot.results, self._sample)
        if known is not None:
            self.load(known.number)
        elif not self.join(lambda asked: asked.get("sample") == self._sample):
            self.request({"sample": self._sample})

    def title_line(self, width: int) -> Strip:
        """Which sample this is."""
        if self.tokens is None:
            return line(self.look, (f" Sample {self._sample}", "title"))
        return sample_head(self.tokens, self.look, width)

    def empty_words(self) -> str:
        """While the text is read."""
        return "reading the text …"

    def on_sample_screen_tokens_read(self, event: TokensRead) -> None:
        """Show the text until its values are there."""
        if self.view is None:
            self.tokens = event.tokens
            self.draw()

    @work(thread=True, group="text")
    def _read_text(self, path: Path, sample: int) -> None:
        try:
            self.post_message(self.TokensRead(read_tokens(path, sample)))
        except (SessionError, OSError, ValueError) as error:
            self.post_message(self.Failed(str(error)))
