"""Has M converged? The running maximum against the tokens seen, by category, and the paper's bootstrap.

- `Point`, `Convergence`     where the running maximum rose
- `CategoryMaximum`          the same within one category
- `running_maximum`, `by_category`
- `has_converged`            the rule: the second half of the tokens brought nothing new
- `Bootstrap`, `bootstrap`   M over category-proportional subsets of the samples
- `bootstrap_sizes`          the sizes of those subsets for so many samples

Everything follows from the per-sample maxima; nothing is measured again. The bootstrap is that of arXiv 2605.15572:
subsets of 1,000 and 2,000 samples, five repeats each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PAPER_SIZES: Final = (1_000, 2_000)
PAPER_SHARES: Final = (0.2, 0.4)  # of the paper's 5,000 samples
REPEATS: Final = 5
SETTLED_SHARE: Final = 0.5  # of the tokens seen


@dataclass(frozen=True, slots=True)
class Point:
    """The running maximum rose here: to `magnitude`, with `sample`, after `tokens` tokens and `samples` samples."""

    tokens: int
    samples: int
    sample: int
    magnitude: float


@dataclass(frozen=True, slots=True)
class Convergence:
    """The running maximum in run order.

    Attributes:
        points: every rise, in order; the last is the maximum.
        samples, tokens: seen in all.
    """

    points: tuple[Point, ...]
    samples: int
    tokens: int

    @property
    def magnitude(self) -> float:
        """The maximum; NaN if nothing was seen."""
        return self.points[-1].magnitude if self.points else math.nan

    @property
    def last_increase_share(self) -> float:
        """Share of the tokens after which M did not rise any more; near 1 means that it may not have converged."""
        return self.points[-1].tokens / self.tokens if self.points and self.tokens else math.nan


@dataclass(frozen=True, slots=True)
class CategoryMaximum:
    """One category's running maximum, over its own samples in run order."""

    category: str
    convergence: Convergence


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """M over random subsets that keep the corpus's category proportions.

    Attributes:
        size: samples per subset.
        magnitudes: M of each repeat.
        mean: over the repeats.
        cv: coefficient of variation, sample standard deviation (n - 1) over the mean.
        low, high: the range.
    """

    size: int
    magnitudes: tuple[float, ...]
    mean: float
    cv: float
    low: float
    high: float


def running_maximum(order: NDArray[Any], sample_max: NDArray[Any], tokens: NDArray[Any]) -> Convergence:
    """The running maximum of the samples in `order`.

    Args:
        order: numbers of the samples done, in run order, int [n].
        sample_max: per-sample maximum, float [N], NaN where a sample has no finite element.
        tokens: tokens of each sample, int [N].
    """
    values = np.where(np.isnan(sample_max[order]), -np.inf, sample_max[order]).astype(np.float64)
    seen = np.cumsum(tokens[order])
    before = np.concatenate([[-np.inf], np.maximum.accumulate(values)[:-1]]) if len(values) else values
    rises = np.flatnonzero(values > before)
    points = tuple(Point(int(seen[i]), int(i) + 1, int(order[i]), float(values[i])) for i in rises)
    return Convergence(points, len(order), int(seen[-1]) if len(seen) else 0)


def has_converged(found: Convergence, corpus_tokens: int) -> bool:
    """Whether M may be taken as converged: it has not risen over the second half of the tokens seen.

    Asked only once a fifth of the corpus was seen, the smaller of the paper's two bootstrap sizes: before that the
    first sample alone could pass.
    """
    enough = found.tokens >= PAPER_SHARES[0] * corpus_tokens
    return bool(found.points) and enough and found.last_increase_share <= SETTLED_SHARE


def by_category(
    order: NDArray[Any], sample_max: NDArray[Any], tokens: NDArray[Any], categories: Sequence[str]
) -> tuple[CategoryMaximum, ...]:
    """The running maximum of each category, the largest first.

    `categories` is the category of each sample, [N]; the other arguments are those of `running_maximum`.
    """
    labels = np.asarray(categories, dtype=object)[order] if len(order) else np.zeros(0, object)
    found = [
        CategoryMaximum(str(name), running_maximum(order[labels == name], sample_max, tokens))
        for name in sorted(set(labels.tolist()))
    ]
    return tuple(sorted(found, key=lambda c: -np.nan_to_num(c.convergence.magnitude, nan=-np.inf)))


def bootstrap_sizes(samples: int) -> tuple[int, ...]:
    """The paper's 1,000 and 2,000 where there are more samples, else the same shares (20 and 40 %) of what there is."""
    if samples > PAPER_SIZES[-1]:
        return PAPER_SIZES
    return tuple(size for share in PAPER_SHARES if (size := round(share * samples)) >= 1)


def bootstrap(
    sample_max: NDArray[Any],
    categories: Sequence[str],
    sizes: Sequence[int],
    repeats: int = REPEATS,
    seed: int = 0,
) -> tuple[Bootstrap, ...]:
    """M over `repeats` category-proportional subsets of each size, drawn without replacement.

    Args:
        sample_max: per-sample maximum of the samples done, float [n]; NaN samples are left out.
        categories: their categories, [n].
        sizes: samples per subset; at most n.
        repeats: subsets per size.
        seed: of the draws; the same seed draws the same subsets.
    """
    known = ~np.isnan(sample_max)
    values, labels = sample_max[known].astype(np.float64), np.asarray(categories, dtype=object)[known]
    groups = [np.flatnonzero(labels == name) for name in sorted(set(labels.tolist()))]
    draws = np.random.default_rng(seed)
    results = []
    for size in sizes:
        if not 1 <= size <= len(values):
            continue
        shares = _proportional([len(g) for g in groups], size)
        found = np.array(
            [
                max(
                    float(values[draws.choice(group, share, replace=False)].max())
                    for group, share in zip(groups, shares, strict=True)
                    if share
                )
                for _ in range(repeats)
            ]
        )
        mean = float(found.mean())
        cv = float(found.std(ddof=1)) / mean if repeats > 1 and mean > 0 else math.nan
        results.append(Bootstrap(size, tuple(found.tolist()), mean, cv, float(found.min()), float(found.max())))
    return tuple(results)


def _proportional(counts: Sequence[int], size: int) -> list[int]:
    """`size` split in proportion to `counts`, by largest remainder."""
    total = sum(counts)
    exact = [size * count / total for count in counts]
    shares = [int(part) for part in exact]
    by_remainder = sorted(range(len(counts)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: size - sum(shares)]:
        shares[i] += 1
    return shares
