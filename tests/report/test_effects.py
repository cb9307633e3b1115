"""Effects of changed activations in every report: numbers as kept, unknown ones as unknown, foreign text harmless."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from engine.effect.interventions import Scope
from engine.effect.results import KIND, CategoryEffect, Effect, Massive, Numbers, Outcome, read_effects
from engine.report.export import render
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter

HOSTILE = "layer_0_<script>\x1b[31m|\u202e"


def numbers(perplexity: float) -> Numbers:
    return Numbers(500, 2, 0.25, 1.5, math.nan, 0.913, perplexity, 17.5, math.log(perplexity / 17.5), 0.01)


@pytest.fixture
def reader(session_files: dict[str, Path], tmp_path: Path) -> Iterator[SessionReader]:
    """A session with one job: a quantiser, an ablation that blew up, one that could not be done."""
    path = tmp_path / "effects.maxact"
    shutil.copy(session_files["bfloat16"], path)
    massive = Massive("layer_1_hidden", 1, 1968.75, 35, 2, ((507, 24390.75),))
    effect = Effect(
        number=0,
        at=0.0,
        scope=Scope(site=HOSTILE),
        samples=8,
        tokens=510,
        predictions=502,
        calibration_samples=16,
        calibration_tokens=900,
        perplexity=17.5,
        outcomes=(
            Outcome(
                "int8", 1, numbers(35.0), (CategoryEffect("math", 500, 17.5, 35.0, 0.25, 0.913),), worst=((1.5, 3, 4),)
            ),
            Outcome("ablate-mean", 1, numbers(math.inf), massive=massive),
            Outcome("ablate-zero@9", 0, None, problem="there is no such hidden state"),
        ),
        notes=("sample 5 skipped: its 9,000 tokens do not fit in memory",),
        seconds=12.5,
    )
    writer = SessionWriter.open(path)
    writer.add_result(KIND, effect.title, {}, effect.to_json())
    writer.close(final=True)
    with SessionReader(path) as found:
        yield found


def test_a_job_is_read_back_as_it_was_kept(reader: SessionReader) -> None:
    (found,) = read_effects(reader)
    assert (found.number, found.scope, found.notes) == (1, Scope(site=HOSTILE), found.notes)
    assert found.outcomes[1].massive == Massive("layer_1_hidden", 1, 1968.75, 35, 2, ((507, 24390.75),))
    assert found.outcomes[0].worst == ((1.5, 3, 4),)
    assert found.title.endswith("int8, ablate-mean, ablate-zero@9")


@pytest.mark.parametrize(("name", "definition"), [("json", "report"), ("summary", "summary")])
def test_the_json_documents_hold_them_as_their_schema_says(reader: SessionReader, name: str, definition: str) -> None:
    document = json.loads(render(reader, name)[0].content)
    schema = json.loads((files("engine.report") / "data" / "report.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator({**schema, "$ref": f"#/$defs/{definition}"}).validate(document)
    (effect,) = document["effects"]
    int8, mean, nothing = effect["outcomes"]
    assert int8["numbers"]["kl_mean"] == 0.25
    assert int8["numbers"]["kl_max"] is None
    assert int8["categories"][0]["perplexity"] == 35.0
    assert mean["numbers"]["perplexity"] == "infinity"
    assert mean["massive"]["channels"] == [{"channel": 507, "mean": 24390.75}]
    assert nothing["numbers"] is None


def test_the_readable_reports_show_a_short_table(reader: SessionReader) -> None:
    markdown = render(reader, "markdown")[0].content.decode()
    section = markdown[markdown.index("## Predictions with changed activations") :]
    assert "| unchanged | 17.50 |" in section
    assert "| int8 | 35.00 | +100 % | 0.250 | 1.50 | – | 91.3 % |" in section
    assert "| ablate-mean | ∞ | ∞ |" in section
    assert "8 held-out samples" in section
    assert "35 values above 1,968.75" in section
    assert "no such hidden state" in section
    assert "do not fit in memory" in section
    html = render(reader, "html")[0].content.decode()
    assert "<td>+100 %</td>" in html
    for text in (section, html[html.index("Predictions with changed") :]):
        assert "<script>" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
