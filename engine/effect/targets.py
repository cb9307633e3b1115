"""The sites that a scope means.

- `Targets`       a plan and the numbers of the sites in it
- `is_excluded`, `excluded_readers`  what a scope leaves out
- `find_targets`  a scope -> its sites, in the session's plan or in a fresh one
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from engine.base.job import SiteSet
from engine.effect.errors import EffectError
from engine.effect.interventions import Scope
from engine.effect.known import check_scope, nearest
from engine.effect.recipe import matches
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.site import QUANTISED_COMPONENTS, HookPlan, Site


@dataclass(frozen=True, slots=True)
class Targets:
    """Sites of a plan.

    Attributes:
        plan: the session's, or one with more sites.
        sites: numbers in that plan, ascending.
    """

    plan: HookPlan
    sites: tuple[int, ...]


def find_targets(model: nn.Module, plan: HookPlan, scope: Scope) -> Targets:
    """The sites of a scope. A session that did not measure them has the model looked at again.

    Raises:
        EffectError: the model has no such site.
    """
    check_scope(scope, plan)
    found = _matching(plan, scope)
    if not found and not _meant(plan, scope):
        wanted: SiteSet = "all" if scope.site is not None or scope.component is not None else "gemm"
        plan = self_check(model, find_sites(model, wanted))
        found = _matching(plan, scope)
    for pattern in scope.exclude:
        if not (any(matches(pattern, site.name) for site in plan.sites) or _has_module(model, pattern)):
            raise EffectError(
                f"--exclude {pattern} is neither a site nor a module of this model; maxact-tui plan names them"
            )
    if not found and _meant(plan, scope):
        raise EffectError(f"--exclude {', '.join(scope.exclude)} leaves no site to be changed; exclude less")
    if not found:
        raise EffectError(_missing(plan, scope))
    return Targets(plan, found)


def _has_module(model: nn.Module, pattern: str) -> bool:
    return any(matches(pattern, name) for name, _ in model.named_modules())


def _matching(plan: HookPlan, scope: Scope) -> tuple[int, ...]:
    """Numbers of the plan's sites that the scope means and does not leave out."""
    return tuple(number for number in _meant(plan, scope) if not is_excluded(plan.sites[number], scope))


def is_excluded(site: Site, scope: Scope) -> bool:
    """Whether a site is left as it is: by its own name, or because all that read it are."""
    modules = {*site.readers} or {site.module}
    return any(matches(p, site.name) for p in scope.exclude) or excluded_readers(site, scope) == modules


def excluded_readers(site: Site, scope: Scope) -> set[str]:
    """The modules of a site that are left as they are."""
    modules = {*site.readers} or {site.module}
    return {name for name in modules if any(matches(pattern, name) for pattern in scope.exclude)}


def _meant(plan: HookPlan, scope: Scope) -> tuple[int, ...]:
    if scope.site is not None:
        return tuple(number for number, site in enumerate(plan.sites) if site.name == scope.site)
    wanted = QUANTISED_COMPONENTS if scope.component is None else {scope.component}
    return tuple(
        number
        for number, site in enumerate(plan.sites)
        if site.component in wanted
        and site.kind != "vision"
        and (scope.layers is None or (site.layer is not None and site.layer in scope.layers))
    )


def _missing(plan: HookPlan, scope: Scope) -> str:
    if scope.site is not None:
        return f"there is no site '{scope.site}'{nearest(scope.site, [site.name for site in plan.sites])}"
    why = next((gap.reason for gap in plan.missing if gap.component == scope.component), "")
    way_on = f": {why}" if why else "; maxact-tui plan MODEL --sites all shows its sites"
    return f"this model has no site for {scope.title}{way_on}"
