"""A page whose list is opened at an element the user has pointed at elsewhere.

- `Seeking`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from maxact_tui.screens.tabled import Tabled

if TYPE_CHECKING:
    from maxact_tui.screens.watched import Pointed, WatchedScreen
    from maxact_tui.watching.snapshot import SiteView


class Seeking(Tabled):
    """Selects an element in the list of its site's largest; stands before the screen class among the bases."""

    _sought: Pointed | None = None

    def seek(self, pointed: Pointed) -> None:
        """Look for this element as soon as its site's list is drawn."""
        self._sought = pointed

    def select_sought(self, view: SiteView) -> None:
        """Select the element that is looked for; says so where the list does not show it."""
        sought, self._sought = self._sought, None
        if sought is None or sought.element is None or sought.site != view.site:
            return
        sample, position, channel = sought.element
        top, say = view.summary.top, cast("WatchedScreen", self).say
        of_token = [number for number, one in enumerate(top) if (one.sample, one.position) == (sample, position)]
        found = [number for number in of_token if channel in (None, top[number].channel)]
        shown = [row for row, number in enumerate(self._numbers) if number in found[:1]]
        if shown:
            self.picker.select(shown[0])
        elif found:
            say(f"the filter hides position {position} of sample {sample}; esc clears it")
        else:
            say(f"position {position} of sample {sample} is not among this site's {len(top)} largest")
