"""Every error from the histogram equals the error of the elements themselves, quantised by torch one by one."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import torch

from engine.formats import QuantizationError, find_float, round_to
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.schemes import error_of, evaluate, fake_quantise, threshold_of
from engine.quantization.uniform import asymmetric, symmetric
from engine.scheme_names import parse_scheme
from engine.schemes import Scheme

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def heavy_tailed(dtype: str = "bfloat16", count: int = 6000, shift: float = 0.3) -> torch.Tensor:
    draws = np.random.default_rng(11)
    numbers = draws.standard_t(3, count) + shift
    numbers[:4] = 900.0, -400.0, 0.0, -0.0
    return torch.from_numpy(numbers).to(DTYPES[dtype])


def distribution(x: torch.Tensor) -> Distribution:
    dtype = {v: k for k, v in DTYPES.items()}[x.dtype]
    patterns = x.contiguous().view(torch.int16).numpy().view(np.uint16)
    return Distribution(dtype, np.bincount(patterns, minlength=65536))


def assert_same(found: QuantError, x: torch.Tensor, quantised: torch.Tensor, threshold: float) -> None:
    x, quantised = x.double(), quantised.double()
    error = quantised - x
    mse = (error**2).mean().item()
    clipped = x.abs() > threshold
    expected = {
        "mae": error.abs().mean().item(),
        "rmse": math.sqrt(mse),
        "rel_mae": (error.abs().sum() / x.abs().sum()).item(),
        "rel_rmse": math.sqrt(((error**2).sum() / (x**2).sum()).item()),
        "sqnr_db": 10 * math.log10(((x**2).sum() / (error**2).sum()).item()),
        "clip_rate": clipped.double().mean().item(),
        "clipping_share": ((error[clipped] ** 2).sum() / (error**2).sum()).item(),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-15), name
    assert found.count == len(x) and found.is_exact and not found.is_zero


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("share", [1.0, 0.3, 0.004, 1e-5])
def test_symmetric_errors_are_those_of_the_elements(dtype: str, bits: int, share: float) -> None:
    x = heavy_tailed(dtype)
    threshold = share * float(x.abs().max())
    level = 2 ** (bits - 1) - 1
    scale = threshold / level
    quantised = torch.clamp(torch.round(x.double() / scale), -level, level) * scale
    found = symmetric(distribution(x), threshold, bits)
    assert found.scale == scale and found.threshold == threshold
    assert_same(found, x, quantised, threshold)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("shift", [0.3, 40.0, -2000.0])
def test_asymmetric_errors_are_those_of_torchs_affine_quantiser(bits: int, share: float, shift: float) -> None:
    x = heavy_tailed(shift=shift)
    threshold = share * float(x.abs().max())
    high, low = min(max(float(x.max()), 0), threshold), min(max(-float(x.min()), 0), threshold)
    scale = (high + low) / (2**bits - 1)
    zero_point = round(low / scale)
    levels = torch.clamp(torch.round(x.double() / scale) + zero_point, 0, 2**bits - 1)
    quantised = (levels - zero_point) * scale
    theirs = torch.fake_quantize_per_tensor_affine(x.float(), scale, zero_point, 0, 2**bits - 1)
    assert (theirs.double() - quantised).abs().max() <= scale * 1.0001  # ties may go to the other side in float32
    assert (theirs.double() - quantised).abs().mean() < scale * 1e-3
    assert_same(asymmetric(distribution(x), threshold, bits), x, quantised, threshold)


@pytest.mark.parametrize(("name", "theirs"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)])
def test_fp8_rounding_is_torchs_for_every_bfloat16_number(name: str, theirs: torch.dtype) -> None:
    form = find_float(name)
    every = torch.arange(0, 0x7F80, dtype=torch.int16).view(torch.bfloat16)
    every = every[every.float() <= form.largest]
    expected = every.float().to(theirs).double().numpy()
    assert len(every) > 15_000
    np.testing.assert_array_equal(round_to(every.double().numpy(), form), expected)
    assert round_to(np.array([1e30, form.largest * 1.01]), form).tolist() == [form.largest] * 2


@pytest.mark.parametrize(
    ("name", "theirs", "largest"), [("e4m3", torch.float8_e4m3fn, 448.0), ("e5m2", torch.float8_e5m2, 57344.0)]
)
@pytest.mark.parametrize("tail", ["", "-q0.999", "-t3.7", "-unscaled"])
def test_fp8_errors_are_those_of_torchs_cast(name: str, theirs: torch.dtype, largest: float, tail: str) -> None:
    x = heavy_tailed()
    scheme, found_in = parse_scheme(name + tail), distribution(x)
    threshold = threshold_of(scheme, found_in)
    scale = threshold / largest
    scaled = torch.clamp(x.double() / scale, -largest, largest)
    quantised = scaled.float().to(theirs).double() * scale
    found = evaluate(found_in, scheme)
    # float64 / scale is rounded to float32 before torch's cast: a tie may fall to the other side, with the same error.
    assert found.rmse == pytest.approx(float(((quantised - x.double()) ** 2).mean().sqrt()), rel=1e-6)
    assert found.mae == pytest.approx(float((quantised - x.double()).abs().mean()), rel=1e-6)
    assert found.clip_rate == float((x.double().abs() > threshold).double().mean())


@pytest.mark.parametrize(("name", "theirs"), [("e2m3", ml_dtypes.float6_e2m3fn), ("e3m2", ml_dtypes.float6_e3m2fn)])
@pytest.mark.parametrize("tail", ["", "-q0.99", "-unscaled"])
def test_fp6_errors_are_those_of_ml_dtypes_cast(name: str, theirs: type, tail: str) -> None:
    x = heavy_tailed()
    scheme, found_in, numbers = parse_scheme(name + tail), distribution(x), x.double().numpy()
    threshold = threshold_of(scheme, found_in)
    largest = float(ml_dtypes.finfo(theirs).max)
    scale = threshold / largest
    quantised = np.clip(numbers / scale, -largest, largest).astype(theirs).astype(np.float64) * scale
    found = evaluate(found_in, scheme)
    assert found.rmse == pytest.approx(math.sqrt(((quantised - numbers) ** 2).mean()), rel=1e-6)
    assert found.zeroed == ((numbers != 0) & (quantised == 0)).sum() / (numbers != 0).sum()


@pytest.mark.parametrize(
    "name", ["int8", "int3-q0.99", "int8-asym", "int4-asym-t2.5", "e4m3", "e5m2-q0.999", "e2m3-mse", "nf4", "nf4-t2.5"]
)
def test_single_numbers_go_through_the_same_quantiser(name: str) -> None:
    x = heavy_tailed()
    scheme, found_in = parse_scheme(name), distribution(x)
    threshold = threshold_of(scheme, found_in)
    numbers = x.double().numpy()
    error = fake_quantise(numbers, scheme, threshold, found_in) - numbers
    assert error_of(scheme, found_in, threshold).rmse == pytest.approx(math.sqrt((error**2).mean()), rel=1e-9)


def test_a_site_of_zeros_has_no_error_and_says_why() -> None:
    zeros = Distribution("bfloat16", np.bincount([0, 0, 0x8000], minlength=65536))
    for name in ("int8", "int8-q0.999", "int4-mse", "int8-asym", "e4m3", "e5m2-unscaled", "int8-paper0.999"):
        found = evaluate(zeros, parse_scheme(name))
        assert found.is_zero and found.count == 3
        assert (found.mae, found.rmse, found.rel_mae, found.rel_rmse, found.clip_rate) == (0, 0, 0, 0, 0), name
        assert found.sqnr_db == math.inf


def test_a_site_that_fits_its_levels_has_an_infinite_sqnr() -> None:
    x = torch.tensor([1.0, -1.0, 0.0, 1.0], dtype=torch.bfloat16)
    found = evaluate(distribution(x), Scheme())
    assert found.sqnr_db == math.inf and found.rmse == 0 and not found.is_zero


def test_a_threshold_of_zero_loses_everything_without_dividing_by_it() -> None:
    x = heavy_tailed()
    for name in ("int8", "int8-asym", "e4m3"):
        found = error_of(parse_scheme(name), distribution(x), 0.0)
        assert found.sqnr_db == pytest.approx(0.0) and found.rel_mae == pytest.approx(1.0)
        assert found.clip_rate == float((x != 0).double().mean())


def test_elements_that_are_not_finite_are_left_out_and_counted() -> None:
    x = heavy_tailed()
    broken = torch.cat([x, torch.tensor([math.nan, math.inf, -math.inf], dtype=x.dtype)])
    clean, found = (evaluate(distribution(part), Scheme()) for part in (x, broken))
    assert found.nonfinite == 3 and found.count == clean.count
    assert (found.rmse, found.sqnr_db, found.threshold) == (clean.rmse, clean.sqnr_db, clean.threshold)


@pytest.mark.parametrize("name", ["int8", "int8-q0.999", "int4", "int8-asym", "e4m3", "e5m2"])
def test_float32_sites_are_approximate_and_close(name: str) -> None:
    x = np.random.default_rng(2).standard_t(4, 200_000).astype(np.float32)
    histogram = np.bincount(x.view(np.uint32) >> 16, minlength=65536)
    site = Distribution("float32", histogram, (float(x.max()), float(x.min())))
    scheme = parse_scheme(name)
    threshold = threshold_of(scheme, site)
    found = error_of(scheme, site, threshold)
    numbers = x.astype(np.float64)
    error = fake_quantise(numbers, scheme, threshold, site) - numbers
    assert not found.is_exact
    assert site.largest == np.abs(numbers).max()
    assert found.rmse == pytest.approx(math.sqrt((error**2).mean()), rel=5e-3)


@pytest.mark.parametrize("bits", [1, 9, 0, -3])
def test_bits_outside_two_to_eight_are_refused(bits: int) -> None:
    with pytest.raises(QuantizationError, match="2 to 8"):
        symmetric(distribution(heavy_tailed()), 1.0, bits)
    with pytest.raises(QuantizationError, match="2 to 8"):
        parse_scheme(f"int{bits}" if bits > 0 else "int1")


@pytest.mark.parametrize("threshold", [-1.0, math.nan, math.inf])
def test_impossible_thresholds_are_refused(threshold: float) -> None:
    for name in ("int8", "int8-asym", "e4m3"):
        with pytest.raises(QuantizationError, match="threshold"):
            error_of(parse_scheme(name), distribution(heavy_tailed()), threshold)


@pytest.mark.parametrize("name", ["int8", "int4-q0.99", "int8-asym", "int8-asym-t2.5", "e4m3", "e5m2-unscaled", "int2"])
@pytest.mark.parametrize("massive", [(), (5000.0,), (4096.0,) * 70 + (-4096.0,) * 60 + (9e4,)])
def test_the_bulk_is_what_a_few_large_elements_leave(name: str, massive: tuple[float, ...]) -> None:
    """Against plain numpy float64: without the massive elements, and without the 100 largest."""
    draws = np.random.default_rng(3).standard_t(3, 4000) / 20
    x = torch.from_numpy(np.concatenate([draws, [0.0, -0.0], massive])).bfloat16()
    scheme, whole = parse_scheme(name), distribution(x)
    threshold = threshold_of(scheme, whole)
    found, numbers = evaluate(whole, scheme), x.double().numpy()
    quantised = fake_quantise(numbers, scheme, threshold, whole)
    size, error = np.abs(numbers), (quantised - numbers) ** 2
    limit = max(100.0, 1000 * float(np.sort(size)[(len(size) - 1) // 2]))
    assert whole.massive_threshold == limit
    bulk, order = size <= limit, np.argsort(-size, kind="stable")

    def decibels(kept: np.ndarray) -> float:
        return 10 * math.log10((numbers[kept] ** 2).sum() / error[kept].sum()) if error[kept].sum() else math.inf

    assert found.bulk_db == pytest.approx(decibels(bulk), rel=1e-9)
    if "asym" not in name or size[order[99]] != size[order[100]]:
        assert found.below_top_db == pytest.approx(decibels(order[100:]), rel=1e-9)
    assert found.zeroed == pytest.approx(((quantised == 0) & (numbers != 0)).sum() / (numbers != 0).sum(), abs=1e-12)
    assert (found.bulk_db == found.sqnr_db) == (not massive) or name == "e5m2-unscaled"


def test_a_massive_element_masks_what_becomes_zero_in_sqnr_alone() -> None:
    x = torch.cat([torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 0.1, torch.tensor([3584.0])])
    found = evaluate(distribution(x.bfloat16()), Scheme())
    assert found.sqnr_db > 40
    assert found.bulk_db == pytest.approx(0, abs=0.01) and found.below_top_db == pytest.approx(0, abs=0.01)
    assert found.zeroed > 0.999


def test_nothing_is_left_of_fewer_elements_than_are_taken() -> None:
    few = distribution(torch.tensor([1.0, -2.0, 300.0]).bfloat16())
    assert few.without_largest(100).folded.largest == 0 and few.without_largest(3).count == 0
    assert few.without_largest(1).largest == 2
    assert evaluate(few, Scheme()).below_top_db == math.inf
    zeros = evaluate(distribution(torch.zeros(500).bfloat16()), Scheme())
    assert (zeros.zeroed, zeros.bulk_db, zeros.is_zero) == (0.0, math.inf, True)
