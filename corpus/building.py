"""Build a corpus from a recipe: read, choose, drop duplicates, cut, label, write.

- `build_corpus`  the whole way; returns the manifest
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from corpus.duplicates import NearDuplicates
from corpus.language import language_of, script_of
from corpus.manifest import CategoryCount, LengthCount, Manifest
from corpus.reading import content_hash, load_corpus
from corpus.recipe import ANY_CATEGORY, Recipe, SourceSpec, check_categories
from corpus.samples import CorpusError, Progress, Sample
from corpus.sampling import stratified_order
from corpus.selection import LengthRoom, Reserve, reserve_size
from corpus.sources.hub import hub_samples
from corpus.sources.local import STANDARD_INPUT, find_files, local_samples
from corpus.sources.reading import SourceReading
from corpus.sources.rows import cut_text
from corpus.wording import counted
from corpus.writing import check_output, write_corpus

_LIBRARIES = ("datasketch", "py3langid", "fonttools", "pyarrow")


@dataclass(slots=True)
class _Category:
    """One category while it is being filled."""

    name: str
    wanted: int
    reserve: Reserve
    room: LengthRoom
    too_short: int = 0
    near_duplicates: int = 0
    got: int = 0

    def count(self) -> CategoryCount:
        seen = self.reserve.seen + self.too_short
        duplicates = self.reserve.duplicates + self.near_duplicates
        return CategoryCount(self.name, self.wanted, self.got, seen, self.too_short, duplicates)


def build_corpus(
    recipe: Recipe, out: Path, sources: Sequence[SourceSpec] = (), progress: Progress | None = None
) -> Manifest:
    """Build a corpus file and its manifest.

    Every source is read once, from start to end; texts are chosen by hash and seed, so the same inputs give the same
    bytes whatever the order of the files. A quota that cannot be filled is reported and left so.

    Args:
        recipe: quotas, lengths, seed and sources.
        out: the file to write, `.jsonl` or `.parquet`; its folder must exist. The manifest goes beside it.
        sources: the user's own; they replace the recipe's for their categories.
        progress: called with (done, total, label); the unit of done and total changes with the label.

    Raises:
        CorpusError: a source without a match, an unknown category, a dataset that cannot be had, nothing usable
            at all, or an output that cannot be written. Nothing is then left under the final names.
    """
    check_output(out)
    check_categories(recipe, tuple(sources))
    chosen = tuple(sources) + _remaining(recipe, sources)
    if not chosen:
        raise CorpusError(f"the recipe {recipe.name} names no source; add --source CATEGORY=GLOB", code=2)
    found = {spec: find_files(spec.location) for spec in chosen if _is_glob(spec)}
    # Made before any reading, so that a missing library is known at once.
    duplicates = NearDuplicates()
    categories = {name: _category(recipe, name, quota) for name, quota in recipe.quotas}
    reading = SourceReading(recipe.max_bytes, progress)
    overridden = {spec.category for spec in sources}
    sizes = sum(path.stat().st_size for _, files in found.values() for path in files)
    for spec in sorted(chosen, key=lambda spec: spec.kind == "hub"):
        if spec.kind != "hub" and not reading.total:
            reading.start(sizes)
        ignored = set() if spec in sources else overridden
        _fill(spec, _samples(spec, found, reading), categories, ignored, recipe, reading)
    samples = _choose(categories, recipe, duplicates, progress)
    if not samples:
        count = counted(reading.problem_count, "problem")
        why = f"; the first of {count}: {reading.problems[0]}" if reading.problems else ""
        raise CorpusError(f"no usable text for any category of {recipe.name}{why}")
    labelled = _label(samples, progress)
    ordered = [labelled[index] for index in stratified_order([sample.category for sample in labelled], recipe.seed)]
    result: list[Manifest] = []

    def manifest(file_sha256: str) -> dict[str, object]:
        titles = tuple(spec.title for spec in chosen)
        result.append(_manifest(recipe, ordered, categories, reading, titles, file_sha256))
        return result[0].to_json()

    write_corpus(out, ordered, manifest)
    return result[0]


def _is_glob(spec: SourceSpec) -> bool:
    return spec.kind == "files" and spec.location != STANDARD_INPUT


def _remaining(recipe: Recipe, sources: Sequence[SourceSpec]) -> tuple[SourceSpec, ...]:
    """The recipe's own sources that still feed a category the user named no source for."""
    own = {spec.category for spec in sources}
    if ANY_CATEGORY in own:
        return ()
    open_categories = {name for name, _ in recipe.quotas} - own
    return tuple(
        spec
        for spec in recipe.sources
        if spec.category in open_categories or (spec.category == ANY_CATEGORY and _feeds(spec, open_categories))
    )


