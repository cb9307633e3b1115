"""Folders and files that are this user's alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.owned import open_part, owned_folder, part_of, remove_parts


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_closed_to_others_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = owned_folder(tmp_path / "cache", "hashes")
        with open_part(folder / "note") as (part, stream):
            stream.write(b"x")
        part.replace(folder / "note")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "cache"), mode(folder), mode(folder / "note")) == (0o700, 0o700, 0o600)


def test_a_folder_that_others_could_read_is_closed_and_the_users_own_root_is_left(tmp_path: Path) -> None:
    (tmp_path / "cache" / "hashes").mkdir(parents=True)
    for path in (tmp_path / "cache", tmp_path / "cache" / "hashes"):
        path.chmod(0o755)
    owned_folder(tmp_path / "cache", "hashes")
    assert (mode(tmp_path / "cache"), mode(tmp_path / "cache" / "hashes")) == (0o755, 0o700)


@pytest.mark.parametrize("which", ["cache", "cache/hashes"])
def test_a_folder_that_others_can_write_into_is_refused(tmp_path: Path, which: str) -> None:
    (tmp_path / "cache" / "hashes").mkdir(parents=True)
    (tmp_path / which).chmod(0o777)
    with pytest.raises(PermissionError, match="others can write into it"):
        owned_folder(tmp_path / "cache", "hashes")


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious, target = tmp_path / "precious", tmp_path / "out.json"
    precious.write_text("mine")
    monkeypatch.setattr("os.urandom", bytes)
    part_of(target).symlink_to(precious)
    with pytest.raises(FileExistsError), open_part(target) as (_, stream):
        stream.write(b"theirs")
    assert precious.read_text() == "mine"


def test_parts_of_processes_that_are_gone_are_removed_and_others_stay(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    target = tmp_path / "out.json"
    left = [tmp_path / f".out.json.{gone.pid}.part", tmp_path / f".out.json.{gone.pid}.0a1b2c3d.part"]
    kept = [tmp_path / f".out.json.{os.getpid()}.0a1b2c3d.part", tmp_path / f".other.{gone.pid}.part"]
    for path in (*left, *kept):
        path.touch()
    remove_parts(target)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
