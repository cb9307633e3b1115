"""One engine per session: a lock that is held as long as the engine lives.

- `EngineLock`  the held lock; the command line takes it and hands it to the engine that it starts
- `is_locked`   whether a living engine holds it, from any process that sees the file
- `LockedError` another engine holds it

The lock is `flock` on an empty file beside the session. The kernel lets go of it when the last process that holds it
ends, however it ends, and every process of this machine sees it, whatever its clock and its container. On file systems
that have no locks the token of `SessionWriter.claim` still keeps a second engine from writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from engine.session.library import lock_path
from engine.session.schema import SessionError

Role = Literal["run", "service"]

_WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
# A look of somebody else (`is_locked`) holds the lock for microseconds.
_PATIENCE_SECONDS, _STEP_SECONDS = 0.5, 0.02


class LockedError(SessionError):
    """Another engine works on this session."""


@dataclass(slots=True)
class EngineLock:
    """The lock of a session's engine.

    Attributes:
        path: the lock file.
        descriptor: the open file that holds the lock.
        is_held: False on a file system without locks, where nothing but the token tells two engines apart.
    """

    path: Path
    descriptor: int
    is_held: bool

    @classmethod
    def take(cls, session: Path, role: Role = "run") -> Self:
        """Take the lock.

        Raises:
            LockedError: another engine holds it.
            SessionError: the lock file cannot be made, or is not a plain file of this user.
        """
        path = lock_path(session, role)
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            descriptor = _open(path, session)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() >= end:
                    raise LockedError(
                        f"another engine works on {session}; look at it with: maxact-tui open {session}"
                    ) from None
                time.sleep(_STEP_SECONDS)
            except OSError as error:
                if error.errno in _WITHOUT_LOCKS:
                    return cls(path, descriptor, is_held=False)
                os.close(descriptor)
                raise SessionError(f"cannot lock {session}: {error.strerror}; see to its folder") from error
            else:
                if _is_still(path, descriptor):
                    return cls(path, descriptor, is_held=True)
                os.close(descriptor)  # its last holder removed the file between our opening and locking it

    @classmethod
    def inherited(cls, session: Path, descriptor: int, role: Role = "run") -> Self:
        """The lock that the process which started this one has taken for it.

        Raises:
            SessionError: the descriptor is not the session's lock file.
        """
        path = lock_path(session, role)
        try:
            if not _is_still(path, descriptor):
                raise SessionError(f"descriptor {descriptor} is not the lock of {session}")
            os.set_inheritable(descriptor, False)  # no helper process of a library may keep the lock alive
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another engine works on {session}") from None
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return cls(path, descriptor, is_held=False)
            raise SessionError(f"descriptor {descriptor} is not the lock of {session}: {error.strerror}") from error
        return cls(path, descriptor, is_held=True)

    def release(self) -> None:
        """Let go of the lock and remove its file."""
        if self.is_held and _is_still(self.path, self.descriptor):
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def hand_over(self) -> None:
        """Forget the lock here: the process that was given the descriptor holds it now."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(session: Path, role: Role = "run") -> bool | None:
    """Whether an engine holds the lock of a session; None where that cannot be told."""
    try:
        descriptor = os.open(lock_path(session, role), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(descriptor)


def _open(path: Path, session: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        what = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise SessionError(f"cannot lock {session}: {path.name}: {what}; remove it, or see to its folder") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SessionError(f"cannot lock {session}: {path.name} is not a plain file; remove it")
    return descriptor


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that now has this name."""
    held = os.fstat(descriptor)
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)