def _feeds(spec: SourceSpec, wanted: set[str]) -> set[str]:
    """The categories among `wanted` that a source can give texts for."""
    if spec.category != ANY_CATEGORY:
        return wanted & {spec.category}
    return wanted & {category for _, category in spec.categories} if spec.categories else set(wanted)


def _category(recipe: Recipe, name: str, quota: int) -> _Category:
    return _Category(
        name, quota, Reserve(quota, recipe.seed), LengthRoom(recipe.lengths, quota, recipe.bytes_per_token)
    )


def _samples(
    spec: SourceSpec, found: dict[SourceSpec, tuple[Path, tuple[Path, ...]]], reading: SourceReading
) -> Iterator[Sample]:
    if spec.kind == "starter":
        return iter(load_corpus("starter").samples)
    if spec.kind == "hub":
        return hub_samples(spec, reading)
    return local_samples(spec, found.get(spec), reading)


def _fill(
    spec: SourceSpec,
    samples: Iterator[Sample],
    categories: dict[str, _Category],
    ignored: set[str],
    recipe: Recipe,
    reading: SourceReading,
) -> None:
    """Offer a source's texts to the reserves; a dataset is left as soon as it has filled all it can feed."""
    least = recipe.min_tokens * recipe.bytes_per_token
    feeds = _feeds(spec, set(categories) - ignored)
    given: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for sample in samples:
        if sample.category in ignored:
            continue
        category = categories.get(sample.category)
        if category is None:
            unknown[sample.category] += 1
            continue
        if len(sample.text) < least and len(sample.text.encode()) < least:
            category.too_short += 1
            continue
        category.reserve.offer(sample)
        given[sample.category] += 1
        full = given[sample.category] == reserve_size(category.wanted)
        if full and spec.kind == "hub" and all(given[name] >= reserve_size(categories[name].wanted) for name in feeds):
            break
    for name, rows in sorted(unknown.items()):
        said = f"{counted(rows, 'row')} of the category {name}, which is not in the recipe {recipe.name}"
        reading.problem(spec.title, said)


def _choose(
    categories: dict[str, _Category], recipe: Recipe, duplicates: NearDuplicates, progress: Progress | None
) -> list[Sample]:
    """Take texts from the reserves until the quotas are filled or the reserves are empty, and cut them to length."""
    samples: list[Sample] = []
    for category in categories.values():
        while category.got < category.wanted and len(category.reserve):
            sample = category.reserve.pop()
            if not duplicates.add(sample.text):
                category.near_duplicates += 1
                continue
            limit = category.room.place(len(sample.text.encode()))
            samples.append(replace(sample, text=cut_text(sample.text, limit)))
            category.got += 1
            if progress is not None and len(samples) % 50 == 0:
                progress(len(samples), recipe.samples, "dropping near-duplicates")
    return samples


def _label(samples: list[Sample], progress: Progress | None) -> list[Sample]:
    """Fill in language and script where the source did not name them."""
    labelled: list[Sample] = []
    for number, sample in enumerate(samples, start=1):
        language = sample.language or language_of(sample.text)
        labelled.append(replace(sample, language=language, script=script_of(sample.text)))
        if progress is not None and (number % 50 == 0 or number == len(samples)):
            progress(number, len(samples), "telling languages")
    return labelled


def _manifest(
    recipe: Recipe,
    samples: list[Sample],
    categories: dict[str, _Category],
    reading: SourceReading,
    sources: tuple[str, ...],
    file_sha256: str,
) -> Manifest:
    counts = tuple(category.count() for category in categories.values())
    rooms = [category.room for category in categories.values()]
    lengths = tuple(
        LengthCount(
            bucket.tokens,
            sum(room.wanted[place] for room in rooms),
            sum(room.got[place] for room in rooms),
            sum(room.full[place] for room in rooms),
        )
        for place, bucket in enumerate(recipe.lengths)
    )
    shortfalls = tuple(
        f"{count.category}: {count.got:,} of {counted(count.wanted, 'sample')} ({counted(count.seen, 'text')} seen, "
        f"{count.too_short} too short, {counted(count.duplicates, 'duplicate')})"
        for count in counts
        if count.got < count.wanted
    )
    return Manifest(
        recipe=recipe.name,
        recipe_hash=recipe.digest,
        seed=recipe.seed,
        samples=len(samples),
        wanted=recipe.samples,
        text_bytes=sum(len(sample.text.encode()) for sample in samples),
        content_hash=content_hash(samples),
        file_sha256=file_sha256,
        categories=counts,
        lengths=lengths,
        languages=dict(Counter(sample.language for sample in samples).most_common()),
        scripts=dict(Counter(sample.script for sample in samples).most_common()),
        sources=sources,
        shortfalls=shortfalls,
        problems=tuple(reading.problems),
        problem_count=reading.problem_count,
        libraries={name: version(name) for name in _LIBRARIES},
    )
