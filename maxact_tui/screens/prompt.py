"""The prompt probe: any text through the loaded model, tokens by layers.

- `PromptScreen`
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.strip import Strip

from maxact_tui.keymap import actions
from maxact_tui.pages.promptlines import POLICY_WORDS, prompt_head
from maxact_tui.screens.asking import READ_ONLY
from maxact_tui.screens.probe import ProbeScreen
from maxact_tui.screens.promptcompare import PromptCompareScreen
from maxact_tui.screens.prompteditor import PromptEditor, Typed
from maxact_tui.screens.prompthistory import PromptHistoryScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.watching.probes import ProbeView, prompts_of
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line


class PromptScreen(ProbeScreen):
    """One prompt and its values; begins with the newest one of the session.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        may_ask: whether the engine may be asked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("prompt")]
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("prompt", "probe")

    def __init__(self, look: Look, snapshot: Snapshot, *, may_ask: bool) -> None:
        super().__init__(look, snapshot, None, may_ask=may_ask, as_map=True)
        self._typed: Typed | None = None
        self._draft: Typed | None = None
        self._is_writing = False

    def on_mount(self) -> None:
        """Show the newest prompt, if there is one."""
        if not self.join(lambda asked: asked.get("text") is not None) and self.has_history:
            self.load(prompts_of(self.snapshot.results)[-1].number)

    @property
    def has_history(self) -> bool:
        """Whether this session holds a prompt."""
        return bool(prompts_of(self.snapshot.results))

    async def write(self) -> None:
        """Let the user type a prompt; where nothing may be asked, say so."""
        if not self.may_ask:
            if self.has_history:
                self.say(READ_ONLY)
            else:
                self.request({})
            return
        tokenizer = self.snapshot.meta.raw.get("tokenizer") if self.snapshot.meta is not None else None
        longest = tokenizer.get("max_length") if isinstance(tokenizer, dict) else None
        first = self._draft or self._typed or self._first_typed()
        editor = PromptEditor(self.look, first, longest, has_history=self.has_history)
        self._is_writing = True
        await self.app.push_screen(editor, self._on_typed)

    def title_line(self, width: int) -> Strip:
        """The prompt, its policy and length."""
        if self.waiting_words and self._typed is not None and self._typed.text:  # the one before is still below
            text = visible(self._typed.text, max(width - 12, 8), space=" ", ascii_only=self.look.ascii_only)
            return line(self.look, (" Prompt", "title"), f"  {text}")
        if self.view is None:
            return line(self.look, (" Prompt", "title"))
        return prompt_head(self.view, self.look, width)

    def empty_words(self) -> str:
        """Before the first prompt; nothing while it is being typed, because it is asked for a frame after that."""
        return "" if self._is_writing else "no prompt yet: p opens a field to type or paste one"

    def take(self, view: ProbeView) -> None:
        """Show a prompt, with the cursor on its largest value."""
        self._typed = Typed(str(view.result.settings.get("text") or ""), view.policy)
        super().take(view)
        self.to_maximum()
        self.draw()

    async def action_history(self) -> None:
        """Choose an earlier prompt, or two to compare."""
        if self.has_history:
            await self.app.push_screen(PromptHistoryScreen(self.look, self.snapshot), self._on_chosen)
        else:
            self.notice("no prompt yet; p opens a field to type or paste one")

    def _first_typed(self) -> Typed:
        """The prompt that was run last, as long as its values are still being read; else nothing yet."""
        prompts, meta = prompts_of(self.snapshot.results), self.snapshot.meta
        if prompts:
            text, policy = str(prompts[-1].settings.get("text") or ""), str(prompts[-1].data.get("policy"))
        else:
            text, policy = "", meta.job.policy if meta is not None else "raw"
        return Typed(text, policy if policy in POLICY_WORDS else "raw")

    async def _on_typed(self, typed: Typed | None) -> None:
        self._is_writing = False
        self._draft = typed if typed is not None and not typed.is_whole else None
        if typed is None:
            self.draw()
        elif typed.is_whole:
            self._typed = typed
            self.request({"text": typed.text, "policy": typed.policy})
        else:
            await self.action_history()

    async def _on_chosen(self, chosen: tuple[int, ...] | None) -> None:
        if chosen is not None and len(chosen) == 1:
            self.answer = None
            self.load(chosen[0])
        elif chosen is not None:
            await self.app.push_screen(PromptCompareScreen(self.look, self.snapshot, *chosen[:2]))
