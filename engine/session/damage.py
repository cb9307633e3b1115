"""The border of this room: what a file does not hold as it was written becomes one line that names file and damage.

- `reads`  around what reads a session file: damage comes out as a `DamagedError`
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from engine.session.codec import UnsoundError
from engine.session.schema import DamagedError, unreadable
from engine.statistics.totals import TotalsMismatchError


class _OfAFile(Protocol):
    path: Path


_File = TypeVar("_File", bound=_OfAFile)
_Given = ParamSpec("_Given")
_Read = TypeVar("_Read")
# Of values with another type, shape or size than was written; a closed connection is a mistake of ours, and no damage.
_SIGNS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


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
            with _refusing(self.path, what):
                return method(self, *args, **kwargs)

        @wraps(method)
        def step(self: _File, *args: _Given.args, **kwargs: _Given.kwargs) -> Iterator[Any]:
            with _refusing(self.path, what):
                yield from cast("Iterator[Any]", method(self, *args, **kwargs))

        return cast("Callable[Concatenate[_File, _Given], _Read]", step) if isgeneratorfunction(method) else call

    return around


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        raise unreadable(path, what, error) from error
    except _SIGNS as error:
        raise DamagedError(path, f"{what} cannot be read ({_in_words(error)})") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, UnsoundError | TotalsMismatchError):
        return str(error)
    if isinstance(error, json.JSONDecodeError | UnicodeError):
        return "cut short or changed"
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is missing"
    return "not what a run writes"
