"""The border of this room: what a file does not hold as it was written becomes one line that names file and damage.

Damage is what SQLite says of its structures, and what the readers of stored content say (`UnsoundError`). Every other
error is a mistake of the program: it passes through as it is.

- `reads`    around what reads a session file: damage comes out as a `DamagedError`
- `reading`  the same as a block, for what reads further into a result
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from engine.base.stored import UnsoundError
from engine.session.schema import DamagedError, unreadable


class _OfAFile(Protocol):
    path: Path

    def begin_reading(self) -> None: ...


_File = TypeVar("_File", bound=_OfAFile)
_Given = ParamSpec("_Given")
_Read = TypeVar("_Read")


def reads(
    what: str,
) -> Callable[[Callable[Concatenate[_File, _Given], _Read]], Callable[Concatenate[_File, _Given], _Read]]:
    """A decorator for methods, generators too, that read `what` from the session file `self.path`.

    They then raise:
        SessionError: the file cannot be read at the moment.
        DamagedError: it does not hold what was written into it; the original is its cause.
    """

    def around(
        method: Callable[Concatenate[_File, _Given], _Read],
    ) -> Callable[Concatenate[_File, _Given], _Read]:
        @wraps(method)
        def call(self: _File, *args: _Given.args, **kwargs: _Given.kwargs) -> _Read:
            with reading(self.path, what):
                self.begin_reading()
                return method(self, *args, **kwargs)

        @wraps(method)
        def step(self: _File, *args: _Given.args, **kwargs: _Given.kwargs) -> Iterator[Any]:
            with reading(self.path, what):
                self.begin_reading()
                yield from cast("Iterator[Any]", method(self, *args, **kwargs))

        return cast("Callable[Concatenate[_File, _Given], _Read]", step) if isgeneratorfunction(method) else call

    return around


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Within this block `what` is read from a session file; raises as `reads` does."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a closed connection is a mistake of ours
        raise
    except sqlite3.DatabaseError as error:
        raise unreadable(path, what, error) from error
    except UnsoundError as error:
        raise DamagedError(path, f"{what} cannot be read ({error})") from error
