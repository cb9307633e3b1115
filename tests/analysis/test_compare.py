"""Sessions side by side: conditions first, ratios over the first session, noise marked."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.compare import compare
from engine.analysis.model import ModelSummary, analyse
from engine.base.job import Job
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions
from tests.values import some


def summary_of(path: Path) -> ModelSummary:
    with SessionReader(path) as reader:
        return analyse(reader)


@pytest.fixture(scope="module")
def bf16(tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    return summary_of(sessions.write_session(tmp_path_factory.mktemp("c") / "a.maxact"))


def with_hidden_times(folder: Path, factor: float, dtype: str = "bfloat16", **options: Any) -> ModelSummary:
    """The same session with the hidden state of block 2 multiplied."""
    numbers = sessions.values(dtype, "layer_2_hidden") * factor
    change = {"layer_2_hidden": sessions.to_bits(numbers, dtype)}
    return summary_of(sessions.write_session(folder / f"{factor}-{dtype}.maxact", dtype, change=change, **options))


def test_a_session_against_itself_differs_in_nothing(bf16: ModelSummary) -> None:
    found = compare([bf16, bf16], ["a", "a"])
    assert found.names == ("a (1)", "a (2)") and found.differences == ()
    assert found.ratios == (1.0, 1.0) and found.is_noise == (True, True)
    assert all(row.ratios == (1.0, 1.0) for row in found.sites) and len(found.sites) == len(bf16.sites)
    assert found.only_in == ((), ()) and len(some(found.threads)) == len(bf16.threads)
    assert found.channels == ((sessions.MASSIVE_CHANNEL,),) * 2


def test_what_was_different_comes_first(bf16: ModelSummary, tmp_path: Path) -> None:
    other = summary_of(
        sessions.write_session(tmp_path / "b.maxact", "float32", done=[3, 7], phase="stopped", model="x/Other")
    )
    conditions = {d.what: d.values for d in compare([bf16, other], ["a", "b"]).differences}
    assert conditions["dtype"] == ("bfloat16", "float32")
    assert conditions["model"] == ("some/Tiny-Model", "x/Other")
    assert conditions["samples measured"] == ("12", "2")
    assert conditions["run"] == ("finished", "partial (stopped)")
    assert "corpus" not in conditions and "special tokens" not in conditions


def test_how_quantisers_were_judged_is_a_condition(bf16: ModelSummary) -> None:
    job = replace(bf16.job, detail="standard", quant="full", protocol="paper", calibration=64, evaluation=512)
    found = {d.what: d.values for d in compare([bf16, replace(bf16, job=job)], ["a", "b"]).differences}
    assert found == {
        "detail": ("compat", "standard"),
        "quant": ("basic", "full"),
        "protocol": ("exact", "paper"),
        "calibration samples at most": ("128", "64"),
        "evaluation samples at most": ("256", "512"),
    }
    off = [replace(bf16, job=replace(bf16.job, quant="off", calibration=number)) for number in (1, 2)]
    assert compare(off, ["a", "b"]).differences == ()


@pytest.mark.parametrize(
    ("factor", "dtype", "is_noise"),
    [(1.0078125, "bfloat16", True), (1.0625, "bfloat16", False), (1.03, "float32", True), (1.08, "float32", False)],
)
def test_ratios_are_over_the_first_and_small_ones_are_marked(
    factor: float, dtype: str, is_noise: bool, bf16: ModelSummary, tmp_path: Path
) -> None:
    found = compare([bf16, with_hidden_times(tmp_path, factor, dtype)], ["a", "b"])
    assert found.ratios[1] == pytest.approx(factor, rel=0.01)
    assert found.is_noise == (True, is_noise)
    row = next(row for row in found.sites if row.name == "layer_2_hidden")
    assert row.ratios[1] == found.ratios[1] and row.is_noise[1] is is_noise
    assert row.component == "hidden" and row.layer == 2


def test_more_than_two_sessions_keep_their_order(bf16: ModelSummary, tmp_path: Path) -> None:
    twice, half = with_hidden_times(tmp_path, 2.0), with_hidden_times(tmp_path, 0.5)
    found = compare([bf16, twice, half], ["a", "b", "c"])
    assert found.ratios[:2] == (1.0, 2.0)
    assert next(r for r in found.sites if r.name == "layer_2_hidden").ratios == (1.0, 2.0, 0.5)
    assert [len(profile) for profile in found.profiles] == [sessions.LAYERS] * 3
    assert found.relative_depths[0] == (0.0, 0.25, 0.5, 0.75, 1.0)


def test_threads_are_matched_only_where_addresses_mean_the_same_tokens(bf16: ModelSummary, tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "b.maxact")
    SessionWriter.open(path).set_meta(corpus={"name": "other", "hash": "cd"})
    found = compare([bf16, summary_of(path)], ["a", "b"])
    assert found.threads is None and {d.what for d in found.differences} == {"corpus"}
    same = compare([bf16, with_hidden_times(tmp_path, 2.0)], ["a", "b"]).threads
    assert same
    assert all(t.channel == sessions.MASSIVE_CHANNEL and len(t.threads) == 2 for t in same)
    assert same[0].threads[1].peak == 2 * same[0].threads[0].peak


def test_a_session_without_numbers_compares_to_nothing_known(bf16: ModelSummary, tmp_path: Path) -> None:
    SessionWriter.create(tmp_path / "s.maxact", Job(model="m")).close()
    found = compare([bf16, summary_of(tmp_path / "s.maxact")], ["a", "b"])
    assert math.isnan(found.magnitudes[1]) and math.isnan(found.ratios[1]) and found.is_noise[1] is False
    assert found.sites == () and len(found.only_in[0]) == len(bf16.sites)


def test_one_session_is_no_comparison(bf16: ModelSummary) -> None:
    with pytest.raises(ValueError, match="two or more"):
        compare([bf16], ["a"])
