"""What the key `e` does, apart from asking: documents in the formats chosen, and a folder for them.

- `Export`        documents, and what could not be made
- `make_export`   a session in some formats, in memory
- `usual_folder`, `free_folder`  beside the session; one that does not exist yet
- `in_the_way`    files that are there already
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.report.errors import ReportError
from engine.report.export import render
from engine.report.writing import Document
from engine.session.library import SUFFIX
from engine.session.reader import SessionReader
from maxact_tui.watching.memory import give_back

PRESELECTED = ("html", "markdown", "json", "reference")


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written.

    Attributes:
        documents: of all formats that could be made.
        refused: one line for each format that could not.
        partial: the run has not finished; every document says so itself.
    """

    documents: tuple[Document, ...]
    refused: tuple[str, ...]
    partial: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever uses the files must know, each line once; of a single file among others with its name."""
        names: dict[str, list[str]] = {}
        for document in self.documents:
            for text in document.warnings:
                names.setdefault(text, []).append(document.name)
        is_one = len(self.documents) == 1
        return tuple(text if is_one or len(of) > 1 else f"{of[0]}: {text}" for text, of in names.items())


def make_export(session: Path, formats: Sequence[str], tell: Callable[[str], None]) -> Export:
    """The session in these formats; one that cannot be made does not keep the others away.

    `tell` is given a line before each of them.

    Raises:
        SessionError: the session cannot be read.
    """
    documents: list[Document] = []
    refused: list[str] = []
    with SessionReader(session) as reader:
        for number, name in enumerate(formats, 1):
            tell(f"exporting {name} ({number} of {len(formats)}) ...")
            try:
                documents += render(reader, name)
            except ReportError as error:
                refused.append(f"{name}: {error}")
        phase = reader.status().phase
    give_back()
    return Export(tuple(documents), tuple(refused), phase != "finished")


def usual_folder(session: Path) -> Path:
    """The folder beside the session that its results go to."""
    return session.with_name(session.name.removesuffix(SUFFIX) + "-export")


def free_folder(folder: Path) -> Path:
    """A folder beside this one, numbered on, that does not exist."""
    number = 2
    while os.path.lexists(candidate := folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return candidate


def in_the_way(export: Export, folder: Path) -> list[Path]:
    """Files of these names that the folder holds already."""
    return [path for document in export.documents if os.path.lexists(path := folder / document.name)]
