"""The judge: every field of `SiteTotals` computed plainly in numpy float64 from the raw bits, one definition each.

It shares no code with the product beyond the field names, and is slow on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from engine.statistics.totals import CENSUS_LADDER, TOP_DTYPE, SiteTotals

FLOAT_SUMS = ("power_sums", "ratio_sums")


def decode(bits: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that uint16 (bfloat16, float16) or uint32 (float32) patterns stand for, as float64."""
    if dtype == "float16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float64)
    wide = bits.astype(np.uint32) << (16 if dtype == "bfloat16" else 0)
    with np.errstate(invalid="ignore"):
        return wide.view(np.float32).astype(np.float64)


def lower_median(numbers: np.ndarray) -> float:
    return float(np.sort(numbers)[(len(numbers) - 1) // 2])


def judge(
    bits: np.ndarray,
    dtype: str,
    sample: np.ndarray,
    position: np.ndarray,
    *,
    samples: int,
    detail: str = "standard",
    census: bool = True,
    pivot: float = 0.0,
) -> SiteTotals:
    """The totals of the tokens given: bits [n, D], sample and position [n]."""
    tokens, width = bits.shape
    x = decode(bits, dtype)
    finite = np.isfinite(x)
    magnitude = np.where(finite, np.abs(x), -1.0)
    pattern = (bits >> (16 if dtype == "float32" else 0)).astype(np.int64)
    seen = x[finite]
    full = detail != "lean"
    medians = [lower_median(magnitude[t][finite[t]]) if finite[t].any() else np.nan for t in range(tokens)]
    maxima = magnitude.max(1, initial=-1.0)
    top = _top(x, finite, sample, position)
    if full and census and detail == "compat":
        judged = [t for t in range(tokens) if maxima[t] >= 0]
    else:
        judged = [t for t in range(tokens) if full and maxima[t] > 100]
    ratios = {t: _ratio(maxima[t], medians[t]) for t in judged}
    return SiteTotals(
        dtype=dtype,
        width=width,
        tokens=np.asarray(tokens),
        histogram=np.bincount(pattern.ravel() if full else [], minlength=65536),
        extremes=np.array([seen.max(initial=-np.inf), seen.min(initial=np.inf)]),
        pivot=np.asarray(pivot if full and dtype == "float32" and len(seen) else np.nan),
        power_sums=_power_sums(seen, pivot) if full and dtype == "float32" else np.zeros(5),
        log_histogram=_log_histogram(seen) if detail == "compat" and dtype == "float32" else np.zeros(512, np.int64),
        nonfinite=np.array([np.isnan(x).sum(), (x == np.inf).sum(), (x == -np.inf).sum()]),
        nonfinite_address=_first_nonfinite(finite, sample, position),
        token_maxima=np.bincount(_magnitude_pattern(maxima[maxima >= 0], dtype), minlength=32768),
        channel_max=np.maximum(magnitude.max(0, initial=0.0), 0.0).astype(np.float32),
        channel_tokens=np.stack([(magnitude > rung).sum(0)[: width if census else 0] for rung in CENSUS_LADDER]),
        sample_max=np.array([_or_nan(maxima[sample == s].max(initial=-1.0)) for s in range(samples)], np.float32),
        top=top,
        peak_median=np.asarray(_median_at(top, medians, sample, position)),
        sun_tokens=np.asarray(sum(maxima[t] > 100 and maxima[t] > 1000 * medians[t] for t in judged)),
        sun_ratio=_best_ratio(ratios, maxima, medians, sample, position),
        ratio_sums=_ratio_sums(ratios) if detail == "compat" and census else np.zeros(3),
    )  # fmt: skip


def _or_nan(maximum: float) -> float:
    return maximum if maximum >= 0 else np.nan


def _top(x: np.ndarray, finite: np.ndarray, sample: np.ndarray, position: np.ndarray) -> np.ndarray:
    entries = [(x[t, c], sample[t], position[t], c) for t, c in zip(*np.nonzero(finite), strict=True)]
    entries.sort(key=lambda e: (-abs(e[0]), e[1], e[2], e[3]))
    return np.array(entries[:100], TOP_DTYPE)


def _median_at(top: np.ndarray, medians: list[float], sample: np.ndarray, position: np.ndarray) -> float:
    if not len(top):
        return np.nan
    return medians[int(np.flatnonzero((sample == top[0]["sample"]) & (position == top[0]["position"]))[0])]


def _ratio(maximum: float, median: float) -> float:
    if maximum == 0:
        return 0.0
    return np.inf if median == 0 else maximum / median


def _best_ratio(ratios, maxima, medians, sample, position) -> np.ndarray:
    if not ratios:
        return np.full(5, -1.0)
    best = min(ratios, key=lambda t: (-ratios[t], sample[t], position[t]))
    return np.array([ratios[best], maxima[best], medians[best], sample[best], position[best]], np.float64)


def _ratio_sums(ratios: dict[int, float]) -> np.ndarray:
    finite = np.array([r for r in ratios.values() if np.isfinite(r)])
    return np.array([len(finite), finite.sum(), (finite**2).sum()])


def _power_sums(seen: np.ndarray, pivot: float) -> np.ndarray:
    shifted = seen - pivot
    return np.array([*(np.sum(shifted**k) for k in (1, 2, 3, 4)), np.abs(seen).sum()])


def _log_histogram(seen: np.ndarray) -> np.ndarray:
    edges = 10.0 ** (np.arange(1, 512) / 32 - 8)
    return np.bincount([int(np.sum(edges <= m)) for m in np.abs(seen[seen != 0])], minlength=512)


def _first_nonfinite(finite: np.ndarray, sample: np.ndarray, position: np.ndarray) -> np.ndarray:
    places = [(sample[t], position[t], c) for t, c in zip(*np.nonzero(~finite), strict=True)]
    return np.array(min(places), np.int64) if places else np.array([-1, -1, -1])


def _magnitude_pattern(maxima: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float16":
        return maxima.astype(np.float16).view(np.uint16).astype(np.int64)
    return (maxima.astype(np.float32).view(np.uint32) >> 16).astype(np.int64)


def _absolute_terms(totals: SiteTotals, pivots: Sequence[float]) -> np.ndarray:
    """How large the terms of `power_sums` can be about any of the pivots: sums of (|x - q| + |q - p|)^k, q the own."""
    second, fourth = totals.power_sums[1], totals.power_sums[3]
    # By Cauchy and Schwarz; of the even powers the sums are there.
    own = [totals.finite, np.sqrt(second * totals.finite), second, np.sqrt(second * fourth), fourth]
    reach = max(abs(pivot - float(totals.pivot)) for pivot in pivots if not np.isnan(pivot))
    about = [sum(comb(k, j) * reach ** (k - j) * own[j] for j in range(k + 1)) for k in range(1, 5)]
    return np.array([*about, totals.power_sums[4]])


def assert_same_totals(
    found: SiteTotals, expected: SiteTotals, *, relative: float = 1e-12, pivots: Sequence[float] = ()
) -> None:
    """Every field equal: exactly, but for float sums, which agree to `relative` of the sum of absolute terms.

    The two may have taken their power sums about different pivots; they are compared about the expected one. `pivots`
    are those of the parts of `found`: what is lost when sums are moved from one to another is of the size of the terms
    of the binomial theorem, however small their sum.
    """
    from engine.statistics.totals import ARRAY_FIELDS, shift_power_sums

    assert (found.dtype, found.width) == (expected.dtype, expected.width)
    for name in ARRAY_FIELDS:
        left, right = getattr(found, name), getattr(expected, name)
        if name == "pivot":
            assert np.isnan(left) == np.isnan(right), name
        elif name == "power_sums":
            if not np.isnan(expected.pivot):
                left = shift_power_sums(found, float(expected.pivot))
                terms = _absolute_terms(expected, [float(found.pivot), *pivots])
                np.testing.assert_array_less(np.abs(left - right), relative * terms + 1e-290, err_msg=name)
        elif name == "ratio_sums":
            np.testing.assert_allclose(left, right, rtol=relative, err_msg=name)
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)
