"""Where a family breaks the structural rules: one readable table, one row per family.

- `FamilyRule`    what one family does differently, and why
- `FAMILY_RULES`  model_type -> `FamilyRule`
- `rule_for`      the rule of a model's config, the empty rule for most
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FamilyRule:
    """What one family does differently. Paths are relative to the decoder block.

    Attributes:
        why: one line for the user; it becomes a note of the plan.
        branches: branch module -> the module inside it whose output is the branch value.
        mlps: paths of feed-forward modules that the name rules would miss.
        router: path of the module that yields the raw logits, where it is not the router itself.
        router_element: index of the raw logits in the router's output tuple.
        gate_from_activation: the gate is the input of the MLP's activation module.
        planes: block outputs are [planes, B, T, D] and plane 0 is the residual stream.
        never_called: linear modules whose weight is read without calling the module.
        head_input: module of the text model whose output the LM head reads, where it exists.
        experts_closed: why the family's experts cannot be looked into.
    """

    why: str = ""
    branches: Mapping[str, str] = field(default_factory=dict)
    mlps: tuple[str, ...] = ()
    router: str = ""
    router_element: int | None = None
    gate_from_activation: bool = False
    planes: bool = False
    never_called: tuple[str, ...] = ()
    head_input: str = ""
    experts_closed: str = ""


_MAMBA = FamilyRule(never_called=("dt_proj",))
_BAILING_REMOTE = FamilyRule(
    why="the router returns expert indices first; the raw logits are its third element", router_element=2
)

FAMILY_RULES: dict[str, FamilyRule] = {
    "bloom": FamilyRule(
        why="attention and MLP add the residual inside; the last linear of each yields the branch",
        branches={"self_attention": "self_attention.dense", "mlp": "mlp.dense_4h_to_h"},
    ),
    "mpt": FamilyRule(
        why="the MLP adds the residual inside; its last linear yields the branch", branches={"ffn": "ffn.down_proj"}
    ),
    "llama4_text": FamilyRule(
        why="the router returns (scores, logits)",
        router_element=1,
        experts_closed="every expert runs on every token, so Llama 4 has no switchable experts",
    ),
    "gemma3n_text": FamilyRule(
        why="block outputs are [planes, B, T, D]; plane 0, the residual stream, is measured", planes=True
    ),
    "gemma4_text": FamilyRule(
        why="the router returns probabilities; its inner projection yields the raw logits", router="router.proj"
    ),
    "zamba2": FamilyRule(
        why="an adapter is added to the fused gate, so the gate is read at the activation's input",
        gate_from_activation=True,
    ),
    "opt": FamilyRule(why="the MLP is two linears of the block", head_input="project_out"),
    "ernie4_5_vl_moe": FamilyRule(why="the text experts are one level deeper", mlps=("mlp.text_moe",)),
    "dbrx": FamilyRule(experts_closed="DBRX runs one module once per expert, without the interface of the others"),
    "longcat_flash": FamilyRule(
        why="one block holds two attentions, two MLPs and one MoE",
        never_called=("classifier",),
        experts_closed="LongCat mixes identity experts into its own loop",
    ),
    "recurrent_gemma": FamilyRule(
        why="the recurrence's own block-diagonal gates are not counted among the matrix products"
    ),
    "bailing_moe": _BAILING_REMOTE,
    "bailing_moe_v2": _BAILING_REMOTE,
    "mamba": _MAMBA,
    "falcon_mamba": _MAMBA,
    "jamba": _MAMBA,
    "zamba": _MAMBA,
}

_NO_RULE = FamilyRule()


def rule_for(*configs: Any) -> FamilyRule:
    """The rule of the first config whose `model_type` has one, else the empty rule."""
    for config in configs:
        rule = FAMILY_RULES.get(getattr(config, "model_type", ""))
        if rule is not None:
            return rule
    return _NO_RULE
