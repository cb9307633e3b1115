"""Arrays declare themselves: from one declaration follow the empty array, reading, merging and the documentation.

- `Declared`      what is to be known of one array: shape, dtype, identity, merge rule, unit, meaning, since when
- `array`         declares a field of a frozen dataclass
- `declared`      the declarations of a class, by field
- `empty_arrays`  nothing seen yet
- `read_arrays`   what a file holds, checked; an array it lacks was not measured and reads as its identity
- `RULES`         how two arrays of a rule combine

The idea is that of `add_state` in torchmetrics: reset, merge, state and synchronisation follow from a declaration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.base.stored import UnsoundError

_KEY: Final = "declared"
_MOST_COUNTED: Final = 2.0**62  # what sums of int64 can hold
_LARGEST_ADDRESS: Final = 2**31
# Of every dtype that is measured; the smallest is subnormal.
_LARGEST_ACTIVATION: Final = float(np.finfo(np.float32).max)
_SMALLEST_ACTIVATION: Final = float(np.finfo(np.float32).smallest_subnormal)


@dataclass(frozen=True, slots=True)
class Declared:
    """One array of a session.

    Attributes:
        shape: sizes, or the letters of sizes that differ from site to site: D channels, N samples, E experts, C
            channels that are counted (D, or 0 where they are not), K entries of a list.
        dtype: as it is kept.
        identity: the value, or the row of values, of an array that has seen nothing.
        rule: how two of them combine: a name in `RULES`, or one that needs the other arrays, too.
        meaning: a few words for a reader, as in "not measured: ...".
        unit: `tokens`, `elements`, `activation` (the activation's own), `1` for ratios, or empty.
        since: the first schema of session files that has it.
    """

    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]
    identity: Any
    rule: str
    meaning: str
    unit: str
    since: int

    def most(self, sizes: Mapping[str, int]) -> int | None:
        """How many elements it has at most for these sizes; None where a size is not known."""
        known = [sizes.get(one) if isinstance(one, str) else one for one in self.shape]
        return None if None in known else math.prod(one for one in known if one is not None)

    def empty(self, sizes: Mapping[str, int]) -> NDArray[Any]:
        """The identity of the merge rule, for these sizes; a size that is not known is 0."""
        shape = tuple(sizes.get(one, 0) if isinstance(one, str) else one for one in self.shape)
        if self.identity == 0:
            return np.zeros(shape, self.dtype)
        found = np.empty(shape, self.dtype)
        found[...] = self.identity
        return found


def array(
    shape: tuple[int | str, ...],
    dtype: DTypeLike,
    identity: Any,
    rule: str,
    meaning: str,
    unit: str = "",
    since: int = 1,
) -> dict[str, Declared]:
    """The metadata of a field that is an array; see `Declared`."""
    return {_KEY: Declared(shape, np.dtype(dtype), identity, rule, meaning, unit, since)}


@cache
def declared(owner: Any) -> Mapping[str, Declared]:
    """The declared arrays of a frozen dataclass, in the order of its fields."""
    return {one.name: one.metadata[_KEY] for one in fields(owner) if _KEY in one.metadata}


def empty_arrays(owner: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Every declared array, without anything seen."""
    return {name: one.empty(sizes) for name, one in declared(owner).items()}


def read_arrays(
    owner: Any, arrays: Mapping[str, NDArray[Any]], sizes: Mapping[str, int]
) -> tuple[dict[str, Any], frozenset[str]]:
    """The declared arrays as they were stored.

    Args:
        owner: what declares them.
        arrays: those that are stored; others than declared are of a newer version, and ignored.
        sizes: the sizes that are known; the others are those of the first array that has them.

    Returns:
        Every declared array, and the names of those that are not stored: they were not measured.

    Raises:
        UnsoundError: an array has another shape or another kind of numbers than declared, or holds numbers that
            nobody can have counted or measured.
    """
    known, found = dict(sizes), {}
    for name, one in declared(owner).items():
        if name in arrays:
            found[name] = _checked(name, one, np.asarray(arrays[name]), known)
    missing = frozenset(declared(owner).keys() - found.keys())
    return {name: found[name] if name in found else one.empty(known) for name, one in declared(owner).items()}, missing


def _checked(name: str, wanted: Declared, stored: NDArray[Any], sizes: dict[str, int]) -> NDArray[Any]:
    """The array in its declared dtype; sizes that were not known are taken from it."""
    if len(stored.shape) == len(wanted.shape):
        for size, letter in zip(stored.shape, wanted.shape, strict=True):
            if isinstance(letter, str):
                sizes.setdefault(letter, size)
    expected = tuple(sizes.get(one, 0) if isinstance(one, str) else one for one in wanted.shape)
    if stored.shape != expected:
        raise UnsoundError(f"{name} has shape {stored.shape}, not {expected}: not this site's")
    if stored.dtype != wanted.dtype and not np.can_cast(stored.dtype, wanted.dtype, "same_kind"):
        raise UnsoundError(f"{name} holds another kind of numbers")
    found = stored.astype(wanted.dtype, copy=False)
    if not _is_possible(wanted, found):
        raise UnsoundError(f"{name} holds numbers that no run can have measured")
    return found


def _is_possible(wanted: Declared, found: NDArray[Any]) -> bool:
    """Whether these can be numbers of a run, by rule and unit: what is computed of them relies on it."""
    if not found.size or found.dtype.kind not in "ifV":
        return True
    match wanted.rule:
        case "add" | "by name" if found.dtype.kind == "i":
            return bool(found.min() >= 0 and found.sum(dtype=np.float64) < _MOST_COUNTED)
        case "add":
            return bool((found >= 0).all() and np.isfinite(found).all())
        case "by name":  # sums of squares may lie beyond every number
            return not (found < 0).any()
        case "first address" | "with the maximum":
            return bool(found.min() >= -1 and found.max() < _LARGEST_ADDRESS)
        case "largest ratio":  # a median of 0 makes it infinite
            return bool(not np.isnan(found[0]) and np.isfinite(found[1:]).all() and found.min() >= -1)
        case "largest":
            return bool(_are_activations(found["value"]).all())
        case "shifted sums" if found.ndim:  # of x, x^2, x^3, x^4 and |x|
            return bool(np.isfinite(found).all() and (found[[1, 3, 4]] >= 0).all())
        case "shifted sums":
            return bool(np.isnan(found) or abs(found) <= _LARGEST_ACTIVATION)
    if wanted.unit != "activation":
        return True
    known = found[~np.isnan(found)] if np.isnan(wanted.identity).all() else found
    if wanted.rule == "extremes":
        return bool(_are_activations(known).all() or (known == wanted.identity).all())
    return bool((known >= 0).all() and _are_activations(known).all())


def _are_activations(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of them an activation can be; float64 reaches further on both sides."""
    size = np.abs(values)
    found: NDArray[np.bool_] = (size <= _LARGEST_ACTIVATION) & ((size == 0) | (size >= _SMALLEST_ACTIVATION))
    return found


def _extremes(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([max(a[0], b[0]), min(a[1], b[1])])


def _first_address(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    seen = [address for address in (a, b) if address[0] >= 0]
    return min(seen, key=tuple).copy() if seen else a.copy()


def _largest_ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    # -1 marks "none judged" and is below every ratio; maximum and median break ties between visits of one token.
    return min((a, b), key=lambda r: (-r[0], r[3], r[4], -r[1], r[2])).copy()


RULES: Final[Mapping[str, Callable[[Any, Any], NDArray[Any]]]] = {
    "add": np.add,
    "maximum": np.maximum,
    "maximum of seen": np.fmax,
    "extremes": _extremes,
    "first address": _first_address,
    "largest ratio": _largest_ratio,
}
"""Combine two arrays by themselves. Further rules need their neighbours: `shifted sums` (a pivot and the sums about
it), `largest` (the list of the largest), `with the largest` (what goes with its first), `with the maximum` (the address
of a maximum), `by name` (rows named by another array)."""
