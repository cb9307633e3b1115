"""One door to stdout and stderr: what strangers wrote leaves through it visible, never raw."""

from __future__ import annotations

import ast
import io
import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from maxact_tui.cli.bar import Bar
from maxact_tui.terminal import printing
from tests.cli.conftest import Here
from tests.test_house import HOME

EVIL = "\x1b]0;pwn\x07\x1b[31mEVIL\u202e\x9b2J\r"
WORD = "\x1b[31m\u202e"
RAW = ("\x1b]0;pwn", "\x1b[31mEVIL", "\u202e", "\x07", "\x9b", "\r")
BAR = "maxact_tui/cli/bar.py"  # on the console that the door gives
DRAWN = frozenset({"Progress", "Live", "Status", "track"})
DOOR = "maxact_tui/terminal/printing.py"
# What writes to the terminal beside it: the first frame, which makes its one name visible itself.
SCREEN = {"maxact_tui/terminal/splash.py"}
# Programs that only speak to the process which started them; that one prints through the door.
OF_A_LIBRARY = "engine/api/bar.py"  # a bar in somebody else's program, which makes its texts printable itself
SPOKEN_TO_A_PARENT = {"engine/loading/tokens.py", "engine/sites/__main__.py", "engine/report/torch_file.py"}


def assert_clean(text: str) -> None:
    assert "EVIL" in text
    assert not [raw for raw in RAW if raw in text], repr(text)


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def a_terminal() -> Iterator[FakeTerminal]:
    stream = FakeTerminal()
    with redirect_stdout(stream), redirect_stderr(stream):
        yield stream


