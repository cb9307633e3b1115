"""The export command.

- `export`  write a session in one or more formats
"""

from __future__ import annotations

from pathlib import Path

from engine.report.export import export_session
from engine.session.reader import SessionReader
from maxact_tui.finding import find_session


def export(session: Path, formats: list[str], folder: Path, *, force: bool) -> int:
    """Write a session into `folder`; prints the path of every file written.

    Raises:
        ReportError: an unknown format, an existing file without `force`, a folder that cannot be written.
    """
    with SessionReader(find_session(session)) as reader:
        for name in formats:
            for path in export_session(reader, name, folder, force=force):
                print(path)
    return 0
