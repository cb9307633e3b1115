"""Quantisers with scales inside the tensor: formats against ml_dtypes, compiled code against torch, sums that merge.

The blocks of MXFP8, MXFP4 and NVFP4 also agree with torchao 0.18, element by element, where it was tried; it is no
dependency of the tests. NVFP4 differs there in blocks whose scale is a subnormal of E4M3, which torchao raises to 2^-6.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.formats import FORMATS
from engine.scheme_names import parse_scheme
from engine.schemes import FULL_SCHEMES, Scheme
from engine.statistics.pass_meter import PassMeter
from engine.statistics.pass_sums import SUM_FIELDS, PassSums, merge_sums
from engine.statistics.quantisers import Calibration, add_errors, quantise, quantised_rows, round_to_format
from engine.statistics.rows import Rows
from engine.statistics.smoothing import smoothing_divisors
from tests.values import some

CPU = torch.device("cpu")
SMALL = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
}
# Elements of a block, element format, exponent of its largest number.
DOCUMENTED = {
    "mxfp8-e4m3": (32, "e4m3", 8),
    "mxfp8-e5m2": (32, "e5m2", 15),
    "mxfp6-e2m3": (32, "e2m3", 2),
    "mxfp6-e3m2": (32, "e3m2", 4),
    "mxfp4": (32, "e2m1", 2),
    "nvfp4": (16, "e2m1", 2),
}
LARGEST = {name: float(ml_dtypes.finfo(one).max) for name, one in SMALL.items()}
FURTHER = tuple(map(parse_scheme, ("mxfp6-e2m3", "mxfp6-e3m2", "nf4-g64", "int4-g32-asym", "int4-g128-asym")))
# Without a kernel of their own: left to torch.
UNCOMPILED = tuple(map(parse_scheme, ("int4-g16", "e4m3-token", "nf4-channel", "int8-token-asym", "nf4-g32")))
HAS_NUMBA = find_spec("numba") is not None
BACKENDS = ["torch", pytest.param("numba", marks=pytest.mark.skipif(not HAS_NUMBA, reason="no numba"))]


def cast(x: np.ndarray, element: str) -> np.ndarray:
    """Round to the format as ml_dtypes does; what is too large saturates, as the formats of blocks ask for."""
    kept = np.clip(x, -LARGEST[element], LARGEST[element])
    return kept.astype(np.float32).astype(SMALL[element]).astype(np.float32)


def activations(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    """Heavy-tailed bfloat16 rows with an outlier channel, a massive token, a row and a stretch of zeros."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, width)) * np.exp(2 * random.standard_normal((rows, width)))
    x[:, min(5, width - 1)] *= 100
    x[0, 0] = 23_168
    x[1] = 0
    x[2, : width // 2] = 0
    return torch.from_numpy(x).bfloat16()


def calibration_of(x: torch.Tensor, seed: int = 1) -> Calibration:
    weights = np.abs(np.random.default_rng(seed).standard_normal(x.shape[1])).astype(np.float32)
    return Calibration.of(x.float().abs().amax(0).numpy(), weights, CPU)


@pytest.mark.parametrize("element", SMALL)
def test_every_bfloat16_number_is_rounded_as_ml_dtypes_rounds_it(element: str) -> None:
    patterns = torch.arange(65_536, dtype=torch.int32).to(torch.int16)
    x = patterns.view(torch.bfloat16).float()
    x = x[x.isfinite()]
    np.testing.assert_array_equal(round_to_format(x, FORMATS[element]).numpy(), cast(x.numpy(), element))


@pytest.mark.parametrize("element", SMALL)
def test_numbers_between_two_of_a_format_are_rounded_as_ml_dtypes_rounds_them(element: str) -> None:
    random = np.random.default_rng(3)
    x = (random.standard_normal(50_000) * np.exp(4 * random.standard_normal(50_000))).astype(np.float32)
    np.testing.assert_array_equal(round_to_format(torch.from_numpy(x), FORMATS[element]).numpy(), cast(x, element))


def blocks_by_the_documents(x: np.ndarray, name: str, tensor_max: float) -> np.ndarray:
    """MXFP8, MXFP4 and NVFP4 block by block in numpy with ml_dtypes, as their documents say it."""
    result = np.zeros_like(x)
    size, element, emax = DOCUMENTED[name]
    for r in range(len(x)):
        for start in range(0, x.shape[1], size):
            block = x[r, start : start + size]
            largest = np.abs(block).max()
            if largest == 0:
                continue
            if name == "nvfp4":
                tensor_scale = np.float32(tensor_max) / np.float32(448 * 6)
                scale = cast(np.asarray(largest / np.float32(6) / tensor_scale), "e4m3") * tensor_scale
            else:
                exponent = int(np.frexp(largest)[1]) - 1  # exactly: a vectorised log2 may be below a whole number
                scale = np.ldexp(np.float32(1), exponent - emax)
                assert scale.astype(ml_dtypes.float8_e8m0fnu).astype(np.float32) == scale
            if scale:
                result[r, start : start + size] = cast(block / scale, element) * scale
    return result


@pytest.mark.parametrize("name", DOCUMENTED)
@pytest.mark.parametrize("width", [64, 100])
def test_blocks_are_quantised_as_the_documents_say(name: str, width: int) -> None:
    x = activations(24, width)
    calibration = calibration_of(x[:12])
    found = {name: quantise(x.float(), parse_scheme(name), calibration)[0]}
    tensor_max = float(x[:12].float().abs().max())
    np.testing.assert_array_equal(found[name].numpy(), blocks_by_the_documents(x.float().numpy(), name, tensor_max))


def test_nf4_has_the_published_levels() -> None:
    """QLoRA (arXiv 2305.14314), appendix E; each number becomes the nearest level of its block."""
    published = np.array([
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ])  # fmt: skip
    x = activations(24, 100).float()
    found = quantise(x, parse_scheme("nf4-g64"), calibration_of(x))[0].numpy()
    host = x.double().numpy()
    for columns in (slice(0, 64), slice(64, 100)):
        scale = np.abs(host[:, columns]).max(1, keepdims=True)
        share = np.divide(host[:, columns], scale, out=np.zeros_like(host[:, columns]), where=scale > 0)
        nearest = published[np.abs(share[..., None] - published).argmin(-1)] * scale
        np.testing.assert_allclose(found[:, columns], nearest, rtol=1e-6)


@pytest.mark.parametrize(("name", "size", "levels"), [("int4-g32-asym", 32, 15), ("int4-g128-asym", 128, 15),
                                                      ("int8-token-asym", 200, 255)])  # fmt: skip
def test_asymmetric_groups_hold_zero_and_their_range(name: str, size: int, levels: int) -> None:
    """Group by group in float64, with a whole zero point; one-sided groups, too."""
    x = activations(24, 200).float()
    x[5], x[6] = x[5].abs(), -x[6].abs()
    found = quantise(x, parse_scheme(name), calibration_of(x))[0].double().numpy()
    host = x.double().numpy()
    for start in range(0, 200, size):
        part = host[:, start : start + size]
        low, high = np.minimum(part.min(1, keepdims=True), 0), np.maximum(part.max(1, keepdims=True), 0)
        scale = np.where(high > low, (high - low) / levels, 1.0)
        zero = np.rint(-low / scale)
        expected = (np.clip(np.rint(part / scale) + zero, 0, levels) - zero) * scale
        # float32 may take the other side of a tie, and nothing else.
        is_tie = np.abs(np.abs(part / scale % 1) - 0.5) < 1e-4
        wrong = np.abs(found[:, start : start + size] - expected) > 1e-5 * scale * levels
        assert not (wrong & ~is_tie).any()
    assert (found[host == 0] == 0).all()
    assert (found[5] >= 0).all() and (found[6] <= 0).all()


def test_int8_is_quantised_by_its_definition() -> None:
    x = activations(24, 100).float()
    calibration = calibration_of(x[:12])
    found = {s.name: o for s, (o, _) in zip(calibration.schemes, quantised_rows(x, calibration), strict=True)}

    def by_definition(values: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        scale = np.broadcast_to(threshold / np.float32(127), values.shape).astype(np.float32)
        levels = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
        return np.clip(np.rint(levels), -127, 127) * scale

    host = x.numpy()
    np.testing.assert_array_equal(found["int8-token"].numpy(), by_definition(host, np.abs(host).max(1, keepdims=True)))
    np.testing.assert_array_equal(found["int8-channel"].numpy(), by_definition(host, calibration.channel_max.numpy()))
    for size in (32, 64, 128):
        expected = np.concatenate(
            [by_definition(b, np.abs(b).max(1, keepdims=True)) for b in np.split(host, range(size, 100, size), 1)], 1
        )
        np.testing.assert_array_equal(found[f"int8-g{size}"].numpy(), expected)


def test_smoothing_divides_by_what_the_paper_says() -> None:
    x, w = np.array([100.0, 4.0, 0.0, 1.0], np.float32), np.array([0.25, 1.0, 1.0, 0.0], np.float32)
    np.testing.assert_allclose(smoothing_divisors(x, w, 0.5), [10 / 0.5, 2.0, 1.0, 1.0])
    np.testing.assert_allclose(smoothing_divisors(x, w, 0.8)[0], 100**0.8 / 0.25**0.2, rtol=1e-6)


def sums_of(
    x: torch.Tensor,
    calibrated_on: torch.Tensor,
    backend: str,
    index: torch.Tensor | None = None,
    schemes: tuple[Scheme, ...] = FULL_SCHEMES,
) -> PassSums:
    """The sums a meter takes over x, with a weight column of zeros among the others."""
    meter = PassMeter(1, backend, schemes)
    weights = np.abs(np.random.default_rng(1).standard_normal(x.shape[1])).astype(np.float32)
    weights[-1] = 0
    meter.calibrate(0, calibrated_on.float().nan_to_num(0, 0, 0).abs().amax(0).numpy(), weights)
    count = len(x) if index is None else len(index)
    meter.update(0, x, Rows(index, torch.zeros(count, dtype=torch.int32), torch.arange(count, dtype=torch.int32)))
    meter.drain()
    sums = meter.sums(0)
    assert sums is not None
    return sums


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("width", [7, 100, 576])
def test_compiled_sums_are_those_of_torch(dtype: torch.dtype, width: int) -> None:
    pytest.importorskip("numba")
    x = activations(40, width).to(dtype)
    x[6, 3], x[7, 0], x[8, width - 1] = torch.nan, torch.inf, -torch.inf
    if dtype is not torch.float16:
        x[9], x[10], x[11] = x[9] * 1e-30, x[10] * 1e18, x[11] * 1e-13
    index = torch.tensor([0, 1, 2, 4, *range(5, 40)])
    schemes = (*FURTHER, *FULL_SCHEMES, *UNCOMPILED)
    judge, found = (sums_of(x, x[:20], backend, index, schemes) for backend in ("torch", "numba"))
    assert found.names == judge.names == tuple(s.name for s in schemes)
    exact = [SUM_FIELDS.index(name) for name in ("clipped", "elements", "nonfinite")]
    np.testing.assert_array_equal(found.table[:, exact], judge.table[:, exact])
    # The last bit of a float32 is some 3e-5 of an INT8 step of its row.
    np.testing.assert_allclose(found.table, judge.table, rtol=1e-4)
    assert (judge.table[:, SUM_FIELDS.index("nonfinite")] == 3).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_do_not_overflow_where_float32_would(backend: str) -> None:
    """Row by row by the definition in float64: numbers whose squares float32 cannot hold."""
    x = (activations(8, 64).double() * 1e25).bfloat16()
    sums = sums_of(x, x, backend)
    row = sums.row("int8-token")
    wide = x.double().numpy()
    scale = np.abs(wide).max(1, keepdims=True) / 127
    error = np.divide(wide, scale, out=np.zeros_like(wide), where=scale > 0).round() * scale - wide
    assert row is not None
    np.testing.assert_allclose(row[0], (error**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(row[2], (wide**2).sum(), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_site_of_zeros_has_no_error_and_no_nan(backend: str) -> None:
    zeros = torch.zeros(5, 48, dtype=torch.bfloat16)
    table = sums_of(zeros, zeros, backend).table
    assert np.isfinite(table).all()
    assert (table[:, SUM_FIELDS.index("elements")] == 5 * 48).all()
    assert not table[:, : SUM_FIELDS.index("elements")].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_channel_that_was_zero_in_the_calibration_loses_what_it_holds(backend: str) -> None:
    calibration, x = torch.ones(4, 32).bfloat16(), torch.ones(4, 32).bfloat16()
    calibration[:, 7] = 0
    row = sums_of(x, calibration, backend).row("int8-channel")
    assert row is not None
    np.testing.assert_allclose(row, [4, 4, 128, 128, 4, 4, 128, 0], atol=1e-6)


def test_rows_that_do_not_count_are_never_read() -> None:
    x = activations(20, 96)
    index = torch.arange(0, 20, 2)
    hidden = x.clone()
    hidden[1::2] = torch.nan
    for backend in ("torch", "auto"):
        np.testing.assert_array_equal(
            sums_of(hidden, x, backend, index).table, sums_of(x, x, backend, index).table, err_msg=backend
        )


def test_what_was_not_drained_can_be_taken_back() -> None:
    x = activations(20, 96)
    meter = PassMeter(1, "auto")
    meter.calibrate(0, x.float().abs().amax(0).numpy())
    rows = Rows(None, torch.zeros(20, dtype=torch.int32), torch.arange(20, dtype=torch.int32))
    meter.update(0, x, rows)
    meter.drain()
    before = meter.sums(0)
    meter.update(0, x, rows)
    meter.discard()
    meter.drain()
    assert meter.sums(0) is before
    meter.update(0, x, rows)
    meter.drain()
    after = meter.sums(0)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after.table, 2 * before.table, rtol=1e-15)
    np.testing.assert_array_equal(some(PassSums.from_arrays(after.to_arrays())).table, after.table)


names = st.lists(st.sampled_from([s.name for s in FULL_SCHEMES]), unique=True, max_size=4)


@st.composite
def pass_sums(draw: Any) -> PassSums:
    """Sums with whole numbers, whose additions are exact."""
    found = tuple(draw(names))
    values = draw(st.lists(st.integers(0, 2**40), min_size=8 * len(found), max_size=8 * len(found)))
    return PassSums(found, np.array(values, np.float64).reshape(len(found), 8))


def as_dict(sums: PassSums) -> dict[str, list[float]]:
    return {name: sums.table[i].tolist() for i, name in enumerate(sums.names)}


@given(pass_sums(), pass_sums(), pass_sums())
def test_sums_merge_in_any_order(a: PassSums, b: PassSums, c: PassSums) -> None:
    assert as_dict(merge_sums(a, b)) == as_dict(merge_sums(b, a))
    assert as_dict(merge_sums(merge_sums(a, b), c)) == as_dict(merge_sums(a, merge_sums(b, c)))
    assert as_dict(merge_sums(a, PassSums.empty([]))) == as_dict(a)


@given(st.integers(1, 39), st.integers(0, 5))
def test_parts_add_up_to_the_whole(cut: int, seed: int) -> None:
    x = activations(40, 64, seed)
    calibration = calibration_of(x)
    whole, parts = (torch.zeros(len(calibration.schemes), len(SUM_FIELDS), dtype=torch.float64) for _ in range(2))
    add_errors(whole, x, calibration)
    add_errors(parts, x[:cut], calibration)
    add_errors(parts, x[cut:], calibration)
    np.testing.assert_allclose(parts.numpy(), whole.numpy(), rtol=1e-12)


def test_no_number_is_read_back_from_the_device() -> None:
    """Tensors without data refuse whatever would have to wait for a value."""
    meta = torch.device("meta")
    calibration = Calibration.of(np.ones(100, np.float32), np.ones(100, np.float32), meta)
    table = torch.zeros(len(calibration.schemes), len(SUM_FIELDS), dtype=torch.float64, device=meta)
    add_errors(table, torch.zeros(40, 100, dtype=torch.bfloat16, device=meta), calibration)
    with pytest.raises(RuntimeError):
        table.sum().item()
