"""What `python -m build` makes, installed outside the checkout: complete, and it works there.

The source distribution is built from a copy of the sources and the wheel from that distribution, as `build` does it.
torch and the others are not installed again: the fresh environment finds this one's packages behind its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.engine.running import write_corpus
from tests.packaging.resolving import ROOT
from tests.screen.terminal import Terminal

ROOMS = ("corpus", "engine", "maxact_tui")
BESIDE = ("tests", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "Makefile", "constraints.txt")
LONG = 120.0  # seconds, on a machine that also runs other tests

pytestmark = pytest.mark.slow


def files_of(*names: str) -> set[str]:
    """Paths of the checkout's files under these names, without what Python writes there."""
    found = [
        path for name in names for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    return {str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both distributions."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in sorted(files_of(*ROOMS, *BESIDE)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def program(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, in a fresh environment that knows nothing of the checkout."""
    place = tmp_path_factory.mktemp("fresh") / "env"
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([*command, str(wheel)], check=True)
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "maxact-tui"


def environment(home: Path) -> dict[str, str]:
    """Only what a login has, and nothing that leads to the checkout."""
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MAXACT_CACHE") if name in os.environ}
    places = {"HOME": str(home), "MAXACT_SESSIONS": str(home / "sessions"), "PATH": os.defpath}
    return {**kept, **places, "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"}


def run(program: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )


def test_both_distributions_hold_every_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = {name for name in opened.namelist() if ".dist-info/" not in name}
        (licence,) = [name for name in opened.namelist() if name.endswith("licenses/LICENSE")]
        assert opened.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert in_wheel == files_of(*ROOMS)
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened_archive:
        in_archive = {name.partition("/")[2] for name in opened_archive.getnames()}
    assert files_of(*ROOMS, *BESIDE) - in_archive == set()


def test_the_installed_program_is_not_the_checkout(program: Path, tmp_path: Path) -> None:
    code = "import corpus, engine, maxact_tui; print(corpus.__file__, engine.__file__, maxact_tui.__file__)"
    python = [str(program.parent / "python"), "-P", "-c", code]
    shown = subprocess.run(python, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert all(Path(path).is_relative_to(program.parents[1]) for path in shown.stdout.split())


def test_doctor_finds_everything(program: Path, tmp_path: Path) -> None:
    result = run(program, tmp_path, "doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    marks = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {marks[name] for name in ("torch", "transformers", "textual", "sessions", "terminal")} == {"good"}


def test_a_run_and_its_screen(program: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "texts.jsonl")
    options = ["--corpus", str(corpus), "--device", "cpu", "--threads", "1", "--headless", "--json"]
    result = run(program, tmp_path, str(tiny_model_folder), *options)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
    (session,) = (tmp_path / "sessions").glob("*.maxact")
    shell = ["/bin/sh", "-c", 'cd "$1" && exec "$2" open "$3"', "sh", str(tmp_path), str(program), str(session)]
    with Terminal(session, 120, 36, command=shell, env=dict(environment(tmp_path))) as terminal:
        terminal.wait_for("FINISHED", LONG)
        terminal.press("q")
        assert terminal.exit_code(LONG) == 0


def test_the_bundled_corpus_recipes_and_published_table_are_there(program: Path, tmp_path: Path) -> None:
    for arguments, word in (
        (("corpus", "list"), "diverse-5k"),
        (("published",), "Qwen"),
        (("corpus", "show"), "starter"),
    ):
        result = run(program, tmp_path, *arguments)
        assert result.returncode == 0, result.stderr
        assert word in result.stdout
