"""Promise 8: continuing a stranger's session runs no code that was not allowed here, and writes only beside it.

What allows code is tested in `tests.engine.test_rights`, what a model's files may ask for in
`tests.loading.test_hostile`, how a load ends in `tests.engine.test_loading_ends`.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.messages import Code, message
from engine.session.library import lock_path, log_path
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.cli.running import main_here, maxact, refusal
from tests.promises.strangers import Stranger

CODE = (
    "open({mark!r}, 'w').close()\nfrom transformers import LlamaConfig\nclass C(LlamaConfig): model_type = 'strange'\n"
)


@pytest.fixture
def gift(tmp_path: Path, tiny_model_folder: Path) -> Stranger:
    return Stranger(tmp_path, tiny_model_folder)


def broken_off(gift: Stranger, **job: object) -> None:
    """Let the session be one that stopped, with a job that asks for more."""
    with SessionReader(gift.session) as reader:
        meta, status = reader.meta(), reader.status()
    writer = SessionWriter.open(gift.session)
    writer.set_meta(job=replace(meta.job, **job).to_json())  # type: ignore[arg-type]
    writer.set_status(status.changed(phase="stopped", message=message(Code.STOPPED, resume=None)))
    writer.close(final=True)


@pytest.mark.parametrize(
    "words", [["resume", "--headless"], ["effect", "--samples", "2"], ["stability"], ["add", "starter", "--headless"]]
)
@pytest.mark.parametrize("right", ["trust_remote_code", "allow_pickle"])
def test_a_session_that_asks_for_a_right_is_refused_with_the_flag_that_gives_it(
    gift: Stranger, words: list[str], right: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (gift.model / "strange.py").write_text(CODE.format(mark=str(gift.mark)))
    config = json.loads((gift.model / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "strange.C"}, "model_type": "strange"}
    (gift.model / "config.json").write_text(json.dumps(config))
    broken_off(gift, **{right: True})
    name, *rest = words
    result = main_here(
        name, gift.session, *rest, home=gift.folder, captured=capfd, MAXACT_STATE=str(tmp_path / "state")
    )
    code, said = refusal(result)
    assert code == 1
    assert f"--{right.replace('_', '-')}" in said
    assert str(gift.model) in said
    assert not gift.mark.exists()


def test_going_on_writes_beside_the_session_and_springs_no_trap(gift: Stranger) -> None:
    broken_off(gift)
    before = gift.content()
    result = maxact("resume", gift.session, "--headless", home=gift.folder)
    assert result.returncode == 0, result.stderr
    after = gift.content()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed <= {"gift.maxact", "gift.maxact.log", "gift.maxact-wal", "gift.maxact-shm"}
    assert not gift.mark.exists()


@pytest.mark.parametrize("path_of", [log_path, lock_path])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_going_on_follows_no_planted_link_and_waits_for_no_pipe(
    gift: Stranger, path_of: object, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    broken_off(gift)
    victim = gift.mark.with_name("profile")
    victim.write_text("# mine\n")
    assert callable(path_of)
    planted: Path = path_of(gift.session)
    planted.unlink(missing_ok=True)
    planted.symlink_to(victim) if kind == "link" else os.mkfifo(planted)
    code, said = refusal(main_here("resume", gift.session, "--headless", home=gift.folder, captured=capfd))
    assert code == 1
    assert planted.name in said
    assert victim.read_text() == "# mine\n"
