"""Commands that write sessions in other forms, or set them against others.

- `export`     one session in one or more formats
- `list_formats`  what there is to choose from
- `compare`    sessions side by side
- `published`  the checkpoints of the paper
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.table import Table

from engine.analysis.published import SOURCE, TIER_NAMES, Checkpoint, tier_range
from engine.analysis.published import published as published_checkpoints
from engine.base.wording import CSV_NOTE, counted
from engine.report.comparison import comparison_documents
from engine.report.errors import ReportError
from engine.report.export import FORMATS, check_scheme, find_format, render
from engine.report.writing import Document, write_documents
from engine.session.reader import SessionReader
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import console, note, say_document, say_path
from maxact_tui.texts.numbers import compact, exact
from maxact_tui.watching.finding import find_session

STDOUT = "-"
WIDE_CELLS = 100
SORTS: dict[str, Callable[[Checkpoint], float | str]] = {
    "m": lambda row: -row.magnitude,
    "name": lambda row: row.name.lower(),
    "ratio": lambda row: -row.layer_median_ratio,
    "jump": lambda row: -row.jump_ratio,
    "layers": lambda row: -row.layers,
}
# Columns beside those always shown: all where there is room, else the one that is sorted by.
FURTHER: dict[str, tuple[str, Callable[[Checkpoint], str]]] = {
    "jump": ("largest step", lambda row: f"x{compact(row.jump_ratio)} L{row.jump_layer}"),
    "layers": ("layers", lambda row: str(row.layers)),
    "ratio": ("M / median", lambda row: compact(row.layer_median_ratio)),
}


def export(session: Path, formats: list[str], output: str, *, scheme: str | None, force: bool) -> int:
    """Write a session into the folder `output`, or to stdout if that is `-`; prints the path of every file.

    Raises:
        ReportError: an unknown format or scheme, an existing file without `force`, a folder that cannot be written;
            the formats that can be written are, whatever another one lacks.
        UserError: several files for stdout.
    """
    formats = [name for word in formats for name in word.split(",")]
    for name in formats:
        check_scheme(find_format(name), scheme)
    if Path(output).exists() and not Path(output).is_dir():
        raise UserError(f"{output} is a file; -o names a folder, or `-` for stdout", code=2)
    with SessionReader(find_session(session)) as reader:
        if output == STDOUT:
            documents = [document for name in formats for document in render(reader, name, scheme)]
            _to_stdout(documents)
            _warn(documents)
            return 0
        warned: list[Document] = []
        tried = [(name, _written(reader, name, Path(output), scheme, warned, force=force)) for name in formats]
        _warn(warned)
    failed = [(name, error) for name, error in tried if error is not None]
    if failed:
        reasons = "; ".join(dict.fromkeys(str(error) for _, error in failed))
        names = f"not written: {', '.join(name for name, _ in failed)}: " if len(formats) > 1 else ""
        raise ReportError(f"{names}{reasons}", code=max(error.code for _, error in failed))
    return 0


def _written(
    reader: SessionReader, name: str, folder: Path, scheme: str | None, made: list[Document], *, force: bool
) -> ReportError | None:
    """Write one format and print its files; why it could not be, so that the formats after it still are."""
    try:
        documents = render(reader, name, scheme)
        for path in write_documents(documents, folder, force=force):
            say_path(path)
        made += documents
    except ReportError as error:
        return error
    return None


def _warn(documents: Sequence[Document]) -> None:
    """Say on stderr what whoever uses the files must know, each once."""
    for line in dict.fromkeys(line for document in documents for line in document.warnings):
        note(f"warning: {line}")


def list_formats() -> int:
    """Print the export formats, and how to get one."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in FORMATS.values():
        table.add_row(one.name, one.description)
    out = console()
    out.print(table)
    for one in FORMATS.values():
        if one.schemes:
            schemes = f"{one.name} takes --scheme {', '.join(one.schemes)}"
            out.print(schemes, soft_wrap=True)
    out.print(f"\n{CSV_NOTE}; Parquet has them as they are.", soft_wrap=True)
    out.print("maxact-tui export SESSION --format html,csv -o FOLDER writes them.", soft_wrap=True)
    return 0


def compare(sessions: Sequence[Path], form: str | None, output: str, *, all_sites: bool, force: bool) -> int:
    """Set sessions side by side; the first is what the others are compared with.

    In a terminal, without a format, a folder or `--all`, they are shown on the screen.

    Raises:
        ReportError: fewer than two sessions, an unknown format, an existing file.
    """
    paths = [find_session(session) for session in sessions]
    if form is None and output == STDOUT and not all_sites and len(paths) > 1 and _has_terminal():
        return _show_comparison(paths)
    with ExitStack() as stack:
        readers = [stack.enter_context(SessionReader(path)) for path in paths]
        documents = comparison_documents(readers, form or "markdown", all_sites=all_sites)
    if output == STDOUT:
        _to_stdout(documents)
        return 0
    for path in write_documents(documents, Path(output), force=force):
        say_path(path)
    return 0


def published(filter_text: str, sort: str) -> int:
    """Print the checkpoints of the paper whose name or family holds `filter_text`."""
    wanted = filter_text.lower()
    rows = [row for row in published_checkpoints() if wanted in f"{row.name} {row.family} {row.model_type}".lower()]
    if not rows:
        raise UserError(
            f"no published checkpoint is called '{filter_text}'; maxact-tui published lists them all", code=2
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("checkpoint", no_wrap=True)
    table.add_column("M", justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("massive", no_wrap=True)
    out = console()
    further = list(FURTHER) if out.width >= WIDE_CELLS else [sort if sort in FURTHER else "jump"]
    for name in further:
        table.add_column(FURTHER[name][0], justify="right", no_wrap=True)
    for row in sorted(rows, key=SORTS[sort]):
        table.add_row(*_published_row(row), *(FURTHER[name][1](row) for name in further))
    out.print(table)
    out.print(
        f"{counted(len(rows), 'checkpoint')} of {SOURCE}; massive: by layer median / by token median;"
        " M / median: the largest of a site over its median",
        soft_wrap=True,
    )
    out.print("tiers: " + "; ".join(f"{name} {tier_range(name)}" for name in TIER_NAMES))
    return 0


def _published_row(row: Checkpoint) -> tuple[str, ...]:
    words = {True: "yes", False: "no"}
    return (
        row.name,
        exact(row.signed_maximum),
        row.location,
        row.tier,
        f"{words[row.passes_layer_median]} / {words[row.passes_token_median]}",
    )


def _has_terminal() -> bool:
    """Whether somebody sits there."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _show_comparison(paths: Sequence[Path]) -> int:
    for path in paths:  # a file that cannot be read is refused before the screen opens
        SessionReader(path).close()
    from maxact_tui.terminal.preparing import prepare_terminal

    prepare_terminal()
    from maxact_tui.shell.app import run_comparison

    return run_comparison(paths)


def _to_stdout(documents: Sequence[Document]) -> None:
    if len(documents) > 1:
        names = ", ".join(document.name for document in documents)
        raise UserError(f"this gives several files ({names}); name a folder with -o", code=2)
    say_document(documents[0].content)
