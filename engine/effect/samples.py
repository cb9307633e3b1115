"""Held-out samples, on which effects are measured, and calibration samples, from which thresholds come.

- `Holdout`   the two disjoint sets
- `hold_out`  choose them
- `Targets`, `targets_of`  which tokens of a batch are predicted, from where
- `tokens_by_category`  which predictions belong to which category
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.batching import Batch
from corpus.sampling import choose_samples, stratified_order
from corpus.tokenization import TokenizedCorpus
from corpus.wording import counted
from engine.effect.errors import EffectError


@dataclass(frozen=True, slots=True)
class Holdout:
    """Two disjoint sets of sample numbers, each ascending.

    Attributes:
        measured: the samples on which effects are measured; each has a token to predict.
        calibration: the samples from which thresholds and means are taken.
        notes: what is different from what was asked, one line each.
    """

    measured: tuple[int, ...]
    calibration: tuple[int, ...]
    notes: tuple[str, ...] = ()


def hold_out(
    tokenized: TokenizedCorpus,
    *,
    samples: int,
    tokens: int,
    calibration: int,
    seed: int,
    split: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Holdout:
    """Choose both sets, every category in its share.

    Args:
        tokenized: the corpus.
        samples: held-out samples at most; never more than half of a corpus without a split.
        tokens: tokens of the held-out samples at most, one sample always.
        calibration: calibration samples at most, out of what is not held out.
        seed: chooses.
        split: the session's own (calibration, evaluation) samples, if it has them.

    Raises:
        EffectError: no sample has two tokens.
    """
    lengths = tokenized.lengths
    usable = [int(number) for number in np.flatnonzero(lengths >= 2)]
    if not usable:
        raise EffectError("no sample has a token to predict; measure a corpus of longer texts")
    notes = []
    if split is not None:
        pool = sorted(set(split[1]) & set(usable))
        others = sorted(set(split[0]) & set(usable))
    else:
        pool, others = usable, usable
        if samples > max(len(usable) // 2, 1):
            samples = max(len(usable) // 2, 1)
            notes.append(f"{counted(samples, 'sample')} held out: half of the {len(usable)} there are")
    if not pool:
        raise EffectError("none of the session's evaluation samples has a token to predict; measure more samples")
    measured = _within(_choose(pool, samples, tokenized, seed), lengths, tokens, tokenized, seed)
    left = sorted(set(others) - set(measured))
    return Holdout(measured, _choose(left, calibration, tokenized, seed + 1), tuple(notes))


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The next-token predictions of a batch, each array [n], ascending by row.

    Attributes:
        rows: int64, the row of the flattened [B * T] batch that predicts.
        tokens: int64, the token id that follows.
        samples, positions: int32, where that token is.
    """

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    samples: NDArray[np.int32]
    positions: NDArray[np.int32]


def targets_of(batch: Batch) -> Targets:
    """The predictions of a batch: every token but the first of each sample, padding never."""
    width = batch.input_ids.shape[1]
    rows = np.flatnonzero(np.arange(width)[None, :] < batch.lengths[:, None] - 1)
    line, place = rows // width, rows % width + 1
    return Targets(rows, batch.input_ids[line, place], batch.samples[line], place.astype(np.int32))


def _choose(pool: Sequence[int], limit: int, tokenized: TokenizedCorpus, seed: int) -> tuple[int, ...]:
    chosen = choose_samples([tokenized.categories[number] for number in pool], limit, seed)
    return tuple(pool[index] for index in chosen)


def _within(
    chosen: Sequence[int],
    lengths: NDArray[np.int64],
    tokens: int,
    tokenized: TokenizedCorpus,
    seed: int,
) -> tuple[int, ...]:
    """As many of them as stay within the tokens, in an order that mixes the categories; the first one always."""
    kept: list[int] = []
    total = 0
    for index in stratified_order([tokenized.categories[number] for number in chosen], seed):
        length = int(lengths[chosen[index]])
        if not kept or total + length <= tokens:
            kept.append(chosen[index])
            total += length
    return tuple(sorted(kept))


def tokens_by_category(categories: Mapping[int, str], samples: NDArray[np.int32]) -> dict[str, NDArray[np.bool_]]:
    """For each category the mask of the predictions that belong to it, bool [n], categories in alphabetical order."""
    names = np.array([categories[int(number)] for number in samples])
    return {str(name): names == name for name in np.unique(names)}
