"""A recipe read from its YAML, and a model as it leaves it, against plain torch on changed weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from engine.effect.deployed import Deployment, rounded
from engine.effect.errors import EffectError
from engine.effect.interventions import Deploy, Scope
from engine.effect.recipe import Grid, Recipe, matches, read_recipe
from engine.effect.replacing import replaced
from engine.effect.request import read_request
from engine.effect.smoothed import smoothing_sets
from engine.effect.targets import excluded_readers, find_targets
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from tests.effect.deploying import calibrated
from tests.private import hooks_of
from tests.sites.families import build, tokens

INT8 = """
default_stage:
  default_modifiers:
    SmoothQuantModifier:
      smoothing_strength: 0.5
      mappings:
      - - ["re:model\\\\.layers\\\\.\\\\d+\\\\.self_attn\\\\.q_proj$", "re:.*\\\\.k_proj$", "re:.*\\\\.v_proj$"]
        - "re:.*input_layernorm$"
      - - ["re:.*down_proj$"]
        - "re:.*up_proj$"
    QuantizationModifier:
      config_groups:
        group_0:
          targets: ["Linear"]
          weights: {num_bits: 8, type: "int", symmetric: true, strategy: "channel"}
          input_activations: {num_bits: 8, type: "int", symmetric: true, strategy: "STRATEGY", dynamic: DYNAMIC}
      ignore: ["lm_head", "model.layers.1.mlp.down_proj"]
"""
TOKEN, STATIC = (INT8.replace("STRATEGY", s).replace("DYNAMIC", d) for s, d in (("token", "true"), ("tensor", "false")))


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3) if parameter.ndim > 1 else parameter.add_(0.3 * torch.randn(parameter.shape))
    return made


def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def by_hand(model: LlamaForCausalLM, ids: torch.Tensor, *, static: bool, alone: tuple[str, ...]) -> None:
    """Change the model for good: smooth its weights, round them, and round the inputs in hooks."""
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[nn.Module, torch.Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            inputs[name] = args[0].detach().flatten(0, -2)
            outputs[module] = output.detach().flatten(0, -2)

        return hook

    linears = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear) and name != "lm_head"}
    norms = {f"norm {n}": block.input_layernorm for n, block in enumerate(model.model.layers)}
    hooks = [one.register_forward_hook(keep(name)) for name, one in (linears | norms).items()]
    logits(model, ids)
    [hook.remove() for hook in hooks]
    for block in model.model.layers:
        attention, mlp = block.self_attn, block.mlp
        for smooth, balance in (
            (block.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (mlp.up_proj, (mlp.down_proj,)),
        ):
            y = outputs[smooth]
            largest = torch.stack([one.weight.abs().amax(0) for one in balance]).amax(0)
            scale = ((y.amax(0) - y.amin(0)) / (2 * largest)).sqrt()
            with torch.no_grad():
                smooth.weight.div_(scale if smooth.weight.ndim == 1 else scale[:, None])
                for one in balance:
                    one.weight.mul_(scale)
    hooks = [one.register_forward_hook(keep(name)) for name, one in linears.items()]
    logits(model, ids)
    [hook.remove() for hook in hooks]
    for name, one in linears.items():
        if name in alone:
            continue
        with torch.no_grad():
            scale = one.weight.abs().amax(1, keepdim=True) / 127.5
            one.weight.copy_((one.weight / scale).round().clamp(-127, 127) * scale)
        fixed = inputs[name].abs().max() / 127.5

        def quantise(_module: nn.Module, args: tuple[torch.Tensor, ...], fixed: torch.Tensor = fixed) -> torch.Tensor:
            step = fixed if static else args[0].abs().amax(-1, keepdim=True) / 127.5
            return (args[0] / step).round().clamp(-127, 127) * step

        one.register_forward_pre_hook(quantise)


@pytest.mark.parametrize("static", [False, True])
def test_a_recipe_does_what_changed_weights_and_rounded_inputs_do(model: LlamaForCausalLM, static: bool) -> None:
    ids, held = tokens(4, 16, seed=9), tokens(2, 12)
    before = logits(model, held)
    one = Deployment(model, read_recipe(STATIC if static else TOKEN, "r.yaml"), (), "model")
    assert one.count == 2 * 7 - 1 and one.needs_samples and one.rounds == "weights and inputs"
    calibrated(one, model, ids)
    with one.applied():
        found = logits(model, held)
    assert torch.equal(logits(model, held), before), "the model is as it was"
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    by_hand(model, ids, static=static, alone=("model.layers.1.mlp.down_proj",))
    expected = logits(model, held)
    change = float((expected - before).norm())
    # A value in the middle between two levels may fall either way, since sums are taken in another order.
    assert float((found - expected).norm()) < 0.05 * change and change > 0


SMOOTHED = """
SmoothQuantModifier:
  smoothing_strength: 0.5
  mappings:
  - - ["re:.*q_proj$", "re:.*k_proj$"VALUES]
    - "re:.*input_layernorm$"
