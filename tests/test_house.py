"""The house itself: what must stay light does. Which room imports which is checked by import-linter (`make lint`)."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
LATE = {"plotext", "psutil", "engine.report.html", "engine.effect.results", "maxact_tui.screens.board"}
HEAVY = {"torch", "transformers", "accelerate"}
# The rooms of the engine that a screen may use; the others need torch.
LIGHT = ("engine.session", "engine.analysis", "engine.quantization", "engine.report")


def modules_of(package: str) -> list[str]:
    folder = HOME / package.replace(".", "/")
    found = [package]
    for module in pkgutil.walk_packages([str(folder)], prefix=f"{package}."):
        if not module.name.endswith("__main__"):
            found.append(module.name)
    return found


def loaded_after_importing(modules: list[str]) -> set[str]:
    code = (
        f"import importlib, sys\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
        "print(' '.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_screen_loads_neither_torch_nor_transformers() -> None:
    assert not HEAVY & loaded_after_importing(modules_of("maxact_tui"))


def test_the_first_frame_waits_for_nothing_it_does_not_show() -> None:
    assert not LATE & loaded_after_importing(["maxact_tui.cli.commands.opening", "maxact_tui.shell.application"])


def test_the_rooms_a_screen_uses_load_neither_torch_nor_textual() -> None:
    modules = [name for room in LIGHT for name in modules_of(room)]
    assert not (HEAVY | {"textual"}) & loaded_after_importing(modules)


def test_engine_and_corpus_load_no_textual() -> None:
    loaded = loaded_after_importing(modules_of("engine") + modules_of("corpus"))
    assert "torch" in loaded
    assert "textual" not in loaded


def test_a_stray_engine_folder_gives_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('somebody else')")
    result = subprocess.run(
        [sys.executable, "-P", "-m", "maxact_tui", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "'engine' cannot be used" in result.stderr


DOORS = {
    "engine/base/private.py",
    "engine/loading/gguf_patches.py",
    "maxact_tui/terminal/private.py",
    "tests/private.py",
}
ROOMS = ("corpus", "engine", "maxact_tui", "tests")
PROMISED = {"_fields", "_replace", "_asdict", "_make"}  # of every named tuple
OF_PYTHON = {"os", "sys", "shutil", "threading"}
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PROMISED


def own_names(trees: Iterable[ast.Module]) -> set[str]:
    """Every name that this house defines, assigns or declares itself; doors, which override others', not among them."""
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def foreign_private_names(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Private names of libraries in a module: imported, read or set as attributes, or named in a string."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] not in ROOMS:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in OF_PYTHON):
                names = [node.attr] if node.attr not in own else []
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = [one.value for one in node.args[1:2] if isinstance(one, ast.Constant) and called in BY_NAME]
            names = [str(text) for text in texts if text not in own]
        yield from (f"{node.lineno}: {name}" for name in names if is_private(name))  # type: ignore[attr-defined]


def overridden_private_names(owner: type) -> set[str]:
    """Private methods of a class of ours that one of its bases outside this house has, too."""
    strangers = [base for base in owner.__mro__[1:] if base.__module__.split(".")[0] not in (*ROOMS, "builtins")]
    theirs = {name for base in strangers for name in vars(base) if is_private(name)}
    return {name for name, value in vars(owner).items() if name in theirs and callable(value)} - {"_abc_impl"}


def test_private_names_of_libraries_are_used_behind_their_doors_only() -> None:
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8")) for room in ROOMS for path in (HOME / room).rglob("*.py")
    }
    inside = {path: tree for path, tree in trees.items() if str(path.relative_to(HOME)) not in DOORS}
    own = own_names(inside.values())
    wrong = [
        f"{path.relative_to(HOME)}:{place}"
        for path, tree in inside.items()
        for place in foreign_private_names(tree, own)
    ]
    assert not wrong


def test_no_screen_overrides_a_private_method_of_textual() -> None:
    code = (
        "import importlib, inspect, json, sys\n"
        "from tests.test_house import modules_of, overridden_private_names\n"
        "found = set()\n"
        "for name in modules_of('maxact_tui'):\n"
        "    if name == 'maxact_tui.terminal.private':\n"
        "        continue\n"
        "    for owner in vars(importlib.import_module(name)).values():\n"
        "        if inspect.isclass(owner) and owner.__module__ == name:\n"
        "            found |= {f'{name}.{owner.__qualname__}.{one}' for one in overridden_private_names(owner)}\n"
        "print(json.dumps(sorted(found)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME)
    assert json.loads(result.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(
    "line",
    [
        "from textual._parser import Parser",
        "from torch.utils import _pytree",
        "import rich._loop",
        "app.screen._compositor",
        "getattr(model.config, '_attn_implementation', None)",
        "super()._on_key(event)",
    ],
)
def test_a_private_name_would_be_found(line: str) -> None:
    assert list(foreign_private_names(ast.parse(line), {"_own"}))


def test_every_name_a_door_uses_is_on_its_page() -> None:
    for door in DOORS - {"engine/loading/gguf_patches.py"}:
        tree = ast.parse((HOME / door).read_text(encoding="utf-8"))
        page = ast.get_docstring(tree) or ""
        used = {place.partition(": ")[2] for place in foreign_private_names(tree, set())}
        assert used
        assert [name for name in used if name not in page] == [], door
