"""`maxact-tui effect` as a user meets it, on a session whose run has ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.effect.interventions import DEFAULT_NAMES, accepted_names, parse_intervention
from engine.schemes import DEFAULT_SCHEMES, FULL_SCHEMES
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error, maxact
from tests.engine.running import write_corpus


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheme", "int8,itn8"], "did you mean int8?"),
        (["--layers", "x"], "3-7,11"),
        (["--site", "layer_0_hidden", "--component", "hidden"], "either one site"),
        (["--site", "layer_0_hidden", "--gemm"], "--gemm"),
        (["--site", "layer_0_hiden"], "did you mean layer_0_hidden?"),
        (["--site", "layer_0_mlp_inputs_"], "did you mean layer_0_mlp_input?"),
        (["--site", "layer_7_hidden"], "no layer 7; this model has layers 0 to 2"),
        (["--site", "xyzzy"], "maxact-tui plan MODEL --sites all"),
        (["--component", "mlp_inputs"], "did you mean mlp_input?"),
        (["--layers", "99"], "no layer 99; this model has layers 0 to 2"),
        (["--layers", "1-5"], "no layers 3-5; this model has layers 0 to 2"),
        (["--scheme", "ablate-mean@99"], "no layer 99"),
        (["--scheme", "xyzzy"], "maxact-tui effect --help"),
        (["--recipe", "no-such.yaml"], "cannot read the recipe no-such.yaml: No such file or directory"),
        (["--recipe", __file__], "test_effect.py"),
        (["--exclude", "re:("], "'re:(' is no regular expression"),
    ],
)
def test_what_cannot_be_meant_is_said_before_a_model_is_loaded(
    finished: Path, options: list[str], words: str, here: Here
) -> None:
    assert_one_line_error(here("effect", finished, *options, home=finished.parent), words, code=2)
    with SessionReader(finished) as reader:
        assert reader.service() is None, "no engine is started for what cannot be meant"
        assert not reader.commands()


def test_a_session_without_effects_says_how_to_measure_one(finished: Path, here: Here) -> None:
    assert_one_line_error(here("effect", finished, "--list", home=finished.parent), "maxact-tui effect tiny")


def test_effects_are_measured_kept_listed_exported_and_the_engine_is_sent_away(
    tmp_path: Path, made: Path, here: Here
) -> None:
    home, finished = tmp_path, Path(shutil.copy(made, tmp_path))
    result = maxact("effect", "tiny", "--scheme", "int4,int8-token,none", "--samples", 4, "--format", "json", home=home)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["name"] for one in found["outcomes"]] == ["int4", "int8-token", "none"]
    assert "Traceback" not in result.stderr
    four, eight, nothing = (one["numbers"] for one in found["outcomes"])
    assert four["kl_mean"] > eight["kl_mean"] > nothing["kl_mean"] == pytest.approx(0, abs=1e-9)
    assert nothing["perplexity"] == pytest.approx(found["perplexity"], rel=1e-6)
    listed = here("effect", "tiny", "--list", home=home)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert "all GEMM inputs" in lines[0]
    assert [line.split()[0] for line in lines[2:6]] == ["unchanged", "int4", "int8-token", "none"]
    assert "100.0 %" in lines[5]
    assert "4 held-out samples" in listed.stdout
    document = here("export", "tiny", "--format", "summary", "-o", "-", home=home)
    assert json.loads(document.stdout)["effects"] == [found]
    report = here("export", "tiny", "--format", "markdown", "-o", "-", home=home)
    assert "| int8-token |" in report.stdout
    assert "nothing is left running" in result.stderr
    absent = maxact("effect", "tiny", "--site", "layer_0_expert_input", home=home)
    assert_one_line_error(absent, "there is no site 'layer_0_expert_input'; did you mean layer_0_mlp_input?")
    with SessionReader(finished) as reader:
        service = reader.service()
        assert service is not None
        assert service.phase in ENDED


@pytest.mark.slow
def test_a_recipe_is_exported_tested_and_reported(tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus, session = write_corpus(tmp_path / "c.jsonl"), tmp_path / "gemm.maxact"
    run = maxact(
        tiny_model_folder, "--corpus", corpus, "--sites", "gemm", "--session", session, "--headless", home=tmp_path
    )
    assert run.returncode == 0, run.stderr
    exported = maxact(
        "export", session, "--format", "llm-compressor", "--scheme", "int8", "-o", tmp_path, home=tmp_path
    )
    assert exported.returncode == 0, exported.stderr
    recipe = exported.stdout.strip()
    assert recipe.endswith("gemm.int8.recipe.yaml")
    result = maxact(
        "effect", session, "--recipe", recipe, "--scheme", "int8", "--exclude", "*.layers.1.*", "--samples", 4,
        "--format", "json", home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    plain, deployed = found["outcomes"]
    assert (plain["name"], deployed["name"]) == ("int8", "recipe gemm.int8.recipe.yaml")
    assert (plain["sites"], deployed["sites"]) == (2 * 4, 2 * 7)
    assert deployed["numbers"]["kl_mean"] > 0 and deployed["problem"] == ""
    assert found["scope"]["exclude"] == ["*.layers.1.*"]
    listed = maxact("effect", session, "--list", home=tmp_path)
    assert "without *.layers.1.*" in listed.stdout and "14 linears quantised, weights and inputs" in listed.stdout
    nothing = maxact("effect", session, "--scheme", "int8", "--exclude", "*", home=tmp_path)
    assert_one_line_error(nothing, "--exclude * leaves no site to be changed")
    shown = maxact("show", session, home=tmp_path)
    assert "quantisation of 12 GEMM inputs, mean |error| over mean |x|" in shown.stdout
    document = json.loads(maxact("show", session, "--json", home=tmp_path).stdout)
    (cost,) = [one for one in document["quantization"]["costs"] if one["scheme"] == "int8"]
    assert cost["over"] == "GEMM inputs" and cost["sites"] == 12 and len(cost["worst"]) == 5
    losses = [one["value"] for one in cost["worst"] if one["by"] == cost["worst"][0]["by"]]
    assert losses == sorted(losses, reverse=True) and "sites" not in document["quantization"]


def test_the_help_names_every_scheme_the_registries_know(here: Here) -> None:
    shown = here("effect", "--help", home=Path("unused")).stdout
    names = [one.name for one in DEFAULT_SCHEMES] + [one.name for one in FULL_SCHEMES]
    for name in names:
        assert f" {name}" in shown
    listed = [name for _, names in accepted_names() for name in names.split(", ")]
    assert set(DEFAULT_NAMES) < set(listed)
    assert [parse_intervention(name).name for name in listed] == listed
