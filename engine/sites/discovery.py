"""A loaded model (or one on the meta device) -> its hook plan, by structure alone: no forward pass, no weights read.

- `find_sites`  model -> `HookPlan`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from engine.base.job import SiteSet
from engine.sites.backbone import Backbone, find_backbone
from engine.sites.branches import FeedForward, find_feed_forwards, find_gate, find_mixers, find_post_norms
from engine.sites.errors import SiteError
from engine.sites.exceptions import FamilyRule, rule_for
from engine.sites.experts import EXPERT_COMPONENTS
from engine.sites.gemms import GemmGroup, can_tap, find_gemms, outer_gemms
from engine.sites.modules import child, walk
from engine.sites.placement import quantised_note
from engine.sites.routers import declared_element
from engine.sites.site import (
    COMPONENTS,
    GEMM_COMPONENTS,
    PAPER_COMPONENTS,
    POST_NORM_COMPONENTS,
    HookPlan,
    MissingSite,
    Site,
)
from engine.sites.vision import vision_sites

_SETS: dict[str, frozenset[str]] = {
    "paper": frozenset(PAPER_COMPONENTS + POST_NORM_COMPONENTS),
    "gemm": frozenset(GEMM_COMPONENTS),
    # Without the insides of experts: reading those needs an experts implementation of our own, and is asked for.
    "paper+gemm": frozenset(COMPONENTS) - EXPERT_COMPONENTS,
    "all": frozenset(COMPONENTS),
}
_ORDER = {component: index for index, component in enumerate(COMPONENTS)}
_CLOSED = "the experts of this family cannot be looked into"


class _Add(Protocol):
    """Adds a site of the block at hand; `label` tells a second site of a component from the first."""

    def __call__(self, component: str, relative: str, label: str = "", **fields: Any) -> None: ...


@dataclass(slots=True)
class _Draft:
    """A plan in the making.

    Attributes:
        wanted: components to measure.
        sites: found so far.
        gaps: (component, reason) -> blocks concerned.
        owners: (module, capture, component) -> site, to notice modules shared between blocks.
        covered: parameters of the GEMM weights whose input is measured.
        total: parameters of all GEMM weights.
    """

    wanted: frozenset[str]
    sites: list[Site] = field(default_factory=list)
    gaps: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    owners: dict[tuple[int, str, str], Site] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    covered: int = 0
    total: int = 0

    def add(self, site: Site, module: nn.Module | None) -> None:
        """Keep a wanted site, unless its module was already met in another block."""
        if site.component not in self.wanted:
            return
        key = (id(module), site.capture, site.component)
        owner = self.owners.get(key)
        if module is not None and owner is not None and owner.layer != site.layer:
            self.gap(site.component, f"shares its module with {owner.name}, where each call is counted", site.layer)
            return
        self.owners[key] = site
        self.names.add(site.name)
        self.sites.append(site)

    def gap(self, component: str, reason: str, layer: int | None) -> None:
        """Note a wanted site that is not there."""
        if component in self.wanted:
            self.gaps.setdefault((component, reason), []).extend(() if layer is None else (layer,))


def find_sites(model: nn.Module, site_set: SiteSet = "paper", *, vision: bool = False) -> HookPlan:
    """The hook plan of a model, found by its structure.

    Args:
        model: a transformers model, with weights or on the meta device.
        site_set: `paper` (with post-norms), `gemm` (matrix-product inputs and experts), `paper+gemm` (both, without
            the insides of experts) or `all`.
        vision: also the blocks of a vision tower, which text alone never reaches.

    Returns:
        The plan before the self-check: `residual` is `unknown`, tuple elements are filled in only where the
        structure tells them.

    Raises:
        SiteError: no decoder layers, an encoder-decoder model, or nothing to measure.
    """
    backbone = find_backbone(model)
    config = getattr(model, "config", backbone.config)
    rule = rule_for(backbone.config, config)
    draft = _Draft(_SETS[site_set])
    width = _width(backbone)
    _add_embedding(draft, backbone, model)
    for layer, (path, block) in enumerate(backbone.blocks):
        _add_block(draft, layer, path, block, rule, width, (backbone.text_model, model))
    _add_ends(draft, backbone, model, rule)
    if vision:
        draft.sites.extend(vision_sites(model, backbone))
    family = str(getattr(config, "model_type", type(model).__name__))
    if not draft.sites:
        raise SiteError(f"nothing to measure in {family} with --sites {site_set}; try --sites all")
    return HookPlan(
        sites=tuple(draft.sites),
        missing=tuple(MissingSite(tuple(layers), name, why) for (name, why), layers in draft.gaps.items()),
        family=family,
        layers=len(backbone.blocks),
        hidden_size=width,
        text_model=backbone.path,
        parameters_covered=draft.covered,
        parameters_total=draft.total,
        notes=tuple(_notes(backbone, rule)),
    )


def _width(backbone: Backbone) -> int:
    """Width of the residual stream: the config's, else the embedding's."""
    width = getattr(backbone.config, "hidden_size", None) or getattr(backbone.config, "d_model", None)
    if isinstance(width, int):
        return width
    raise SiteError("the model's config names no hidden_size; this architecture is not supported")


def _notes(backbone: Backbone, rule: FamilyRule) -> Iterable[str]:
    if rule.why:
        yield rule.why
    if rule.experts_closed:
        yield f"{_CLOSED}: {rule.experts_closed}"
    yield from quantised_note(module for _, block in backbone.blocks for _, module in walk(block))
    if backbone.extra_blocks:
        yield f"blocks for multi-token prediction, not measured: {backbone.extra_blocks}"


def _add_embedding(draft: _Draft, backbone: Backbone, model: nn.Module) -> None:
    if backbone.embedding is None:
        draft.gap("embedding", "no token embedding found", None)
        return
    module = child(model, backbone.embedding)
    draft.add(Site("embedding", None, "embedding", backbone.embedding, kind="embedding"), module)


def _add_ends(draft: _Draft, backbone: Backbone, model: nn.Module, rule: FamilyRule) -> None:
    """Final norm, LM-head input, and linears of the text model outside the blocks."""
    for group in outer_gemms(backbone.text_model):
        path = f"{backbone.path}.{group.module}" if backbone.path else group.module
        name = f"other_input_{_slug(group.module)}"
        site = Site(name, None, group.component, path, capture="input", kind=group.kind, readers=(path,))
        _count(draft, group)
        draft.add(site, child(model, path))
    last = backbone.blocks[-1][0]
    norm = backbone.final_norm
    if norm is None:
        draft.gap("final_norm", "the model has no norm after its last block", None)
    else:
        draft.add(Site("final_norm", None, "final_norm", norm, kind="norm"), child(model, norm))
    head = norm or last
    note = "equal to final_norm" if norm else "equal to the last block's output"
    if rule.head_input and child(backbone.text_model, rule.head_input) is not None:
        head = f"{backbone.path}.{rule.head_input}" if backbone.path else rule.head_input
        note = f"the output of {rule.head_input}"
    draft.add(Site("lm_head_input", None, "lm_head_input", head, kind="norm", note=note), child(model, head))


def _add_block(
    draft: _Draft,
    layer: int,
    path: str,
    block: nn.Module,
    rule: FamilyRule,
    width: int,
    owners: Sequence[nn.Module],
) -> None:
    """All sites of one decoder block, in the order of `COMPONENTS`."""
    mixers = find_mixers(block)
    branches = find_feed_forwards(block, rule, {mixer.path for mixer in mixers})
    found: list[tuple[Site, nn.Module | None]] = []
    names: set[str] = set()

    def add(component: str, relative: str, label: str = "", **fields: Any) -> None:
        name = _name(layer, component, label or relative, names)
        names.add(name)
        full = f"{path}.{relative}" if relative else path
        found.append((Site(name, layer, component, full, **fields), child(block, relative)))

    for mixer in mixers:
        add("attn_output", rule.branches.get(mixer.path, mixer.path), kind=mixer.kind)
    for component, relative in find_post_norms(block):
        add(component, relative, kind="norm")
    for branch in branches:
        _add_branch(draft, add, layer, block, branch, rule, owners)
    add("hidden", "", kind="block", layout="PBTD" if rule.planes else "BTD")
    groups, unseen = find_gemms(block, mixers, branches, rule, width)
    for weights in unseen:
        draft.total += weights.parameters
        if weights.module:
            draft.gap("other_input", f"the weight of {weights.module} is used without calling the module", layer)
    for group in groups:
        _count(draft, group)
        label = group.module if group.component == "other_input" else group.owner
        readers = tuple(f"{path}.{member}" for member in group.members)
        add(
            group.component, group.module, label, capture="input", kind=group.kind, layout=group.layout, readers=readers
        )
    if branches and not any(site.component == "mlp_gate" for site, _ in found):
        draft.gap("mlp_gate", _gate_gap(block, branches[0], rule), layer)
    if not mixers:
        draft.gap("attn_output", "no attention and no state-space mixer in this block", layer)
    if not branches:
        draft.gap("mlp_output", "no MLP in this block", layer)
    for site, module in sorted(found, key=lambda entry: _ORDER[entry[0].component]):
        draft.add(site, module)


def _add_branch(
    draft: _Draft,
    add: _Add,
    layer: int,
    block: nn.Module,
    branch: FeedForward,
    rule: FamilyRule,
    owners: Sequence[nn.Module],
) -> None:
    """Output, gate, router logits and expert gate of one per-token branch."""
    add("mlp_output", branch.output, kind=branch.kind)
    gate = find_gate(block, branch, rule)
    if gate is not None:
        kind = "shared" if branch.kind == "moe" else "dense"
        add("mlp_gate", gate.path, branch.path, capture=gate.capture, columns=gate.columns, kind=kind)
    if branch.kind != "moe":
        return
    experts = child(block, branch.experts) if branch.experts else None
    if branch.router is None:
        draft.gap("router_logits", "no router found in this mixture of experts", layer)
    else:
        router = rule.router or branch.router
        element = rule.router_element
        if element is None and not rule.router:
            element = declared_element(child(block, branch.router), owners)
        add("router_logits", router, element=element, layout="ND", kind="logits")
    if not can_tap(experts, rule):
        for component in ("expert_input", "expert_gate", "expert_down_input"):
            draft.gap(component, _closed(experts), layer)
    elif experts is not None and experts.has_gate:
        add("expert_gate", branch.experts or "", capture="input", layout="expert", kind="moe")
    else:
        draft.gap("expert_gate", "the experts have no gate", layer)


def _gate_gap(block: nn.Module, branch: FeedForward, rule: FamilyRule) -> str:
    """Why a block shows no gate."""
    if branch.kind == "dense":
        return "the MLP has no gate"
    experts = child(block, branch.experts) if branch.experts else None
    return (
        "the gates are inside the experts: see expert_gate (gemm, all)" if can_tap(experts, rule) else _closed(experts)
    )


def _closed(experts: nn.Module | None) -> str:
    """Why the experts of a block are not looked into."""
    if isinstance(experts, nn.ModuleList):
        return "its experts are separate modules that receive rows without their tokens"
    return _CLOSED


def _count(draft: _Draft, group: GemmGroup) -> None:
    draft.total += group.parameters
    if group.component in draft.wanted:
        draft.covered += group.parameters


def _name(layer: int, component: str, label: str, taken: set[str]) -> str:
    """`layer_{i}_{component}`; a second one of the component carries its branch's path as a suffix."""
    plain = f"layer_{layer}_{component}"
    if component != "other_input" and plain not in taken:
        return plain
    parts = label.split(".")
    short = f"{plain}_{_slug(parts[-1] if not parts[-1].isdigit() else '.'.join(parts[-2:]))}"
    return short if short not in taken else f"{plain}_{_slug(label)}"


def _slug(path: str) -> str:
    return path.replace(".", "_")
