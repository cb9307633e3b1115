"""The groups in which sites are judged: what kernels quantise, and what is measured for other reasons.

- `Group`, `GROUPS`, `SHORT`  their names in order, with a title each, and with a shorter one
- `group_of`         of a site
- `site_groups`      the sites of a plan by group, groups without a site left out

A mean over all sites says nothing of W8A8, which quantises the inputs of matrix products and nothing else.
"""

from __future__ import annotations

from typing import Final, Literal

from engine.sites.site import HookPlan, Site

Group = Literal["gemm_inputs", "streams", "expert_gates"]
GROUPS: Final[dict[Group, str]] = {
    "gemm_inputs": "GEMM inputs (what W8A8 quantises)",
    "streams": "residual stream and branches (as in the paper)",
    "expert_gates": "gates of experts (what nothing quantises)",
}

SHORT: Final[dict[Group, str]] = {"gemm_inputs": "GEMM inputs", "streams": "streams", "expert_gates": "expert gates"}


def group_of(site: Site) -> Group:
    """The group of a site; the gates of experts are neither inputs nor among the paper's sites."""
    if site.is_input:
        return "gemm_inputs"
    return "expert_gates" if site.component == "expert_gate" else "streams"


def site_groups(plan: HookPlan | None) -> dict[Group, tuple[int, ...]]:
    """Numbers of the sites of each group, the inputs of matrix products first."""
    found: dict[Group, list[int]] = {name: [] for name in GROUPS}
    for number, site in enumerate(plan.sites if plan is not None else ()):
        found[group_of(site)].append(number)
    return {name: tuple(numbers) for name, numbers in found.items() if numbers}
