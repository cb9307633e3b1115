"""`python -m tests.sites.matrix`: the matrix of families and sites, found or why not, as a plain-text table."""

from __future__ import annotations

import os

from engine.sites.printing import number_ranges
from engine.sites.site import HookPlan, MissingSite
from tests.sites.capture import planned
from tests.sites.families import FAMILIES

COLUMNS = {
    "emb": ("embedding",),
    "attn": ("attn_output",),
    "attn+n": ("attn_post_norm",),
    "mlp": ("mlp_output",),
    "mlp+n": ("mlp_post_norm",),
    "gate": ("mlp_gate",),
    "router": ("router_logits",),
    "experts": ("expert_down_input",),
    "hidden": ("hidden",),
    "norm": ("final_norm",),
    "gemm in": ("attn_input", "o_proj_input", "mlp_input", "router_input", "down_proj_input", "other_input"),
}
KINDS = {"self": "s", "linear": "l", "dense": "d", "moe": "m", "shared": "sh"}


def matrix() -> list[str]:
    """One line per family: in each column the kinds of module found and how many sites, `-` for none."""
    rows = [("family", "residual", *COLUMNS, "covered", "left out, and why")]
    for name in FAMILIES:
        _, plan = planned(name)
        covered = f"{plan.parameters_covered / plan.parameters_total:.0%}"
        gaps = [gap for gap in plan.missing if gap.component not in ("expert_gate", "expert_input")]
        why = "; ".join(f"{gap.component}{_where(gap, plan)}: {gap.reason}" for gap in gaps)
        rows.append((name, plan.residual, *(_cell(plan, part) for part in COLUMNS.values()), covered, why))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return ["  ".join((*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1])).rstrip() for row in rows]


def _where(gap: MissingSite, plan: HookPlan) -> str:
    return f" in {number_ranges(gap.layers)}" if 0 < len(gap.layers) < plan.layers else ""


def _cell(plan: HookPlan, components: tuple[str, ...]) -> str:
    sites = [site for site in plan.sites if site.component in components]
    kinds = sorted({KINDS[site.kind] for site in sites if site.kind in KINDS}) if len(components) == 1 else []
    return f"{len(sites)}{' ' if kinds else ''}{'+'.join(kinds)}" if sites else "-"


if __name__ == "__main__":
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    print("\n".join(matrix()))
