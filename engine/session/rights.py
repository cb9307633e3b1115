"""What a session's engine may do on this machine: rights are the user's, never the file's.

- `Rights`            run the model's own Python code; read pickled weights
- `asked_rights`      what a job asks for
- `remember`, `remembered`  what this user has allowed a session, in the user's own state folder
- `RightsError`       a session asks for a right that it was not given here

A session file is data that may come from anybody. That it says `trust_remote_code` allows nothing: the right is given
by a flag of the command line, on this machine, by this user, for this session and this model. It is remembered by the
session's id, the model and a fingerprint of the model folder's code, so that neither another session nor another
model, nor the same one with other code, has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from engine.base.job import Job
from engine.session.schema import SessionError

STATE_VARIABLE = "MAXACT_STATE"
_CODE = ("*.py", "config.json", "*.bin", "*.pt", "*.pth")
FLAGS = {"trust_remote_code": "--trust-remote-code", "allow_pickle": "--allow-pickle"}
_WORDS = {
    "trust_remote_code": "run the Python code that comes with",
    "allow_pickle": "read pickled weights (which can run code) of",
}


class RightsError(SessionError):
    """A session asks for a right that was not given on this machine; the message names path and flag."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What an engine may do beyond reading data.

    Attributes:
        trust_remote_code: run Python code of the model's repository.
        allow_pickle: read pickled checkpoints.
    """

    trust_remote_code: bool = False
    allow_pickle: bool = False

    def __or__(self, other: Rights) -> Rights:
        return Rights(self.trust_remote_code or other.trust_remote_code, self.allow_pickle or other.allow_pickle)

    def flags(self) -> list[str]:
        """The command line flags that give these rights."""
        return [flag for name, flag in FLAGS.items() if getattr(self, name)]

    def missing(self, given: Rights) -> list[str]:
        """Names of the rights that `given` lacks."""
        return [name for name in FLAGS if getattr(self, name) and not getattr(given, name)]


def asked_rights(job: Job) -> Rights:
    """The rights that a job asks for."""
    return Rights(job.trust_remote_code, job.allow_pickle)


def require(job: Job, given: Rights, session: Path) -> None:
    """Refuse a job that asks for more than was given.

    Raises:
        RightsError: it does; the message names the model and the flag.
    """
    missing = asked_rights(job).missing(given)
    if missing:
        words = " and to ".join(_WORDS[name] for name in missing)
        flags = " ".join(FLAGS[name] for name in missing)
        raise RightsError(
            f"{session} asks to {words} {job.model}, which you have not allowed on this machine; "
            f"if you trust it, give {flags}"
        )


def remember(session_id: str, job: Job, rights: Rights) -> None:
    """Keep what this user has allowed a session.

    Raises:
        RightsError: the state folder cannot be written, or is open to others.
    """
    if not session_id:
        raise RightsError(
            "this session was made by an older version, which cannot be allowed to run code; measure anew"
        )
    path = _path(session_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"session": session_id, "model": fingerprint(job), **asdict(rights)}, file)
        temporary.replace(path)
    except OSError as error:
        raise RightsError(f"cannot remember what you allow in {path.parent}: {error}; set {STATE_VARIABLE}") from error
    if not is_private(path):
        raise RightsError(
            f"others can write into {path.parent}; close it to them (chmod go-w), or set {STATE_VARIABLE}"
        )


def remembered(session_id: str, job: Job) -> Rights:
    """What this user has allowed a session whose model is still the one it was allowed for."""
    path = _path(session_id) if session_id else None
    if path is None or not is_private(path):
        return Rights()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Rights()
    if not isinstance(data, dict) or data.get("session") != session_id or data.get("model") != fingerprint(job):
        return Rights()
    return Rights(data.get("trust_remote_code") is True, data.get("allow_pickle") is True)


def fingerprint(job: Job) -> str:
    """A hash of the model's name and revision, and of a local folder's code (sizes and times of pickled weights)."""
    digest = hashlib.sha256(json.dumps([job.model, job.revision]).encode())
    folder = Path(job.model)
    if folder.is_absolute() and folder.is_dir():
        for file in sorted({file for pattern in _CODE for file in folder.rglob(pattern) if file.is_file()}):
            state = file.stat()
            digest.update(json.dumps([str(file.relative_to(folder)), state.st_size]).encode())
            if file.suffix in (".py", ".json"):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            else:
                digest.update(str(state.st_mtime_ns).encode())
    return digest.hexdigest()


def state_folder() -> Path:
    """The folder of what this user has said once (`$MAXACT_STATE`, else the user's state folder)."""
    override = os.environ.get(STATE_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    return Path(platformdirs.user_state_dir("maxact-tui", appauthor=False))


def _path(session_id: str) -> Path:
    return state_folder() / "rights" / f"{hashlib.sha256(session_id.encode()).hexdigest()[:32]}.json"


def is_private(path: Path) -> bool:
    """Whether nobody else can have written the file: a plain file of this user in a folder of this user."""
    try:
        file, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    others_write = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISREG(file.st_mode) and all(
        one.st_uid == os.geteuid() and not one.st_mode & others_write for one in (file, folder)
    )
