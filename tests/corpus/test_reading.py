"""Reading a user's corpus: what is accepted, what is skipped and named, what is refused in one line."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.reading import check_source, content_hash, load_corpus
from corpus.samples import CorpusError, Sample


def write_lines(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refusal(source: str, **options: int) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_rows_become_samples_with_their_line_as_origin(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "mine.jsonl",
        {"text": "one", "category": "math", "language": "en"},
        {"content": "zwei", "domain": "web", "lang": "de", "origin": "page 7"},
        {"text": "three", "source": "books"},
        {"text": "four"},
    )
    corpus = load_corpus(source)
    assert corpus.samples == (
        Sample("one", "math", "mine.jsonl:1", "en"),
        Sample("zwei", "web", "page 7", "de"),
        Sample("three", "books", "mine.jsonl:3"),
        Sample("four", "other", "mine.jsonl:4"),
    )
    assert corpus.name == source


def test_category_goes_before_domain_and_source(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "c.jsonl", {"text": "a", "source": "s", "domain": "d", "category": "c"})
    assert load_corpus(source).samples[0].category == "c"


def test_unusable_lines_are_skipped_and_named_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(
        b'{"text": "good"}\n'
        b'{"text": "cut off\n'
        b"\n"
        b'{"category": "math"}\n'
        b'{"text": "   "}\n'
        b'{"text": "caf\xe9"}\n'
        b"[1, 2]\n"
        b'{"text": 7}\n'
        b'{"text": "x", "category": 7}\n'
        b'{"text": "\\ud800"}\n' + b"[" * 100_000 + b"\n"
        b'{"text": "also good"}'
    )
    corpus = load_corpus(str(path))
    assert [sample.text for sample in corpus.samples] == ["good", "also good"]
    named = {int(problem.split(":")[0].removeprefix("line ")): problem for problem in corpus.problems}
    assert sorted(named) == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "broken JSON" in named[2] and "no field text" in named[4] and "empty" in named[5]
    assert "not UTF-8" in named[6] and "not a JSON object" in named[7] and "not a string" in named[8]
    assert "category" in named[9] and "surrogate" in named[10]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "first"}\r\n{"text": "second"}\r\n')
    corpus = load_corpus(str(path))
    assert [sample.text for sample in corpus.samples] == ["first", "second"] and corpus.problems == ()


def test_text_files_are_split_at_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("\nFirst line\n  indented\n \nSecond paragraph\n\n\n第三段".encode())
    corpus = load_corpus(str(path))
    assert [sample.text for sample in corpus.samples] == ["First line\n  indented", "Second paragraph", "第三段"]
    assert [sample.origin for sample in corpus.samples] == ["notes.txt:2", "notes.txt:5", "notes.txt:8"]
    assert {sample.category for sample in corpus.samples} == {"other"}


def test_a_line_of_a_text_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"good\n\nna\xefve\n")
    assert load_corpus(str(path)).problems == ("line 3: not UTF-8 (byte 3)",)


def test_a_missing_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    assert "does not exist" in refusal(str(tmp_path / "nowhere.jsonl"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert "empty" in refusal(str(tmp_path / "empty.jsonl"))


def test_a_file_without_one_usable_line_is_refused_with_the_first_problem(tmp_path: Path) -> None:
    path = tmp_path / "utf16.jsonl"
    path.write_bytes('{"text": "née"}\n'.encode("utf-16"))
    assert "line 1: not UTF-8" in refusal(str(path))


def test_a_folder_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    assert "folder" in refusal(str(tmp_path))
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    assert ".jsonl" in refusal(str(tmp_path / "sheet.xlsx"))


def test_asking_for_no_samples_is_refused() -> None:
    assert "at least 1" in refusal("starter", limit=0)


def test_a_limit_keeps_every_category_in_its_share_and_the_files_order() -> None:
    whole, part = load_corpus("starter"), load_corpus("starter", limit=21)
    assert len(part.samples) == 21
    counts = Counter(sample.category for sample in part.samples)
    assert len(counts) == 7 and max(counts.values()) <= 5
    places = [whole.samples.index(sample) for sample in part.samples]
    assert places == sorted(places)
    assert part == load_corpus("starter", limit=21)
    assert part.samples != load_corpus("starter", limit=21, seed=43).samples


def test_a_limit_beyond_the_corpus_takes_everything() -> None:
    assert load_corpus("starter", limit=10_000) == load_corpus("starter")


def test_the_hash_sees_texts_categories_and_order_and_nothing_else() -> None:
    a, b = Sample("x", "math", "here", "en"), Sample("y", "code")
    assert content_hash([a, b]) == content_hash([Sample("x", "math", "elsewhere", "fr"), b])
    others = [[b, a], [a], [Sample("x", "code"), b], [Sample("xy", "math")], [Sample("", "mathx"), b]]
    assert len({content_hash(samples) for samples in [[a, b], *others]}) == 6


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo], ids=["device", "pipe"])
def test_what_may_never_end_is_no_corpus(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "texts.jsonl"
    make(path)
    with pytest.raises(CorpusError, match="no plain file"):
        load_corpus(str(path))
    with pytest.raises(CorpusError, match="no plain file"):
        check_source(str(path))
