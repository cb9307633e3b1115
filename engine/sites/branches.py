"""What one decoder block is made of: mixers, feed-forward branches, routers, gates and post-norms.

- `Mixer`, `FeedForward`, `Gate`  the parts, with paths relative to the block
- `find_mixers`      attention and its linear-time relatives
- `find_feed_forwards`  dense MLPs and mixtures of experts
- `find_gate`        where a gated MLP's pre-activation comes out
- `find_post_norms`  norms applied to a branch before it joins the residual stream
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from engine.base.private import children_of
from engine.sites.exceptions import FamilyRule
from engine.sites.modules import child, is_linear, is_norm, linear_shape, shared_expert

MIXERS = ("self_attn", "self_attention", "attention", "attn", "cross_attn", "multi_head_attention")
LINEAR_MIXERS = ("linear_attn", "mamba", "conv", "ssm", "short_conv", "delta_net", "gla")
MIXED_BY_CLASS = ("mixer", "temporal_block", "token_mixer", "block_mixer")
FEED_FORWARDS = (
    "block_sparse_moe",
    "mlp",
    "feed_forward",
    "ffn",
    "mlp_block",
    "moe",
    "shared_mlp",
    "mlps",
    "feedforward",
    "channel_mixer",
)
ROUTERS = ("router", "gate", "wg")
FUSED_GATES = ("gate_up_proj", "input_linear", "gate_and_up_proj", "w13")
ACTIVATIONS = ("act_fn", "activation_fn", "activation", "act")
_LINEAR_CLASS = re.compile(r"delta|mamba|ssm|shortconv|recurrent|lightning|rwkv|retention|linearattention|hyena")
_ATTENTION_CLASS = re.compile(r"attention|attn|mla$|gau$")
_FEED_FORWARD_CLASS = re.compile(r"mlp|moe|feedforward|ffn|expert")


@dataclass(frozen=True, slots=True)
class Mixer:
    """A branch that mixes tokens.

    Attributes:
        path: relative to the block.
        kind: `self` for softmax attention, `linear` for linear attention, state space and convolution.
    """

    path: str
    kind: Literal["self", "linear"]


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A branch that works on each token alone.

    Attributes:
        path: relative to the block; "" where the block itself holds the two linears (OPT).
        output: path of the module whose output is the branch's output.
        kind: `dense` or `moe`.
        router: path of the module that yields router logits, None for a dense branch.
        experts: path of the experts container, None for a dense branch.
        shared: path of the expert every token passes, None without one.
    """

    path: str
    output: str
    kind: Literal["dense", "moe"]
    router: str | None = None
    experts: str | None = None
    shared: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Where a gated MLP's pre-activation comes out.

    Attributes:
        path: the module, relative to the block.
        columns: its channels in a fused output, None for all.
        capture: the module's output, or the input of the activation.
    """

    path: str
    columns: tuple[int, int] | None
    capture: Literal["output", "input"] = "output"


def find_mixers(block: nn.Module) -> tuple[Mixer, ...]:
    """The token-mixing branches, softmax attention first; looked for two wrappers deep if none is on the block."""
    for depth in range(3):
        found = [mixer for path, module in _at_depth(block, depth) if (mixer := _as_mixer(path, module)) is not None]
        if found:
            return tuple(sorted(found, key=lambda mixer: mixer.kind != "self"))
    return ()


def _as_mixer(path: str, module: nn.Module) -> Mixer | None:
    """The module as a mixer by its name and class, None if it is something else."""
    name = _own_name(path)
    class_name = type(module).__name__.lower()
    linear_class = bool(_LINEAR_CLASS.search(class_name))
    if name in LINEAR_MIXERS:
        return None if isinstance(module, nn.Conv1d) else Mixer(path, "linear")
    if name in MIXERS:
        return Mixer(path, "linear" if linear_class else "self")
    if name in MIXED_BY_CLASS and (_ATTENTION_CLASS.search(class_name) or not _FEED_FORWARD_CLASS.search(class_name)):
        softmax = bool(_ATTENTION_CLASS.search(class_name)) and not linear_class
        return Mixer(path, "self" if softmax else "linear")
    return None


def find_feed_forwards(block: nn.Module, rule: FamilyRule, taken: Collection[str]) -> tuple[FeedForward, ...]:
    """The per-token branches; `taken` are the mixers' paths, which are not searched."""
    named = [_as_feed_forward(block, path, rule) for path in rule.mlps if child(block, path) is not None]
    if named:
        return tuple(named)
    if {"experts", "router"} <= children_of(block).keys():
        named.append(FeedForward("experts", "experts", "moe", router="router", experts="experts"))
    for depth in range(3):
        found = [
            path for path, module in _at_depth(block, depth) if path not in taken and _is_feed_forward(path, module)
        ]
        if found:
            dense = [_as_feed_forward(block, path, rule) for path in found]
            return tuple(
                sorted(
                    [*dense, *named],
                    key=lambda branch: (
                        FEED_FORWARDS.index(_own_name(branch.path)) if _own_name(branch.path) in FEED_FORWARDS else 99
                    ),
                )
            )
    if {"fc1", "fc2"} <= children_of(block).keys():
        return (FeedForward("", "fc2", "dense"),)
    return tuple(named)


