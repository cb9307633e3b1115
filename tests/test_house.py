"""The house itself: imports point one way, and what must stay light does."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
LATE = {"plotext", "psutil", "engine.report.html", "engine.effect.results", "maxact_tui.screens.board"}
HEAVY = {"torch", "transformers", "accelerate"}
# The rooms of the engine that a screen may use; the others need torch.
LIGHT = ("engine.session", "engine.analysis", "engine.quantization", "engine.report")

# The rooms of the screen; each may use those before it.
SCREEN_ROOMS = ("texts", "keymap", "watching", "terminal", "widgets", "pages", "screens", "shell", "cli")


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


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


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("corpus", {"engine", "maxact_tui", "textual", "torch"}),
        ("engine", {"maxact_tui", "textual"}),
        ("maxact_tui", HEAVY),
    ],
)
def test_no_module_imports_against_the_house(room: str, forbidden: set[str]) -> None:
    wrong = [
        f"{path.relative_to(HOME)}: {name}"
        for path in sorted((HOME / room).rglob("*.py"))
        for name in imported_names(path)
        if name.partition(".")[0] in forbidden
    ]
    assert not wrong


def test_the_rooms_of_the_screen_use_only_those_before_them() -> None:
    wrong = [
        f"{path.relative_to(HOME)}: {name}"
        for place, room in enumerate(SCREEN_ROOMS)
        for path in sorted((HOME / "maxact_tui" / room).rglob("*.py"))
        for name in imported_names(path)
        if name.startswith("maxact_tui.") and name.split(".")[1] in SCREEN_ROOMS[place + 1 :]
    ]
    assert not wrong


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
