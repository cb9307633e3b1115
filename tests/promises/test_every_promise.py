"""docs/promises.md has ten promises, each with its meaning, its limits and a test module that is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.test_house import HOME

PROMISES = (HOME / "docs" / "promises.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
MODULE = re.compile(r"^Test: `(tests/promises/test_(\d\d)_[\w*]+\.py)`$", re.MULTILINE)


def sections() -> dict[int, str]:
    """The text of each promise by its number."""
    found = list(HEADING.finditer(PROMISES))
    ends = [one.start() for one in found[1:]] + [len(PROMISES)]
    return {int(one.group(1)): PROMISES[one.end() : end] for one, end in zip(found, ends, strict=True)}


def test_there_are_ten() -> None:
    assert list(sections()) == list(range(1, 11))


@pytest.mark.parametrize("number", range(1, 11))
def test_each_says_what_is_meant_where_it_ends_and_what_tests_it(number: int) -> None:
    text = sections()[number]
    assert "**Meant.** " in text
    assert "**Limits.** " in text
    ((pattern, of),) = MODULE.findall(text)
    assert int(of) == number
    found = sorted(HOME.glob(pattern))
    assert len(found) == 1, f"{pattern} is {len(found)} modules"
    tree = ast.parse(found[0].read_text(encoding="utf-8"))
    tests = [
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert tests, f"{found[0].name} holds no test"
