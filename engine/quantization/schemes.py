"""What a quantiser with one scale per tensor makes of a site, from its histogram.

- `threshold_of`   T by a scheme's policy
- `error_of`       the error with a given T
- `evaluate`       the error of a scheme on a site, with that of its bulk
- `fake_quantise`  single numbers through a scheme
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.formats import CodeBook, FloatFormat, IntegerFormat, round_to
from engine.quantization.code_book import code_book, round_book
from engine.quantization.distribution import Distribution
from engine.quantization.floating import floating
from engine.quantization.metrics import QuantError
from engine.quantization.thresholds import max_abs, mse_optimal, quantile, reference_quantile
from engine.quantization.uniform import asymmetric, asymmetric_squares, symmetric, symmetric_squares
from engine.schemes import Scheme
from engine.statistics.totals import TOP_K


def threshold_of(scheme: Scheme, distribution: Distribution) -> float:
    """T by the policy, from this distribution (the calibration samples, where there are such)."""
    if scheme.policy == "quantile":
        return quantile(distribution, scheme.value)
    if scheme.policy == "reference_quantile":
        return reference_quantile(distribution, scheme.value)
    if scheme.policy == "value":
        return scheme.value
    if scheme.policy == "unscaled":
        return scheme.form.largest
    if scheme.policy == "mse":
        return mse_optimal(distribution, scheme.bits, lambda threshold: _squared_error(scheme, distribution, threshold))
    return max_abs(distribution)


def error_of(
    scheme: Scheme, distribution: Distribution, threshold: float, calibration: Distribution | None = None
) -> QuantError:
    """The error on a site with the threshold given.

    Args:
        scheme: the quantiser.
        distribution: the elements whose error is taken.
        threshold: T.
        calibration: the elements whose extremes are the range of asymmetric schemes; the same if None.
    """
    form = scheme.form
    if isinstance(form, FloatFormat):
        return floating(distribution, threshold, form)
    if isinstance(form, CodeBook):
        return code_book(distribution, threshold, form)
    if form.is_symmetric:
        return symmetric(distribution, threshold, form.bits)
    return asymmetric(distribution, threshold, form.bits, calibration)


def evaluate(distribution: Distribution, scheme: Scheme, calibration: Distribution | None = None) -> QuantError:
    """The error of a scheme on a site, with that of its bulk: of what a few largest elements cannot mask.

    Args:
        distribution: the elements whose error is taken.
        scheme: quantiser and policy.
        calibration: the elements that threshold and range are taken from; the same if None.
    """
    source = calibration or distribution
    threshold = threshold_of(scheme, source)
    whole = error_of(scheme, distribution, threshold, source)
    bulk = distribution.without_massive()
    return replace(
        whole,
        bulk_db=whole.sqnr_db if bulk is distribution else error_of(scheme, bulk, threshold, source).sqnr_db,
        below_top_db=error_of(scheme, distribution.without_largest(TOP_K), threshold, source).sqnr_db,
    )


def fake_quantise(
    values: NDArray[np.float64], scheme: Scheme, threshold: float, distribution: Distribution
) -> NDArray[np.float64]:
    """Numbers of a site after quantisation and back, float64.

    Args:
        values: signed numbers.
        scheme: the quantiser.
        threshold: T.
        distribution: of the site; its extremes are the range of asymmetric schemes.
    """
    x, form = np.asarray(values, np.float64), scheme.form
    high, low = (min(side.largest, threshold) for side in distribution.by_sign)
    span = threshold if scheme.is_symmetric else high + low
    scale = span / form.largest
    if scale == 0:
        return np.zeros_like(x)
    if isinstance(form, FloatFormat):
        rounded: NDArray[np.float64] = np.copysign(round_to(np.abs(x) / scale, form) * scale, x)
        return rounded
    if isinstance(form, CodeBook):
        return round_book(x / scale, form) * scale
    if form.is_symmetric:
        return np.clip(np.rint(x / scale), -form.level, form.level) * scale
    zero_point = round(low / scale)
    levels: NDArray[np.float64] = np.clip(np.rint(x / scale) + zero_point, 0, form.level)
    dequantised: NDArray[np.float64] = (levels - zero_point) * scale
    return dequantised


def _squared_error(scheme: Scheme, distribution: Distribution, threshold: float) -> float:
    if isinstance(scheme.form, IntegerFormat):
        squares = symmetric_squares if scheme.is_symmetric else asymmetric_squares
        return squares(distribution, threshold, scheme.bits)
    return error_of(scheme, distribution, threshold).rmse ** 2