def _is_feed_forward(path: str, module: nn.Module) -> bool:
    if _own_name(path) in FEED_FORWARDS:
        return not is_linear(module)
    return _own_name(path) in MIXED_BY_CLASS and bool(_FEED_FORWARD_CLASS.search(type(module).__name__.lower()))


def _as_feed_forward(block: nn.Module, path: str, rule: FamilyRule) -> FeedForward:
    """The branch at `path`: a mixture of experts if it holds experts or a router, else dense."""
    module = child(block, path)
    if module is None:
        raise KeyError(path)
    router = next((name for name in ROUTERS if name in children_of(module)), None)
    has_experts = "experts" in children_of(module)
    if not has_experts and router != "router":
        return FeedForward(path, rule.branches.get(path, path), "dense")
    shared = shared_expert(module)
    return FeedForward(
        path,
        rule.branches.get(path, path),
        "moe",
        router=f"{path}.{router}" if router else None,
        experts=f"{path}.experts" if has_experts else None,
        shared=f"{path}.{shared[0]}" if shared else None,
    )


def find_gate(block: nn.Module, branch: FeedForward, rule: FamilyRule) -> Gate | None:
    """The gate of a dense MLP or of a MoE block's shared expert; None for un-gated MLPs and experts alone."""
    path = branch.path if branch.kind == "dense" else branch.shared
    module = None if path is None else child(block, path)
    if module is None or path is None:
        return None
    prefix = f"{path}." if path else ""
    if rule.gate_from_activation:
        activation = next((name for name in ACTIVATIONS if name in children_of(module)), None)
        return Gate(f"{prefix}{activation}", None, "input") if activation else None
    if "gate_proj" in children_of(module):
        return Gate(f"{prefix}gate_proj", None)
    if {"w1", "w3"} <= children_of(module).keys():
        return Gate(f"{prefix}w1", None)
    for name in FUSED_GATES:
        fused = children_of(module).get(name)
        if fused is not None and is_linear(fused):
            return Gate(f"{prefix}{name}", (0, linear_shape(fused)[1] // 2))
    return None


def find_post_norms(block: nn.Module) -> tuple[tuple[str, str], ...]:
    """(component, path) of norms applied to a branch's output.

    `post_attention_layernorm` is one only where `post_feedforward_layernorm` exists too: everywhere else it is
    the MLP's pre-norm.
    """
    names = children_of(block).keys()
    found = []
    for name in names:
        if name == "post_self_attn_layernorm" or (
            name == "post_attention_layernorm" and "post_feedforward_layernorm" in names
        ):
            found.append(("attn_post_norm", name))
        elif name == "post_mlp_layernorm" or name.startswith("post_feedforward_layernorm"):
            found.append(("mlp_post_norm", name))
    return tuple(found)


def _at_depth(block: nn.Module, depth: int, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of the submodules `depth` wrappers below the block; lists of mixers or MLPs are spread out."""
    for name, module in block.named_children():
        path = f"{prefix}{name}"
        if isinstance(module, nn.ModuleList):
            if depth == 0 and name in (*MIXERS, *FEED_FORWARDS):
                yield from ((f"{path}.{index}", part) for index, part in enumerate(module))
        elif depth == 0:
            yield path, module
        elif not is_linear(module) and not is_norm(module):
            yield from _at_depth(module, depth - 1, f"{path}.")


def _own_name(path: str) -> str:
    """The attribute name of a module; that of the list for a list's member."""
    parts = path.split(".")
    return parts[-2] if parts[-1].isdigit() and len(parts) > 1 else parts[-1]
