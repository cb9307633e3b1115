"""What a session's largest number is called, and what to say where the paper's sites were not measured.

- `title_of_maximum`  `M, the largest |x|`, or what it is instead
- `no_m_words`        why there is no M, and the largest GEMM input; empty where there is one
- `input_words`       the largest GEMM input beside M; empty where none was measured
- `massive_words`     whether hidden states are massive; of a run without them, which other sites pass
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.maximum import Maximum, without_m
from engine.analysis.model import ModelSummary, has_hidden
from engine.base.wording import counted, exact

_WORDS = {True: "yes", False: "no", None: "not known"}
_LISTED = 5


def title_of_maximum(found: Maximum) -> str:
    """What stands before the number in a table of findings."""
    return "M, the largest |x|" if found.is_m else "Largest GEMM input"


def no_m_words(summary: ModelSummary) -> str:
    """One sentence for a run over GEMM inputs alone."""
    if summary.plan is None or not (why := without_m(summary.plan, summary.job.sites)):
        return ""
    found = summary.maximum
    return f"{why}; largest GEMM input: {exact(found.magnitude)} at {found.label}" if found is not None else why


def input_words(summary: ModelSummary) -> str:
    """`3,584 at L11 down_proj_input` of a run that has M, too."""
    found = summary.largest_input
    if found is None or (summary.maximum is not None and not summary.maximum.is_m):
        return ""
    return f"{exact(found.magnitude)} at {found.label}"


def massive_words(summary: ModelSummary, passes: bool | None, sites: Sequence[int]) -> str:
    """The verdict on hidden states.

    Args:
        summary: of a session.
        passes: the verdict, by either median.
        sites: numbers of the sites that pass by it, hidden or not.
    """
    plan = summary.plan
    if plan is None or has_hidden(plan):
        return _WORDS[passes]
    if not sites and summary.nonfinite_sites:
        bad = counted(len(summary.nonfinite_sites), "site")
        return f"hidden states were not measured; no other site passes by finite elements, {bad} with Inf/NaN"
    if not sites:
        return "hidden states were not measured; no other site passes"
    names = ", ".join(plan.sites[number].name for number in sites[:_LISTED])
    more = f" and {len(sites) - _LISTED} more" if len(sites) > _LISTED else ""
    return f"hidden states were not measured; {counted(len(sites), 'other site')} pass: {names}{more}"
