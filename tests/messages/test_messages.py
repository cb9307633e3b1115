"""Messages: a code with data of the kinds that it declares, and a sentence for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.base.job import Job
from engine.base.stored import UnsoundError
from engine.messages import Code, Message, as_written, key_of, message, read_message, words
from engine.messages.message import SENTENCES
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from engine.session.writer import SessionWriter


def test_every_code_has_one_sentence_and_every_sentence_a_code() -> None:
    assert set(SENTENCES) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_message_comes_back_from_json_with_the_same_sentence_of_one_line(code: Code) -> None:
    one = message(code, **SENTENCES[code].example)
    back = read_message(json.loads(json.dumps(one.to_json(), allow_nan=False)))
    assert back == one
    assert key_of(back) == key_of(one)
    assert words(back) == words(one)
    assert words(one).strip() == words(one) != ""
    assert "\n" not in words(one)


@pytest.mark.parametrize("code", [code for code in Code if SENTENCES[code].kinds])
def test_data_that_a_code_does_not_declare_are_refused(code: Code) -> None:
    example = dict(SENTENCES[code].example)
    for name in SENTENCES[code].kinds:
        with pytest.raises(UnsoundError):
            read_message({"code": code, "data": {key: value for key, value in example.items() if key != name}})
        with pytest.raises(UnsoundError):
            read_message({"code": code, "data": example | {name: object()}})


def test_a_text_is_kept_as_it_was_written() -> None:
    assert as_written("x").to_json() == {"code": "text", "data": {"text": "x"}}
    assert words(as_written("x")) == "x"


def test_what_is_no_message_is_refused() -> None:
    stored: Any
    for stored in (None, "text", {}, {"code": 3, "data": {}}, {"code": "text"}, {"code": "text", "data": []}):
        with pytest.raises(UnsoundError):
            read_message(stored)


def test_messages_within_each_other_without_an_end_are_refused() -> None:
    said = message(Code.QUEUED).to_json()
    for _ in range(40):
        said = {"code": Code.ANSWERED, "data": {"name": "x", "answer": said}}
    with pytest.raises(UnsoundError, match="without an end"):
        read_message(said)


def test_a_code_of_a_newer_version_is_shown_as_it_is() -> None:
    assert words(read_message({"code": "tea.ready", "data": {"cups": 2}})) == 'tea.ready {"cups": 2}'
    assert words(Message("tea.ready")) == "tea.ready"
    within = message(Code.ANSWERED, name="tea", answer=Message("tea.ready"))
    assert words(within) == "tea: tea.ready"


def test_other_data_leave_the_message_as_it_was() -> None:
    one = message(Code.STOPPED, resume="run.maxact")
    assert words(one.changed(resume=None)) == "stopped"
    assert words(one).endswith("maxact-tui resume run.maxact")


def test_an_event_with_data_of_another_kind_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "run.maxact"
    writer = SessionWriter.create(path, Job("model"))
    writer.add_event("memory", Message(Code.BUDGET_HALVED, {"budget": "many"}))
    writer.close()
    with SessionReader(path) as reader, pytest.raises(DamagedError, match="its events"):
        reader.events()


def test_an_answer_with_data_of_another_kind_is_damage(tmp_path: Path) -> None:
    from engine.session.requests import send_command

    path = tmp_path / "run.maxact"
    writer = SessionWriter.create(path, Job("model"))
    send_command(path, "pause")
    writer.answer(writer.new_commands()[0], "done", Message(Code.ADDED, {"samples": 1.5, "corpus": None}))
    writer.close()
    with SessionReader(path) as reader, pytest.raises(DamagedError, match="its requests"):
        reader.commands()
