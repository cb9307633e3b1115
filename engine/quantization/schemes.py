"""A quantiser with a policy for its threshold, by name.

- `Scheme`            `int8`, `int8-asym`, `int8-q0.999`, `int8-paper0.999`, `int4-mse`, `e4m3`, `e5m2-unscaled`
- `parse_scheme`      a name -> scheme
- `title_of`          a name as people read it: `int8-q99.9`
- `DEFAULT_SCHEMES`   the twelve columns of the board
- `evaluate`          the error of a scheme on a site
- `fake_quantise`     single numbers through a scheme
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.formats import QuantizationError, find_float, find_integer, round_to
from engine.quantization.distribution import Distribution
from engine.quantization.floating import floating
from engine.quantization.metrics import QuantError
from engine.quantization.thresholds import check_level, max_abs, mse_optimal, quantile, reference_quantile
from engine.quantization.uniform import (
    asymmetric,
    asymmetric_squares,
    check_threshold,
    symmetric,
    symmetric_squares,
)
from engine.statistics.totals import TOP_K

Kind = Literal["int", "e4m3", "e5m2"]
Policy = Literal["max_abs", "quantile", "reference_quantile", "mse", "value", "unscaled"]

_NAME: Final = re.compile(
    r"(?:int(?P<bits>\d+)(?P<asym>-asym)?|(?P<float>e4m3|e5m2))"
    r"(?:-(?:(?P<word>mse|unscaled)|(?P<policy>q|paper|t)(?P<value>[0-9.]+(?:e[+-]?[0-9]+)?)))?"
)
_LEAST_PERCENT: Final = 50  # below it a level in per cent could be meant as anything
_QUANTILE: Final = re.compile(r"-q(0\.[0-9]+)")
_POLICIES: Final[dict[str, Policy]] = {"q": "quantile", "paper": "reference_quantile", "t": "value"}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A per-tensor quantiser and how its threshold is chosen.

    Attributes:
        kind: `int`, or the FP8 format.
        bits: 2 to 8; 8 for FP8.
        is_symmetric: integer quantisers only.
        policy: of the threshold. `unscaled` is a plain FP8 cast.
        value: the level of a quantile, or the threshold itself (`value`).
    """

    kind: Kind = "int"
    bits: int = 8
    is_symmetric: bool = True
    policy: Policy = "max_abs"
    value: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            QuantizationError: bits, level or threshold out of range, or a policy the kind does not have.
        """
        find_integer(self.bits)
        if self.policy in ("quantile", "reference_quantile"):
            check_level(self.value)
        if self.policy == "value":
            check_threshold(self.value)
        if self.kind == "int" and self.policy == "unscaled":
            raise QuantizationError("unscaled: only e4m3 and e5m2 can be cast without a scale")

    @property
    def source(self) -> str:
        """How its errors become known: from the pattern histogram, after the pass."""
        return "from histogram"

    @property
    def bits_with_scales(self) -> float:
        """Bits an element takes; one scale for a whole tensor adds nothing."""
        return float(self.bits)

    @property
    def name(self) -> str:
        """The name `parse_scheme` reads."""
        head = self.kind if self.kind != "int" else f"int{self.bits}" + ("" if self.is_symmetric else "-asym")
        tails = {"max_abs": "", "mse": "-mse", "unscaled": "-unscaled"}
        letters = {policy: letter for letter, policy in _POLICIES.items()}
        tail = tails[self.policy] if self.policy in tails else f"-{letters[self.policy]}{_digits(self.value)}"
        return head + tail

    def threshold(self, distribution: Distribution) -> float:
        """T by the policy, from this distribution (the calibration samples, where there are such)."""
        if self.policy == "quantile":
            return quantile(distribution, self.value)
        if self.policy == "reference_quantile":
            return reference_quantile(distribution, self.value)
        if self.policy == "value":
            return self.value
        if self.policy == "unscaled":
            return find_float(self.kind).largest
        if self.policy == "mse":
            return mse_optimal(distribution, self.bits, lambda threshold: self._squared_error(distribution, threshold))
        return max_abs(distribution)

    def error(
        self, distribution: Distribution, threshold: float, calibration: Distribution | None = None
    ) -> QuantError:
        """The error on a site with the threshold given.

        Args:
            distribution: the elements whose error is taken.
            threshold: T.
            calibration: the elements whose extremes are the range of asymmetric schemes; the same if None.
        """
        if self.kind != "int":
            return floating(distribution, threshold, find_float(self.kind))
        if self.is_symmetric:
            return symmetric(distribution, threshold, self.bits)
        return asymmetric(distribution, threshold, self.bits, calibration)

    def _squared_error(self, distribution: Distribution, threshold: float) -> float:
        if self.kind == "int":
            return (symmetric_squares if self.is_symmetric else asymmetric_squares)(distribution, threshold, self.bits)
        return self.error(distribution, threshold).rmse ** 2


DEFAULT_SCHEMES: Final = (
    Scheme(),
    Scheme(policy="quantile", value=0.999),
    Scheme(policy="quantile", value=0.9999),
    Scheme(policy="mse"),
    Scheme(is_symmetric=False),
    Scheme(bits=6),
    Scheme(bits=6, policy="quantile", value=0.999),
    Scheme(bits=4),
    Scheme(bits=4, policy="quantile", value=0.999),
    Scheme(bits=4, policy="mse"),
    Scheme(kind="e4m3"),
    Scheme(kind="e5m2"),
)


def title_of(name: str) -> str:
    """A scheme's name as people read it, its quantile in per cent: `int8-q99.9`, `int8-smooth0.5`.

    Levels below the median stay as they are: `q0.4` must not be taken for 0.4 %.
    """
    return _QUANTILE.sub(_in_percent, name).replace("-token-smooth", "-smooth")


def _in_percent(found: re.Match[str]) -> str:
    level = float(found[1])
    percent = f"{100 * level:.12g}"
    return f"-q{percent}" if float(percent) >= _LEAST_PERCENT and _of_percent(percent) == level else found[0]


def _of_percent(percent: str) -> float:
    """A level given in per cent, without what the division adds behind its digits."""
    return float(f"{float(percent) / 100:.12g}")


def _digits(value: float) -> str:
    """As few digits as give this very number back; those of most numbers fit in twelve."""
    return short if float(short := f"{value:.12g}") == value else repr(value)


def parse_scheme(name: str) -> Scheme:
    """The scheme of that name or title.

    Raises:
        QuantizationError: no such scheme.
    """
    found = _NAME.fullmatch(name.strip().lower())
    if found is None:
        raise QuantizationError(
            f"there is no scheme {name!r}; there are int2 to int8, int8-asym, e4m3 and e5m2, "
            "each with -mse, -q0.999, -paper0.999 or -t12.5 behind it, and e4m3-unscaled"
        )
    kind: Kind = "int"
    if found["float"] is not None:
        kind = "e4m3" if found["float"] == "e4m3" else "e5m2"
    policy: Policy = "max_abs"
    if found["word"] is not None:
        policy = "mse" if found["word"] == "mse" else "unscaled"
    elif found["policy"] is not None:
        policy = _POLICIES[found["policy"]]
    try:
        value = float(found["value"]) if found["value"] else 0.0
    except ValueError:
        raise QuantizationError(f"{found['value']!r} in {name!r} is not a number") from None
    if policy == "quantile" and value >= _LEAST_PERCENT:
        value = _of_percent(found["value"])
    return Scheme(kind, int(found["bits"] or 8), found["asym"] is None, policy, value)


def evaluate(distribution: Distribution, scheme: Scheme, calibration: Distribution | None = None) -> QuantError:
    """The error of a scheme on a site, with that of its bulk: of what a few largest elements cannot mask.

    Args:
        distribution: the elements whose error is taken.
        scheme: quantiser and policy.
        calibration: the elements that threshold and range are taken from; the same if None.
    """
    threshold, source = scheme.threshold(calibration or distribution), calibration or distribution
    whole = scheme.error(distribution, threshold, source)
    bulk = distribution.without_massive()
    return replace(
        whole,
        bulk_db=whole.sqnr_db if bulk is distribution else scheme.error(bulk, threshold, source).sqnr_db,
        below_top_db=scheme.error(distribution.without_largest(TOP_K), threshold, source).sqnr_db,
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
    x = np.asarray(values, np.float64)
    if scheme.kind != "int":
        form = find_float(scheme.kind)
        scale = threshold / form.largest
        if scale == 0:
            return np.zeros_like(x)
        rounded: NDArray[np.float64] = np.copysign(round_to(np.abs(x) / scale, form) * scale, x)
        return rounded
    if scheme.is_symmetric:
        level = find_integer(scheme.bits).level
        scale = threshold / level
        return np.clip(np.rint(x / scale), -level, level) * scale if scale > 0 else np.zeros_like(x)
    high, low = (min(side.largest, threshold) for side in distribution.by_sign)
    highest = find_integer(scheme.bits, is_symmetric=False).level
    scale = (high + low) / highest
    if scale == 0:
        return np.zeros_like(x)
    zero_point = round(low / scale)
    levels: NDArray[np.float64] = np.clip(np.rint(x / scale) + zero_point, 0, highest)
    dequantised: NDArray[np.float64] = (levels - zero_point) * scale
    return dequantised
