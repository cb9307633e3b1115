"""Opening what looks inside: samples, prompts, channels.

- `TextsApp`  the part of the application that opens these screens

They are imported when they are opened: the first frame does not wait for them.
"""

from __future__ import annotations

from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.opening import OpeningApp


class TextsApp(OpeningApp):
    """Opens the sample view, the prompt probe and the channels; arguments as for `OpeningApp`."""

    async def action_sample(self) -> None:
        """Show the sample that holds the value under the cursor."""
        place = self.screen.sample_place() if isinstance(self.screen, WatchedScreen) else None
        if place is None:
            self.say("no sample is known here yet")
            return
        from maxact_tui.screens.sample import SampleScreen

        sample, position = place
        opened = SampleScreen(
            self.look,
            self.snapshot,
            self._site_here(),
            sample=sample,
            position=position,
            may_ask=not self._read_only,
        )
        await self.push_screen(opened, self._jump)

    async def action_prompt(self) -> None:
        """Show the newest prompt of the session; where there is none, or it is shown already, let the user type one."""
        from maxact_tui.screens.prompt import PromptScreen

        if not isinstance(self.screen, PromptScreen):
            opened = PromptScreen(self.look, self.snapshot, may_ask=not self._read_only)
            await self.push_screen(opened, self._jump)
            if opened.has_history:
                return
        if isinstance(self.screen, PromptScreen):
            await self.screen.write()

    async def action_channels(self) -> None:
        """Show the largest channels of the component under the cursor, across the layers."""
        from maxact_tui.screens.channels import ChannelsScreen

        await self.push_screen(ChannelsScreen(self.look, self.snapshot, self._site_here()), self._jump)

    def on_watched_screen_uncovered(self, event: WatchedScreen.Uncovered) -> None:
        """Show what came while the screen was covered, the engine's answer among it, and look for more at once."""
        self.redraw()
        self.hurry()

    def _site_here(self) -> int | None:
        return self.screen.site if isinstance(self.screen, SiteScreen) else self.monitor.site

    async def _jump(self, site: int | None) -> None:
        """A screen has closed with a site to look at, or without."""
        if site is None:
            self.redraw()
        elif isinstance(self.screen, SiteScreen):
            self.screen.go(site)
        else:
            self.monitor.place(site)
            await self.action_open_site()
