"""Building a corpus: the same bytes every time, quotas kept or reported, duplicates dropped, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import signal
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.building import build_corpus
from corpus.duplicates import NearDuplicates
from corpus.language import language_of, script_of
from corpus.manifest import read_manifest
from corpus.reading import load_corpus
from corpus.recipe import LengthBucket, Recipe, SourceSpec, load_recipe, parse_source
from corpus.samples import Corpus, CorpusError, Sample
from corpus.selection import LengthRoom, Reserve

WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "tu") for b in "bdfgklmnprst" for c in ("an", "el", "in", "os")]


def sentence(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def recipe(sources: tuple[SourceSpec, ...] = (), **quotas: int) -> Recipe:
    return Recipe(
        name="small",
        title="a small one",
        samples=sum(quotas.values()),
        quotas=tuple(quotas.items()),
        lengths=(LengthBucket(32, 25.0), LengthBucket(64, 75.0)),
        sources=sources,
        min_tokens=8,
    )


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of twelve prose files, twenty JSONL rows and two near-duplicates."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"prose{number:02}.txt").write_text(sentence(number, 40))
    (folder / "again.txt").write_text(sentence(3, 40).replace(" ", "  ", 2).upper())
    (folder / "almost.txt").write_text(sentence(5, 40) + " kaban")
    rows = [{"text": sentence(100 + n, 12), "category": ("math", "code")[n % 2]} for n in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build(out: Path, chosen: Recipe, *sources: str, **options):
    return build_corpus(chosen, out, tuple(parse_source(source) for source in sources), **options)


def refusal(out: Path, chosen: Recipe, *sources: str) -> str:
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    with pytest.raises(CorpusError) as caught:
        build(out, chosen, *sources)
    assert "\n" not in str(caught.value)
    assert not out.parent.is_dir() or sorted(out.parent.iterdir()) == before
    return str(caught.value)


def test_the_same_inputs_and_seed_give_the_same_bytes(texts: Path, tmp_path: Path) -> None:
    for suffix in ("jsonl", "parquet"):
        digests = set()
        for name in ("one", "two"):
            out = tmp_path / f"{name}.{suffix}"
            build(out, recipe(web=8, math=4), f"web={texts}/*.txt", f"{texts}/rows.jsonl")
            manifest = out.with_name(f"{name}.manifest.json").read_bytes()
            digests.add((hashlib.sha256(out.read_bytes()).hexdigest(), hashlib.sha256(manifest).hexdigest()))
        assert len(digests) == 1


def test_the_order_and_names_of_files_do_not_decide_what_is_chosen(texts: Path, tmp_path: Path) -> None:
    build(tmp_path / "one.jsonl", recipe(web=6), f"web={texts}/prose*.txt")
    for number in range(12):
        (texts / f"prose{number:02}.txt").rename(texts / f"a{97 * number % 13}.txt")
    build(tmp_path / "two.jsonl", recipe(web=6), f"web={texts}/a[0-9]*.txt")
    one, two = load_corpus(str(tmp_path / "one.jsonl")), load_corpus(str(tmp_path / "two.jsonl"))
    assert {sample.text for sample in one.samples} == {sample.text for sample in two.samples}


def test_another_seed_chooses_other_texts(texts: Path, tmp_path: Path) -> None:
    small = recipe(web=6)
    build(tmp_path / "one.jsonl", small, f"web={texts}/prose*.txt")
    build(tmp_path / "two.jsonl", replace(small, seed=43), f"web={texts}/prose*.txt")
    one, two = load_corpus(str(tmp_path / "one.jsonl")), load_corpus(str(tmp_path / "two.jsonl"))
    assert {sample.text for sample in one.samples} != {sample.text for sample in two.samples}


def test_jsonl_and_parquet_hold_the_same_corpus_and_the_manifest_its_hashes(texts: Path, tmp_path: Path) -> None:
    corpora: list[Corpus] = []
    for name in ("c.jsonl", "c.parquet"):
        folder = tmp_path / name.partition(".")[2]
        folder.mkdir()
        manifest = build(folder / name, recipe(math=5, code=5), f"{texts}/rows.jsonl")
        corpora.append(load_corpus(str(folder / name)))
        assert manifest.content_hash == corpora[-1].content_hash
        assert manifest.file_sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert read_manifest(folder / name) == manifest
    assert corpora[0].samples == corpora[1].samples
    assert Counter(sample.category for sample in corpora[0].samples) == {"math": 5, "code": 5}


def test_categories_alternate_in_the_file(texts: Path, tmp_path: Path) -> None:
    build(tmp_path / "c.jsonl", recipe(math=8, code=8), f"{texts}/rows.jsonl")
    order = [sample.category for sample in load_corpus(str(tmp_path / "c.jsonl")).samples]
    assert all({"math", "code"} <= set(order[start : start + 6]) for start in range(0, 12, 2))


def test_near_duplicates_are_dropped_and_counted_and_a_short_quota_is_reported(texts: Path, tmp_path: Path) -> None:
    manifest = build(tmp_path / "c.jsonl", recipe(web=20), f"web={texts}/*.txt")
    (web,) = manifest.categories
    assert (web.wanted, web.got, web.seen, web.duplicates) == (20, 12, 14, 2)
    assert manifest.shortfalls == ("web: 12 of 20 samples (14 texts seen, 0 too short, 2 duplicates)",)
    assert manifest.samples == len(load_corpus(str(tmp_path / "c.jsonl")).samples) == 12


def test_equal_texts_count_once(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text((json.dumps({"text": sentence(1, 20)}) + "\n") * 5)
    manifest = build(tmp_path / "c.jsonl", recipe(web=3), f"web={tmp_path}/rows.jsonl")
    assert manifest.categories[0].duplicates == 4 and manifest.samples == 1


def test_texts_are_cut_to_the_buckets_of_the_recipe(texts: Path, tmp_path: Path) -> None:
    manifest = build(tmp_path / "c.jsonl", recipe(web=8), f"web={texts}/prose*.txt")
    lengths = sorted(len(sample.text.encode()) for sample in load_corpus(str(tmp_path / "c.jsonl")).samples)
    assert max(lengths) <= 256 and sum(length <= 128 for length in lengths) >= 2
    assert [(count.tokens, count.wanted, count.got) for count in manifest.lengths] == [(32, 2, 2), (64, 6, 6)]


def test_short_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "too short"}\n' + json.dumps({"text": sentence(1, 20)}) + "\n")
    manifest = build(tmp_path / "c.jsonl", recipe(web=2), f"web={tmp_path}/rows.jsonl")
    assert manifest.categories[0].too_short == 1 and manifest.categories[0].got == 1


def test_the_users_sources_replace_the_recipes_for_their_categories(texts: Path, tmp_path: Path) -> None:
    own = (
        SourceSpec("files", "web", str(tmp_path / "not there")),
        SourceSpec("files", location=str(texts / "rows.jsonl")),
    )
    manifest = build(tmp_path / "c.jsonl", recipe(own, web=2, math=3, code=1), f"web={texts}/prose*.txt")
    assert manifest.samples == 6 and manifest.shortfalls == ()
    (tmp_path / "math.jsonl").write_text(json.dumps({"text": sentence(7, 20), "category": "x"}) + "\n")
    only = build(
        tmp_path / "d.jsonl",
        recipe(own[1:], math=3, code=1),
        f"math={tmp_path}/math.jsonl",
    )
    assert only.shortfalls == ("math: 1 of 3 samples (1 text seen, 0 too short, 0 duplicates)",)


def test_rows_of_a_category_without_quota_are_named(texts: Path, tmp_path: Path) -> None:
    manifest = build(tmp_path / "c.jsonl", recipe(math=2), f"{texts}/rows.jsonl")
    assert manifest.problem_count == 1
    assert "10 rows of the category code, which is not in the recipe small" in manifest.problems[0]


def test_problems_of_the_sources_are_in_the_manifest(texts: Path, tmp_path: Path) -> None:
    (texts / "bad.txt").write_bytes(b"\xff" * 100)
    manifest = build(tmp_path / "c.jsonl", recipe(web=12), f"web={texts}/*.txt")
    assert manifest.problem_count == 1 and manifest.problems[0].startswith("bad.txt: not UTF-8")


def test_languages_and_scripts_are_told_by_content(starter: Corpus, tmp_path: Path) -> None:
    manifest = build_corpus(load_recipe("starter"), tmp_path / "c.jsonl")
    assert manifest.samples == len(starter.samples) and manifest.shortfalls == ()
    assert len(manifest.scripts) >= 12
    assert manifest.languages["zh"] == 9
    wrong = [s.language for s in starter.samples if s.category == "minority" and language_of(s.text) != s.language]
    assert len(wrong) <= 1
    assert script_of("<p class='x'>यह हिन्दी है</p> see https://example.org") == "Deva"
    assert script_of("12345 ...") == "" and script_of("plain English") == "Latn"


def test_progress_names_every_phase(texts: Path, tmp_path: Path) -> None:
    rows = [{"text": sentence(500 + n, 12)} for n in range(120)]
    (texts / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen: list[tuple[int, int, str]] = []
    build(tmp_path / "c.jsonl", recipe(web=60), f"web={texts}/many.jsonl", progress=lambda *step: seen.append(step))
    assert {label for _, _, label in seen} == {"reading web", "dropping near-duplicates", "telling languages"}
    assert all(0 < done <= total for done, total, _ in seen)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("web={texts}/*.nothing", "no file matches"),
        ("web={texts}/none.txt", "there is no file"),
        ("webs={texts}/*.txt", "the category webs"),
        ("web={texts}/binary.dat", "no usable text"),
    ],
)
def test_a_build_that_cannot_be_done_leaves_nothing(texts: Path, tmp_path: Path, source: str, says: str) -> None:
    (texts / "binary.dat").write_bytes(bytes(range(256)))
    assert says in refusal(tmp_path / "c.jsonl", recipe(web=2), source.format(texts=texts))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(texts: Path, tmp_path: Path) -> None:
    source = f"web={texts}/*.txt"
    assert ".parquet" in refusal(tmp_path / "c.csv", recipe(web=2), source)
    assert "does not exist" in refusal(tmp_path / "none" / "c.jsonl", recipe(web=2), source)
    (tmp_path / "folder.jsonl").mkdir()
    assert "folder" in refusal(tmp_path / "folder.jsonl", recipe(web=2), source)
    assert "names no source" in refusal(tmp_path / "c.jsonl", recipe(web=2))


def test_a_full_disk_leaves_the_old_corpus_as_it_was(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.jsonl"
    build(out, recipe(web=2), f"web={texts}/*.txt")
    before = out.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        message = refusal(out, recipe(web=8), f"web={texts}/*.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "cannot be written" in message
    assert out.read_bytes() == before


def test_an_interrupted_build_leaves_nothing(texts: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, label: str) -> None:
        if label == "telling languages":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "c.jsonl", recipe(web=4), f"web={texts}/*.txt", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_broken_manifest_is_one_line(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "c.jsonl") is None
    (tmp_path / "c.manifest.json").write_text('{"recipe": 1}')
    with pytest.raises(CorpusError, match="build the corpus again"):
        read_manifest(tmp_path / "c.jsonl")


def test_a_broken_parquet_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(CorpusError, match="broken Parquet"):
        load_corpus(str(tmp_path / "c.parquet"))


def test_a_reserve_keeps_a_bounded_uniform_sample() -> None:
    reserve = Reserve(quota=100, seed=1)
    for number in range(20_000):
        reserve.offer(Sample(f"text {number}", "web"))
    assert len(reserve) == reserve.size == 264 and reserve.seen == 20_000
    numbers = [int(reserve.pop().text.split()[1]) for _ in range(264)]
    halves = sum(number < 10_000 for number in numbers)
    assert 100 <= halves <= 164 and len(reserve) == 0


def test_a_text_goes_into_the_smallest_bucket_that_holds_it() -> None:
    room = LengthRoom((LengthBucket(10, 50.0), LengthBucket(100, 50.0)), 4, 4.0)
    assert [room.place(size) for size in (30, 900, 5000, 900)] == [40, 400, 400, 40]
    assert room.got == [2, 2] and room.full == [2, 2]


def test_memory_does_not_grow_with_the_sources(tmp_path: Path) -> None:
    block = " ".join(sentence(seed, 1000) for seed in range(100))
    peaks = []
    for copies in (1, 12):
        rows = (f"{number} {block[number % 97 :]}\n" for number in range(copies))
        (tmp_path / "text.txt").write_text("".join(rows))
        tracemalloc.start()
        manifest = build(tmp_path / "c.jsonl", recipe(web=100), f"web={tmp_path}/text.txt")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert manifest.samples == 100
    assert peaks[1] < 1.3 * peaks[0]


def test_a_dataset_is_left_as_soon_as_its_categories_have_enough(tmp_path: Path) -> None:
    rows = [{"text": sentence(n, 12), "set": "A" if n % 2 else "B"} for n in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-00000-of-00001.parquet")
    spec = SourceSpec("hub", location=str(tmp_path), category_field="set", categories=(("A", "math"), ("B", "web")))
    out = tmp_path / "out" / "c.jsonl"
    out.parent.mkdir()
    manifest = build(out, recipe((spec,), math=10, web=20))
    assert manifest.samples == 30 and manifest.shortfalls == ()
    assert [count.seen for count in manifest.categories] == [103, 104]


def test_near_duplicates_are_told_from_texts_on_the_same_subject(starter: Corpus) -> None:
    seen = NearDuplicates()
    assert all(seen.add(sample.text) for sample in starter.samples)
    for sample in starter.samples:
        assert not seen.add(sample.text)
        # A text of a dozen words loses a fifth of its shingles with its last word.
        assert not seen.add(sample.text[: len(sample.text) * 29 // 30]) or sample.category == "minority"
    for sample in starter.samples:
        if sample.category in ("web", "knowledge"):
            assert seen.add(" ".join(sample.text.split(" ")[::-1]))
