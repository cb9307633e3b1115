"""What a quantiser at one site does to the tokens, and to the residual stream behind the site's block: sums that merge.

numpy only. The sums are taken by `engine.effect.replay`, over a few hundred tokens of evaluation samples.

- `LocalErrors`     the sums of one site, by scheme
- `LocalNumbers`    what they say of one scheme
- `merge_local`     two of them as one
- `replayed`        the schemes of a run by its `--quant` and `--schemes`
- `SUMS`, `BINS`, `bin_of`      the layout of the arrays

Damage: for each token t the block is computed again with this one site quantised, everything else as it was, and
d_t = ||h'_t - h_t|| / ||h_t||, h being the block's output. The damage is the root mean square of d_t over the tokens.
Of all measures tried it ranks sites most like the KL divergence of the whole model's predictions does
(`tests/bench/bench_ranking.py`). Sites outside the blocks are a stream of their own: there h is the site's tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError
from engine.scheme_names import schemes_in_pass, schemes_of_tensors
from engine.statistics.declared import array, read_arrays

_REPLAYED: Final = ("int8", "int8-token")
_REPLAYED_FULL: Final = (
    *_REPLAYED, "int8-q0.999", "int8-token-smooth0.5", "e4m3", "mxfp8-e4m3", "mxfp4", "nvfp4"
)  # fmt: skip

SUMS: Final = (
    "tokens",
    "stream_tokens",
    "stream_squares",
    "nonzero",
    "zeroed",
    "bulk_signal_squares",
    "bulk_error_squares",
    "signal_absolute",
    "error_absolute",
)
_TOKENS, _STREAM_TOKENS, _STREAM, _NONZERO, _ZEROED, _BULK, _BULK_ERROR, _SIGNAL, _ERROR = range(len(SUMS))
_COUNTS: Final = [_TOKENS, _STREAM_TOKENS, _NONZERO, _ZEROED]

PER_OCTAVE: Final = 16
LOWEST_OCTAVE, HIGHEST_OCTAVE = -24, 8
BINS: Final = PER_OCTAVE * (HIGHEST_OCTAVE - LOWEST_OCTAVE)


@dataclass(frozen=True, slots=True)
class LocalNumbers:
    """One site under one scheme, over the tokens of a few evaluation samples.

    Attributes:
        damage: root mean square over tokens of the relative change of the stream behind the block; NaN where the
            block could not be computed again.
        tokens: how many the token errors are of.
        token_median, token_q90, token_worst: of ||x'_t - x_t|| / ||x_t||, a token's own relative error; the first two
            to 2 %, as they come from bins 4 % wide, and never above the last.
        zeroed: share of the elements that were not 0 and became 0.
        bulk_db: SQNR of the elements that are not massive by the calibration samples' threshold.
        rel_mae: mean |error| over mean |x|. These three are NaN where no token was finite.
    """

    damage: float
    tokens: int
    token_median: float
    token_q90: float
    token_worst: float
    zeroed: float
    bulk_db: float
    rel_mae: float


@dataclass(frozen=True, slots=True, eq=False)
class LocalErrors:
    """The sums of one site; two of them merge by addition, `worst` by the larger one.

    Attributes:
        names: the schemes.
        sums: float64 [schemes, len(SUMS)]. `tokens` counts tokens whose error is finite, `stream_tokens` those whose
            d_t is, `stream_squares` is the sum of d_t^2; `nonzero` and `zeroed` count elements; the others are sums
            over finite elements.
        relative: int64 [schemes, BINS], tokens by their own relative error, `bin_of`.
        worst: float64 [schemes], the largest of these errors, 0 without tokens.
    """

    names: tuple[str, ...] = field(metadata=array(("S",), "<U32", "", "by name", "which quantisers were tried alone"))
    sums: NDArray[np.float64] = field(metadata=array(("S", len(SUMS)), "f8", 0, "by name", "damage by quantisers"))
    relative: NDArray[np.int64] = field(metadata=array(("S", BINS), "i8", 0, "by name", "errors of single tokens"))
    worst: NDArray[np.float64] = field(metadata=array(("S",), "f8", 0, "by name", "the largest error of a token"))

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> LocalErrors:
        """Nothing seen yet of these schemes."""
        count = len(names)
        return cls(names, np.zeros((count, len(SUMS))), np.zeros((count, BINS), np.int64), np.zeros(count))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The fields as arrays; `from_arrays` reads them back."""
        return {
            "names": np.array(self.names, "<U32"), "sums": self.sums, "relative": self.relative, "worst": self.worst
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> LocalErrors | None:
        """Read what `to_arrays` gave; None where one of them is not there.

        Raises:
            UnsoundError: the arrays do not belong together.
        """
        if not {"names", "sums", "relative", "worst"} <= arrays.keys():
            return None
        found, _ = read_arrays(cls, arrays, {})
        names = tuple(str(name) for name in found["names"])
        if len(set(names)) < len(names):
            raise UnsoundError("a quantiser is named twice")
        if not np.isfinite(found["sums"][:, _COUNTS]).all():
            raise UnsoundError("sums holds counts that are no numbers")
        return cls(names, found["sums"], found["relative"], found["worst"])

    def damage(self, name: str) -> float:
        """The damage under a scheme; NaN where it was not measured."""
        if name not in self.names:
            return math.nan
        sums = self.sums[self.names.index(name)]
        return math.sqrt(sums[_STREAM] / sums[_STREAM_TOKENS]) if sums[_STREAM_TOKENS] else math.nan

    def numbers(self, name: str) -> LocalNumbers | None:
        """What is known of a scheme; None if it was not applied, or saw no token."""
        if name not in self.names:
            return None
        place = self.names.index(name)
        sums, counts = self.sums[place], self.relative[place]
        if not sums[_TOKENS] and not sums[_STREAM_TOKENS]:
            return None
        bulk, bulk_error = float(sums[_BULK]), float(sums[_BULK_ERROR])
        worst = float(self.worst[place]) if sums[_TOKENS] else math.nan
        nothing = 0.0 if sums[_TOKENS] else math.nan  # zeros have no error, and of no finite token none is known
        return LocalNumbers(
            damage=self.damage(name),
            tokens=int(sums[_TOKENS]),
            token_median=min(_quantile(counts, 0.5), worst),
            token_q90=min(_quantile(counts, 0.9), worst),
            token_worst=worst,
            zeroed=float(sums[_ZEROED] / sums[_NONZERO]) if sums[_NONZERO] else nothing,
            bulk_db=10 * math.log10(bulk / bulk_error) if bulk > 0 and bulk_error > 0 else math.inf + nothing,
            rel_mae=float(sums[_ERROR] / sums[_SIGNAL]) if sums[_SIGNAL] else nothing,
        )


def replayed(quant: str, chosen: Iterable[str]) -> tuple[str, ...]:
    """The schemes whose damage a run measures.

    Args:
        quant: as of `engine.base.job.Job`.
        chosen: names, `--schemes`; one that this version does not know is passed over.
    """
    known = (*schemes_in_pass("", chosen), *schemes_of_tensors(chosen))
    usual = _REPLAYED_FULL if quant == "full" else _REPLAYED
    return tuple(dict.fromkeys((*usual, *(scheme.name for scheme in known))))


def merge_local(a: LocalErrors, b: LocalErrors) -> LocalErrors:
    """Sums over disjoint tokens as one; a scheme that only one of them has is taken over as it is."""
    names = (*a.names, *(name for name in b.names if name not in a.names))
    found = LocalErrors.empty(names)
    for one in (a, b):
        places = [names.index(name) for name in one.names]
        found.sums[places] += one.sums
        found.relative[places] += one.relative
        found.worst[places] = np.maximum(found.worst[places], one.worst)
    return found


def bin_of(relative: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of relative errors: 16 to an octave from 2^-24 to 2^8; what is beyond, and 0, in the outermost."""
    with np.errstate(divide="ignore"):
        places = np.floor(PER_OCTAVE * (np.log2(relative) - LOWEST_OCTAVE))
    found: NDArray[np.int64] = np.clip(np.nan_to_num(places, neginf=0.0), 0, BINS - 1).astype(np.int64)
    return found


def _quantile(counts: NDArray[np.int64], level: float) -> float:
    """The middle of the bin that holds the element at place floor(level (n - 1)); 0 for the first bin, NaN for none."""
    running = np.cumsum(counts)
    if not running[-1]:
        return math.nan
    place = int(np.searchsorted(running, math.floor(level * (running[-1] - 1)), "right"))
    return 2.0 ** (LOWEST_OCTAVE + (place + 0.5) / PER_OCTAVE) if place else 0.0
