"""Sources: plain text in pieces, rows of JSONL and Parquet, token ids, datasets; and what each skips and names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.recipe import SourceSpec, parse_source
from corpus.samples import CorpusError, Sample
from corpus.sources.hub import hub_samples
from corpus.sources.local import find_files, local_samples
from corpus.sources.reading import SourceReading
from corpus.sources.rows import cut_text
from corpus.sources.text import text_pieces
from tests.waiting import PROGRAM_SECONDS


def read(spec: SourceSpec | str, reading: SourceReading) -> list[Sample]:
    spec = parse_source(spec) if isinstance(spec, str) else spec
    return list(local_samples(spec, find_files(spec.location), reading))


@given(st.text(alphabet=st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), st.integers(8, 60))
def test_pieces_are_short_enough_and_lose_no_character(text: str, limit: int) -> None:
    reading = SourceReading(limit)
    pieces = list(text_pieces(io.BytesIO(b"#" + text.encode()), "f", "web", reading))
    assert all(len(piece.text.encode()) <= limit for piece in pieces)
    joined = "".join(piece.text for piece in pieces)
    assert "".join(joined.split()) == "".join(("#" + text).split())
    assert reading.problem_count == 0


def test_a_piece_ends_where_a_line_ends() -> None:
    text = "".join(f"line number {number}\n" for number in range(100))
    pieces = list(text_pieces(io.BytesIO(text.encode()), "notes.txt", "web", SourceReading(200)))
    assert all(piece.text.startswith("line number") for piece in pieces)
    assert [piece.origin for piece in pieces[:2]] == ["notes.txt#1", "notes.txt#2"]


def test_what_is_not_utf8_or_not_text_is_left_with_its_place() -> None:
    for raw, why in ((b"good\n" * 30 + b"\xff\xfe", "not UTF-8 (byte 151)"), (b"PK\x00\x01", "a zero byte (byte 3)")):
        reading = SourceReading(100)
        pieces = list(text_pieces(io.BytesIO(raw), "x.bin", "web", reading))
        assert len(pieces) == (1 if raw.startswith(b"good") else 0)
        assert len(reading.problems) == 1 and why in reading.problems[0] and reading.problems[0].startswith("x.bin:")


def test_reading_text_takes_no_more_memory_for_a_longer_stream() -> None:
    import tracemalloc

    class Endless(io.BytesIO):
        def __init__(self, left: int) -> None:
            super().__init__()
            self.left = left

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.left -= (taken := min(size, self.left))
            return b"x" * taken

    peaks = []
    for length in (1 << 20, 1 << 24):
        tracemalloc.start()
        count = sum(1 for _ in text_pieces(Endless(length), "x", "web", SourceReading(16_384)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == length // 16_384
    assert peaks[1] < 1.2 * peaks[0]


def test_globs_name_files_below_their_folder_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b/two.py", "a/one.py", "a/skip.txt", "zero.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("pass  # a line of text\n")
    base, files = find_files(str(tmp_path / "**" / "*.py"))
    assert base == tmp_path
    assert [file.relative_to(base).as_posix() for file in files] == ["a/one.py", "b/two.py", "zero.py"]
    assert len(find_files(str(tmp_path))[1]) == 4
    reading = SourceReading(4096)
    assert {sample.origin for sample in read(f"code={tmp_path}/**/*.py", reading)} == {
        "a/one.py#1",
        "b/two.py#1",
        "zero.py#1",
    }


def test_a_missing_file_and_a_glob_without_a_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no file matches"):
        find_files(str(tmp_path / "**/*.py"))
    with pytest.raises(CorpusError, match="there is no file"):
        find_files(str(tmp_path / "none.txt"))


def test_rows_are_named_with_file_and_line_when_they_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(
        b'{"text": "fine", "domain": "math"}\n{"text": \n{"category": "web"}\n{"text": ""}\nx\xff\n{"text": "y"}\n'
    )
    reading = SourceReading(4096)
    assert [s.text for s in read(str(tmp_path / "rows.jsonl"), reading)] == ["fine"]
    places = [problem.split(": ")[0] for problem in reading.problems]
    assert places == [f"rows.jsonl:{line}" for line in (2, 3, 4, 5, 6)]
    assert "broken JSON" in reading.problems[0] and "no field text" in reading.problems[1]
    assert "no category" in reading.problems[4]


def test_the_command_lines_category_goes_before_the_rows_own(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "fine", "category": "math", "language": "en", "origin": "p. 3"}\n')
    assert read(f"web={tmp_path}/rows.jsonl", SourceReading(99)) == [Sample("fine", "web", "p. 3", "en")]


def test_rows_longer_than_the_longest_sample_are_cut(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "é" * 100}) + "\n")
    assert read(f"web={tmp_path}/rows.jsonl", SourceReading(51))[0].text == "é" * 25
    assert cut_text("héllo", 2) == "h" and cut_text("abc", 3) == "abc" and cut_text("", 5) == ""


def test_parquet_rows_are_read_and_a_broken_file_is_named(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "category": "web"} for n in range(300)] + [{"text": None, "category": "web"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.parquet").write_bytes(b"")
    reading = SourceReading(4096)
    samples = read(str(tmp_path / "*.parquet"), reading)
    assert [sample.text for sample in samples] == [f"text {n}" for n in range(300)]
    assert samples[7].origin == "a.parquet:8"
    assert [problem.split(":")[0] for problem in reading.problems] == ["a.parquet", "b.parquet", "c.parquet"]
    assert "broken Parquet" in reading.problems[1] and all("\n" not in problem for problem in reading.problems)


def test_a_files_progress_ends_at_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some words " * 300_000)
    pq.write_table(pa.table({"text": ["words"] * 500, "category": ["web"] * 500}), tmp_path / "b.parquet")
    for name in ("a.txt", "b.parquet"):
        size = (tmp_path / name).stat().st_size
        seen: list[tuple[int, int, str]] = []
        reading = SourceReading(4096, lambda *step, seen=seen: seen.append(step))
        reading.start(size)
        read(f"web={tmp_path}/{name}", reading)
        assert seen[-1] == (size, size, "reading web")
        assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})


@pytest.mark.parametrize(
    ("fed", "expected"),
    [
        (b'\n{"text": "row one"}\n{"text": "row two"}', ["row one", "row two"]),
        (b"\n\nplain words\non two lines\n", ["plain words\non two lines"]),
        (b"", []),
    ],
)
def test_standard_input_is_rows_or_plain_text(fed: bytes, expected: list[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(fed)))
    samples = list(local_samples(parse_source("web=-"), None, SourceReading(4096)))
    assert [sample.text for sample in samples] == expected


def test_plain_text_on_standard_input_needs_a_category(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"words")))
    with pytest.raises(CorpusError, match="CATEGORY=-"):
        list(local_samples(parse_source("-"), None, SourceReading(4096)))


def test_token_ids_become_text_without_special_tokens(tmp_path: Path, byte_level) -> None:
    byte_level.save_pretrained(tmp_path / "tokenizer")
    text = "The river carries 雪 and 👍🏽."
    ids = byte_level(text)["input_ids"]
    assert ids[0] == byte_level.bos_token_id
    path = tmp_path / "ids.jsonl"
    path.write_text(json.dumps({"input_ids": ids, "source": "web"}) + '\n{"input_ids": [-1], "source": "web"}\n')
    spec = SourceSpec("files", location=str(path), tokenizer=str(tmp_path / "tokenizer"))
    reading = SourceReading(4096)
    assert [sample.text for sample in read(spec, reading)] == [text]
    assert "token ids" in reading.problems[0]
    with pytest.raises(CorpusError, match="name their tokenizer"):
        read(SourceSpec("files", location=str(path)), SourceReading(4096))
    with pytest.raises(CorpusError, match="cannot be had") as caught:
        read(SourceSpec("files", location=str(path), tokenizer=str(tmp_path)), SourceReading(4096))
    assert "\n" not in str(caught.value)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset folder as the hub has them, in the layout of SlimPajama: per-row metadata names the origin."""
    folder = tmp_path / "slim"
    folder.mkdir()
    rows = [
        {"text": f"row {n}", "meta": {"redpajama_set_name": "RedPajamaGithub" if n % 2 else "RedPajamaBook"}}
        for n in range(40)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return folder


def test_a_dataset_is_streamed_and_its_labels_become_categories(dataset: Path) -> None:
    spec = SourceSpec(
        "hub",
        location=str(dataset),
        category_field="meta.redpajama_set_name",
        categories=(("RedPajamaGithub", "code"),),
        rows=30,
    )
    reading = SourceReading(4096)
    samples = list(hub_samples(spec, reading))
    assert [sample.text for sample in samples] == [f"row {n}" for n in range(1, 30, 2)]
    assert {sample.category for sample in samples} == {"code"}
    assert samples[0].origin == f"dataset {dataset}:2" and reading.problem_count == 0


def test_a_split_that_is_not_there_is_one_line(dataset: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be opened") as caught:
        list(hub_samples(SourceSpec("hub", "web", str(dataset), split="nope"), SourceReading(4096)))
    assert "\n" not in str(caught.value)


def test_a_dataset_that_breaks_off_is_one_line(dataset: Path) -> None:
    whole = (dataset / "train-00000-of-00001.parquet").read_bytes()
    (dataset / "train-00001-of-00002.parquet").write_bytes(whole[:200] + b"PAR1")
    spec = SourceSpec("hub", "web", str(dataset))
    with pytest.raises(CorpusError, match=r"cannot be opened|broke off at row 41") as caught:
        list(hub_samples(spec, SourceReading(4096)))
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub_with_troubles() -> Iterator[str]:
    """A server that answers as the hub does for a gated, a missing and a broken dataset."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, error, body = 500, "", b"{}"
            if "missing" in self.path:
                code, error = 404, "RepoNotFound"
            elif self.path.endswith("auth-check"):
                code, error = 403, "GatedRepo"
            elif "gated" in self.path:
                code, body = 200, b'{"id": "org/gated", "gated": "manual", "sha": "0", "siblings": [], "tags": []}'
            self.send_response(code)
            if error:
                self.send_header("X-Error-Code", error)
                self.send_header("X-Error-Message", error)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ASK_FOR_FOUR = """
import sys
from corpus.recipe import SourceSpec
from corpus.samples import CorpusError
from corpus.sources.hub import hub_samples
from corpus.sources.reading import SourceReading
for name in sys.argv[1:]:
    try:
        list(hub_samples(SourceSpec("hub", "web", name), SourceReading(4096)))
    except CorpusError as error:
        print(error)
assert "torch" not in sys.modules
"""


def ask(endpoint: str, *names: str, offline: str = "0") -> list[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline, "HF_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_FOUR, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_trouble_with_the_hub_is_one_line_with_the_next_step(hub_with_troubles: str) -> None:
    gated, missing, broken, name = ask(hub_with_troubles, "org/gated", "org/missing", "org/broken", "no/such/name")
    assert "gated; accept its terms" in gated
    assert "the hub has no dataset org/missing" in missing
    assert "does not give dataset org/broken" in broken
    assert "owner/name" in name


def test_no_network_is_said_at_once() -> None:
    (silent,) = ask("http://127.0.0.1:9", "org/name")
    assert "does not answer; connect, or use --source" in silent
    (offline,) = ask("http://127.0.0.1:9", "org/name", offline="1")
    assert "HF_HUB_OFFLINE is set; unset it" in offline
