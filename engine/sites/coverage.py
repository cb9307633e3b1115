"""Which GEMM weights a plan really covers: told by the bytes that reached every linear module in one forward.

- `InputPrints`   fingerprints of the inputs of all linear modules in the decoder blocks
- `watch_inputs`  fill one while a `with` block is open
- `fingerprint`   of a tensor's content, whatever its shape
- `recount`       parameters covered, and sites for linears that turn out to read another tensor
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from engine.sites.backbone import Backbone
from engine.sites.branches import find_feed_forwards, find_mixers
from engine.sites.exceptions import FamilyRule
from engine.sites.gemms import GemmGroup, find_gemms
from engine.sites.hooks import first_tensor
from engine.sites.layout import row_layout
from engine.sites.modules import is_linear, linear_shape
from engine.sites.site import GEMM_COMPONENTS, HookPlan, Site


@dataclass(slots=True)
class InputPrints:
    """What reached the linear modules of the text model.

    Attributes:
        parameters: weights of each linear module, by dotted path in the model.
        prints: fingerprint of its first input in the forward; modules that were not called are absent.
        shapes: shape of that input.
    """

    parameters: dict[str, int] = field(default_factory=dict)
    prints: dict[str, bytes] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def fingerprint(x: torch.Tensor) -> bytes:
    """A digest of a tensor's bytes: equal for equal content in any shape."""
    flat = x.detach().reshape(-1).contiguous().cpu()
    return hashlib.blake2b(flat.view(torch.uint8).numpy().tobytes(), digest_size=16).digest()


@contextmanager
def watch_inputs(backbone: Backbone) -> Iterator[InputPrints]:
    """Fingerprint what reaches every linear module of the text model in the next forward."""
    watched = InputPrints()
    prefix = f"{backbone.path}." if backbone.path else ""
    with ExitStack() as stack:
        for path, module in backbone.text_model.named_modules():
            if path and is_linear(module):
                inputs, outputs = linear_shape(module)
                watched.parameters[prefix + path] = inputs * outputs
                hook = _noting(watched, prefix + path)
                stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield watched


def _noting(watched: InputPrints, path: str) -> Callable[..., None]:
    def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
        x = first_tensor(args, kwargs)
        if isinstance(x, torch.Tensor) and not x.is_meta:
            watched.prints.setdefault(path, fingerprint(x))
            watched.shapes.setdefault(path, tuple(x.shape))

    return hook


def recount(
    backbone: Backbone,
    rule: FamilyRule,
    plan: HookPlan,
    kept: Sequence[Site],
    tensors: Mapping[str, torch.Tensor],
    inputs: InputPrints,
    batch: tuple[int, int],
) -> tuple[list[Site], int]:
    """What the plan's GEMM sites cover, from real inputs; a linear that reads another tensor gets its own site.

    Args:
        backbone: the model's skeleton.
        rule: the family's exceptions.
        plan: the plan before the check; if it measures no GEMM input, nothing is covered.
        kept: its sites that hold.
        tensors: what each site gave, by name.
        inputs: what reached the linear modules.
        batch: [B, T] of the forward.

    Returns:
        Further sites, and the parameters covered with them.
    """
    gemm = [site for site in kept if site.component in GEMM_COMPONENTS]
    if not any(site.capture == "input" for site in gemm):
        return [], 0
    measured = {fingerprint(tensors[site.name]) for site in gemm if site.name in tensors}
    covered = 0
    extra: list[Site] = []
    for layer, (prefix, block) in enumerate(backbone.blocks):
        mixers = find_mixers(block)
        branches = find_feed_forwards(block, rule, {mixer.path for mixer in mixers})
        groups, _ = find_gemms(block, mixers, branches, rule, plan.hidden_size)
        for group in groups:
            covered += _unseen_weights(group, f"{prefix}.{group.module}", gemm)
            for member in group.members:
                path = f"{prefix}.{member}"
                seen = inputs.prints.get(path)
                if seen is None or seen in measured:
                    continue
                layout = row_layout(inputs.shapes[path], batch)
                if layout is not None:
                    name = f"layer_{layer}_other_input_{member.replace('.', '_')}"
                    site = Site(name, layer, "other_input", path, "input", layout=layout, kind=group.kind)
                    extra.append(replace(site, readers=(path,)))
                    measured.add(seen)
    return extra, covered + sum(inputs.parameters[path] for path, seen in inputs.prints.items() if seen in measured)


def _unseen_weights(group: GemmGroup, path: str, gemm: Sequence[Site]) -> int:
    """Weights of a measured group that belong to no linear module: bare routers and fused experts."""
    alive = any(site.component == group.component and site.module == path for site in gemm)
    return group.bare if alive else 0
