"""What the statistics cost, in words.

- `spent_words`   what measuring took of a run's time
"""

from __future__ import annotations

import math

from engine.base.wording import seconds_words, share
from engine.session.costs import SitesChoice, Spent


def spent_words(spent: Spent, choice: SitesChoice | None = None) -> str:
    """`statistics took 19 % on top of the model's own time (estimated 21 %), damage 4 s`; empty before a batch."""
    if math.isnan(spent.slowdown):
        return ""
    text = f"statistics took {share(spent.slowdown)} on top of the model's own time"
    if choice is not None and choice.trial is not None:
        text += f" (estimated {share(choice.trial.slowdown)})"
    return text + (f", damage by quantisers {seconds_words(spent.damage)}" if spent.damage else "")
