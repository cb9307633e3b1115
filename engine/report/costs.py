"""What the statistics cost, in words: before a run, and after it.

- `choice_words`  which sites `auto` took, and why
- `spent_words`   what measuring took of a run's time
- `seconds_words`  a time that is an estimate
"""

from __future__ import annotations

import math

from engine.base.choice import LIMIT_WORDS
from engine.base.wording import counted, share
from engine.session.costs import SitesChoice, Spent

SETS = {
    "paper": "residual stream and branches, as in the paper",
    "gemm": "GEMM inputs",
    "paper+gemm": "residual stream and branches, and the GEMM inputs",
    "all": "residual stream and branches, the GEMM inputs, and the insides of experts",
}
"""The sets of sites by their names on the command line."""


def choice_words(choice: SitesChoice) -> str:
    """One sentence: what is measured, what that was timed to cost, and the option that would have it otherwise."""
    text = f"measured are the {SETS[choice.sites]} (--sites {choice.sites})"
    if choice.trial is not None:
        one = choice.trial
        text += (
            f": timed on {counted(one.tokens, 'token')}, the statistics of {counted(one.sites, 'site')} take"
            f" {share(one.slowdown)} on top of the model's own time, about {seconds_words(one.added_seconds)}"
        )
        text += f", and the damage by quantisers about {seconds_words(one.damage_seconds)}" if one.damage_tokens else ""
    if choice.sites == "paper+gemm":
        return f"{text}; --sites paper measures fewer"
    if choice.refused is None:
        return f"{text}; a trial of more did not fit in memory; --sites paper+gemm measures the GEMM inputs, too"
    more = choice.refused
    return (
        f"{text}; with the GEMM inputs it would be {share(more.slowdown)}, about {seconds_words(more.added_seconds)}"
        f" (the limit is {LIMIT_WORDS}); --sites paper+gemm measures them all the same"
    )


def spent_words(spent: Spent, choice: SitesChoice | None = None) -> str:
    """`statistics took 19 % on top of the model's own time (estimated 21 %), damage 4 s`; empty before a batch."""
    if math.isnan(spent.slowdown):
        return ""
    text = f"statistics took {share(spent.slowdown)} on top of the model's own time"
    if choice is not None and choice.trial is not None:
        text += f" (estimated {share(choice.trial.slowdown)})"
    return text + (f", damage by quantisers {seconds_words(spent.damage)}" if spent.damage else "")


def seconds_words(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
