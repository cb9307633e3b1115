"""Promise 7: opening a stranger's session runs nothing and hangs nothing (its memory: `tests.session`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.session.library import lock_path, log_path
from maxact_tui.cli.main import main
from tests.cli.running import main_here
from tests.promises.strangers import Stranger

pytestmark = pytest.mark.timeout(300)  # a pipe that is waited for never ends

LOOKS: dict[str, Callable[[Stranger, Path], list[object]]] = {
    "show": lambda gift, out: ["show", gift.session],
    "show --json": lambda gift, out: ["show", gift.session, "--json"],
    "the list": lambda gift, out: ["sessions"],
    "open": lambda gift, out: ["open", gift.session],
    "open --plain": lambda gift, out: ["open", gift.session, "--plain"],
    "export": lambda gift, out: ["export", gift.session, "--format", "html,markdown,csv,json,parquet", "-o", out],
    "compare": lambda gift, out: ["compare", gift.session, gift.session, "--format", "markdown"],
    "effect --list": lambda gift, out: ["effect", gift.session, "--list"],
}


@pytest.fixture(scope="module")
def gift(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Stranger:
    return Stranger(tmp_path_factory.mktemp("gift"), tiny_model_folder)


@pytest.mark.parametrize("name", LOOKS)
def test_looking_runs_nothing_and_changes_nothing(
    gift: Stranger, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gift.folder)
    before = gift.content()
    result = main_here(*LOOKS[name](gift, tmp_path / "out"), home=gift.folder, captured=capfd)
    assert "Traceback" not in result.stderr
    assert result.returncode == (1 if name == "effect --list" else 0), result.stderr
    assert not gift.mark.exists()
    assert gift.content() == before


def test_looking_with_the_gift_as_current_folder_imports_nothing_of_it(gift: Stranger) -> None:
    from tests.cli.running import maxact

    before = Path.cwd()
    os.chdir(gift.folder)
    try:
        result = maxact("show", gift.session, home=gift.folder)
    finally:
        os.chdir(before)
    assert result.returncode == 0, result.stderr
    assert not gift.mark.exists()


@pytest.mark.parametrize("name", LOOKS)
def test_planted_links_and_pipes_are_neither_followed_nor_waited_for(
    gift: Stranger, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "profile"
    victim.write_text("# mine\n")
    log, lock = log_path(gift.session), lock_path(gift.session)
    log.unlink(missing_ok=True)
    log.symlink_to(victim)
    os.mkfifo(lock)
    try:
        result = main_here(*LOOKS[name](gift, tmp_path / "out"), home=gift.folder, captured=capfd)
    finally:
        log.unlink()
        lock.unlink()
    assert "Traceback" not in result.stderr
    assert victim.read_text() == "# mine\n"


def test_a_screenless_process_loads_no_model_code(gift: Stranger) -> None:
    import sys

    assert main(["show", str(gift.session)]) == 0
    assert not any(str(gift.folder) in (getattr(module, "__file__", None) or "") for module in sys.modules.values())