QuantizationModifier: {scheme: W8A8, targets: ["re:.*o_proj$"], ignore: []}
"""


def test_a_mapping_that_forgets_a_reader_shows_the_damage_it_does(model: LlamaForCausalLM) -> None:
    """The forgotten reader reads x / s with its old weight, and the whole one leaves the model what it was."""
    ids, held = tokens(4, 16, seed=9), tokens(2, 12)
    before = logits(model, held)
    change = {}
    for values in (', "re:.*v_proj$"', ""):
        one = Deployment(model, read_recipe(SMOOTHED.replace("VALUES", values), "r"), (), "model")
        with calibrated(one, model, ids).applied():
            change[values] = logits(model, held)
        assert torch.equal(logits(model, held), before) and one.rounds == "weights and inputs" and not one.notes
    whole, forgetful = (float((one - before).norm() / before.norm()) for one in change.values())
    assert whole < 0.02 and forgetful > 0.1
    own = {name: p.data_ptr() for name, p in model.named_parameters()}
    seen: dict[str, torch.Tensor] = {}
    for block in model.model.layers:
        norm, attention = block.input_layernorm, block.self_attn
        hook = norm.register_forward_hook(lambda _m, _a, y: seen.update(y=y.detach().flatten(0, -2)))
        logits(model, ids)
        hook.remove()
        largest = torch.stack([one.weight.abs().amax(0) for one in (attention.q_proj, attention.k_proj)]).amax(0)
        block.scale = ((seen["y"].amax(0) - seen["y"].amin(0)) / (2 * largest)).sqrt().detach()
    with torch.no_grad():
        for block in model.model.layers:
            block.input_layernorm.weight.div_(block.scale)
            for reader in (block.self_attn.q_proj, block.self_attn.k_proj):
                reader.weight.mul_(block.scale)
    by_hand = logits(model, held)
    assert float((change[""] - by_hand).norm()) < 0.1 * float((by_hand - before).norm())
    assert {name: p.data_ptr() for name, p in model.named_parameters()} == own


def test_static_scales_are_those_of_the_smoothed_model(model: LlamaForCausalLM) -> None:
    """Also of a reader that the mapping forgets: its input is smoothed, too."""
    text = STATIC.replace('"re:.*\\\\.k_proj$", ', "")
    assert text != STATIC
    one = calibrated(Deployment(model, read_recipe(text, "r"), (), "model"), model, tokens(4, 16, seed=9))
    seen: list[torch.Tensor] = []
    name = "model.layers.0.self_attn.k_proj"
    with one.applied():
        hook = model.get_submodule(name).register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
        logits(model, tokens(4, 16, seed=9))
        hook.remove()
    levels = len(torch.cat([x.flatten() for x in seen]).abs().unique())
    largest = float(torch.cat([x.flatten() for x in seen]).abs().max())
    assert levels <= 128 and largest == pytest.approx(float(one._peaks[name].magnitude.max()) * 127 / 127.5, rel=1e-3)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ('[["re:.*nothing$"], "re:.*input_layernorm$"]', "finds no module for re:.*nothing"),
        ('[["re:.*q_proj$"], "re:.*up_proj$"]', "has 48 weights for the 32 channels"),
        ('[["re:.*q_proj$"], "re:.*(input|post_attention)_layernorm$"]', "for one set of linears"),
        ('[["re:.*q_proj$"], "re:.*self_attn$"]', "has no weight in memory"),
    ],
)
def test_a_mapping_that_llm_compressor_refuses_is_refused_in_one_line(
    model: LlamaForCausalLM, pair: str, words: str
) -> None:
    text = f"SmoothQuantModifier: {{mappings: [{pair}]}}\nQuantizationModifier: {{scheme: W8A8, targets: Linear}}"
    with pytest.raises(EffectError, match=words) as caught:
        Deployment(model, read_recipe(text, "r"), (), "model")
    assert "\n" not in str(caught.value)


def test_what_a_recipe_says_in_vain_is_told(model: LlamaForCausalLM) -> None:
    text = """
