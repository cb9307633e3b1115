"""The options of the screen, which every command takes, and the command `settings`.

- `register`  add them to the command line
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import note, say, say_path

SCREEN = Group("The screen (any command)", sort_key=9)


def register(app: App, run: Callable[[list[str]], int]) -> None:
    """Add the command, and the options before everything else.

    Args:
        app: the command line.
        run: parses and runs what is left.
    """
    app.command(settings)

    @app.meta.default
    def launch(
        *arguments: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        theme: Annotated[
            Literal["dark", "light", "ansi"] | None,
            Parameter(group=SCREEN, help="As your terminal's background is; `ansi`: its own 16 colours."),
        ] = None,
        ascii: Annotated[  # the user's word
            bool | None, Parameter(group=SCREEN, negative=(), help="Write ASCII only.")
        ] = None,
        plain: Annotated[
            bool | None,
            Parameter(group=SCREEN, negative=(), help="Append lines instead of drawing; for logs, screen readers."),
        ] = None,
        read_only: Annotated[
            bool | None, Parameter(group=SCREEN, negative=(), help="Look only: send nothing to the engine.")
        ] = None,
        settings: Annotated[
            Path | None, Parameter(group=SCREEN, help="Settings file. [default: see `maxact-tui settings`]")
        ] = None,
    ) -> int:
        """Take the options of the screen, then do what is asked."""
        chosen = {"THEME": theme, "ASCII": ascii, "PLAIN": plain, "READ_ONLY": read_only, "SETTINGS": settings}
        for name, value in chosen.items():
            if value is not None:  # what is said here goes before the environment, and the settings file after it
                os.environ[f"MAXACT_{name}"] = "1" if value is True else str(value)
        return run(list(arguments))


def settings(
    *,
    init: Annotated[bool, Parameter(negative=(), help="Write a file with every default in it, commented out.")] = False,
) -> int:
    """Show the settings in force and where they come from."""
    from maxact_tui.keymap.settings import describe, load_settings, settings_path, template

    path = settings_path()
    if init:
        if path.exists():
            raise UserError(f"{path} exists; edit it, or remove it first")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template(), encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        say_path(path)
        return 0
    described = describe(load_settings())
    note(f"# {path}{'' if path.exists() else '  (not there; maxact-tui settings --init writes it)'}")
    say(*described.splitlines())
    return 0
