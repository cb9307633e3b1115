"""The bundled starter corpus is what the documentation says it is."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from importlib import resources

from corpus.reading import load_corpus
from corpus.samples import Corpus
from corpus.tokenization import tokenize

CATEGORIES = {"math", "code", "web", "knowledge", "chinese", "minority", "other"}


def test_starter_has_seven_categories_of_at_least_eight_samples(starter: Corpus) -> None:
    counts = Counter(sample.category for sample in starter.samples)
    assert set(counts) == CATEGORIES
    assert min(counts.values()) >= 8
    assert starter.problems == ()


def test_starter_samples_have_60_to_400_tokens_of_the_demo_model(starter: Corpus, demo_tokenizer) -> None:
    tokenized = tokenize(starter, demo_tokenizer, policy="raw", max_length=2048)
    lengths = dict(zip((sample.origin for sample in starter.samples), tokenized.lengths.tolist(), strict=True))
    assert {origin: n for origin, n in lengths.items() if not 60 <= n <= 400} == {}
    assert tokenized.cut == () and tokenized.dropped == ()


def test_starter_minority_samples_are_in_at_least_eight_scripts(starter: Corpus) -> None:
    scripts: Counter[str] = Counter()
    for sample in starter.samples:
        if sample.category == "minority":
            letters = Counter(unicodedata.name(c).split()[0] for c in sample.text if c.isalpha())
            scripts[letters.most_common(1)[0][0]] += 1
    assert len(scripts) >= 8, scripts
    assert "LATIN" not in scripts


def test_every_starter_sample_names_its_language(starter: Corpus) -> None:
    assert all(sample.language for sample in starter.samples)


def test_starter_texts_are_all_different(starter: Corpus) -> None:
    assert len({sample.text for sample in starter.samples}) == len(starter.samples)


def test_starter_file_is_plain_utf8_jsonl() -> None:
    raw = (resources.files("corpus") / "data" / "starter.jsonl").read_bytes()
    assert b"\r" not in raw and raw.endswith(b"\n")
    assert all({"text", "category", "language"} <= set(json.loads(line)) for line in raw.decode().splitlines())


def test_starter_reads_the_same_every_time(starter: Corpus) -> None:
    assert load_corpus("starter") == starter
