"""Opening what looks inside: samples, prompts, channels, and the page of a site from each of them.

- `TextsApp`  the part of the application that opens these screens
- `DEEPEST`   how many of them lie over each other

They are imported when they are opened: the first frame does not wait for them. What is opened lies over the screen it
is opened from, and esc leads back; what lies directly below already is gone back to, instead of being opened again.
"""

from __future__ import annotations

from textual.screen import Screen

from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.opening import OpeningApp

DEEPEST = 8


class TextsApp(OpeningApp):
    """Opens the sample view, the prompt probe, the channels, and sites from them; arguments as for `OpeningApp`."""

    async def action_site_here(self) -> None:
        """Show the site under the cursor over the screen, with the element under the cursor selected."""
        pointed = self.screen.pointed() if isinstance(self.screen, WatchedScreen) else None
        below = self._below
        if pointed is None:
            self.say("no site is known here yet")
        elif isinstance(below, SiteScreen) and below.site == pointed.site:
            below.seek(pointed)
            self._go_back()
        else:
            page = SiteScreen(self.look, self.snapshot, pointed.site)
            page.seek(pointed)
            await self._open(page)

    def action_to_nonfinite(self) -> None:
        """Go to the first NaN or infinity, on whatever screen shows the session."""
        if isinstance(self.screen, WatchedScreen):
            self.screen.seek_nonfinite()

    async def action_sample(self) -> None:
        """Show the sample that holds the value under the cursor."""
        place = self.screen.sample_place() if isinstance(self.screen, WatchedScreen) else None
        if place is None:
            self.say("no sample is known here yet")
            return
        from maxact_tui.screens.sample import SampleScreen

        sample, position = place
        site, below = self._site_here(), self._below
        if isinstance(below, SampleScreen) and below.sample == sample:
            below.point_at(site, position)
            self._go_back()
        else:
            may_ask = not self._read_only
            await self._open(
                SampleScreen(self.look, self.snapshot, site, sample=sample, position=position, may_ask=may_ask)
            )

    async def action_prompt(self) -> None:
        """Let the user type a prompt, over the one that was run last."""
        from maxact_tui.screens.prompt import PromptScreen

        if isinstance(self._below, PromptScreen):
            self._go_back()
        elif not isinstance(self.screen, PromptScreen):
            await self._open(PromptScreen(self.look, self.snapshot, may_ask=not self._read_only))
        if isinstance(self.screen, PromptScreen):
            await self.screen.write()

    async def action_channels(self) -> None:
        """Show the largest channels of the component under the cursor, across the layers."""
        from maxact_tui.screens.channels import ChannelsScreen

        site, below = self._site_here(), self._below
        if isinstance(below, ChannelsScreen):
            below.point_at(site)
            self._go_back()
        else:
            await self._open(ChannelsScreen(self.look, self.snapshot, site))

    def on_watched_screen_uncovered(self, event: WatchedScreen.Uncovered) -> None:
        """Show what came while the screen was covered, the engine's answer among it, and look for more at once."""
        self.redraw()
        self.hurry()

    @property
    def _below(self) -> Screen[object] | None:
        """What esc leads to; None on the heatmap."""
        return self.screen_stack[-2] if len(self.screen_stack) > 1 else None

    async def _open(self, screen: WatchedScreen) -> None:
        """Show a screen over this one, or in its place where many lie below: each keeps what it has read."""
        if len(self.screen_stack) > DEEPEST:
            self.pop_screen()
        # The page of a site gives back its site for the heatmap; any other screen only where the palette leads away.
        await self.push_screen(screen, self.redraw if isinstance(screen, SiteScreen) else self._jump)

    def _go_back(self) -> None:
        """Close the uppermost screen; the next key is for the one below, so that one is drawn at once."""
        self.pop_screen()
        if isinstance(self.screen, WatchedScreen):
            self.screen.draw()

    def _site_here(self) -> int | None:
        if isinstance(self.screen, SiteScreen):
            return self.screen.site
        pointed = self.screen.pointed() if isinstance(self.screen, WatchedScreen) else None
        return pointed.site if pointed is not None else self.monitor.site

    async def _jump(self, site: int | None) -> None:
        """The palette has led away from a screen, to a site; or it was closed without."""
        if site is None:
            self.redraw()
        elif isinstance(self.screen, SiteScreen):
            self.screen.go(site)
        else:
            self.monitor.place(site)
            await self.action_open_site()