SmoothQuantModifier: {mappings: [[["re:.*nowhere$"], "re:.*neither$"]]}
QuantizationModifier: {scheme: W4A16, targets: ["Linear", "re:.*conv$"], ignore: ["re:.*mlp.gate$", "re:.*o_proj$"]}
"""
    one = Deployment(model, read_recipe(text, "r.yaml"), (), "model")
    assert one.rounds == "weights" and one.count == 2 * 6
    assert one.notes == (
        "smoothing of re:.*neither$ finds nothing, so nothing is smoothed by it",
        "ignore: re:.*mlp.gate$ means no module of this model",
        "targets: re:.*conv$ means no module of this model",
        "not tested: lm_head, which it quantises, too, and which stays as it is here",
    )
    with pytest.raises(EffectError, match="--exclude nosuch is no module"):
        Deployment(model, read_recipe(TOKEN, "r"), ("nosuch",), "model")


def test_closed_experts_are_told_not_to_be_tested() -> None:
    model = build("qwen3_moe")
    text = 'QuantizationModifier: {scheme: W8A8, targets: Linear, ignore: ["lm_head", "EXPERTS"]}'
    one = Deployment(model, read_recipe(text.replace(', "EXPERTS"', ""), "r"), (), "model")
    (note,) = one.notes
    assert note.startswith("not tested: the experts of ") and "model.layers.0.mlp.experts" in note
    pattern = "re:model\\\\.layers\\\\.\\\\d+\\\\.mlp\\\\.experts\\\\.\\\\d+\\\\..*_proj$"
    alone = Deployment(model, read_recipe(text.replace("EXPERTS", pattern), "r"), (), "model")
    assert alone.notes == ()


def test_excluded_modules_are_left_alone_besides_those_the_recipe_names(model: LlamaForCausalLM) -> None:
    recipe = read_recipe(TOKEN, "r.yaml")
    assert Deployment(model, recipe, ("*.q_proj",), "model").count == 2 * 7 - 1 - 2
    assert Deployment(model, recipe, (r"re:model\.layers\.0\.",), "model").count == 6
    with pytest.raises(EffectError, match=r"r\.yaml leaves nothing of this model"):
        Deployment(model, recipe, ("Linear",), "model")


def test_a_weight_comes_back_even_if_the_forward_breaks_off(model: LlamaForCausalLM) -> None:
    one = calibrated(Deployment(model, read_recipe(TOKEN, "r"), (), "model"), model, tokens(2, 8))
    own = {name: p.data_ptr() for name, p in model.named_parameters()}
    with pytest.raises((RuntimeError, TypeError, ValueError, IndexError)), one.applied():
        model.model.layers[0].self_attn.q_proj(torch.zeros(2, 3))
    assert {name: p.data_ptr() for name, p in model.named_parameters()} == own
    assert not any(hooks_of(m) for m in model.modules())


@pytest.mark.parametrize(
    ("preset", "weights", "inputs"),
    [
        ("W8A8", Grid(8, False, "channel"), Grid(8, False, "token", dynamic=True)),
        ("FP8", Grid(8, True, "tensor"), Grid(8, True, "tensor")),
        ("FP8_DYNAMIC", Grid(8, True, "channel"), Grid(8, True, "token", dynamic=True)),
        ("NVFP4", Grid(4, True, "tensor_group", 16), Grid(4, True, "tensor_group", 16, dynamic=True)),
        ("W4A16", Grid(4, False, "group", 128), None),
    ],
)
def test_presets_are_read_and_travel_as_json(preset: str, weights: Grid, inputs: Grid | None) -> None:
    recipe = read_recipe(f'QuantizationModifier: {{scheme: {preset}, targets: Linear, ignore: ["lm_head"]}}', "p.yaml")
    (group,) = recipe.groups
    assert (group.targets, group.weights, group.inputs) == (("Linear",), weights, inputs)
    assert Recipe.from_json(recipe.to_json()) == recipe
    request = read_request({"recipes": [recipe.to_json()]})
    assert request.interventions == (Deploy(recipe),) and read_request(request.to_json()) == request
    both = read_request({"recipes": [recipe.to_json()], "schemes": ["int8"]})
    assert [one.name for one in both.interventions] == ["int8", "recipe p.yaml"]


def test_rounding_is_to_the_format() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 32) * torch.logspace(-2, 2, 32)
    for grid in (Grid(8, True, "tensor"), Grid(8, True, "token", dynamic=True)):
        scale = (x.abs().amax() if grid.strategy == "tensor" else x.abs().amax(-1, keepdim=True)) / 448
        expected = (x / scale).to(torch.float8_e4m3fn).float() * scale
        torch.testing.assert_close(rounded(x, grid, None), expected, rtol=1e-6, atol=0)
    peak = torch.full((32,), 10.0)
    assert float(rounded(x, Grid(8, False, "tensor"), peak).abs().max()) == pytest.approx(127 * 10 / 127.5)
    groups = rounded(x, Grid(4, False, "group", 8), None).reshape(5, 4, 8)
    assert all(len(row.unique()) <= 16 for row in groups.reshape(-1, 8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML"),
        ("just words", "holds no recipe for llm-compressor"),
        ("quant_cfg: []", "holds no recipe"),
        ("AWQModifier: {scheme: W4A16}", "AWQModifier cannot be tested here"),
        ("QuantizationModifier: {scheme: W3A3}", "scheme W3A3 cannot be tested here; there are W8A8"),
        ("QuantizationModifier: {targets: Linear}", "neither scheme nor config_groups"),
        ("QuantizationModifier: {scheme: W8A8, ignore: ['re:(']}", "no regular expression"),
        ("SmoothQuantModifier: {mappings: [[1, 2]]}", "a mapping is a list of linears"),
        ("SmoothQuantModifier: {smoothing_strength: abc}", "'abc', not a number from 0 to 1"),
        ("SmoothQuantModifier: {smoothing_strength: .nan}", "not a number from 0 to 1"),
        ("SmoothQuantModifier: {smoothing_strength: 5}", "5, not a number from 0 to 1"),
        (
            "QuantizationModifier: {config_groups: {g: {weights: {num_bits: 8, symmetric: false}}}}",
            "asymmetric quantisers cannot be tested",
        ),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 16}}}}", "16 bits, int, tensor"),
    ],
)
def test_what_cannot_be_tested_is_one_line(text: str, words: str) -> None:
    with pytest.raises(EffectError, match=words) as caught:
        read_recipe(text, "r.yaml")
    assert ("\n" not in str(caught.value) and "r.yaml" in str(caught.value)) or "re:(" in text


def test_smoothing_sets_are_found_block_by_block_and_experts_together() -> None:
    names = [
        *(f"l.{n}.{part}" for n in (0, 1) for part in ("norm", "a.q", "a.k", "mlp.e.0.up", "mlp.e.1.up")),
        "l.2.norm",
    ]
    modules = {name: nn.Identity() for name in names}
    found = list(smoothing_sets(modules, (r"re:.*\.q$", r"re:.*\.k$"), r"re:l\.[01]\.norm$"))
    assert found == [("l.0.norm", ("l.0.a.q", "l.0.a.k")), ("l.1.norm", ("l.1.a.q", "l.1.a.k"))]
    found = list(smoothing_sets(modules, (r"re:.*\.up$",), r"re:l\.[01]\.norm$"))
    assert found == [(f"l.{n}.norm", (f"l.{n}.mlp.e.0.up", f"l.{n}.mlp.e.1.up")) for n in (0, 1)]


def test_patterns_mean_what_llm_compressor_means_by_them() -> None:
    assert matches("re:model.*q$", "model.q") and not matches("re:q$", "model.q")
    assert matches("model.q", "model.q") and not matches("model.q", "model.q2")
    assert matches("Linear", "model.q", ["Linear", "Module"]) and matches("*.q", "model.q")


def test_a_scheme_leaves_out_excluded_sites_and_single_readers(model: LlamaForCausalLM) -> None:
    plan = self_check(model, find_sites(model, "gemm"))
    scope = Scope(exclude=("*.mlp.*", "model.layers.0.self_attn.q_proj"))
    targets = find_targets(model, plan, scope)
    names = {plan.sites[number].name for number in targets.sites}
    assert names == {f"layer_{n}_{part}" for n in (0, 1) for part in ("attn_input", "o_proj_input")}
    skip = {path for number in targets.sites for path in excluded_readers(plan.sites[number], scope)}
    assert skip == {"model.layers.0.self_attn.q_proj"}
    seen: dict[str, bool] = {}
    parts = {name: model.get_submodule(f"model.layers.0.self_attn.{name}") for name in ("q_proj", "k_proj")}
    with replaced(model, targets.plan, targets.sites, lambda _n, x: torch.zeros_like(x), skip):
        for name, part in parts.items():
            part.register_forward_hook(lambda _m, args, _o, name=name: seen.update({name: bool(args[0].any())}))
        logits(model, tokens(1, 4))
    assert seen == {"q_proj": True, "k_proj": False}
    assert find_targets(model, plan, Scope(exclude=("layer_0_attn_input",))).sites == tuple(range(1, 8))
    with pytest.raises(EffectError, match="leaves no site to be changed"):
        find_targets(model, plan, Scope(exclude=("*",)))
    with pytest.raises(EffectError, match="nosuch is neither a site nor a module"):
        find_targets(model, plan, Scope(exclude=("lm_head", "nosuch")))
    with pytest.raises(EffectError, match="no regular expression"):
        replace(scope, exclude=("re:[",))
    assert Scope.from_json(scope.to_json()) == scope and "without *.mlp.*" in scope.title
