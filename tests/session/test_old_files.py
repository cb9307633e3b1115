"""Files of earlier schema versions stay readable; the ones in `data/` are kept for ever and never rewritten."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.model import analyse
from engine.messages import Code, as_written, message
from engine.report.reference import activation_stats
from engine.session.layout import NEWEST_UNCHECKED
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter

DATA = Path(__file__).parent / "data"


def test_version_1_is_the_file_it_was() -> None:
    digest = hashlib.sha256((DATA / "version-1.maxact").read_bytes()).hexdigest()
    assert digest == "53cb4812aab993e372f312a0bf1f29bfd371519415b14041df687aeebcbaee8e"


def test_version_1_reads_as_it_did() -> None:
    """Three-layer random Llama, six samples, compat detail; figures as the engine of version 1 printed them."""
    with SessionReader(DATA / "version-1.maxact") as reader:
        meta, status, totals = reader.meta(), reader.status(), reader.all_totals()
        labels = reader.sample_labels()
        summary, reference = analyse(reader), activation_stats(reader)
    assert status.phase == "finished"
    assert (status.tokens_done, [tokens for _, _, tokens in labels]) == (400, [100, 57, 16, 58, 80, 89])
    assert meta.plan is not None
    assert len(totals) == len(meta.plan.sites) == 14
    assert [one and float(abs(one.extremes).max()) for one in totals[:4]] == pytest.approx(
        [0.2076089084148407, 0.3145318627357483, 1.1742147207260132, 0.1083328053355217], rel=1e-12
    )
    assert summary.maximum is not None
    assert summary.samples == 6
    assert reference["per_layer_stats"]["embedding_output"]["count"] == 400 * 32


def test_version_1_is_brought_up_to_date_when_something_is_written(tmp_path: Path) -> None:
    """A request of a screen is such a writing; what was measured stays as it is."""
    path = tmp_path / "old.maxact"
    path.write_bytes((DATA / "version-1.maxact").read_bytes())
    with SessionReader(DATA / "version-1.maxact") as reader:
        before = reader.all_totals()
        assert (reader.results(), reader.service()) == ([], None)
    writer = SessionWriter.open(path)
    number = writer.add_result("probe", "a prompt", {"text": "a"}, {"tokens": 1}, {"maxima": np.ones((2, 1), "<f4")})
    writer.close(final=True)
    with SessionReader(path) as reader:
        after, (result,) = reader.all_totals(), reader.results("probe")
        assert (result.number, result.title, result.settings) == (number, "a prompt", {"text": "a"})
        assert reader.result_arrays(number)["maxima"].tolist() == [[1.0], [1.0]]
        assert reader.results("effect") == []
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == NEWEST_UNCHECKED
    for old, new in zip(before, after, strict=True):
        assert old is not None
        assert new is not None
        for name, array in old.to_arrays().items():
            np.testing.assert_array_equal(array, new.to_arrays()[name])


def test_events_of_version_1_stay_texts_and_new_ones_are_written_as_their_sentence(tmp_path: Path) -> None:
    path = tmp_path / "old.maxact"
    path.write_bytes((DATA / "version-1.maxact").read_bytes())
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO events (at, tokens, kind, text, site) VALUES (1.0, 5, 'maximum', 'new maximum 9 at L1', 3)"
        )
        status_json = json.dumps(
            json.loads(db.execute("SELECT value FROM status").fetchone()[0]) | {"detail": "so it was"}
        )
        db.execute("UPDATE status SET value = ?", (status_json,))
    with SessionReader(path) as reader:
        before, status = reader.events(), reader.status()
    assert [(one.kind, one.message, one.site) for one in before] == [("maximum", as_written("new maximum 9 at L1"), 3)]
    assert status.message == as_written("so it was")
    writer = SessionWriter.open(path)
    writer.add_event("memory", message(Code.BUDGET_HALVED, budget=64))
    writer.set_status(status.changed(message=message(Code.STOPPED, resume=None)))
    writer.close(final=True)
    with SessionReader(path) as reader:
        *old, new = reader.events()
        assert old == before
        assert (new.kind, new.message) == ("memory", as_written("out of memory; token budget halved to 64"))
        assert reader.status().message == message(Code.STOPPED, resume=None), "a status is JSON in every version"
