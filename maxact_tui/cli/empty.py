"""The words of a command line before anybody asks what they mean.

- `refuse_empty`  a word that is nothing
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from maxact_tui.errors import UserError
from maxact_tui.texts.visible import visible

_SEARCHES = frozenset({"published"})  # without a word, what it looks for is everything


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an argument that is empty: as a path it would be the present folder.

    Raises:
        UserError: with the command, in which the empty one shows.
    """
    if not _SEARCHES.isdisjoint(arguments):
        return
    for argument in arguments:
        is_option = argument.startswith("--") and argument.find("=") == len(argument) - 1
        if not argument.strip() or is_option:
            command = visible(shlex.join(["maxact-tui", *arguments]), space=" ")
            what = f"{visible(argument)} names nothing" if is_option else "an argument is empty"
            raise UserError(f"{what}; a variable without a value? {command}", code=2)
