"""Files that are either whole or not there.

- `Document`    a file to be: its name and content
- `write_documents`  all of them into a folder, each by a rename
- `safe_name`   any text as a file name
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.owned import open_part
from engine.base.files import appear
from engine.report.errors import ReportError

_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Document:
    """A file to be written.

    Attributes:
        name: without a folder.
        content: of the file.
        warnings: what whoever uses it must know, a line each; the content says it, too, where it can.
    """

    name: str
    content: bytes
    warnings: tuple[str, ...] = ()


def safe_name(text: str) -> str:
    """The text as a file name: letters, digits, dot, dash and underscore; never hidden, never empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:_LONGEST_NAME] or "session"


def write_documents(documents: Sequence[Document], folder: Path, *, force: bool) -> list[Path]:
    """Write all documents into `folder`, which is made if need be.

    Every file appears whole, by a rename; without `force` nothing is written if one of them exists.

    Raises:
        ReportError: a file exists, or the folder cannot be written.
    """
    paths = [folder / document.name for document in documents]
    existing = [path for path in paths if os.path.lexists(path)]
    if existing and not force:
        raise ReportError(f"{existing[0]} exists already; choose another folder, or replace it with --force")
    if folder.exists() and not folder.is_dir():
        raise ReportError(f"cannot write into {folder}: it is a file; choose another folder", code=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for document, path in zip(documents, paths, strict=True):
            _write(document.content, path, force=force)
    except FileExistsError as error:
        raise ReportError(f"a file appeared in {folder} meanwhile; try again, or replace it with --force") from error
    except OSError as error:
        raise ReportError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error
    return paths


def _write(content: bytes, path: Path, *, force: bool) -> None:
    with open_part(path, 0o666) as (temporary, stream):
        stream.write(content)
    try:
        if force:
            temporary.replace(path)
        else:
            appear(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
