"""What can go wrong while a model is loaded, as one line with the user's next step.

- `LoadError`  the only exception of this room
- `ErrorKind`  the kinds it distinguishes
"""

from __future__ import annotations

from typing import Literal

ErrorKind = Literal[
    "missing",  # the model, file or revision does not exist
    "access",  # gated, private, bad token, not readable
    "network",  # the hub could not be reached, or answered with an error of its own
    "format",  # the files are there but broken or incomplete
    "unsupported",  # an architecture or quantisation this version cannot run
    "policy",  # needs a permission the user has not given: remote code, pickle
    "device",  # the device is not there
    "memory",  # not enough of it
    "dependency",  # a Python package is missing
    "internal",  # none of the above
]


class LoadError(Exception):
    """A model that could not be loaded; `str()` is one line: what happened, then what to do.

    The original exception, with its traceback, is kept in `__cause__`.

    Attributes:
        message: what happened.
        hint: the user's next step.
        kind: the class of the error, for exit codes and tests.
    """

    def __init__(self, message: str, *, hint: str, kind: ErrorKind) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.kind: ErrorKind = kind
        super().__init__(f"{self.message}: {self.hint}" if self.hint else self.message)
