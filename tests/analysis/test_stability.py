"""What batch composition and dtype explain: which samples are run again, what is kept, and what it marks as noise."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.compare import OTHER_DTYPE_NOISE, SAME_DTYPE_NOISE, compare
from engine.analysis.model import ModelSummary, analyse
from engine.analysis.stability import KIND, Stability, choose_peaks, read_stability, rerun_maxima
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions

SITES = len(sessions.plan().sites)


def stability(
    dtype: str = "bfloat16", other: str = "float32", batch: float = 0.01, rounding: float = 0.01
) -> Stability:
    return Stability(
        dtype, other, "", (1, 2), (4000.0, 4000.0, 3990.0), np.full(SITES, -batch), np.full(SITES, rounding)
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sessions.write_session(tmp_path_factory.mktemp("stability") / "base.maxact")


def summary_of(path: Path) -> ModelSummary:
    with SessionReader(path) as reader:
        return analyse(reader)


def test_the_samples_run_again_hold_m_and_the_peaks_of_most_sites(base: Path) -> None:
    with SessionReader(base) as reader:
        maxima, plan = reader.sample_maxima(), reader.meta().plan
        assert plan is not None
        counted = [i for i, site in enumerate(plan.sites) if site.counts_for_m]
        everything = choose_peaks(reader, 100)
        assert everything == sorted(set(maxima.argmax(axis=1).tolist()))
        first = int(maxima[counted].max(axis=0).argmax())
        assert choose_peaks(reader, 1) == [first]
        covered = {n: int((maxima.argmax(axis=1)[counted] == n).sum()) for n in everything if n != first}
        assert covered[(set(choose_peaks(reader, 2)) - {first}).pop()] == max(covered.values())
        own = rerun_maxima(reader, everything, reader)
        assert np.array_equal(own, maxima.max(axis=1))
        assert np.isnan(rerun_maxima(reader, [first], reader)).sum() == (maxima.argmax(axis=1) != first).sum()


def test_a_result_reads_back_and_the_newest_counts(base: Path, tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "s.maxact")
    with SessionReader(base) as reader:
        assert read_stability(reader) is None
    for batch in (0.5, 0.25):
        one = Stability(
            "bfloat16", "", "why", (3,), (1.0, 2.0, math.nan), np.full(SITES, batch), np.full(SITES, np.nan)
        )
        writer = SessionWriter.open(path)
        writer.add_result(KIND, "t", {}, one.to_data(), {"batch": one.batch, "rounding": one.rounding})
        writer.close()
    with SessionReader(path) as reader:
        found = read_stability(reader)
    assert found is not None
    assert (found.dtype, found.other_dtype, found.skipped, found.samples) == ("bfloat16", "", "why", (3,))
    assert found.maximum[:2] == (1.0, 2.0) and math.isnan(found.maximum[2])
    assert found.batch_limit == 0.25 and math.isnan(found.dtype_limit) and found.sites == SITES
    assert found.explains("bfloat16") == 0.25 and math.isnan(found.explains("float32"))


@pytest.mark.parametrize(
    ("factor", "dtype", "measured", "is_noise"),
    [
        (1.015625, "bfloat16", False, True),  # the stated bound is 2 %
        (1.015625, "bfloat16", True, False),  # measured: 1 %
        (1.03, "float32", False, True),  # the stated bound across dtypes is 5 %
        (1.03, "float32", True, False),  # measured: 1 + 1 %
        (1.005, "float32", True, True),
    ],
)
def test_a_difference_is_noise_within_what_was_measured_else_within_a_stated_bound(
    factor: float, dtype: str, measured: bool, is_noise: bool, base: Path, tmp_path: Path
) -> None:
    numbers = sessions.values(dtype, "layer_2_hidden") * factor
    change = {"layer_2_hidden": sessions.to_bits(numbers, dtype)}
    other = summary_of(sessions.write_session(tmp_path / "o.maxact", dtype, change=change))
    found = compare([summary_of(base), other], ["a", "b"], [stability() if measured else None, None])
    row = next(row for row in found.sites if row.name == "layer_2_hidden")
    assert row.is_noise[1] is found.is_noise[1] is is_noise
    assert found.limits[1].is_measured is measured
    bound = SAME_DTYPE_NOISE if dtype == "bfloat16" else OTHER_DTYPE_NOISE
    expected = (0.01 if dtype == "bfloat16" else 0.02) if measured else bound
    assert found.limits[1].value == pytest.approx(expected)


def test_a_site_whose_own_rerun_differed_more_has_its_own_limit(base: Path) -> None:
    one = stability()
    one.batch[3] = 0.06
    (_, limit) = compare([summary_of(base)] * 2, ["a", "b"], [None, one]).limits
    name = sessions.plan().sites[3].name
    assert limit.of(name) == pytest.approx(0.06) and limit.of("embedding") == pytest.approx(0.01)


def test_nan_and_infinity_are_told() -> None:
    batch = np.zeros(2)
    found = Stability("float16", "float32", "", (0,), (1.0, 1.0, 1.0), batch, batch, (12, 12, 0))
    assert found.nonfinite_words == (
        "sites with Inf/NaN: 12 in the session, 12 alone, 0 in float32; what is compared are the finite elements"
    )
    assert replace(found, nonfinite=(0, 0, 0)).nonfinite_words == "" == replace(found, nonfinite=()).nonfinite_words
    assert found.to_data()["nonfinite"] == [12, 12, 0]


def test_what_never_moved_may_still_move_by_a_step_of_its_dtype() -> None:
    assert stability(batch=0.0).batch_limit == 2**-7 and stability("float16", batch=0.0).batch_limit == 2**-10
    assert math.isnan(stability(batch=math.nan).batch_limit)


def test_what_was_measured_on_other_kernels_is_not_taken_for_an_explanation(base: Path, tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "g.maxact")
    SessionWriter.open(path).set_meta(provenance={"dtype": "bfloat16", "device_map": {"": 0}})
    (_, limit) = compare([summary_of(base), summary_of(path)], ["a", "b"], [stability(), None]).limits
    assert not limit.is_measured and limit.value == SAME_DTYPE_NOISE
