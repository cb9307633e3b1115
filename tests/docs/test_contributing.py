"""The worked examples of CONTRIBUTING.md, followed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from engine.analysis.model import analyse
from engine.fields import registry
from engine.report.export import FORMATS, render
from engine.session.reader import SessionReader
from engine.sites.exceptions import FAMILY_RULES
from maxact_tui.cli.main import main
from maxact_tui.keymap.actions import TABLES
from maxact_tui.pages.measures import site_values
from maxact_tui.pages.panes import field_pairs
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.analysis import sessions
from tests.test_house import HOME

TEXT = (HOME / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def example(word: str) -> str:
    """The code of the one example that has this word."""
    (code,) = (one for one in EXAMPLES if word in one)
    return str(code)


def test_the_export_format_works_as_it_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(FORMATS):
        monkeypatch.setitem(FORMATS, name, FORMATS[name])  # so that what the example adds is taken away again
    path = sessions.write_session(tmp_path / "run.maxact")
    try:
        exec(compile(example("FORMATS"), "CONTRIBUTING.md", "exec"), {"__name__": "example"})
        with SessionReader(path) as reader:
            (document,) = render(reader, "largest")
            largest = float(reader.saved_magnitude()[0])
        assert document.content.decode().splitlines()[0] == f"embedding\t{largest:g}"
        assert main(["export", str(path), "--format", "largest", "-o", "-"]) == 0
        assert "layer_2_hidden\t" in capsys.readouterr().out
    finally:
        FORMATS.pop("largest", None)


@pytest.fixture
def statistic() -> Iterator[str]:
    """The name of the statistic of the example, declared as it is written there."""
    fields, places = registry.SITE_FIELDS, registry.SHOWN
    assert isinstance(fields, dict) and isinstance(places, dict)
    before = dict(fields), dict(places)
    try:
        exec(compile(example("SITE_FIELDS"), "CONTRIBUTING.md", "exec"), {"__name__": "example"})
        yield "tail"
    finally:
        for table, kept in zip((fields, places), before, strict=True):
            table.clear()
            table.update(kept)


def test_a_statistic_is_everywhere_as_soon_as_it_is_declared(tmp_path: Path, statistic: str) -> None:
    path = sessions.write_session(tmp_path / "run.maxact")
    with SessionReader(path) as reader:
        first = analyse(reader).sites[0]
        documents = {name: render(reader, name)[0].content.decode() for name in ("json", "csv", "html")}
        (table, *_) = render(reader, "parquet")
    assert first is not None
    expected = first.magnitude / first.abs_q999
    assert json.loads(documents["json"])["sites"][0][statistic] == expected
    assert float(next(csv.DictReader(io.StringIO(documents["csv"])))[statistic]) == expected
    assert f'<th scope="col">{statistic}</th>' in documents["html"]
    column = parquet.read_table(io.BytesIO(table.content))
    assert column.column(statistic)[0].as_py() == expected
    look = Look(path)
    try:
        snapshot = [one for _ in range(4) if (one := look.again(Wish(focus=0, model=True)))][-1]
    finally:
        look.close()
    assert snapshot.view is not None
    assert site_values(registry.SITE_FIELDS[statistic], snapshot)[0] == expected
    assert statistic in dict(field_pairs("panel", snapshot.view))


def test_what_the_other_examples_name_is_there() -> None:
    assert FAMILY_RULES
    for method in ("_draw", "wish", "compose"):
        assert f"`{method}`" in TEXT
        assert callable(getattr(WatchedScreen, method))
    assert "`TABLES`" in TEXT
    assert TABLES
