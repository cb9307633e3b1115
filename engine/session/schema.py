"""How a session file is created and opened, and what is said of one that cannot be used.

- `APPLICATION_ID`                    what a file must say of itself
- `SessionError`, `DamagedError`      one line, with the user's next step
- `BusyError`                         another process holds the file; worth trying again
- `unreadable`                        that line for what SQLite says of a file
- `create`, `copy`, `open_writable`, `open_readonly`  connections
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import repeat
from pathlib import Path

from engine.session.layout import MIGRATIONS, NEWEST_UNCHECKED, SCHEMA_VERSION, differs, statements

APPLICATION_ID = 0x6D617861  # "maxa", so that `file` and we can tell a session from any other SQLite file
RESULTS = "results/"  # owner of a result's arrays: this and its number
EXPERTS = "experts/"  # owner of a MoE layer's arrays: this and the number of its first expert site
JOURNAL_VARIABLE = "MAXACT_JOURNAL"

# Codes of errors that a file is not to blame for: somebody else holds it, its disk or its permissions are in the way.
_NOT_ITS_FAULT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)
# Another process holds the file: it can be tried again as it is.
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
WAIT_SECONDS = 10.0  # for another process that holds the file, before that is an error
_LONGEST_QUOTE = 100  # characters of an error
# A row of ten bytes takes some fifteen steps: a MiB of them 1.6 million.
_STEPS_OF_A_TURN, _LEAST_TURNS, _TURNS_OF_A_MIB = 1_000_000, 64, 16
_MAGIC, _ID_PLACE = b"SQLite format 3\0", slice(68, 72)  # of the first bytes of an SQLite file


class SessionError(Exception):
    """A session file cannot be used; the message is one line that names the user's next step.

    Args:
        text: the message, or what follows the file's name in it.
        path: the file, where the message begins with it.

    Attributes:
        after_name: what follows the file's name, for whoever shows the name already; empty where it is within.
    """

    def __init__(self, text: str, path: Path | None = None) -> None:
        super().__init__(f"{path} {text}" if path is not None else text)
        self.after_name = text if path is not None else ""


class DamagedError(SessionError):
    """A session file does not hold what was written into it.

    Attributes:
        what: the damage, without the file's name and the next step.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"is damaged: {what}; restore it from a copy, or remove it with: maxact-tui sessions rm", path)
        self.what = what


class BusyError(SessionError):
    """Another process is writing the session file, and nothing else can be done with it meanwhile.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, said: str = "") -> None:
        super().__init__(said or f"{path} is being written by another process; try again")
        self.path = path


def unreadable(path: Path, what: str, error: sqlite3.Error | UnicodeDecodeError) -> SessionError:
    """Why `what` cannot be read from a session file: it is damaged, or something else is in the way."""
    said = "cut short or changed"
    if hasattr(error, "sqlite_errorcode"):  # what Python says of text that is none quotes all of it
        said = "".join(one if one.isprintable() else "?" for one in str(error))[:_LONGEST_QUOTE]
    if is_busy(error):
        return BusyError(path, f"cannot read {path}: {said}; another process is writing it, try again")
    if _code(error) == sqlite3.SQLITE_INTERRUPT:
        return DamagedError(path, f"{what} cannot be read (it has no end)")
    if is_blameless(error):
        return SessionError(f"cannot read {path}: {said}; try again, or see to its permissions and its disk")
    return DamagedError(path, f"{what} cannot be read ({said})")


def is_blameless(error: Exception) -> bool:
    """Whether the file may be whole: somebody else holds it, or its disk or its permissions are in the way."""
    return _code(error) in _NOT_ITS_FAULT


def is_busy(error: Exception) -> bool:
    """Whether another process holds the file."""
    return _code(error) in _BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite has found its own structures broken."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: Exception) -> int:
    """SQLite's primary result code, `SQLITE_ERROR` where there is none."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def create(path: Path, fill: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Make a new session file, readable by its owner only.

    Args:
        path: the file.
        fill: writes what the file begins with; nobody sees it without.

    Raises:
        SessionError: the file exists, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error.strerror) from error
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise SessionError(f"{path} is a folder; name a file in it: --session {path / 'run.maxact'}") from None
        raise SessionError(f"{path} exists already; choose another name, or open it: maxact-tui open {path}") from None
    except OSError as error:
        raise _cannot_write(path, error.strerror) from error
    try:
        connection = _connect(path, path)
        connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA synchronous = NORMAL")
        tables = statements(SCHEMA_VERSION)
        numbers = f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE;{tables};{numbers}")
        fill(connection)
        connection.execute("COMMIT")
        _choose_journal(connection)
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error
    return connection


