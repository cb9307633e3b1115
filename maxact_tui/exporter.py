"""What the key `e` does: the results in every common form, in a folder beside the session.

- `export_results`
"""

from __future__ import annotations

from pathlib import Path

from engine.report.errors import ReportError
from engine.report.export import export_session
from engine.session.library import SUFFIX
from engine.session.reader import SessionReader

FORMATS = ("html", "markdown", "json", "reference")


def export_results(session: Path) -> str:
    """Write the session's results; an earlier export of the same session is replaced.

    Returns:
        One line that says what was written where, or why nothing was.
    """
    folder = session.with_name(session.name.removesuffix(SUFFIX) + "-export")
    written: list[Path] = []
    refused: list[str] = []
    try:
        folder.mkdir(exist_ok=True)
        with SessionReader(session) as reader:
            for name in FORMATS:
                try:
                    written += export_session(reader, name, folder, force=True)
                except ReportError as error:
                    refused.append(str(error))
    except OSError as error:
        return f"nothing exported: {error.strerror or error}; use: maxact-tui export SESSION --output FOLDER"
    files = f"{len(written)} file{'s' if len(written) != 1 else ''} in {folder}"
    return f"exported {files}" + (f"; {'; '.join(refused)}" if refused else "")
