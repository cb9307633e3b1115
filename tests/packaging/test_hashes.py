"""hashes.txt is constraints.txt with hashes: the same versions, each with a sha256."""

from __future__ import annotations

import re

from tests.packaging.resolving import ROOT
from tests.packaging.test_resolving import canonical

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pinned(name: str) -> dict[str, str]:
    return {canonical(one): version for one, version in PINNED.findall((ROOT / name).read_text(encoding="utf-8"))}


def test_the_versions_are_those_of_the_constraints() -> None:
    hashed, constrained = pinned("hashes.txt"), pinned("constraints.txt")
    elsewhere = {name for name in hashed if name not in constrained}
    assert {name: version for name, version in hashed.items() if name not in elsewhere}.items() <= constrained.items()
    text = (ROOT / "hashes.txt").read_text(encoding="utf-8")
    for name in elsewhere:
        found = re.search(rf"^{name}==\S+ ; [^\n]*(sys_platform|platform_)", text, re.MULTILINE)
        assert found, f"{name} is in no constraint, and it is not for another system"
    assert {"torch", "transformers", "textual", "numba", "pytest", "ruff"} <= hashed.keys()


def test_each_has_a_hash() -> None:
    text = (ROOT / "hashes.txt").read_text(encoding="utf-8")
    items = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n")[2])
    assert all("--hash=sha256:" in item for item in items)
