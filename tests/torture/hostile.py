"""Models and corpora spoilt at random: the engine ends by itself, with a status of one printable line.

- `run`       so many rounds, each with one spoilt copy
- `SPOILERS`  what is done to a model's folder
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.session.reader import SessionReader
from engine.session.records import ENDED
from tests.engine.running import tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.torture.judging import UntoldError, require_told
from tests.torture.making import stopped_session
from tests.torture.starting import Started, is_fresh, starter
from tests.torture.tally import Tally

LONGEST_SECONDS = 120
STOP_AFTER_SECONDS = 40  # then it is asked to stop, as a user would
EVIL = "\x1b]0;x\x07\u202e\n\x9b"
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 10**9, 10**30, -1.5, 1e308, "", "x", EVIL, "org/repo", "../../etc/passwd", [], [[]], {},
    {"a": {"b": []}}, ["x"] * 1000, [10**9] * 3, "auto", "float8_e4m3fn", "\ud800",
)  # fmt: skip
TEMPLATES = (
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{{ raise_exception('" + EVIL + "') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ 1 / 0 }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}", "{{ messages[7] }}", "{{ x.y.z }}", "{%", "{{ '%d' % 'x' }}",
)  # fmt: skip


def _value(folder: Path, chance: random.Random) -> str:
    """A value of a JSON file replaced."""
    path = folder / chance.choice(["config.json", "tokenizer_config.json", "generation_config.json"])
    document = json.loads(path.read_text()) if path.exists() else {}
    name = chance.choice([*document, "quantization_config", "rope_scaling", "auto_map", "text_config"])
    document[name] = chance.choice(VALUES)
    path.write_text(json.dumps(document))
    return f"{path.name} {name} = {str(document[name])[:40]!r}"


def _token_value(folder: Path, chance: random.Random) -> str:
    """A value somewhere inside tokenizer.json replaced."""
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    part, name = document, chance.choice(sorted(document))
    while isinstance(part[name], dict) and part[name] and chance.random() < 0.8:
        part = part[name]
        name = chance.choice(sorted(part))
    part[name] = chance.choice(VALUES)
    path.write_text(json.dumps(document))
    return f"tokenizer.json {name} = {str(part[name])[:40]!r}"


def _bytes(folder: Path, chance: random.Random) -> str:
    """Bytes of a file changed, or its end cut off."""
    path = chance.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    first = min(len(content), 4096) if chance.random() < 0.5 else len(content)
    for _ in range(chance.choice([1, 1, 4, 64])):
        if content:
            content[chance.randrange(first)] = chance.randrange(256)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content) or 1) :]
    path.write_bytes(content)
    return f"bytes of {path.name}"


def _no_file(folder: Path, chance: random.Random) -> str:
    """Something else in a file's place."""
    path = chance.choice(sorted(folder.iterdir()))
    path.unlink()
    kind = chance.choice(["pipe", "device", "loop", "folder", "sparse", "nothing"])
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "sparse":
            with path.open("wb") as file:
                file.truncate(1 << 40)
    return f"{path.name} is a {kind}"


def _template(folder: Path, chance: random.Random) -> str:
    """Another chat template."""
    text = chance.choice(TEMPLATES)
    (folder / "chat_template.jinja").write_text(text)
    return f"template {text[:40]!r}"


def _nested(folder: Path, chance: random.Random) -> str:
    """A JSON file that is nested without an end, or repeated."""
    path = folder / chance.choice(["config.json", "tokenizer.json", "tokenizer_config.json"])
    path.write_text(
        chance.choice(["[" * 200_000, '{"a":' * 50_000 + "1" + "}" * 50_000, "9" * 100_000, "NaN", '"\\ud800"'])
    )
    return f"{path.name} is {path.read_text()[:10]}..."


