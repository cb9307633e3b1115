"""A session that lacks an array is not damaged: the array reads as not measured, and everything goes on without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from engine.analysis.channelmap import channel_map
from engine.analysis.model import analyse
from engine.merging import merge_sessions
from engine.report.errors import ReportError
from engine.report.export import FORMATS, render
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from engine.statistics.declared import declared
from engine.statistics.totals import SiteTotals
from maxact_tui.cli.main import main
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.engine.running import new_session, stop_after_batches, tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder
from tests.session.lacking import ARRAYS, SITE, remove

# Of these nothing is said: whether the parts are complete follows from what is kept of them, and the weights' maxima
# are there for some sites only.
SILENT = {"closed", "weight_max"}
NEEDS_INPUTS = {"act-scales", "amax", "llm-compressor", "modelopt"}
# Of the same numbers as the others (act-scales: as amax), and slow: of a few arrays only.
DRAWN = {"html", "parquet", "model-card", "act-scales"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Finished sessions over the two halves of a corpus, and one stopped amid its evaluation samples; a mixture."""
    from transformers import Qwen3MoeConfig

    folder = tmp_path_factory.mktemp("measured")
    sizes = {**TINY_LLAMA, "num_hidden_layers": 1}
    config = Qwen3MoeConfig(**sizes, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    model = tiny_folder(folder / "tiny-moe", config)
    lines = write_corpus(folder / "all.jsonl", samples=16).read_text(encoding="utf-8").splitlines()
    job = {"dtype": "float32", "sites": "all", "detail": "compat", "quant": "full", "calibration": 3, "evaluation": 3}
    found = {}
    for name, part in {"a": lines[:8], "b": lines[8:], "part": lines[:8]}.items():
        corpus = folder / f"{name}.jsonl"
        corpus.write_text("\n".join(part), encoding="utf-8")
        path = new_session(folder / f"{name}.maxact", tiny_job(model, corpus, batch_tokens=1, **job))
        if name == "part":
            stop_after_batches(path, 5)
        assert runner.run(path) == 0
        found[name] = path.read_bytes()
    return found


@pytest.fixture
def session(measured: dict[str, bytes], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a session, without an array if one is named."""

    def copy(name: str, *lacking: str) -> Path:
        path = tmp_path / f"{name}.maxact"
        path.write_bytes(measured[name])
        if lacking:
            assert remove(path, *lacking), lacking
        return path

    return copy


def meaning(kind: str, name: str) -> str:
    return declared(SiteTotals)[name].meaning if kind == SITE else ""


# Every fourth array is tried at once, the others with what is slow: each takes two seconds, and shows the same kind.
EACH = [pytest.param(*one, id="-".join(one), marks=[pytest.mark.slow] if n % 4 else []) for n, one in enumerate(ARRAYS)]


@pytest.mark.parametrize(("kind", "name"), EACH)
class TestWithoutOneArray:
    def test_it_opens_and_exports_and_says_so(
        self, session: Callable[..., Path], kind: str, name: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = session("a", kind, name)
        schema = json.loads((files("engine.report") / "data" / "report.schema.json").read_text(encoding="utf-8"))
        with SessionReader(path) as reader:
            lacking = analyse(reader).not_measured
            assert channel_map(reader, [0, 1], 4).width or name == "channel_max"
            for one in FORMATS.keys() - DRAWN:
                try:
                    documents = render(reader, one)
                except ReportError as error:
                    assert one in NEEDS_INPUTS
                    assert "not measured" in str(error)
                    continue
                if one == "json":
                    document = json.loads(documents[0].content)
                    assert [e.message for e in Draft202012Validator(schema).iter_errors(document)] == []
                    assert document.get("not_measured", []) == list(lacking)
                if one == "markdown" and lacking:
                    assert b"Not measured: " in documents[0].content
        assert bool(lacking) == (name not in SILENT)
        assert meaning(kind, name) in "; ".join(lacking)
        assert main(["show", str(path)]) == 0
        out, told = capfd.readouterr()
        assert told == ""
        assert ("not measured: " in out) == bool(lacking)

    def test_the_screen_reads_it(self, session: Callable[..., Path], kind: str, name: str) -> None:
        look = Look(session("a", kind, name))
        shown = [look.again(Wish(site, True, True)) for site in (None, 0, 3) for _ in range(6)]
        look.close()
        assert {one.problem for one in shown if one is not None} == {""}
        assert look._last.model is not None
        assert look._last.board is not None
        assert look._last.view is not None
        assert (name in look._last.view.summary.not_measured) == (kind == SITE)

    def test_it_merges(self, session: Callable[..., Path], tmp_path: Path, kind: str, name: str) -> None:
        """What one part lacks was not measured in the whole; what both have is as it would be."""
        without, other, target = session("a", kind, name), session("b"), tmp_path / "merged.maxact"
        merge_sessions([without, other], target)
        whole = tmp_path / "whole.maxact"
        with SessionReader(without) as reader, SessionReader(target) as merged:
            assert set(analyse(reader).not_measured) <= set(analyse(merged).not_measured)
        merge_sessions([session("a"), other], whole)
        with SessionReader(whole) as reader, SessionReader(target) as merged:
            for left, right in zip(reader.all_totals(), merged.all_totals(), strict=True):
                assert (left is None) == (right is None)
                if left is None or right is None:
                    continue
                for field in declared(SiteTotals).keys() - {"power_sums", "pivot", "peak_median"}:
                    if right.has(field) and field != name:
                        np.testing.assert_array_equal(getattr(left, field), getattr(right, field), err_msg=field)

    def test_it_resumes(self, session: Callable[..., Path], kind: str, name: str) -> None:
        if kind == "evaluation/":
            pytest.skip("a run that goes on has not kept it yet")
        path = session("part", kind, name)
        with SessionReader(path) as reader:
            before = analyse(reader)
        assert runner.run(path) == 0
        with SessionReader(path) as reader:
            after = analyse(reader)
            assert reader.status().phase == "finished"
            assert (before.samples, after.samples) == (4, 8)
            assert set(before.not_measured) <= set(after.not_measured)
            render(reader, "json")


@pytest.mark.parametrize("name", ["top", "extremes", "histogram"])
def test_pages_and_tables_are_written_without_it(session: Callable[..., Path], name: str) -> None:
    with SessionReader(session("a", SITE, name)) as reader:
        documents = {one: render(reader, one) for one in DRAWN}
    assert b"Not measured: " in documents["html"][0].content
    assert b"Not measured: " in documents["model-card"][0].content


def test_a_comparison_goes_on_without_it(session: Callable[..., Path], tmp_path: Path) -> None:
    for _, name in [one for one in ARRAYS if one[0] == SITE][::5]:
        arguments = ["compare", str(session("a", SITE, name)), str(session("b")), "--format", "json"]
        assert main([*arguments, "-o", str(tmp_path), "--force"]) == 0


def test_no_array_at_all_is_damage(session: Callable[..., Path]) -> None:
    """A site that was measured has arrays of one version or another."""
    path = session("a")
    for kind, name in ARRAYS:
        if kind == SITE and name != "sample_max":
            remove(path, kind, name)
    with pytest.raises(DamagedError, match="their arrays are missing"), SessionReader(path) as reader:
        analyse(reader)
