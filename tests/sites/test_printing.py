"""The printed plan, and plans from a configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from engine.loading.errors import LoadError
from engine.sites import __main__ as command
from engine.sites.discovery import find_sites
from engine.sites.dry import plan_from_config
from engine.sites.printing import format_plan, number_ranges
from tests.sites.capture import planned
from tests.sites.families import FAMILIES, build

HEAD = [
    "gpt2: 3 blocks of width 32, 24 sites, called at transformer",
    "residual: pre (out = in + branches)",
    "",
]


def test_a_plan_reads_as_a_table_by_component() -> None:
    _, plan = planned("gpt2")
    lines = format_plan(plan).splitlines()
    assert lines[:3] == HEAD
    table = [line.split() for line in lines[3 : lines.index("", 3)]]
    assert table[0] == ["component", "blocks", "kind", "module", "tensor"]
    assert [row[0] for row in table[1:]] == [
        "embedding",
        "attn_input",
        "o_proj_input",
        "attn_output",
        "mlp_input",
        "down_proj_input",
        "mlp_output",
        "hidden",
        "final_norm",
        "lm_head_input",
    ]
    assert ["attn_output", "0-2", "self", "transformer.h.*.attn", "output", "[0]"] in table
    assert lines[lines.index("", 3) + 1] == "matrix products covered: 36.9 k of 36.9 k parameters (all)"
    assert "  mlp_gate  blocks 0-2: the MLP has no gate" in lines


@pytest.mark.parametrize("name", FAMILIES)
def test_every_site_and_every_gap_appears_in_print(name: str) -> None:
    _, plan = planned(name)
    text = format_plan(plan)
    for site in plan.sites:
        last = site.module.rsplit(".", 1)[-1]
        assert site.component in text and ("*" if last.isdigit() and site.layer is not None else last) in text
    for gap in plan.missing:
        assert gap.reason in text
    for note in plan.notes:
        assert note in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_block_numbers_are_printed_as_ranges() -> None:
    assert number_ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert number_ranges([]) == ""
    assert number_ranges(range(0, 20, 2)) == "0, 2, ... 18 (10 in all)"


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3_moe", "gemma3", "qwen2_5_vl", "qwen3_5", "llama4", "falcon"])
def test_a_plan_needs_only_the_configuration(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.config.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    plan = plan_from_config(str(tmp_path))
    found = find_sites(model, "all")
    # The text-only class of some multimodal checkpoints sits at another path.
    assert [site.name for site in plan.sites] == [site.name for site in found.sites]
    assert plan.parameters_total == found.parameters_total
    assert plan.residual == "unknown"
    assert any("nothing was run" in note for note in plan.notes)


def test_the_command_prints_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers.LlamaConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=4).save_pretrained(tmp_path)
    monkeypatch.setattr("sys.argv", ["maxact-tui plan", str(tmp_path), "--sites", "paper"])
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert printed.startswith("llama: 2 blocks of width 64, 10 sites")
    assert "mlp_input" not in printed
    monkeypatch.setattr("sys.argv", ["maxact-tui plan", str(tmp_path)])
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert "mlp_input" in printed
    assert "--sites auto, the default: a run first times these sites" in printed


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"model_type": "t5"}, "not a causal language model"),
        ({"model_type": "bailing_moe", "auto_map": {"AutoConfig": "c.C"}}, "--trust-remote-code"),
        ({"model_type": "never_heard_of"}, "never_heard_of"),
        ({}, "model_type"),
    ],
    ids=["encoder_decoder", "remote_code", "unknown", "no_type"],
)
def test_what_cannot_be_planned_is_said_in_one_line(
    declared: dict[str, object],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(declared))
    with pytest.raises(LoadError, match=words):
        plan_from_config(str(tmp_path))
    monkeypatch.setattr("sys.argv", ["maxact-tui plan", str(tmp_path)])
    assert command.main() == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and words in printed.err


def test_a_gguf_file_is_planned_from_its_header(demo_gguf: Path) -> None:
    plan = plan_from_config(str(demo_gguf), site_set="paper")
    assert (plan.family, plan.layers, plan.hidden_size, len(plan.sites)) == ("llama", 30, 576, 122)
