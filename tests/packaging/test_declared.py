"""What the three rooms and the tests import is what pyproject.toml declares, no less and no more."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.packaging.resolving import ROOT
from tests.packaging.test_resolving import canonical, project

ROOMS = ("corpus", "engine", "maxact_tui")
OWN = {*ROOMS, "tests"}
# Imported by a name that no installed file tells, because the extra need not be installed: nvidia-ml-py's.
KNOWN = {"pynvml": "nvidia-ml-py", "triton": "triton", "numba": "numba", "matplotlib": "matplotlib"}
# Commands, plugins, and what another package asks for by name.
NOT_IMPORTED = {
    "pytest-asyncio", "pytest-timeout", "pytest-xdist", "build", "setuptools", "ruff", "mypy", "import-linter",
    "linkify-it-py",  # markdown-it finds links with it
}  # fmt: skip
# In an environment of its own, which `make test-recipes` makes: it cannot be installed beside the pinned transformers.
ELSEWHERE = {"llmcompressor"}


def imported_in(*rooms: str) -> dict[str, str]:
    """Distributions that the rooms import, each with a module that does."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for path in (path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))):
        for top in top_names(path) - set(sys.stdlib_module_names) - OWN:
            found[canonical(KNOWN.get(top) or owners.get(top, [top])[0])] = str(path.relative_to(ROOT))
    return found


def top_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def names_of(*extras: str) -> set[str]:
    lines = [line for extra in extras for line in project()["optional-dependencies"][extra]]
    return {canonical(requirement_name(line)) for line in lines} - {project()["name"]}


def requirement_name(line: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(line).name


def test_what_the_rooms_import_is_declared() -> None:
    declared = {requirement_name(line) for line in project()["dependencies"]}
    declared = {canonical(name) for name in declared} | names_of("cpu", "gpu", "corpus", "report")
    assert {name: path for name, path in imported_in(*ROOMS).items() if name not in declared} == {}


def test_what_is_declared_is_imported() -> None:
    declared = {canonical(requirement_name(line)) for line in project()["dependencies"]}
    assert (declared | names_of("cpu", "gpu", "corpus", "report")) - imported_in(*ROOMS).keys() == set()
    assert names_of("test", "lint") - imported_in(*ROOMS, "tests").keys() - NOT_IMPORTED == set()


def test_what_the_tests_import_is_declared() -> None:
    declared = {canonical(requirement_name(line)) for line in project()["dependencies"]}
    declared |= names_of(*project()["optional-dependencies"])
    assert {name: path for name, path in imported_in("tests").items() if name not in declared | ELSEWHERE} == {}
