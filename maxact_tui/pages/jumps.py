"""Jumping to a site by name: `L12 mlp_output` typed in the command palette.

- `site_jumps`  the sites a few words mean, as actions
"""

from __future__ import annotations

import re

from engine.sites.site import HookPlan
from maxact_tui.keymap.action import Action
from maxact_tui.widgets.grid import column_title

MOST = 20
_LAYER = re.compile(r"[lL]?(\d+)")


def site_jumps(plan: HookPlan | None, query: str) -> list[Action]:
    """Actions that put the cursor on a site, in the order of the model, the one named in full before the others.

    Args:
        plan: the sites there are.
        query: a layer (`L12` or `12`) and parts of a component's name or title, or a part of the name of a site
            outside the layers.
    """
    words = query.lower().split()
    layers = [int(word.removeprefix("l")) for word in words if _LAYER.fullmatch(word)]
    others = [word for word in words if not _LAYER.fullmatch(word)]
    if plan is None or len(layers) > 1 or not (layers or any(len(word) > 2 for word in others)):
        return []
    wanted = layers[0] if layers else None
    found: list[tuple[bool, Action]] = []
    for number, site in enumerate(plan.sites):
        names = f"{site.component} {site.name} {column_title(site)}".lower()
        if site.layer == wanted and all(word in names for word in others):
            where = "" if site.layer is None else f"L{site.layer} "
            action = Action(f"app.jump({number})", ("",), f"{where}{site.component}", f"Go to {site.name}.")
            found.append((column_title(site) in others or site.component in others, action))
    return [action for _, action in sorted(found, key=lambda pair: not pair[0])][:MOST]
