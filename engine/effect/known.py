"""What a hook plan tells of a request before any model is loaded (no torch).

- `check_request`  refuse sites, components and layers that the model cannot have
- `check_scope`    the same for a scope alone
- `check_finite`   refuse a model that cannot predict anything; say what will be left out
- `nearest`        the name that was meant, as the end of a sentence

A session's plan names the sites it measured; the model may have others, so only what is certain is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Final

from engine.analysis.nonfinite import session_alarm
from engine.effect.errors import EffectError
from engine.effect.interventions import Ablate, Scope, format_layers
from engine.effect.request import Request
from engine.session.reader import SessionReader
from engine.sites.site import COMPONENTS, HookPlan

NOTHING_TO_COMPARE: Final = (
    "every prediction of the unchanged model is NaN or infinite, so there is nothing to compare with; maxact-tui show"
    " says where that begins, another --dtype or whole weights may mend it"
)
NOTHING_BEHIND_THE_SITES: Final = (
    "every prediction of the unchanged model is NaN or infinite, so there is nothing to compare with; all that was"
    " measured is finite, so that it begins behind the last site, as in the LM head: whole weights or another --dtype"
    " may mend it"
)
_OUTSIDE = ("embedding", "final_norm", "lm_head_input")


def check_request(request: Request, plan: HookPlan) -> None:
    """Refuse a request that no look at the model could fulfil.

    Raises:
        EffectError: no such site, component or layer; the nearest name or the range is in it.
    """
    check_scope(request.scope, plan)
    for one in request.interventions:
        if isinstance(one, Ablate) and one.layer is not None:
            _check_layers((one.layer,), plan)


def check_finite(reader: SessionReader) -> None:
    """Refuse a model whose last measured tensor has no finite element: nothing that it predicts is a number.

    Raises:
        EffectError: as far as the session tells, so that no engine need be started.
    """
    plan = reader.meta().plan
    last = [n for n, site in enumerate(plan.sites) if site.component in ("final_norm", "lm_head_input")] if plan else []
    for number in last:
        totals = reader.totals(number)
        if totals is not None and totals.has("nonfinite") and totals.nonfinite.any() and not totals.finite:
            raise EffectError(NOTHING_TO_COMPARE)


def nothing_to_compare(reader: SessionReader) -> str:
    """Why a model without a finite prediction cannot be compared, and where to look."""
    return NOTHING_BEHIND_THE_SITES if session_alarm(reader) is None else NOTHING_TO_COMPARE


def check_scope(scope: Scope, plan: HookPlan) -> None:
    """Refuse a scope that no look at the model could find.

    Raises:
        EffectError: no such site, component or layer; the nearest name or the range is in it.
    """
    if scope.component is not None and scope.component not in COMPONENTS:
        raise EffectError(f"there is no component '{scope.component}'{nearest(scope.component, COMPONENTS)}")
    if scope.component == "expert_gate":
        raise EffectError("expert_gate is an output that no site can replace; take expert_down_input")
    _check_layers(scope.layers or (), plan)
    if scope.site is not None and not _may_be(scope.site, plan):
        if (layer := _layer_of(scope.site)) is not None:
            _check_layers((layer,), plan)
        raise EffectError(f"there is no site '{scope.site}'{nearest(scope.site, _names(plan))}")


def nearest(wanted: str, known: Collection[str]) -> str:
    """`; did you mean NAME?`, or where to look."""
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else "; maxact-tui plan MODEL --sites all shows the model's sites"


def _check_layers(layers: Sequence[int], plan: HookPlan) -> None:
    beyond = tuple(layer for layer in layers if layer >= plan.layers)
    if beyond:
        which = f"is no layer {beyond[0]}" if len(beyond) == 1 else f"are no layers {format_layers(beyond)}"
        raise EffectError(f"there {which}; this model has layers 0 to {plan.layers - 1}")


def _may_be(name: str, plan: HookPlan) -> bool:
    """Whether the model can have a site of this name."""
    if any(site.name == name for site in plan.sites):
        return True
    layer = _layer_of(name)
    known = _OUTSIDE if layer is None else [one for one in COMPONENTS if one not in _OUTSIDE]
    rest = name if layer is None else name.split("_", 2)[2]
    is_component = any(rest == one or rest.startswith(f"{one}_") for one in known)
    return is_component and (layer is None or layer < plan.layers)


def _layer_of(name: str) -> int | None:
    found = re.match(r"layer_(\d+)_", name)
    return int(found[1]) if found else None


def _names(plan: HookPlan) -> list[str]:
    """Names to choose the nearest from: those measured first, then those the model may have besides."""
    inside = [one for one in COMPONENTS if one not in _OUTSIDE]
    return list(
        dict.fromkeys(
            [site.name for site in plan.sites] + [f"layer_{n}_{one}" for n in range(plan.layers) for one in inside]
        )
    )
