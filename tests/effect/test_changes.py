"""Quantisers and ablations in torch against their definitions in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.effect.changes import Ablation, Quantiser, SiteNumbers
from engine.effect.errors import EffectError
from engine.effect.interventions import Quantise, parse_intervention
from engine.formats import find_float, round_to
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import fake_quantise, threshold_of
from engine.schemes import Scheme
from engine.statistics.quantisers import Calibration, quantised_rows

ROWS, WIDTH = 40, 50


def activations() -> torch.Tensor:
    """bfloat16 [4, 10, 50]: heavy tails, a large channel, a row and a channel of zeros."""
    numbers = np.random.default_rng(3).standard_t(3, (ROWS, WIDTH)) + 0.2
    numbers[:, 7] *= 60
    numbers[5], numbers[:, 9] = 0.0, 0.0
    return torch.from_numpy(numbers).to(torch.bfloat16).reshape(4, 10, WIDTH)


def calibrated(x: torch.Tensor) -> SiteNumbers:
    patterns = x.contiguous().view(torch.int16).numpy().view(np.uint16).ravel()
    distribution = Distribution("bfloat16", np.bincount(patterns, minlength=65536))
    return SiteNumbers(distribution, x.abs().float().reshape(-1, WIDTH).amax(dim=0).numpy())


def changed(name: str, x: torch.Tensor) -> torch.Tensor:
    intervention = parse_intervention(name)
    assert isinstance(intervention, Quantise)
    numbers = {0: calibrated(activations())} if intervention.is_calibrated else {}
    return Quantiser(intervention, numbers)(0, x)


def assert_same_but_for_ties(found: torch.Tensor, expected: NDArray[np.float64]) -> None:
    """Half a step in float64 may be a hair more or less in float32."""
    assert np.isclose(found.double().numpy(), expected, rtol=1e-6, atol=1e-12).mean() > 0.998


def rounded(values: NDArray[np.float64], peak: NDArray[np.float64], level: int = 127) -> NDArray[np.float64]:
    """Symmetric integers whose largest level is `peak`."""
    scale = np.where(peak > 0, peak, 1.0) / level
    return np.clip(np.rint(values / scale), -level, level) * scale


@pytest.mark.parametrize(
    "name",
    [
        "int8",
        "int4",
        "int8-q0.999",
        "int8-mse",
        "int8-asym",
        "int4-asym-q0.99",
        "int8-t3.5",
        "e4m3",
        "e5m2-q0.999",
        "e4m3-unscaled",
    ],
)
def test_a_scale_per_tensor_is_that_of_the_board(name: str) -> None:
    x = activations()
    intervention = parse_intervention(name)
    assert isinstance(intervention, Quantise)
    assert isinstance(intervention.scheme, Scheme)
    distribution = calibrated(x).distribution
    assert distribution is not None
    threshold = threshold_of(intervention.scheme, distribution)
    expected = fake_quantise(x.double().numpy(), intervention.scheme, threshold, distribution)
    np.testing.assert_allclose(changed(name, x.double()).numpy(), expected, rtol=1e-6, atol=1e-12)
    # In the model's own dtype a tie may go to the other side, and the result is rounded to the dtype.
    own = changed(name, x)
    assert own.dtype == torch.bfloat16
    agree = own == torch.from_numpy(expected).to(torch.bfloat16)
    assert agree.double().mean() > 0.99


def test_a_scale_per_token_group_and_channel_comes_from_just_those_elements() -> None:
    x = activations().double()
    values = x.numpy()
    magnitudes = np.abs(values)
    by_token = rounded(values, magnitudes.max(axis=-1, keepdims=True))
    assert_same_but_for_ties(changed("int8-token", x), by_token)
    by_channel = rounded(values, magnitudes.max(axis=(0, 1), keepdims=True).astype(np.float32).astype(float))
    assert_same_but_for_ties(changed("int8-channel", x), by_channel)
    by_group = values.copy()
    for start in range(0, WIDTH, 16):  # the last group has two channels
        part = values[..., start : start + 16]
        by_group[..., start : start + 16] = rounded(part, np.abs(part).max(axis=-1, keepdims=True), 7)
    assert_same_but_for_ties(changed("int4-g16", x), by_group)
    peak = magnitudes.max(axis=-1, keepdims=True)
    scale = np.where(peak > 0, peak, 1.0) / find_float("e4m3").largest
    by_float = np.copysign(round_to(magnitudes / scale, find_float("e4m3")) * scale, values)
    assert_same_but_for_ties(changed("e4m3-token", x), by_float)


@pytest.mark.parametrize("name", ["mxfp8-e4m3", "mxfp4", "nvfp4", "int8-token-smooth0.5"])
def test_blocks_and_smoothing_are_those_summed_in_the_pass(name: str) -> None:
    x = activations()
    numbers = replace(calibrated(x), weight_max=np.linspace(0.1, 2.0, WIDTH, dtype=np.float32))
    intervention = parse_intervention(name)
    assert isinstance(intervention, Quantise)
    found = Quantiser(intervention, {0: numbers})(0, x)
    judge = Calibration.of(numbers.channel_max, numbers.weight_max, torch.device("cpu"))
    rows = quantised_rows(x.float().reshape(-1, WIDTH), judge)
    expected = next(one for scheme, (one, _) in zip(judge.schemes, rows, strict=True) if scheme.name == name)
    assert torch.equal(found, expected.reshape(x.shape).to(torch.bfloat16))
    assert not torch.equal(found, x)


def test_a_site_without_calibration_is_refused_instead_of_set_to_zero() -> None:
    with pytest.raises(EffectError, match="calibration"):
        Quantiser(Quantise(Scheme()), {})(0, activations())


@pytest.mark.parametrize(("name", "level"), [("int8-keep1", 127), ("int4-token-keep1", 7)])
def test_kept_channels_stay_and_do_not_widen_the_scale(name: str, level: int) -> None:
    x = activations().double()
    values = x.numpy()
    others = np.delete(np.arange(WIDTH), 7)
    peak = (
        np.abs(values[..., others]).max(axis=-1, keepdims=True)
        if "token" in name
        else np.abs(values[..., others]).max()
    )
    expected = values.copy()
    expected[..., others] = rounded(values[..., others], peak, level)
    np.testing.assert_allclose(changed(name, x).numpy(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["int8", "int8-asym", "int8-token", "int8-channel", "int4-g16", "e4m3", "e4m3-token"])
def test_zeros_stay_zeros(name: str) -> None:
    zeros = torch.zeros(2, 3, WIDTH, dtype=torch.bfloat16)
    assert torch.equal(changed(name, zeros), zeros)
    empty = SiteNumbers(calibrated(zeros).distribution, np.zeros(WIDTH, np.float32))
    intervention = parse_intervention(name)
    assert isinstance(intervention, Quantise)
    assert torch.isfinite(Quantiser(intervention, {0: empty})(0, activations())).all()


def test_an_ablation_replaces_what_is_above_the_threshold_and_counts_real_tokens() -> None:
    x = torch.ones(2, 3, 4, dtype=torch.bfloat16)
    x[0, 0, 1], x[0, 2, 2], x[1, 2, 1], x[0, 1, 0] = 2000.0, -3000.0, 4000.0, 1000.0
    valid = torch.tensor([True, True, True, True, True, False])
    zero = Ablation(1000.0, None)
    zero.begin_batch(valid)
    expected = x.clone()
    expected[0, 0, 1] = expected[0, 2, 2] = expected[1, 2, 1] = 0.0
    assert torch.equal(zero(0, x), expected)
    assert zero.counts() == (2, 2)
    mean = Ablation(1000.0, np.array([np.nan, 2500.0, np.nan, np.nan], np.float32))
    mean.begin_batch(valid)
    expected = x.clone()
    expected[0, 0, 1] = expected[1, 2, 1] = 2500.0
    assert torch.equal(mean(0, x), expected)
    assert mean.counts() == (2, 1)
    # 1,001 is between two bfloat16 numbers: the comparison must not round it.
    assert Ablation(1001.0, None)(0, torch.tensor([[1000.0, 1004.0]], dtype=torch.bfloat16)).tolist() == [[1000.0, 0.0]]
