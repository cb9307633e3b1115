"""Numbers as people read them: few cells, honest digits.

- `compact`    `23.2k`, `1.05e6`: three digits, which is what a 16-bit activation has
- `signed`     the same with a sign in front of negatives, in at most six cells
- `exact`      `23,168`: every digit a float32 has
- `exact_short`  the same in eight cells: of a longer number four digits
- `fixed`      so many decimals, never a negative zero
- `grouped`    whole numbers with thousands separators
- `brief`, `full`  a field's number in its style: in six cells, or with every digit it has
- `percent`, `share_text`, `duration`, `size`, `rate`, `bits`
- `read_number`  a number as people type it
"""

from __future__ import annotations

import math
import re

from engine.base import wording
from engine.base.wording import Style

UNKNOWN = "-"
_TYPED = re.compile(r"([+-]?)(\d+|\d{1,3}(?:,\d{3})+)?(\.\d*)?(e[+-]?\d{1,4})?(k?)", re.ASCII | re.IGNORECASE)


def compact(value: float, digits: int = 3) -> str:
    """Three significant digits in at most six cells, without sign: `0.0123`, `1.23`, `123`, `23.2k`, `1.05e6`."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "inf"
    magnitude = abs(value)
    if magnitude == 0:
        return "0"
    mantissa, exponent = _rounded(magnitude, digits)
    if exponent < -2 or exponent > 5:
        decimals = max(digits - 1 - (len(str(exponent)) - 1), 0)
        mantissa, exponent = _rounded(magnitude, decimals + 1)
        return f"{mantissa:.{decimals}f}e{exponent}"
    if exponent < 3:
        return f"{mantissa * 10.0**exponent:.{max(digits - 1 - exponent, 0)}f}"
    return f"{mantissa * 10.0 ** (exponent - 3):.{max(digits - 1 - (exponent - 3), 0)}f}k"


def signed(value: float) -> str:
    """`compact` with a minus sign before negatives, in at most six cells."""
    if math.isnan(value) or value >= 0:
        return compact(value)
    text = compact(value)
    return f"-{text}" if len(text) < 6 else f"-{compact(value, 2)}"


def exact(value: float) -> str:
    """All digits of a float32 (of a bfloat16 all the more), with thousands separators: `23,168`, `-0.015625`."""
    if not math.isfinite(value):
        return UNKNOWN if math.isnan(value) else compact(value) if value > 0 else "-inf"
    return wording.exact(value)


def exact_short(value: float) -> str:
    """All digits of a 16-bit number; four of a number, such as a threshold, that lies between two of them."""
    text = exact(value)
    return text if len(text) <= 8 else compact(value, 4)


def fixed(value: float, decimals: int = 1) -> str:
    """So many decimals; what rounds to zero has no sign."""
    return f"{value:z.{decimals}f}"


def grouped(value: int) -> str:
    """A whole number with thousands separators."""
    return f"{value:,}"


def brief(value: float | None, style: Style, *, ascii_only: bool = True) -> str:
    """A number of this style in at most six cells."""
    if value is None or math.isnan(value):
        return UNKNOWN
    match style:
        case "share":
            return percent(value)
        case "count":
            return grouped(int(value)) if value < 1e5 else compact(value)
        case "decibels" if math.isfinite(value):
            return fixed(value)
        case "decibels" if value > 0 and not ascii_only:
            return "∞"
    return signed(value)


def full(value: float | None, style: Style) -> str:
    """A number of this style with every digit it has, where the style says so; else as `brief`."""
    if value is not None and style in ("exact", "count"):
        return exact(value) if style == "exact" or math.isnan(value) else grouped(int(value))
    return brief(value, style)


def percent(share: float) -> str:
    """A share as whole per cent, with a decimal below one: `34 %`, `0.4 %`; never 100 % before it is."""
    if math.isnan(share):
        return UNKNOWN
    points = 100 * share
    if 0 < points < 1:
        return f"{points:.1g} %" if points >= 0.1 else "<0.1 %"
    return f"{math.floor(points) if points < 100 else round(points)} %"


def share_text(share: float) -> str:
    """A share in per cent, with two decimals where it is small: `0.10 %`, `31.4 %`, `<0.01 %`."""
    if math.isnan(share):
        return UNKNOWN
    if share in (0, 1):
        return f"{fixed(100 * share, 0)} %"
    if abs(share) < 1e-4:
        return "<0.01 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    if share >= 10:
        return f"{compact(100 * share)} %"
    return f"{fixed(100 * share, 2 if share < 0.1 else 1)} %"


def bits(count: float) -> str:
    """Bits of headroom: `1.2 bits`, `<0.1 bits`."""
    return "<0.1 bits" if 0 < count < 0.05 else f"{fixed(count)} bits"


def read_number(text: str) -> float:
    """A number as people type it and as it is shown: `12.5`, `3e4`, `23,168`, `23.2k`; NaN where it is none."""
    found = _TYPED.fullmatch(text.strip())
    if found is None or not (found[2] or (found[3] or "").strip(".")):
        return math.nan
    number = float(f"{found[1]}{(found[2] or '0').replace(',', '')}{found[3] or ''}{found[4] or ''}")
    return float(f"{number * 1000:.15g}") if found[5] else number  # 16.01k is 16,010, not a hair more


def duration(seconds: float | None) -> str:
    """`0:32`, `12:05`, `1:02:03`, `2d 03h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return UNKNOWN
    whole = round(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


def size(count: int, units: str = "binary") -> str:
    """Bytes: `512 B`, `1.2 GiB`; with `decimal` units `1.3 GB`."""
    step, infix = (1000, "") if units == "decimal" else (1024, "i")
    value = float(count)
    for prefix in ("", "k" if units == "decimal" else "K", "M", "G", "T"):
        unit = f"{prefix}{infix}B" if prefix else "B"
        if value < step or prefix == "T":
            return f"{count} B" if not prefix else f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
        value /= step
    raise AssertionError


def rate(per_second: float, unit: str) -> str:
    """`1.23k tok/s`; `-` while unknown."""
    return f"{compact(per_second)} {unit}/s" if per_second > 0 else f"{UNKNOWN} {unit}/s"


def _rounded(magnitude: float, digits: int) -> tuple[float, int]:
    mantissa, exponent = f"{magnitude:.{max(digits - 1, 0)}e}".split("e")
    return float(mantissa), int(exponent)
