"""What every screen with a threshold to move has in common.

- `Tunable`  the actions of `actions.TUNING`, and the page they change
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import cast

import numpy as np
from textual.strip import Strip

from engine.formats import QuantizationError
from engine.schemes import Column
from maxact_tui.pages.int8page import int8_page
from maxact_tui.pages.tuning import FINE, MOST_CHANNELS, Tuner, Tuning, make_tuner
from maxact_tui.screens.watched import WatchedScreen, needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import Lines, line

_TUNING = needing_rows("tuning")

LARGEST = float(np.finfo(np.float32).max)


class Tunable(ABC):
    """Holds what the user has set for the site on the screen; stands before the screen class among the bases."""

    look: Look
    snapshot: Snapshot
    tuning: Tuning = Tuning()
    _tuner: Tuner | None = None

    @property
    @abstractmethod
    def tuned_site(self) -> int | None:
        """Number of the site, None while there is none."""

    @abstractmethod
    def tuning_changed(self) -> None:
        """Show the new setting."""

    @property
    def tuner(self) -> Tuner | None:
        """The site's; None until the watcher has read its arrays."""
        site, view = self.tuned_site, self.snapshot.view
        if site is None or view is None or view.site != site:
            return None
        if self._tuner is None or self._tuner.view is not view:
            self._tuner = make_tuner(self.snapshot, site)
        return self._tuner

    def draw_effect(self, shown: Lines, *, is_wanted: bool = True) -> bool:
        """Say how the newest measurement of an effect is getting on; without one there is no such line."""
        text = style = ""
        if is_wanted:
            from maxact_tui.pages.effects import effect_status  # the first frame does not wait for it

            text, style = effect_status(self.snapshot)
        if shown.display != bool(text):
            shown.display = bool(text)
        return shown.show([line(self.look, (f" {text}", style))] if text else [])

    def awaits_tuner(self, action: str) -> bool:
        """Whether an action moves a threshold of a site whose arrays are still being read."""
        return self.tuner is None and self.snapshot.checkpoint > 0 and action in _TUNING

    @property
    def elsewhere(self) -> str:
        """Where the user sees what a threshold does, if it is not what the screen shows now; empty if it is."""
        return ""

    @property
    def can_move(self) -> bool:
        """Whether the scheme has a threshold to move and it is shown; says so where not."""
        tuner, why = self.tuner, self.elsewhere
        if tuner is not None and tuner.scheme(self.tuning.column) is None:
            why = why or "this quantiser was measured in the pass: no threshold to move, nothing to leave out"
        elif tuner is not None and tuner.tune(Tuning(self.tuning.column)) is None:
            why = why or "this site has no histogram or no finite element: no threshold to move"
        if why:
            cast("WatchedScreen", self).say(why)
        return tuner is not None and not why

    def tuned_page(self, width: int, height: int, *, has_list: bool) -> list[Strip] | None:
        """The INT8 page of the site; None until its arrays are here."""
        tuner = self.tuner
        if tuner is None:
            return None
        policy = self.snapshot.meta.job.policy if self.snapshot.meta is not None else ""
        return int8_page(tuner, self.tuning, policy, self.look, width, height, has_list=has_list)

    def choose_column(self, column: int) -> None:
        """Take another scheme, with its own threshold."""
        if column != self.tuning.column:
            self.tuning = replace(self.tuning, column=column, threshold=None)

    def step_column(self, by: int) -> None:
        """Take the scheme so many places further in the list."""
        last = len(self.columns) - 1
        if last >= 0:
            self.choose_column(min(max(self.tuning.column + by, 0), last))
            self.tuning_changed()

    def forget_threshold(self) -> None:
        """Another site is shown: what the user had set for the last one does not fit it."""
        self.tuning = replace(self.tuning, threshold=None)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The schemes of the site's board; empty until its arrays are here."""
        return self.tuner.view.quant.board.schemes if self.tuner is not None else ()

    def check_threshold(self, threshold: float) -> None:
        """Refuse a threshold no quantiser can have.

        Raises:
            QuantizationError: zero, negative, not a number, or more than any activation can be.
        """
        if not threshold > 0:
            raise QuantizationError("a threshold is a number above 0: 12.5, 3e4 or 23.2k")
        if threshold > LARGEST:
            raise QuantizationError("no activation is above 3.4e38: 12.5, 3e4 or 23.2k")

    def take_threshold(self, threshold: float | None) -> None:
        """Set the threshold to a number; None leaves it as it is."""
        if threshold is not None:
            self._set(replace(self.tuning, threshold=threshold))

    def action_tune(self, steps: int) -> None:
        """Move the threshold by so many 32nds of an octave."""
        tuner = self.tuner
        if tuner is not None and self.can_move:
            self._set(tuner.moved(self.tuning, FINE**steps))

    def action_own_threshold(self) -> None:
        """Back to the scheme's own threshold, with nothing left out."""
        self._set(Tuning(self.tuning.column))

    def action_without_first(self) -> None:
        """Leave the first token of each sample out, or take it in again."""
        if self.can_move:
            self._set(replace(self.tuning, without_first=not self.tuning.without_first))

    def action_keep_channels(self, by: int) -> None:
        """Keep one channel more or fewer out of the quantiser."""
        if self.can_move:
            self._set(replace(self.tuning, channels=min(max(self.tuning.channels + by, 0), MOST_CHANNELS)))

    def _set(self, tuning: Tuning) -> None:
        if tuning != self.tuning:
            self.tuning = tuning
            self.tuning_changed()
