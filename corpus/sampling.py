"""Seeded orders and stratified choices, the same on every machine and with every library version.

- `seeded_order`      a shuffle of `range(count)`, from a seed and a label
- `stratified_order`  an order in which every stretch holds the categories in their overall shares
- `apportion`         share out a total over categories, by largest remainder
- `largest_remainder` whole numbers in given proportions that add up to a total
- `choose_samples`    a stratified subset
- `Split`, `split_samples`  calibration and evaluation samples, stratified by category
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Split:
    """Two disjoint sets of sample numbers that together are all samples, each ascending."""

    calibration: tuple[int, ...]
    evaluation: tuple[int, ...]


def _key(seed: int, label: str, index: int) -> bytes:
    return blake2b(f"{seed}\0{label}\0{index}".encode(), digest_size=16).digest()


def seeded_order(count: int, seed: int, label: str = "") -> list[int]:
    """Shuffle `range(count)` by hashing each number with the seed.

    A hash instead of a random generator: the order never changes with a library's version, and which of two
    numbers comes first does not depend on how many others there are.
    """
    return sorted(range(count), key=lambda index: _key(seed, label, index))


def _by_category(categories: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, category in enumerate(categories):
        groups.setdefault(category, []).append(index)
    return dict(sorted(groups.items()))


def stratified_order(categories: Sequence[str], seed: int) -> list[int]:
    """Order all samples so that every category is spread evenly from the first to the last.

    Each category is shuffled, then its k-th of n samples is put at the place (k + u) / n with one random u per
    sample: close to proportional in every stretch, and different for every seed.
    """
    places: list[tuple[float, int]] = []
    for category, members in _by_category(categories).items():
        for rank, position in enumerate(seeded_order(len(members), seed, category)):
            offset = int.from_bytes(_key(seed, f"{category}/offset", rank)[:8], "big") / 2.0**64
            places.append(((rank + offset) / len(members), members[position]))
    return [index for _, index in sorted(places)]


def apportion(available: Mapping[str, int], total: int) -> dict[str, int]:
    """Share out `total` over categories in proportion to what each has, by largest remainder (Hamilton's method).

    No category gets more than it has, and each that has any gets at least one while `total` allows it.
    """
    have = {name: count for name, count in sorted(available.items()) if count > 0}
    everything = sum(have.values())
    total = min(total, everything)
    if total <= 0:
        return dict.fromkeys(have, 0)
    exact = {name: count * total / everything for name, count in have.items()}
    minimum = 1 if total >= len(have) else 0
    shares = {name: max(minimum, int(exact[name])) for name in have}
    by_need = sorted(have, key=lambda name: (shares[name] - exact[name], name))
    while sum(shares.values()) < total:
        neediest = min((n for n in by_need if shares[n] < have[n]), key=lambda n: (shares[n] - exact[n], n))
        shares[neediest] += 1
    while sum(shares.values()) > total:
        richest = max((n for n in by_need if shares[n] > minimum), key=lambda n: (shares[n] - exact[n], n))
        shares[richest] -= 1
    return shares


def largest_remainder(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers in the proportions of `weights` that add up to `total`; ties go to the earlier one."""
    whole = sum(weights)
    exact = [weight * total / whole for weight in weights]
    counts = [int(share) for share in exact]
    for place in sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))[: total - sum(counts)]:
        counts[place] += 1
    return counts


def choose_samples(categories: Sequence[str], limit: int, seed: int) -> tuple[int, ...]:
    """The numbers of at most `limit` samples, each category in its share, ascending."""
    groups = _by_category(categories)
    shares = apportion({name: len(members) for name, members in groups.items()}, limit)
    chosen: list[int] = []
    for category, members in groups.items():
        order = seeded_order(len(members), seed, category)
        chosen.extend(members[position] for position in order[: shares[category]])
    return tuple(sorted(chosen))


def split_samples(categories: Sequence[str], calibration: int, seed: int) -> Split:
    """Hold out evaluation samples: `calibration` samples in the shares of their categories, all others evaluate.

    Raises:
        ValueError: `calibration` would leave nothing on one of the two sides.
    """
    if not 0 < calibration < len(categories):
        raise ValueError(f"calibration must be between 1 and {len(categories) - 1} samples, not {calibration}")
    chosen = choose_samples(categories, calibration, seed)
    held = set(chosen)
    return Split(chosen, tuple(index for index in range(len(categories)) if index not in held))
