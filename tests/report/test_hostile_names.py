"""Names that strangers gave to sites, models and sessions: printable in every format, and no formula anywhere."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.base.wording import in_csv
from engine.report.comparison import COMPARISON_FORMATS, comparison_documents
from engine.report.export import FORMATS, render
from engine.report.plain import json_text
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions
from tests.values import some

EVIL = "\x1b]0;pwn\x07\u202eevil\u2028\x85<b>\U000e0001"
BINARY = {"parquet", "act-scales", "amax"}
OF_INPUTS = {"llm-compressor", "modelopt"}  # a session without inputs of matrix products has no recipe


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = sessions.write_session(tmp_path_factory.mktemp("hostile") / "bad\u202e\x1b[2J.maxact")
    with SessionReader(path) as reader:
        meta = reader.meta()
    plan = some(meta.plan)
    sites = tuple(replace(site, name=f"{EVIL}{site.name}") for site in plan.sites)
    writer = SessionWriter.open(path)
    writer.set_meta(
        plan=replace(plan, sites=sites, notes=(EVIL,)).to_json(),
        provenance={**meta.provenance, "dtype": EVIL, "commit": EVIL, "versions": {EVIL: EVIL}},
    )
    writer.close()
    return path


@pytest.fixture
def reader(hostile: Path) -> Iterator[SessionReader]:
    with SessionReader(hostile) as opened:
        yield opened


def unprintable(content: bytes) -> set[str]:
    return {character for character in content.decode() if not character.isprintable()} - {"\n"}


@pytest.mark.parametrize("name", sorted(set(FORMATS) - BINARY - OF_INPUTS))
def test_every_format_is_printable(reader: SessionReader, name: str) -> None:
    pytest.importorskip("matplotlib")
    for document in render(reader, name):
        assert not unprintable(document.content), document.name


@pytest.mark.parametrize("name", COMPARISON_FORMATS)
def test_a_comparison_is_printable(hostile: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    with SessionReader(hostile) as one, SessionReader(hostile) as other:
        for document in comparison_documents([one, other], name, all_sites=True):
            assert not unprintable(document.content), document.name


def test_json_says_the_same(reader: SessionReader) -> None:
    (document,) = render(reader, "json")
    assert json.dumps(EVIL)[1:-1] in json.dumps(json.loads(document.content))


def test_json_carries_any_text() -> None:
    points = [*range(0x300), 0x200D, 0x202E, 0x2028, 0xDC80, 0xFEFF, 0x1F600, 0xE0001, 0x10FFFF]
    text = "".join(map(chr, points))
    shown = json_text({"text": text, "春": "é"})
    assert json.loads(shown) == {"text": text, "春": "é"}
    assert "春" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹢", "﹣", "﹦", "﹫"])
@pytest.mark.parametrize("before", ["", " ", "   ", "\u3000", "\u00a0", "\t", "\n"])
def test_no_cell_is_a_formula(sign: str, before: str) -> None:
    cell = in_csv(f"{before}{sign}1+1")
    assert unicodedata.normalize("NFKC", cell.lstrip())[0] not in "=+-@"
    assert cell.endswith(f"{sign}1+1")


def test_other_texts_are_left_alone_in_csv() -> None:
    for text in ("a=b", " word", "1-2", "été", "", " "):
        assert in_csv(text) == text
