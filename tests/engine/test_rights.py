"""A stranger's session runs nothing: no code of its model, nothing beside it, no file its log is linked to."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.process import allow, describe_death, start_engine
from engine.session.library import log_path
from engine.session.logfile import OneLine, open_log, read_end
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.rights import Rights, RightsError, remembered
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from maxact_tui.watching.asking import ask
from tests.engine.running import new_session, tiny_job, write_corpus

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
Path({mark!r}).touch()
class StrangeConfig(LlamaConfig):
    model_type = "strange_llama"
class StrangeModel(LlamaForCausalLM):
    config_class = StrangeConfig
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What the stranger's code leaves behind when it runs."""
    return tmp_path / "code-ran"


@pytest.fixture
def stranger(tmp_path: Path, tiny_model_folder: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session that says that the code beside its model may run, and ended before it measured anything."""
    monkeypatch.setenv("MAXACT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "strange.StrangeConfig", "AutoModelForCausalLM": "strange.StrangeModel"}
    config["model_type"] = "strange_llama"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(CODE.format(mark=str(mark)))
    job = replace(tiny_job(folder, write_corpus(tmp_path / "texts.jsonl"), samples=4), trust_remote_code=True)
    path = new_session(tmp_path / "stranger.maxact", job)
    writer = SessionWriter.open(path)
    with SessionReader(path) as reader:
        writer.set_status(reader.status().changed(phase="stopped"))
    writer.close(final=True)
    return path


def finish(path: Path) -> str:
    with SessionReader(path) as reader:
        while reader.status().phase not in ENDED:
            time.sleep(0.1)
        return reader.status().phase


def test_what_a_session_says_of_itself_allows_nothing(stranger: Path, mark: Path) -> None:
    with SessionReader(stranger) as reader:
        model = reader.meta().job.model
    for start in (start_engine, lambda path: ask(path, "probe", {"text": "sea"})):
        with pytest.raises(RightsError) as caught:
            start(stranger)
        assert model in str(caught.value)
        assert "--trust-remote-code" in str(caught.value)
    assert not mark.exists()


def test_an_engine_started_by_hand_needs_the_flag_too(stranger: Path, mark: Path) -> None:
    command = [sys.executable, "-P", "-m", "engine", str(stranger)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=280).returncode == 1
    with SessionReader(stranger) as reader:
        assert "you have not allowed on this machine" in reader.status().detail
    assert not mark.exists()


@pytest.mark.parametrize("command", [["resume", "--headless"], ["effect"], ["stability"], ["add", "starter"]])
def test_commands_say_which_code_and_which_flag(stranger: Path, mark: Path, command: list[str]) -> None:
    name, *rest = command
    words = [sys.executable, "-P", "-m", "maxact_tui", name, str(stranger), *rest]
    result = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=280)
    assert result.returncode in (1, 2)
    assert result.stderr.count("\n") == 1, result.stderr
    if name in ("resume", "effect"):
        assert "--trust-remote-code" in result.stderr
    assert not mark.exists()


def test_what_was_allowed_is_remembered_for_this_session_and_this_code(stranger: Path, mark: Path) -> None:
    allow(stranger, Rights(trust_remote_code=True))
    start_engine(stranger)
    assert finish(stranger) == "finished", describe_death(stranger)
    assert mark.exists()
    with SessionReader(stranger) as reader:
        meta = reader.meta()
    assert remembered(meta.session_id, meta.job) == Rights(trust_remote_code=True)
    assert remembered("another", meta.job) == Rights()
    code = Path(meta.job.model) / "strange.py"
    code.write_text(code.read_text() + "\n# changed\n")
    assert remembered(meta.session_id, meta.job) == Rights()


def test_rights_that_others_could_have_written_are_none(stranger: Path, tmp_path: Path) -> None:
    allow(stranger, Rights(trust_remote_code=True))
    with SessionReader(stranger) as reader:
        meta = reader.meta()
    folder = tmp_path / "state" / "rights"
    folder.chmod(0o777)
    assert remembered(meta.session_id, meta.job) == Rights()
    with pytest.raises(RightsError, match="others can write"):
        allow(stranger, Rights(trust_remote_code=True))


def test_settings_of_libraries_beside_a_session_are_not_read(tmp_path: Path, tiny_model_folder: Path) -> None:
    pytest.importorskip("numba")
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / ".numba_config.yaml").write_text("cache_dir: ./planted\n")
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "texts.jsonl"), samples=4, backend="numba")
    path = new_session(folder / "run.maxact", job)
    start_engine(path)
    assert finish(path) == "finished", describe_death(path)
    assert not (folder / "planted").exists()


class TestLog:
    """The log is a plain file of this user."""

    @pytest.fixture
    def session(self, tmp_path: Path, tiny_model_folder: Path) -> Path:
        return new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, tmp_path / "none.jsonl"))

    @pytest.mark.parametrize("kind", ["link", "second name", "pipe", "folder"])
    def test_what_is_none_is_neither_written_nor_waited_for(self, session: Path, tmp_path: Path, kind: str) -> None:
        victim, log = tmp_path / "profile", log_path(session)
        victim.write_text("# mine\n")
        match kind:
            case "link":
                log.symlink_to(victim)
            case "second name":
                log.hardlink_to(victim)
            case "pipe":
                os.mkfifo(log)
            case _:
                log.mkdir()
        with pytest.raises(SessionError):
            start_engine(session)
        assert victim.read_text() == "# mine\n"
        assert read_end(session) in ("", "# mine\n")
        assert describe_death(session) in ([], ["# mine"])

    def test_it_is_readable_by_its_owner_only(self, session: Path) -> None:
        os.close(open_log(session))
        assert log_path(session).stat().st_mode & 0o777 == 0o600

    def test_a_message_cannot_begin_a_line_of_its_own(self) -> None:
        formatter = OneLine("%(levelname)s %(message)s")
        try:
            raise ValueError("one\ntouch /tmp/x\n\x1b[2J")
        except ValueError:
            record = logging.LogRecord("n", logging.ERROR, "f", 1, "a\nrm %s", ("\r\x1b]0;x\x07",), sys.exc_info())
        first, *rest = formatter.format(record).splitlines()
        assert first == "ERROR a\\nrm \\r\\x1b]0;x\\x07"
        assert rest
        assert all(line.startswith("  | ") and line.isprintable() for line in rest)
