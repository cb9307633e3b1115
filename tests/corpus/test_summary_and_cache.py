"""What `corpus show` counts, and tokenised corpora kept from run to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corpus.cache
from corpus.cache import cache_folder, tokenize_cached
from corpus.reading import content_hash
from corpus.samples import Corpus, Sample
from corpus.summary import summarise
from corpus.tokenization import Policy, TokenizedCorpus, tokenize


def corpus_of(*rows: tuple[str, str]) -> Corpus:
    samples = tuple(Sample(text, category) for text, category in rows)
    return Corpus("test", samples, content_hash(samples), ("line 3: empty",))


def assert_equal(one: TokenizedCorpus, two: TokenizedCorpus) -> None:
    for name in TokenizedCorpus.__dataclass_fields__:
        a, b = getattr(one, name), getattr(two, name)
        assert np.array_equal(a, b) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b, name


def test_a_summary_counts_characters_scripts_and_problems() -> None:
    corpus = corpus_of(("abcd", "web"), ("春天", "chinese"), ("abcdefgh", "web"), ("x" * 100, "math"))
    summary = summarise(corpus)
    assert summary.unit == "characters" and summary.problems == ("line 3: empty",)
    assert [c.category for c in summary.categories] == ["chinese", "math", "web"]
    web = summary.categories[2]
    assert (web.samples, web.total, web.shortest, web.median, web.longest) == (2, 12, 4, 6.0, 8)
    assert summary.categories[0].text_bytes == 6 and summary.overall.scripts == {"Latn": 3, "Hani": 1}
    assert summary.overall.languages == {"unknown": 4}
    assert summary.histogram_counts.sum() == 4 and len(summary.histogram_edges) == len(summary.histogram_counts) + 1
    assert (np.diff(summary.histogram_edges) > 0).all()
    assert summary.histogram_edges[0] <= 2 and summary.histogram_edges[-1] > 100


def test_a_summary_counts_tokens_where_there_are_some(starter: Corpus, demo_tokenizer) -> None:
    tokenized = tokenize(starter, demo_tokenizer, policy="raw", max_length=200)
    summary = summarise(starter, tokenized)
    assert summary.unit == "tokens" and summary.overall.total == len(tokenized.ids)
    assert summary.cut == len(tokenized.cut) > 0 and summary.dropped == 0
    assert summary.overall.longest == 200 and len(summary.overall.scripts) >= 12
    assert sum(category.samples for category in summary.categories) == len(starter.samples)


@pytest.mark.parametrize("lengths", [(1, 1), (7, 7), (1, 2), (5, 1000)])
def test_every_length_falls_into_the_histogram(lengths: tuple[int, int]) -> None:
    summary = summarise(corpus_of(*(("x" * length, "web") for length in lengths)))
    assert summary.histogram_counts.sum() == 2


def test_the_second_tokenization_comes_from_the_cache(starter: Corpus, byte_level, tmp_path: Path) -> None:
    reports: list[int] = []
    options: dict[str, Any] = {"policy": "bos", "max_length": 100, "folder": tmp_path}
    first = tokenize_cached(starter, byte_level, progress=lambda done, *_: reports.append(done), **options)
    assert reports
    reports.clear()
    again = tokenize_cached(starter, byte_level, progress=lambda done, *_: reports.append(done), **options)
    assert reports == []
    assert_equal(first, again)
    assert again.pieces(3) == first.pieces(3)
    assert_equal(first, tokenize(starter, byte_level, policy="bos", max_length=100))


def test_every_part_of_the_key_makes_another_entry(starter: Corpus, byte_level, sentencepiece_like, tmp_path) -> None:
    less = Corpus("less", starter.samples[:5], content_hash(starter.samples[:5]))
    entries: tuple[tuple[Corpus, Any, Policy, int], ...] = (
        (starter, byte_level, "raw", 64),
        (less, byte_level, "raw", 64),
        (starter, sentencepiece_like, "raw", 64),
        (starter, byte_level, "chat", 64),
        (starter, byte_level, "raw", 65),
    )
    for which, tokenizer, policy, length in entries:
        tokenize_cached(which, tokenizer, policy=policy, max_length=length, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_damaged_entry_is_made_again(starter: Corpus, byte_level, tmp_path: Path, damage: bytes | None) -> None:
    options: dict[str, Any] = {"policy": "raw", "max_length": 64, "folder": tmp_path}
    first = tokenize_cached(starter, byte_level, **options)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert_equal(tokenize_cached(starter, byte_level, **options), first)
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(starter: Corpus, byte_level, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tokenized = tokenize_cached(starter, byte_level, policy="raw", max_length=64, folder=tmp_path / "file")
    assert len(tokenized) == len(starter.samples)


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAXACT_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here" / "tokenized"


def test_the_least_recently_used_entries_make_room(starter: Corpus, byte_level, monkeypatch, tmp_path: Path) -> None:
    import os

    options: dict[str, Any] = {"policy": "raw", "folder": tmp_path}
    for age, length in ((300, 60), (200, 61), (100, 62)):
        before = set(tmp_path.iterdir())
        tokenize_cached(starter, byte_level, max_length=length, **options)
        (entry,) = set(tmp_path.iterdir()) - before
        os.utime(entry, (1_000_000_000 - age, 1_000_000_000 - age))
    sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}
    tokenize_cached(starter, byte_level, max_length=60, **options)
    monkeypatch.setattr(corpus.cache, "_KEEP_BYTES", 3 * max(sizes.values()) + 2000)
    tokenize_cached(starter, byte_level, max_length=63, **options)
    left = set(tmp_path.iterdir())
    assert len(left) == 3
    gone = next(iter(set(sizes) - left))
    # 61 was used longest ago: 60 has been used again since.
    tokenize_cached(starter, byte_level, max_length=61, **options)
    assert gone in set(tmp_path.iterdir())