SPOILERS: tuple[Callable[[Path, random.Random], str], ...] = (
    _value, _value, _token_value, _token_value, _bytes, _bytes, _no_file, _template, _nested,
)  # fmt: skip
LINES = (
    b"", b"{", b"[1]", b"null", b'{"text": 3}', b'{"text": null}', b'{"category": "x"}', b"\xff\xfe\x00",
    b'{"text": "\\ud800"}',
    b'{"text": ""}', b'{"text": "a", "category": {"b": 1}}', b'{"text": "' + b"x" * 5_000_000 + b'"}', b"[" * 100_000,
    json.dumps({"text": EVIL, "category": EVIL}).encode(), b'{"text": "a\\u0000b"}', b"9" * 10_000,
)  # fmt: skip


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Spoil a model or a corpus per round, and measure it.

    Args:
        rounds: how many.
        seed: of what is spoilt; printed.
        folder: for everything that is made.
    """
    print(f"hostile: seed {seed}, {rounds} rounds", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model" / "tokenizer.json").exists():
        tiny_llama_folder(folder / "model")
    corpus = write_corpus(folder / "texts.jsonl", 4)
    return sum((_round(folder, corpus, seed, number) for number in range(rounds)), Tally())


def _round(folder: Path, corpus: Path, seed: int, number: int) -> Tally:
    chance = random.Random(f"{seed} {number}")
    home = folder / f"round{seed}-{number}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    model, policy = folder / "model", "raw"
    if chance.random() < 0.2:
        what = _spoil_corpus(home, chance)
        corpus = home / "texts.jsonl"
    else:
        model = Path(shutil.copytree(model, home / "model"))
        spoiler = chance.choice(SPOILERS)
        what = spoiler(model, chance)
        policy = "chat" if spoiler is _template else "raw"
    where = f"hostile: seed {seed} round {number}: {what}"
    path = stopped_session(home / "run.maxact", tiny_job(model, corpus, policy=policy))
    by_command, fresh = number % 2 == 1, is_fresh((seed + number) // 2)
    started = (
        starter().command("resume", path, "--headless", home=home, fresh=fresh)
        if by_command
        else starter().engine(path, fresh=fresh)
    )
    if not started.has_ended(STOP_AFTER_SECONDS):
        started.stop(signal.SIGINT if by_command else signal.SIGTERM)
    try:
        return _judge(started, path, where, by_command=by_command)
    finally:
        starter().kill_engines(path)
        shutil.rmtree(home, ignore_errors=True)


def _judge(started: Started, path: Path, where: str, *, by_command: bool) -> Tally:
    if not started.has_ended(LONGEST_SECONDS):
        started.kill()
        print(f"{where}: it hangs", flush=True)
        return Tally(rounds=1, hangs=1)
    code = started.wait(0)
    try:
        if by_command:
            require_told(started, 0)
        elif code not in (0, 1):
            raise UntoldError(f"exit {code}: {started.errors()[-300:]!r}")
    except UntoldError as error:
        print(f"{where}: {error}", flush=True)
        return Tally(rounds=1, tracebacks=1)
    with SessionReader(path) as reader:
        status = reader.status()
        # Texts of strangers may stand in a detail as they are: the door to the terminal makes them visible.
        if status.phase not in ENDED - {"gone"} or len(status.detail.splitlines()) > 1:
            print(f"{where}: exit {code}, {status.phase}: {status.detail!r}", flush=True)
            return Tally(rounds=1, tracebacks=1)
    if "please report it" in status.detail:
        print(f"{where}: foreseen by nobody: {status.detail!r}", flush=True)
    return Tally(rounds=1)


def _spoil_corpus(home: Path, chance: random.Random) -> str:
    path, kind = home / "texts.jsonl", chance.choice(["lines", "lines", "lines", "pipe", "device", "folder", "empty"])
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            lines = [chance.choice(LINES) for _ in range(0 if kind == "empty" else chance.randint(1, 6))]
            path.write_bytes(b"\n".join(lines))
    return f"corpus: {kind}"
