"""Requests that wait in a session file: an engine that starts obeys only those that were made on this machine.

- `note`     that this user has asked a session for something
- `is_noted` whether he has

A file that came from elsewhere may hold any request, such as to add texts of this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.owned import owned_folder
from engine.session.rights import is_private, state_folder


def note(session_id: str, at: float, name: str, arguments: Mapping[str, Any]) -> None:
    """Remember a request; where the state folder cannot be written, only an engine that is at work will obey it."""
    with suppress(OSError):
        path = owned_folder(state_folder(), "requests") / _digest(session_id, at, name, arguments)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def is_noted(session_id: str, at: float, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether this request was made by this user on this machine."""
    return is_private(_folder() / _digest(session_id, at, name, arguments))


def _folder() -> Path:
    return state_folder() / "requests"


def _digest(session_id: str, at: float, name: str, arguments: Mapping[str, Any]) -> str:
    asked = json.dumps([session_id, at, name, dict(arguments)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]
