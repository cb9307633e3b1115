"""The inputs of matrix products, which is what a W8A8 kernel quantises: one site for each shared input.

- `GemmGroup`    linears that read one tensor
- `Unseen`       weights whose input no hook can show
- `find_gemms`   the groups of one decoder block
- `can_tap`      whether fused experts show their rows
- `outer_gemms`  the groups of the text model outside the blocks

Which linears share an input is told by name and width here and verified by the self-check on real tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from engine.sites.branches import FeedForward, Mixer
from engine.sites.exceptions import FamilyRule
from engine.sites.modules import child, is_linear, linear_shape, walk

ATTENTION_IN = ("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv", "in_proj")
ATTENTION_OUT = ("o_proj", "out_proj", "dense", "c_proj", "wo", "linear_out")
ATTENTION_INNER = ("q_b_proj", "kv_b_proj", "x_proj", "dt_proj")
FEED_FORWARD_IN = (
    "gate_proj",
    "up_proj",
    "gate_up_proj",
    "w1",
    "w3",
    "fc1",
    "fc_in",
    "c_fc",
    "dense_h_to_4h",
    "input_linear",
    "shared_expert_gate",
)
FEED_FORWARD_OUT = ("down_proj", "w2", "fc2", "fc_out", "c_proj", "dense_4h_to_h", "output_linear")


@dataclass(frozen=True, slots=True)
class GemmGroup:
    """Linears that read the same tensor, hooked once.

    Attributes:
        component: the site's component.
        module: path of the hooked module.
        members: paths of the linear modules that read this tensor.
        parameters: weights multiplied by it, biases not counted.
        owner: path of the branch it belongs to.
        kind: `self`, `linear`, `dense`, `moe`, `shared` or `other`.
        bare: those of `parameters` that belong to no linear module (routers, fused experts).
        layout: `expert` behind the experts' gates, `ND` before them, else `BTD`.
    """

    component: str
    module: str
    members: tuple[str, ...]
    parameters: int
    owner: str
    kind: str
    bare: int = 0
    layout: Literal["BTD", "ND", "expert"] = "BTD"


@dataclass(frozen=True, slots=True)
class Unseen:
    """Weights of a block whose input no hook can show.

    Attributes:
        parameters: how many.
        module: path of the linear that is never called, "" for the insides of experts.
    """

    parameters: int
    module: str = ""


def find_gemms(
    block: nn.Module, mixers: Sequence[Mixer], branches: Sequence[FeedForward], rule: FamilyRule, width: int
) -> tuple[tuple[GemmGroup, ...], tuple[Unseen, ...]]:
    """The groups of one decoder block, and the weights that no module input shows.

    Args:
        block: the decoder block.
        mixers: its token-mixing branches.
        branches: its per-token branches.
        rule: the family's exceptions.
        width: the residual stream's width.

    Returns:
        The groups in forward order, and the GEMM weights that cannot be seen.
    """
    groups: dict[tuple[str, str, str], GemmGroup] = {}
    unseen: list[Unseen] = []
    for path, module in _linears(block):
        owner, kind, component = _role(path, module, mixers, branches, width)
        name = path.rsplit(".", 1)[-1]
        size = linear_shape(module)[0] * linear_shape(module)[1]
        if name in rule.never_called and component == "router_input":
            continue
        if component == "closed" or name in rule.never_called:
            unseen.append(Unseen(size, "" if component == "closed" else path))
            continue
        key = (component, owner, path if component == "other_input" else "")
        known = groups.get(key)
        if known is None:
            groups[key] = GemmGroup(component, path, (path,), size, owner, kind)
        else:
            groups[key] = replace(known, members=(*known.members, path), parameters=known.parameters + size)
    routed, closed = _experts(block, branches, rule)
    merged = _share_with_router([*groups.values(), *routed])
    order = [*(mixer.path for mixer in mixers), *(branch.path for branch in branches)]
    merged.sort(key=lambda group: order.index(group.owner) if group.owner in order else len(order))
    return tuple(merged), (*unseen, *closed)


def outer_gemms(text_model: nn.Module) -> tuple[GemmGroup, ...]:
    """Linears of the text model beside the decoder blocks (projections of embeddings), one group each."""
    groups = []
    for name, module in text_model.named_children():
        members = [(name, module)] if is_linear(module) else []
        if isinstance(module, nn.ModuleList):
            members = [(f"{name}.{index}", part) for index, part in enumerate(module) if is_linear(part)]
        for path, linear in members:
            inputs, outputs = linear_shape(linear)
            groups.append(GemmGroup("other_input", path, (path,), inputs * outputs, "", "other"))
    return tuple(groups)


def _linears(block: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path, module) for path, module in walk(block) if is_linear(module)]


def _role(
    path: str, module: nn.Module, mixers: Sequence[Mixer], branches: Sequence[FeedForward], width: int
) -> tuple[str, str, str]:
    """(owner, kind, component) of one linear; component `closed` for experts kept as separate modules."""
    name = path.rsplit(".", 1)[-1]
    for mixer in mixers:
        if path.startswith(f"{mixer.path}."):
            if name in ATTENTION_OUT:
                return mixer.path, mixer.kind, "o_proj_input"
            reads_input = name in ATTENTION_IN or (name not in ATTENTION_INNER and linear_shape(module)[0] == width)
            return mixer.path, mixer.kind, "attn_input" if reads_input else "other_input"
    for branch in branches:
        if branch.router is not None and (path == branch.router or path.startswith(f"{branch.router}.")):
            return branch.path, "moe", "router_input"
        if branch.experts is not None and path.startswith(f"{branch.experts}."):
            return branch.path, "moe", "closed"
        if path.startswith(f"{branch.path}.") if branch.path else name in ("fc1", "fc2"):
            owner = branch.shared if branch.kind == "moe" and branch.shared else branch.path
            kind = "shared" if branch.kind == "moe" else "dense"
            return owner, kind, _feed_forward_role(path.removeprefix(f"{owner}."), module, width)
    return "", "other", "other_input"


def _feed_forward_role(path: str, module: nn.Module, width: int) -> str:
    """The component of a linear inside a feed-forward branch: by name, else by which of its sides is D wide."""
    name = path.rsplit(".", 1)[-1]
    if name in FEED_FORWARD_OUT:
        return "down_proj_input"
    if name in FEED_FORWARD_IN:
        return "mlp_input"
    inputs, outputs = linear_shape(module)
    if "." in path or (inputs == outputs) or width not in (inputs, outputs):
        return "other_input"
    return "mlp_input" if inputs == width else "down_proj_input"


def _experts(
    block: nn.Module, branches: Sequence[FeedForward], rule: FamilyRule
) -> tuple[list[GemmGroup], list[Unseen]]:
    """Router inputs of bare-parameter routers and the inputs inside fused experts; and the weights not to be seen."""
    groups: list[GemmGroup] = []
    unseen: list[Unseen] = []
    for branch in branches:
        if branch.kind != "moe":
            continue
        router = child(block, branch.router) if branch.router else None
        if router is not None and not is_linear(router):
            weights = _own_weights(router, rule)
            if weights:
                groups.append(GemmGroup("router_input", branch.router or "", (), weights, branch.path, "moe", weights))
        experts = child(block, branch.experts) if branch.experts else None
        if experts is None:
            continue
        fused = _fused_weights(experts)
        if not can_tap(experts, rule):
            unseen.append(Unseen(sum(fused.values())))
            continue
        down = fused.get("down_proj", 0)
        path, up = branch.experts or "", sum(fused.values()) - down
        groups.append(GemmGroup("expert_input", path, (), up, branch.path, "moe", up, layout="ND"))
        groups.append(GemmGroup("expert_down_input", path, (), down, branch.path, "moe", down, layout="expert"))
    return groups, unseen


def _fused_weights(experts: nn.Module) -> dict[str, int]:
    """Sizes of the experts' matrices that belong to no linear module, by parameter path."""
    holders = [("", experts), *walk(experts)]
    return {
        f"{path}.{name}" if path else name: int(parameter.numel())
        for path, module in holders
        if not is_linear(module)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim >= 2 and "bias" not in name
    }


