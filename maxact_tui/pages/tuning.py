"""One site under one quantiser whose threshold the user moves, and what would be if parts of it were left out.

- `Tuning`     what the user has set: scheme, threshold, what is left out
- `Tuner`      the site under that: error, who carries it, what remains; computed when asked for, and kept
- `Tuned`, `WhatIf`  the results
- `first_tokens`  how many tokens of a site are the first of their sample
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from engine.quantization.carriers import Carriers, error_carriers
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.removal import Bounded, Remainder, largest_channels, remainder_error, remove
from engine.quantization.schemes import error_of, threshold_of
from engine.schemes import Scheme
from maxact_tui.texts.numbers import exact_short, read_number
from maxact_tui.watching.snapshot import SiteView, Snapshot

FINE, COARSE = 2.0 ** (1 / 32), 2.0 ** (1 / 2)
LOWEST = 2.0**-16  # of the largest |x|: where the slider ends
MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the user has set.

    Attributes:
        column: number of the scheme on the board.
        threshold: T; None for the scheme's own policy.
        without_first: leave out the first token of each sample.
        channels: keep so many of the largest channels out of the quantiser.
    """

    column: int = 0
    threshold: float | None = None
    without_first: bool = False
    channels: int = 0

    @property
    def asks_what_if(self) -> bool:
        """Whether something is left out."""
        return self.without_first or self.channels > 0


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """What remains when something is left out.

    Attributes:
        remainder: the elements.
        channels: those kept out of the quantiser.
        before: error of what remains with the threshold of the whole site.
        after: with a threshold of its own.
        threshold: that threshold.
        whole_db: SQNR of the whole site with the channels exact, at least; NaN where tokens are left out, too.
    """

    remainder: Remainder
    channels: tuple[int, ...]
    before: Bounded
    after: Bounded
    threshold: float
    whole_db: float


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A site under a tuning.

    Attributes:
        scheme: with the policy it has on the board.
        policy_threshold: T by that policy.
        threshold: T in force.
        error: at that T.
        carriers: who carries it; of all samples.
        what_if: None if nothing is left out.
    """

    scheme: Scheme
    policy_threshold: float
    threshold: float
    error: QuantError
    carriers: Carriers
    what_if: WhatIf | None


class Tuner:
    """One site at one checkpoint.

    Args:
        view: the site.
        first: how many of its tokens are the first of their sample.
    """

    def __init__(self, view: SiteView, first: int) -> None:
        self.view, self._first = view, first
        # Of all samples: the list of largest elements and the channels' maxima are.
        self._whole = Distribution.of(view.totals)
        self._remainders: dict[tuple[bool, int], Remainder | None] = {}
        self.tune = lru_cache(maxsize=64)(self._tune)

    @property
    def largest(self) -> float:
        """The largest |x| thresholds are taken from, 0 without elements."""
        found = self.view.quant.thresholds
        return found.largest if found is not None else 0.0

    def scheme(self, column: int) -> Scheme | None:
        """The scheme of a column if its threshold can be moved; None for those measured in the pass."""
        schemes = self.view.quant.board.schemes
        found = schemes[column] if column < len(schemes) else None
        return found if isinstance(found, Scheme) and not found.is_in_pass else None

    def moved(self, tuning: Tuning, factor: float) -> Tuning:
        """The tuning with its threshold moved by a factor of a fine step or more, within the slider's range."""
        tuned = self.tune(tuning)
        if tuned is None or self.largest <= 0:
            return tuning
        start = tuned.threshold or self.largest * LOWEST
        threshold = min(max(start * factor, self.largest * LOWEST), self.largest)
        # Back at the policy's own number that is met exactly, however many rounded steps led there.
        close = math.isclose(threshold, tuned.policy_threshold, rel_tol=(FINE - 1) / 2)
        # The number that is shown is the one in force, and the one an effect is asked for by.
        return replace(tuning, threshold=None if close else read_number(exact_short(threshold)))

    def _tune(self, tuning: Tuning) -> Tuned | None:
        scheme, quant = self.scheme(tuning.column), self.view.quant
        errors, thresholds = quant.errors, quant.thresholds
        if scheme is None or errors is None or thresholds is None or self._whole is None:
            return None
        policy = threshold_of(scheme, thresholds)
        threshold = policy if tuning.threshold is None else tuning.threshold
        split = thresholds if thresholds is not errors else None
        return Tuned(
            scheme=scheme,
            policy_threshold=policy,
            threshold=threshold,
            error=error_of(scheme, errors, threshold, split),
            carriers=error_carriers(self.view.totals.top, self._whole, scheme, threshold),
            what_if=self._what_if(tuning, scheme, threshold),
        )

    def _what_if(self, tuning: Tuning, scheme: Scheme, threshold: float) -> WhatIf | None:
        if not tuning.asks_what_if:
            return None
        key = (tuning.without_first, tuning.channels)
        channels = largest_channels(self.view.totals, tuning.channels)
        if key not in self._remainders:
            first = self._first if tuning.without_first else 0
            self._remainders[key] = remove(self.view.totals, first_tokens=first, channels=channels)
        left = self._remainders[key]
        if left is None or self._whole is None:
            return None
        own = threshold_of(scheme, left.distribution) if tuning.threshold is None else threshold
        after = remainder_error(left, scheme, own)
        squares = after.error.rmse**2 * after.error.count
        whole = 10 * math.log10(self._whole.sum_squares / squares) if squares > 0 else math.inf
        return WhatIf(
            remainder=left,
            channels=channels,
            before=remainder_error(left, scheme, threshold),
            after=after,
            threshold=own,
            whole_db=math.nan if tuning.without_first else whole,
        )


def first_tokens(view: SiteView, labels: Sequence[tuple[int, str, int]]) -> int:
    """How many tokens of a site are at position 0: one per sample seen, times the visits of its module per token.

    Args:
        view: the site.
        labels: (number, category, tokens) of every sample.
    """
    seen = ~np.isnan(view.totals.sample_max)
    tokens = sum(label[2] for label in labels if label[0] < len(seen) and seen[label[0]])
    visits = math.ceil(int(view.totals.tokens) / tokens) if tokens else 1
    return int(seen.sum()) * max(visits, 1)


def make_tuner(snapshot: Snapshot, site: int) -> Tuner | None:
    """A tuner of the site the snapshot has a view of; None while it has none of this site."""
    view = snapshot.view
    return Tuner(view, first_tokens(view, snapshot.labels)) if view is not None and view.site == site else None