def open_writable(path: Path, *, live: bool = False, wait_seconds: float = WAIT_SECONDS) -> sqlite3.Connection:
    """Open an existing session file for writing (the engine, or a screen sending a command).

    Args:
        path: the file.
        live: others will read while much is written. A session that ended is one file without a write-ahead log;
            going on without one, every tick would wait for the disk and for whoever reads.
        wait_seconds: for another process that holds the file, here and by every statement.

    Raises:
        BusyError: another process held it all the time.
        SessionError: not there, not a session, of a newer version, or not writable.
        DamagedError: it does not hold what was written into it.
    """
    _require(path)
    if not os.access(path, os.W_OK):
        raise SessionError("is read-only here; copy it to a place of your own to change it", path)
    connection = _checked(path, path, wait_seconds)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(connection, version)
    except sqlite3.OperationalError as error:
        connection.close()
        if is_busy(error):
            raise BusyError(path) from error
        raise SessionError(f"cannot bring {path} to schema {NEWEST_UNCHECKED}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unreadable(path, "its database", error) from error
    connection.set_progress_handler(None, 0)  # what it writes is its own, for days
    if live:
        with suppress(sqlite3.OperationalError):  # somebody reads it right now: the journal stays as it is
            _choose_journal(connection)
    return connection


def open_readonly(path: Path, wait_seconds: float = WAIT_SECONDS) -> sqlite3.Connection:
    """Open an existing session file for reading, also on read-only media.

    Args:
        path: the file.
        wait_seconds: for another process that holds the file, here and by every statement.

    Raises:
        BusyError: another process held it all the time.
        SessionError: not there, not a session, or of a newer version.
        DamagedError: it does not hold what was written into it.
    """
    _require(path)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    # A WAL file in a folder that cannot hold its -shm can only be read as an unchanging one.
    if not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"
    try:
        return _checked(path, uri, wait_seconds)
    except SessionError as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
    _checked(path, path, wait_seconds).close()  # a writer was killed: only another one may roll back what it left
    return _checked(path, uri, wait_seconds)


def copy(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """A new session file, readable by its owner only, with all that another one holds.

    Raises:
        SessionError: there is such a file, or it cannot be written.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        found = _connect(path, path)
        found.set_progress_handler(None, 0)
        connection.backup(found)
        _choose_journal(found)
    except (OSError, sqlite3.Error) as error:
        raise _cannot_write(path, error) from error
    return found


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file up to date in one transaction; readers of the older tables are not disturbed."""
    if version >= NEWEST_UNCHECKED:
        return
    added = "".join(MIGRATIONS[number] for number in range(version + 1, NEWEST_UNCHECKED + 1))
    connection.executescript(f"BEGIN IMMEDIATE;{added}PRAGMA user_version = {NEWEST_UNCHECKED};COMMIT;")


def _cannot_write(path: Path, reason: object) -> SessionError:
    return SessionError(f"cannot write {path}: {reason}; choose another place with --session FILE")


def _connect(path: Path, place: Path | str, wait_seconds: float = WAIT_SECONDS) -> sqlite3.Connection:
    """A connection to `place`, which is the file `path` or its URI."""
    is_uri = isinstance(place, str)
    found = sqlite3.connect(place, uri=is_uri, timeout=wait_seconds, isolation_level=None, check_same_thread=False)
    # What a stranger has put into the schema is never run, and broken pages are found before they are used.
    found.execute("PRAGMA trusted_schema = OFF")
    found.execute("PRAGMA cell_size_check = ON")
    limit_steps(found, path.stat().st_size)
    return found


def limit_steps(connection: sqlite3.Connection, file_bytes: int) -> None:
    """Let SQLite take no more steps from now on than reading everything in such a file needs.

    Pages that point at each other in circles would be read for ever. The callback is no Python code, so that Ctrl-C is
    not taken for an error of the file.
    """
    turns = _LEAST_TURNS + _TURNS_OF_A_MIB * (file_bytes >> 20)
    connection.set_progress_handler(partial(next, repeat(0, turns), 1), _STEPS_OF_A_TURN)


def _choose_journal(connection: sqlite3.Connection) -> None:
    """WAL where it works; a rollback journal on file systems without shared memory (network homes)."""
    if os.environ.get(JOURNAL_VARIABLE, "").lower() == "delete":
        connection.execute("PRAGMA journal_mode = DELETE")
        return
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError:
        connection.execute("PRAGMA journal_mode = DELETE")


def _require(path: Path) -> None:
    if path.is_dir():
        raise SessionError("is a folder, not a session file; maxact-tui sessions lists yours", path)
    if not path.exists():
        raise SessionError(f"no session file {path}; maxact-tui sessions lists yours")
    if not path.is_file():  # opening a pipe would wait for somebody who writes into it
        raise SessionError("is a pipe or a device, not a session file; maxact-tui sessions lists yours", path)


def _checked(path: Path, place: Path | str, wait_seconds: float) -> sqlite3.Connection:
    """A connection to `place`, which is the file `path` or its URI, once it has said that it is a session."""
    _require_own_log(path)
    try:
        connection = _connect(path, place, wait_seconds)
    except sqlite3.Error as error:
        raise unreadable(path, "its database", error) from error
    try:
        _require_ours(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_own_log(path: Path) -> None:
    """A write-ahead log that lies beside a file is read as its own, whoever's it is: the name of the session tells.

    Asked by readers, because a writer would fold the log into the file when it is closed.

    Raises:
        DamagedError: the file alone has another name than with its log: one of the two was replaced.
    """
    log = path.with_name(path.name + "-wal")
    try:
        if log.stat().st_size == 0:
            return
        names = []
        for way in ("immutable=1", "mode=ro"):
            with closing(_connect(path, f"{path.absolute().as_uri()}?{way}")) as one:
                names.append(one.execute("SELECT value FROM meta WHERE name = 'id'").fetchone())
    except (OSError, sqlite3.Error):  # no log; or the file is nothing without it, or being written right now
        return
    if None not in names and names[0] != names[1]:
        raise DamagedError(path, f"{log.name} beside it is the log of another session; move it away")


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN")  # a writer may be bringing it up to date
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("SELECT count(*) FROM meta").fetchone()
        is_ours = application == APPLICATION_ID and 1 <= version <= SCHEMA_VERSION
        difference = differs(connection, version) if is_ours else ""
        connection.execute("COMMIT")
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's message may quote what is no text any more
        if is_blameless(error) or _says_it_is_ours(path):
            raise unreadable(path, "its database", error) from error
        raise SessionError(f"is not a session file, or is damaged ({error})", path) from error
    if application != APPLICATION_ID:
        raise SessionError("is an SQLite file, but not a maxact-tui session", path)
    if version > SCHEMA_VERSION:
        raise SessionError(f"was written by a newer maxact-tui (schema {version}); upgrade to read it", path)
    if difference or not is_ours:
        raise DamagedError(path, f"its database cannot be read ({difference or 'its version is not known'})")


def _says_it_is_ours(path: Path) -> bool:
    """Whether the first bytes are those of a session, whatever comes after them."""
    try:
        with path.open("rb") as file:
            head = file.read(_ID_PLACE.stop)
    except OSError:
        return False
    return head.startswith(_MAGIC) and head[_ID_PLACE] == APPLICATION_ID.to_bytes(4, "big")
