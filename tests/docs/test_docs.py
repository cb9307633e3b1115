"""What the papers say of the code is true: generated pages, paths that are named, links between them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import messages, report_schema, session_format, site_fields
from tests.test_house import HOME

PAGES = sorted([*HOME.glob("*.md"), *(HOME / "docs").rglob("*.md"), *(HOME / "examples").glob("*.md")])
_PATH = re.compile(r"`((?:engine|maxact_tui|corpus|tests|examples|docs)/[\w./-]*)`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def test_the_page_of_the_session_format_is_what_the_code_declares() -> None:
    written = (HOME / "docs" / "session-format.md").read_text(encoding="utf-8")
    assert written == session_format.page(), "run: python -m tests.docs.session_format > docs/session-format.md"


def test_the_page_of_the_messages_is_what_the_code_declares() -> None:
    written = (HOME / "docs" / "messages.md").read_text(encoding="utf-8")
    assert written == messages.page(), "run: python -m tests.docs.messages > docs/messages.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [path for path in _PATH.findall(text) if not (HOME / path).exists()]
    missing += [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


def test_the_page_of_the_site_fields_is_what_the_registry_declares() -> None:
    written = (HOME / "docs" / "site-fields.md").read_text(encoding="utf-8")
    assert written == site_fields.page(), "run: python -m tests.docs.site_fields > docs/site-fields.md"


def test_the_json_schema_is_what_the_fields_declare() -> None:
    written = (HOME / "engine" / "report" / "data" / "report.schema.json").read_text(encoding="utf-8")
    command = "python -m tests.docs.report_schema > engine/report/data/report.schema.json"
    assert written == report_schema.page(), f"run: {command}"


def test_every_room_is_in_the_drawing() -> None:
    text = (HOME / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for package in ("engine", "maxact_tui"):
        rooms = {path.parent.name for path in (HOME / package).glob("*/__init__.py")}
        assert not [room for room in rooms if f"`{package}.{room}`" not in text]


def test_the_order_of_the_drawing_is_the_one_that_is_enforced() -> None:
    text = (HOME / "ARCHITECTURE.md").read_text(encoding="utf-8")
    layers = (HOME / "pyproject.toml").read_text(encoding="utf-8")
    for package in ("engine", "maxact_tui"):
        drawn = re.findall(rf"^\| .*?`{package}\.(\w+)`", text, re.M)
        enforced = re.findall(rf'^  "{package}\.(\w+)', layers, re.M)
        common = [room for room in drawn if room in enforced]
        assert common == [room for room in enforced if room in common]
