"""The hook plan: which tensors of which modules are measured, as plain records that travel in the session file.

- `KNOWN_OFFSETS`  norms of 1 + weight that llm-compressor smooths as such
- `COMPONENTS`   every component, in the order the heatmap shows them
- `Site`         one measured tensor
- `Smoothing`    a module whose output may be divided, with the linears to be multiplied
- `MissingSite`  one that was looked for and not found, and why
- `HookPlan`     all of them, with the model's shape
- `headline_sites`  those that M is over
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.base.stored import UnsoundError, build

PAPER_COMPONENTS = (
    "embedding",
    "attn_output",
    "mlp_gate",
    "router_logits",
    "mlp_output",
    "hidden",
    "final_norm",
)
POST_NORM_COMPONENTS = ("attn_post_norm", "mlp_post_norm")
GEMM_COMPONENTS = (
    "attn_input",
    "o_proj_input",
    "mlp_input",
    "router_input",
    "down_proj_input",
    "expert_input",
    "expert_gate",
    "expert_down_input",
    "other_input",
    "lm_head_input",
)
INPUT_COMPONENTS = frozenset(GEMM_COMPONENTS) - {"expert_gate"}
# Deployments leave the LM head alone.
QUANTISED_COMPONENTS = INPUT_COMPONENTS - {"lm_head_input"}
COMPONENTS = (
    "embedding",
    "attn_input",
    "o_proj_input",
    "attn_output",
    "attn_post_norm",
    "mlp_input",
    "router_input",
    "router_logits",
    "mlp_gate",
    "down_proj_input",
    "expert_input",
    "expert_gate",
    "expert_down_input",
    "mlp_output",
    "mlp_post_norm",
    "other_input",
    "hidden",
    "final_norm",
    "lm_head_input",
)
M_COMPONENTS = frozenset({"embedding", "hidden", "attn_output", "mlp_output", "final_norm"})

MOST_LAYERS: Final = 100_000  # of any model; a screen has a row for each

Capture = Literal["output", "input"]
Layout = Literal["BTD", "ND", "PBTD", "expert"]
Law = Literal["linear", "offset"]
LINEAR: Final[Law] = "linear"
OFFSET: Final[Law] = "offset"
# llm-compressor 0.14, modeling/offset_norm.py; it divides the weight of any other norm as it is.
KNOWN_OFFSETS: Final = frozenset(
    {"GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm", "Qwen3NextRMSNorm", "Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm"}
)
Residual = Literal["pre", "post", "inside", "scaled", "parallel", "special", "unknown"]


@dataclass(frozen=True, slots=True)
class Site:
    """One measured tensor.

    Attributes:
        name: unique, `layer_11_hidden` or `embedding`; a second one of a component in a layer carries a suffix
            (`layer_3_attn_output_mamba`).
        layer: decoder block from 0, None outside the blocks.
        component: one of `COMPONENTS`.
        module: dotted path of the hooked module in the loaded model.
        capture: the module's output, or its (first tensor) input.
        element: index into a tuple output, None where the output is the tensor.
        columns: half-open channel range taken from a fused output, None for all.
        layout: how the batch's rows lie in it: `BTD` [B, T, D], `ND` [B*T, D], `PBTD` [planes, B, T, D] of which
            plane 0 is measured, `expert` [rows, D] with a token index per row.
        kind: what the module is: `self`, `linear`, `dense`, `moe`, `shared`, `logits`, `norm`, `embedding`, `block`.
        note: what a reader must know about this site, else empty.
        readers: dotted paths of the linear modules that multiply this tensor (GEMM inputs only).
    """

    name: str
    layer: int | None
    component: str
    module: str
    capture: Capture = "output"
    element: int | None = None
    columns: tuple[int, int] | None = None
    layout: Layout = "BTD"
    kind: str = ""
    note: str = ""
    readers: tuple[str, ...] = ()

    @property
    def counts_for_m(self) -> bool:
        """Whether M, the largest |x| of the model, is taken over this site (gates, logits and inputs are not)."""
        return self.component in M_COMPONENTS

    @property
    def is_input(self) -> bool:
        """Whether a matrix product reads it: what W8A8 quantises."""
        return self.component in INPUT_COMPONENTS


@dataclass(frozen=True, slots=True)
class MissingSite:
    """A site that was looked for and is not measured.

    Attributes:
        layers: the decoder blocks concerned, empty outside the blocks.
        component: one of `COMPONENTS`.
        reason: one line a user understands.
    """

    layers: tuple[int, ...]
    component: str
    reason: str


@dataclass(frozen=True, slots=True)
class Smoothing:
    """A pair that SmoothQuant may smooth: proven by the self-check to leave the model what it was.

    Attributes:
        layer: decoder block from 0.
        smooth: dotted path of the norm or linear whose output is divided.
        balance: dotted paths of all linears that read it, whose input columns are multiplied.
        law: how the output follows the module's weight: `linear`, or `offset` for 1 + weight (Gemma's norms).
        module: class of the smoothed module.
    """

    layer: int
    smooth: str
    balance: tuple[str, ...]
    law: Law
    module: str


@dataclass(frozen=True, slots=True)
class HookPlan:
    """Everything that will be measured on a model, and what will not.

    Attributes:
        sites: in forward order; the index in this tuple is the site's number everywhere.
        missing: what was looked for and not found.
        family: the config's model_type.
        layers: number of decoder blocks.
        hidden_size: width of the residual stream.
        text_model: dotted path of the module to call (embedding to final norm, without the LM head), "" for the
            model itself.
        residual: how a block adds its branches, from the self-check; `unknown` before it ran.
        parameters_covered: parameters of GEMM weights whose input is measured.
        parameters_total: parameters of all GEMM weights in the text model.
        notes: further lines for the user (quantised loading, offload, experts not switchable).
        order: the place of each site in one forward, by when its hook fired in the self-check; empty where that is
            the order of `sites`, and in plans of older sessions.
        smoothings: pairs proven to be smoothed without harm; None where nothing was tried (no inputs of matrix
            products measured, plans of older sessions).
        unsmoothed: why norms that linears read are in no pair, one line each.
    """

    sites: tuple[Site, ...]
    missing: tuple[MissingSite, ...]
    family: str
    layers: int
    hidden_size: int
    text_model: str
    residual: Residual = "unknown"
    parameters_covered: int = 0
    parameters_total: int = 0
    notes: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    smoothings: tuple[Smoothing, ...] | None = None
    unsmoothed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @property
    def places(self) -> tuple[int, ...]:
        """The place of each site in one forward."""
        return self.order or tuple(range(len(self.sites)))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> HookPlan:
        """Read what `to_json` wrote (tuples come back as tuples).

        Raises:
            UnsoundError: a field is missing, of another type, no model has such a number of layers, or `order` is none.
        """
        plan = build(cls, data)
        numbers = [site.layer for site in plan.sites] + [layer for one in plan.missing for layer in one.layers]
        if not all(layer is None or 0 <= layer < MOST_LAYERS for layer in [plan.layers, *numbers]):
            raise UnsoundError("a layer is not what a run writes")
        if plan.order and sorted(plan.order) != list(range(len(plan.sites))):
            raise UnsoundError("the order of its sites is none")
        return plan


def headline_sites(plan: HookPlan) -> tuple[int, ...]:
    """Numbers of the sites that count for M; of the GEMM inputs where the plan has none of those."""
    counted = tuple(i for i, site in enumerate(plan.sites) if site.counts_for_m)
    return counted or tuple(i for i, site in enumerate(plan.sites) if site.is_input)
