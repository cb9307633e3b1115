"""The vision tower of a multimodal model: its blocks, for `--vision`.

- `vision_sites`  sites of every vision block, named `vision_layer_{i}_{component}`
"""

from __future__ import annotations

import re

from torch import nn

from engine.sites.backbone import Backbone
from engine.sites.branches import find_feed_forwards, find_gate, find_mixers
from engine.sites.exceptions import FamilyRule
from engine.sites.modules import is_linear, is_norm
from engine.sites.site import Site

_VISION = re.compile(r"vision|visual|vit(?:$|_|\.)|image_encoder", re.IGNORECASE)
_BLOCK_NAMES = ("layers", "layer", "blocks", "h")
_RULE = FamilyRule()


def vision_sites(model: nn.Module, backbone: Backbone) -> tuple[Site, ...]:
    """Sites of the vision tower's blocks: attention, gate, MLP and block output.

    They carry no decoder layer and `kind` is `vision`. Text alone never calls them, which the self-check says.
    """
    found: list[Site] = []
    index = 0
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or path.rsplit(".", 1)[-1] not in _BLOCK_NAMES:
            continue
        if not _VISION.search(path) or any(block_path.startswith(f"{path}.") for block_path, _ in backbone.blocks):
            continue
        for offset, block in enumerate(module):
            if is_linear(block) or is_norm(block):
                continue
            found.extend(_block_sites(block, f"{path}.{offset}", index))
            index += 1
    return tuple(found)


def _block_sites(block: nn.Module, path: str, index: int) -> list[Site]:
    def site(component: str, relative: str, columns: tuple[int, int] | None = None) -> Site:
        full = f"{path}.{relative}" if relative else path
        return Site(f"vision_layer_{index}_{component}", None, component, full, columns=columns, kind="vision")

    mixers = find_mixers(block)
    sites = [site("attn_output", mixer.path) for mixer in mixers[:1]]
    for branch in find_feed_forwards(block, _RULE, {mixer.path for mixer in mixers})[:1]:
        gate = find_gate(block, branch, _RULE)
        if gate is not None:
            sites.append(site("mlp_gate", gate.path, gate.columns))
        sites.append(site("mlp_output", branch.output))
    sites.append(site("hidden", ""))
    return sites
