"""Which versions a resolver takes for this project from the package index alone, whatever pip is configured with here.

- `PYTHONS`       the versions of Python that are supported
- `pinned`        constraints.txt as {name: version}
- `resolve`       what is taken for some extras under a Python, as {name: version}; reads metadata, installs nothing
- `need_index`    skip the test where no index can be reached
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_REACH_SECONDS = 15.0


class NoVersionsError(Exception):
    """The resolver's own words."""


def pinned() -> dict[str, str]:
    """Every version of constraints.txt by the package's name."""
    lines = (line.partition("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def resolve(
    extras: tuple[str, ...], python: str, *, constrained: bool = False, resolution: str = "highest", source: str = ""
) -> dict[str, str]:
    """What is installed for `pip install '.[extras]'` on Linux from the index alone.

    uv is asked because it reads metadata by byte ranges; pip would download three gigabytes where an index does not
    serve metadata by itself. Both follow the same rules, and wheels alone are taken.

    Args:
        extras: the project's extras.
        python: a minor version, such as 3.14; it need not be installed.
        constrained: under constraints.txt.
        resolution: `highest`, or `lowest-direct` for the floors of pyproject.toml.
        source: the text of a requirements file to resolve instead of the project's own.

    Raises:
        NoVersionsError: the resolver finds no set of versions.
    """
    from uv import find_uv_bin

    command = [find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-config"]
    command += ["--only-binary", ":all:", "--python-platform", "x86_64-manylinux_2_28", "--python-version", python]
    command += ["--resolution", resolution, "--default-index", index_url()]
    command += [part for extra in extras for part in ("--extra", extra)]
    command += ["--constraints", str(CONSTRAINTS)] if constrained else []
    command.append("-" if source else str(ROOT / "pyproject.toml"))
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environment = {**outside, "UV_HTTP_TIMEOUT": "120", "UV_PYTHON_DOWNLOADS": "never"}
    result = subprocess.run(command, env=environment, input=source, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NoVersionsError(result.stderr)
    return dict(line.split("==") for line in result.stdout.splitlines())


def need_index() -> None:
    """Skip the test, saying so, where the package index does not answer."""
    problem = _unreachable()
    if problem:
        pytest.skip(f"no package index can be reached ({problem}), so nothing can be resolved")


@cache
def _unreachable() -> str:
    """Why the index cannot be had, "" if it answers."""
    try:
        with urllib.request.urlopen(f"{index_url()}/packaging/", timeout=_REACH_SECONDS):
            return ""
    except OSError as error:
        return type(error).__name__


@cache
def index_url() -> str:
    """pip's own index, or the one it is configured with in the place of that; no extra index, no folder of wheels."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return (os.environ.get("PIP_INDEX_URL") or found or pips_own_index()).rstrip("/")


def pips_own_index() -> str:
    """The index that pip asks where nothing is configured, as its help names it."""
    command = [sys.executable, "-m", "pip", "install", "--help"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("--index-url", 1)[1]
    return words.split("(default", 1)[1].split(")", 1)[0].strip()
