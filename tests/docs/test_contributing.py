"""The worked examples of CONTRIBUTING.md, followed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.report.export import FORMATS, render
from engine.session.reader import SessionReader
from engine.sites.exceptions import FAMILY_RULES
from maxact_tui.cli.main import main
from maxact_tui.keymap.actions import TABLES
from maxact_tui.screens.watched import WatchedScreen
from tests.analysis import sessions
from tests.test_house import HOME

TEXT = (HOME / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_export_format_works_as_it_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    for name in list(FORMATS):
        monkeypatch.setitem(FORMATS, name, FORMATS[name])  # so that what the example adds is taken away again
    path = sessions.write_session(tmp_path / "run.maxact")
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "example"})
        with SessionReader(path) as reader:
            (document,) = render(reader, "largest")
            largest = float(reader.saved_magnitude()[0])
        assert document.content.decode().splitlines()[0] == f"embedding\t{largest:g}"
        assert main(["export", str(path), "--format", "largest", "-o", "-"]) == 0
        assert "layer_2_hidden\t" in capsys.readouterr().out
    finally:
        FORMATS.pop("largest", None)


def test_what_the_other_examples_name_is_there() -> None:
    assert FAMILY_RULES
    for method in ("_draw", "wish", "compose"):
        assert f"`{method}`" in TEXT
        assert callable(getattr(WatchedScreen, method))
    assert "`TABLES`" in TEXT
    assert TABLES