def can_tap(experts: nn.Module | None, rule: FamilyRule) -> bool:
    """Whether an experts module takes a registered implementation, so that its rows can be seen."""
    return experts is not None and not rule.experts_closed and hasattr(experts, "has_gate")


def _own_weights(router: nn.Module, rule: FamilyRule) -> int:
    """Weights a router multiplies itself: a bare parameter, or a linear that it never calls."""
    own = sum(int(p.numel()) for name, p in router.named_parameters(recurse=False) if name == "weight")
    return own + sum(
        linear_shape(linear)[0] * linear_shape(linear)[1]
        for name, linear in router.named_children()
        if name in rule.never_called and is_linear(linear)
    )


def _share_with_router(groups: list[GemmGroup]) -> list[GemmGroup]:
    """A shared expert reads the tensor the router reads: its weights join the router's group."""
    routers = {group.owner: group for group in groups if group.component == "router_input"}
    kept: list[GemmGroup] = []
    for group in groups:
        owner = group.owner.rsplit(".", 1)[0] if group.kind == "shared" and "." in group.owner else group.owner
        router = routers.get(owner)
        if group.component == "mlp_input" and group.kind == "shared" and router is not None:
            routers[owner] = replace(
                router, members=(*router.members, *group.members), parameters=router.parameters + group.parameters
            )
        elif group.component != "router_input":
            kept.append(group)
    return [*kept, *routers.values()]
