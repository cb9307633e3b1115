"""A session as a stranger might send it, and what of it must not happen.

- `Stranger`  a measured session in a folder full of traps
- `main_in_a_terminal`  a command in a real terminal; everything it wrote there
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from engine.run import runner
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.screen.terminal import Terminal

TRAPS = ("sitecustomize.py", "usercustomize.py", "numpy.py", "torch.py", "conftest.py", "engine.py", "maxact_tui.py")


class Stranger:
    """A measured session, with traps beside it that leave a mark when they are sprung.

    Attributes:
        session: the file.
        mark: what is there after a trap was sprung.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.mark = folder / "sprung"
        self.folder = folder / "from a stranger"
        self.folder.mkdir(parents=True)
        self.model = Path(shutil.copytree(model, self.folder / "model"))
        job = tiny_job(self.model, write_corpus(self.folder / "texts.jsonl", 6))
        self.session = new_session(self.folder / "gift.maxact", job)
        assert runner.run(self.session) == 0
        for name in TRAPS:
            (self.folder / name).write_text(f"open({str(self.mark)!r}, 'w').close()\n")
        (self.folder / ".numba_config.yaml").write_text(f"cache_dir: {self.folder}\n")
        (self.folder / "matplotlibrc").write_text("backend: module://sitecustomize\n")

    def content(self) -> dict[str, bytes]:
        """Every plain file of the folder."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


def main_in_a_terminal(*words: object, session: Path, columns: int = 120, rows: int = 36) -> tuple[int, bytes]:
    """Run a command in a terminal of its own, in the session's folder; its exit code and what it wrote."""
    command = [sys.executable, "-P", "-m", "maxact_tui", *map(str, words)]
    environment: dict[str, str | None] = {"MAXACT_SESSIONS": str(session.parent), "MAXACT_BUG_LOG": os.devnull}
    with Terminal(session, columns, rows, env=environment, command=command) as terminal:
        code = terminal.exit_code()
        return code, bytes(terminal.raw)
