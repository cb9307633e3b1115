"""One sample of the corpus, token by token, coloured by its activations.

- `SampleScreen`
"""

from __future__ import annotations

from pathlib import Path

from textual import work
from textual.message import Message
from textual.strip import Strip

from maxact_tui.bugs import in_words
from maxact_tui.pages.probelines import sample_head
from maxact_tui.screens.asking import AskingScreen
from maxact_tui.screens.probe import ProbeScreen
from maxact_tui.screens.watched import Pointed
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

    Attributes:
        sample: which sample.
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
        self.sample = sample
        self.cursor = TokenCursor(max(position, 0), 0)
        self._is_text_due = True

    def on_mount(self) -> None:
        """Read the text, and its values where the session holds them; else ask for them."""
        self._read_text(self.path, self.sample)
        known = sample_result(self.snapshot.results, self.sample)
        if known is not None:
            self.load(known.number)
        elif not self.join(lambda asked: asked.get("sample") == self.sample):
            self.request({"sample": self.sample})

    @property
    def is_reading(self) -> bool:
        """Whether the text or its values are being read."""
        return super().is_reading or self._is_text_due

    def pointed(self) -> Pointed | None:
        """The site under the cursor, and its largest element at the token under it."""
        return Pointed(self.site, (self.sample, self.cursor.token, None)) if self.site is not None else None

    def point_at(self, site: int | None, position: int) -> None:
        """Put the cursor on a token, and on a site if there is one."""
        self.cursor = TokenCursor(max(position, 0), self.cursor.layer)
        if site is not None:
            self._site = site
            self._to_site(site)

    def title_line(self, width: int) -> Strip:
        """Which sample this is."""
        if self.tokens is None:
            return line(self.look, (f" Sample {self.sample}", "title"))
        return sample_head(self.tokens, self.look, width)

    def empty_words(self) -> str:
        """While the text is read."""
        return "reading the text …"

    def on_sample_screen_tokens_read(self, event: TokensRead) -> None:
        """Show the text until its values are there."""
        self._is_text_due = False
        if self.view is None:
            self.tokens = event.tokens
            self.draw()

    def on_asking_screen_failed(self, event: AskingScreen.Failed) -> None:
        """Nothing more will be read."""
        self._is_text_due = False

    @work(thread=True, group="text")
    def _read_text(self, path: Path, sample: int) -> None:
        try:
            self.post_message(self.TokensRead(read_tokens(path, sample)))
        except Exception as error:  # noqa: BLE001  # the last boundary of a thread
            self.post_message(self.Failed(in_words(error)))
