"""One set of versions for everybody: it resolves from the index alone, and a CPU build of the same torch fits it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.resolving import CONSTRAINTS, PYTHONS, ROOT, NoVersionsError, need_index, pinned, resolve

TESTED = ("torch", "transformers", "textual", "triton")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared() -> dict[str, Requirement]:
    """Every requirement of the project and its extras, by name."""
    lines = [
        *project()["dependencies"],
        *(line for extra in project()["optional-dependencies"].values() for line in extra),
    ]
    found = [Requirement(line) for line in lines]
    return {requirement.name: requirement for requirement in found if requirement.name != project()["name"]}


@pytest.mark.index
@pytest.mark.parametrize("python", PYTHONS)
def test_the_pinned_versions_resolve_from_the_index_alone(python: str) -> None:
    need_index()
    # Every extra at once: what goes together under one set of pins goes together in part.
    taken = resolve(tuple(project()["optional-dependencies"]), python, constrained=True)
    assert taken["torch"] == pinned()["torch"]
    assert {name: version for name, version in taken.items() if pinned().get(name) != version} == {}


@pytest.mark.index
@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]])
def test_without_constraints_the_gpu_install_takes_what_was_tested(python: str) -> None:
    need_index()
    taken = resolve(("gpu",), python)
    outside = {name: taken[name] for name in TESTED if not declared()[name].specifier.contains(taken[name])}
    assert outside == {}


@pytest.mark.index
@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]])
def test_the_floors_are_versions_that_go_together(python: str) -> None:
    need_index()
    taken = resolve(tuple(project()["optional-dependencies"]), python, resolution="lowest-direct")
    assert taken["torch"].startswith("2.11.")
    assert taken["transformers"].startswith("5.17.")


@pytest.mark.index
def test_a_triton_that_torch_does_not_want_is_found_out() -> None:
    need_index()
    with pytest.raises(NoVersionsError, match="triton"):
        resolve((), PYTHONS[0], source=f"torch=={pinned()['torch']}\ntriton==3.9.0\n")


def test_every_requirement_has_a_floor_and_a_bound_that_the_pinned_version_keeps() -> None:
    pins = pinned()
    for name, requirement in declared().items():
        operators = {part.operator for part in requirement.specifier}
        assert operators == {">=", "<"}, f"{name} needs a floor and an upper bound"
        assert requirement.specifier.contains(pins[canonical(name)]), name


def canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def test_a_cpu_build_of_the_pinned_torch_is_taken_where_pip_finds_one(tmp_path: Path) -> None:
    version = f"{pinned()['torch']}+cpu"
    empty_wheel(tmp_path, "torch", version)
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--report", "-", "-c", str(CONSTRAINTS), str(declared()["torch"])]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment = {**outside, "PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [found["metadata"]["version"] for found in json.loads(result.stdout)["install"]] == [version]


def empty_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that holds nothing but its metadata."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
