"""Every example runs, and shows what it says it shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "tiny")


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs_and_measures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with loaded(name).main(str(tmp_path / "run.maxact")) as session:
        assert session.is_finished
        assert any(view.magnitude > 0 for view in session.sites)
    said = capsys.readouterr().out
    assert said.strip()
    assert f"`{name}.py`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_the_training_loop_shows_the_step_at_which_the_activation_is_born(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loaded("training_loop").main(str(tmp_path / "run.maxact")):
        pass
    by_step = {}
    for line in capsys.readouterr().out.splitlines():
        step, _, rest = line.removeprefix("step").partition(":")
        by_step[int(step)] = float(rest.split(" at ")[0].replace(",", ""))
    before, after = by_step[20], by_step[21]
    assert after > 5 * before, by_step