class TestTheDoor:
    def test_lines(self) -> None:
        with a_terminal() as terminal:
            printing.say(EVIL)
            printing.note(EVIL, EVIL.encode())
            printing.ask(EVIL)
            assert terminal.getvalue().count("\n") == 3, "no foreign text makes a line of its own"
            assert_clean(terminal.getvalue())

    def test_a_table_a_title_and_a_text(self) -> None:
        with a_terminal() as terminal:
            table = Table(EVIL, title=EVIL)
            table.add_row(Text(EVIL, "bold"))
            table.add_row(EVIL)
            out = printing.console(200)
            out.print(table)
            out.print(EVIL, Text(EVIL))
            out.print("[red]x[/red] :smile:")
            assert_clean(terminal.getvalue())
            assert "[red]x[/red] :smile:" in terminal.getvalue()

    def test_a_bar(self) -> None:
        with a_terminal() as terminal:
            with Bar(WORD) as bar:
                bar.show(WORD, 1, 2)
                bar.begin(WORD)
            text = terminal.getvalue().replace("\r", "")  # with which a bar begins its line anew
            assert "\\x1b" in text
            assert not [raw for raw in RAW if raw in text]

    def test_a_document_to_a_terminal_keeps_its_lines(self) -> None:
        with a_terminal() as terminal:
            printing.say_document(f"one\n\n{EVIL}\nlast\n".encode())
            assert terminal.getvalue().split("\n")[:2] == ["one", ""]
            assert terminal.getvalue().endswith("\nlast\n")
            assert_clean(terminal.getvalue())

    def test_what_programs_read_leaves_as_it_is(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        name = b"/tmp/\xff \xe2\x80\xae"
        printing.say_document(EVIL.encode())
        printing.say_path(Path(name.decode("utf-8", "surrogateescape")))
        assert capfdbinary.readouterr().out == EVIL.encode() + name + b"\n"

    def test_what_code_logs_in_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with a_terminal() as terminal:
            monkeypatch.setattr(logging, "lastResort", logging.lastResort)
            printing.guard_logs()
            logger = logging.Logger("somebody")
            logger.warning("read %s", EVIL)
            assert_clean(terminal.getvalue())


def writers(tree: ast.AST) -> Iterator[str]:
    """Every way around the door in a module: `print`, writing into a standard stream, a console of rich's own."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "Console" | "input" as name)):
                yield f"{name}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="traceback"), attr=name)) if name.startswith("print_"):
                yield f"traceback.{name}()"
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=stream), attr="write" | "buffer"):
                if "stdout" in stream or "stderr" in stream:
                    yield f"sys.{stream}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="write"), args=[ast.Constant(), *_]):
                yield "os.write()"
            case ast.ImportFrom(module="rich.console", names=names):
                yield from (f"rich.console.{one.name}" for one in names if one.name == "Console")
            case ast.ImportFrom(module="rich.progress" | "rich.live" | "rich.status" as module, names=names):
                yield from (
                    f"{module}.{one.name}" for one in names if one.name in ("Progress", "Live", "Status", "track")
                )
            case ast.ImportFrom(module="rich", names=names):
                yield from (f"rich.{one.name}" for one in names if one.name in ("print", "get_console"))


@pytest.mark.parametrize("room", ["maxact_tui", "engine", "corpus"])
def test_nothing_writes_to_a_standard_stream_but_the_door(room: str) -> None:
    allowed = {DOOR, BAR, *SCREEN, *SPOKEN_TO_A_PARENT, OF_A_LIBRARY}
    found = {
        name: ways
        for path in sorted((HOME / room).rglob("*.py"))
        if (name := str(path.relative_to(HOME))) not in allowed
        and (ways := set(writers(ast.parse(path.read_text(encoding="utf-8")))) - _typed_only(path))
    }
    assert not found


def _typed_only(path: Path) -> set[str]:
    """A console that is only named in signatures is somebody else's."""
    text = path.read_text(encoding="utf-8")
    return set() if "Console(" in text else {"rich.console.Console"}


def test_the_search_finds_every_way_around_the_door() -> None:
    ways = """
print(x)
Console(stderr=True).print(x)
sys.stderr.write(x)
sys.__stdout__.buffer.write(x)
os.write(2, x)
traceback.print_exc()
from rich.progress import Progress
from rich import print
"""
    assert len(list(writers(ast.parse(ways)))) == 8


class TestCommands:
    """A session whose every text is hostile, through the commands that print it."""

    @pytest.fixture(scope="class")
    @staticmethod
    def hostile(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Path:
        home = tmp_path_factory.mktemp("hostile")
        path = home / (EVIL + ".maxact")
        shutil.copy(made, path)
        return path

    @pytest.mark.parametrize("words", [["show"], ["sessions", "rm"], ["stop"], ["open"], ["resume"], ["effect"]])
    def test_the_name_of_a_session(self, hostile: Path, here: Here, words: list[str]) -> None:
        result = here(*words, hostile, home=hostile.parent)
        assert not [raw for raw in RAW if raw in result.stdout + result.stderr]

    def test_the_list(self, hostile: Path, here: Here) -> None:
        shown = here("sessions", home=hostile.parent).stdout
        assert "\\x1b]0;pwn" in shown
        assert not [raw for raw in RAW if raw in shown]

    @pytest.mark.parametrize("words", [["show"], ["open"], ["plan"], ["corpus", "show"], ["merge"], ["nonsense"]])
    def test_words_that_name_nothing(self, home: Path, here: Here, words: list[str]) -> None:
        result = here(*words, EVIL, home=home)
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
        assert not [raw for raw in RAW if raw in result.stdout + result.stderr]

    def test_a_corpus(self, tmp_path: Path, here: Here) -> None:
        corpus = tmp_path / "c.jsonl"
        corpus.write_text(json.dumps({"text": f"hello {EVIL}", "category": EVIL}) + "\n")
        shown = here("corpus", "show", corpus, home=tmp_path).stdout
        assert "\\x1b]0;pwn" in shown
        assert not [raw for raw in RAW if raw in shown]

    def test_the_phase_of_a_run(self, tmp_path: Path, made: Path, here: Here) -> None:
        path = Path(shutil.copy(made, tmp_path))
        with sqlite3.connect(path) as database:
            database.execute("update status set value = json_set(value, '$.phase', ?)", (EVIL,))
        for words in (["show", path], ["sessions"], ["stop", path], ["resume", path, "--headless"]):
            result = here(*words, home=tmp_path)
            assert not [raw for raw in RAW if raw in result.stdout + result.stderr], words

    def test_a_model_type(self, tmp_path: Path, home: Path, here: Here) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": EVIL}))
        result = here("plan", tmp_path, home=home)
        assert result.returncode == 1
        assert_clean(result.stderr)
