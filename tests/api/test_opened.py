"""`engine.open`: a session as other programs read it; the judge is what the engine's own rooms say of the file."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.analysis.model import analyse
from engine.api.sites import find_site
from engine.session.reader import SessionReader
from tests.analysis import sessions


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sessions.write_session(tmp_path_factory.mktemp("api") / "run.maxact")


@pytest.fixture
def session(path: Path) -> Iterator[engine.Session]:
    with engine.open(path) as opened:
        yield opened


def test_importing_engine_and_opening_a_session_load_nothing_heavy(path: Path) -> None:
    code = (
        "import sys, engine\n"
        "before = set(sys.modules)\n"
        "assert not before & {'numpy', 'torch', 'sqlite3'}, before\n"
        f"with engine.open({str(path)!r}) as session:\n"
        "    session['L2 hidden'].max, session.maximum, session.to_pandas\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_numbers_are_those_of_the_summary(session: engine.Session, path: Path) -> None:
    with SessionReader(path) as reader:
        summary = analyse(reader)
    assert session.maximum == summary.maximum
    assert session.trajectories == summary.threads
    assert len(session.sites) == len(summary.sites)
    for view, found in zip(session.sites, summary.sites, strict=True):
        assert found is not None
        assert view.magnitude == found.magnitude == abs(view.max)
        assert (view.rms, view.abs_median, view.kurtosis) == (found.rms, found.abs_median, found.kurtosis)


@pytest.mark.parametrize("key", ["L2 hidden", "l2.hidden", "layer_2_hidden", (2, "hidden"), "layer 2 hidden"])
def test_a_site_is_found_by_any_of_its_names(session: engine.Session, key: str | tuple[int, str]) -> None:
    assert session[key].name == "layer_2_hidden"
    assert session[session[key].number].name == "layer_2_hidden"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("layer_2_hiden", "did you mean 'layer_2_hidden'?"),
        ((99, "hidden"), "there is no site (99, 'hidden')"),
        (99, "this session has 22"),
    ],
)
def test_a_site_that_is_not_there_names_the_nearest(session: engine.Session, key: str, said: str) -> None:
    with pytest.raises(engine.NotFoundError) as error:
        session[key]
    assert said in str(error.value)
    assert isinstance(error.value, KeyError)


def test_quantiles_and_histogram_agree_with_numpy(session: engine.Session) -> None:
    view = session["L2 hidden"]
    bits = sessions.activations("bfloat16")["layer_2_hidden"]
    x = (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    histogram = view.histogram
    assert histogram is not None
    assert histogram.exact
    np.testing.assert_array_equal(np.repeat(histogram.values, histogram.counts), np.sort(x, axis=None))
    levels = (0.0, 0.5, 0.999, 1.0)
    expected = np.quantile(np.abs(x), levels, method="lower")
    np.testing.assert_allclose(view.quantile(levels), expected, rtol=1e-6)
    assert view.quantile(1.0) == view.magnitude
    np.testing.assert_array_equal(view.channels, np.abs(x).max(0).astype(np.float32))
    with pytest.raises(ValueError, match="between 0 and 1"):
        view.quantile(99)


def test_the_largest_elements_come_with_their_token(session: engine.Session) -> None:
    first, *rest = session["L2 hidden"].top(5)
    assert first.value == session["L2 hidden"].max
    assert first.channel == sessions.MASSIVE_CHANNEL
    assert first.position == 0
    assert first.category in sessions.CATEGORIES
    assert len(rest) == 4


def test_tables_have_the_columns_of_the_parquet_export(session: engine.Session) -> None:
    frame = session.to_pandas("sites")
    assert list(frame["magnitude"]) == [view.magnitude for view in session.sites]
    arrow = session.to_arrow("sites")
    assert arrow.column_names == list(frame.columns)
    assert arrow.schema.field("magnitude").metadata[b"unit"] == b"activation"
    for table in ("top", "channels", "samples", "quantization"):
        assert len(session.to_pandas(table)) == session.to_arrow(table).num_rows
    with pytest.raises(engine.NotFoundError, match="did you mean 'samples'"):
        session.to_pandas("sample")


def test_what_is_printed_tells_the_reader_something(session: engine.Session) -> None:
    assert "finished" in repr(session)
    assert "layer_2_hidden" in repr(session.sites)
    assert "layer_2_hidden" in repr(session["L2 hidden"])
    html = session._repr_html_()
    assert "<svg" in html
    assert "<script" not in html


def test_sessions_are_compared(session: engine.Session, tmp_path: Path) -> None:
    with engine.open(sessions.write_session(tmp_path / "other.maxact", "float32")) as other:
        found = session.compare(other)
    assert found.names == ("run", "other")
    assert found.ratios[0] == 1


def test_a_session_is_found_by_its_name_and_a_missing_one_is_said(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    shutil.copy(path, tmp_path / "smollm-1.maxact")
    with engine.open("smollm") as session:
        assert session.path.name == "smollm-1.maxact"
    shutil.copy(path, tmp_path / "smollm-2.maxact")
    with pytest.raises(engine.NotFoundError, match="any of 2 sessions"):
        engine.open("smollm")
    with pytest.raises(engine.NotFoundError, match="there is no session"):
        engine.open(tmp_path / "nothing.maxact")


def test_a_site_that_saw_nothing_is_unknown_everywhere(tmp_path: Path) -> None:
    with engine.open(sessions.write_session(tmp_path / "none.maxact", done=[], phase="stopped")) as session:
        view = session["L2 hidden"]
        assert math.isnan(view.max)
        assert math.isnan(view.rms)
        assert math.isnan(view.quantile(0.5))
        assert view.top() == []
        assert view.histogram is None or not view.histogram.counts.size
        assert session.maximum is None
        assert "layer_2_hidden" in repr(view)
        with pytest.raises(AttributeError, match="a site has no 'rsm'"):
            _ = view.rsm


def test_names_that_look_like_places_but_are_none() -> None:
    plan = sessions.plan()
    assert plan.sites[find_site(plan.sites, "embedding")].name == "embedding"
    assert plan.sites[find_site(plan.sites, "L0 mlp")].name == "layer_0_mlp_output"
    assert plan.sites[find_site(plan.sites, -1)].name == "final_norm"
