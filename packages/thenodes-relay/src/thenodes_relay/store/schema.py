"""The file of the SQLite store: made, checked, or set aside where it is damaged."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

from .errors import StoreError, StoreInUse, StoreTooNew

__all__ = ["VERSION", "connect", "damage", "is_damage", "lock", "prepare", "set_aside"]

VERSION = 1
"""Of the tables; kept as the file's `user_version`."""

_APPLICATION = 0x544E726C  # "TNrl", so that another program's database is not taken for ours.
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_FRACTIONS_AT, _FRACTIONS = slice(21, 24), b"\x40\x20\x20"  # The same in every database.
_COOKIE_AT, _VERSION_AT, _APPLICATION_AT = slice(40, 44), slice(60, 64), slice(68, 72)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CHECKPOINT_BYTES = 16 * 1024 * 1024
_CACHE_KIB = 32 * 1024

_TABLES = """
CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE frames (
    row INTEGER PRIMARY KEY,
    target INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    stranger INTEGER NOT NULL,
    sequence INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX frames_by_id ON frames (message_id, sender);
CREATE INDEX frames_by_expiry
    ON frames (expires_at, row, target, sender, qos, stranger, size);
CREATE INDEX bulk_by_target ON frames (target) WHERE qos = 2;
CREATE INDEX bulk_by_row ON frames (row) WHERE qos = 2;
CREATE TABLE sent (row INTEGER PRIMARY KEY);
CREATE TABLE mailboxes (
    node TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    card BLOB NOT NULL,
    store INTEGER NOT NULL,
    stranger INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE notices (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX notices_by_node ON notices (node, row);
"""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite found the file itself to be wrong."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def damage(text: str) -> sqlite3.DatabaseError:
    """An error that `is_damage`."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def lock(path: Path) -> int:
    """Make the directory where it is missing, and lock the file beside the store.

    Returns:
        A descriptor that holds the lock until it is closed.

    Raises:
        StoreInUse: another process has it.
        StoreError: it cannot be made.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{beside}: {error.strerror}; the relay keeps frames there: make the directory "
            "writable, or set network.relay.store_path"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreInUse(
            f"{path} is in use by another relay; stop that one, or set network.relay.store_path"
        ) from error
    return descriptor


def prepare(path: Path) -> None:
    """See to it that there is a file of mode 0600, and that it is not of a newer version.

    Raises:
        StoreTooNew: it is.
        StoreError: it is another program's, or cannot be read or made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; the relay keeps frames there: make it a file that can be "
            "written, or set network.relay.store_path"
        ) from error
    try:
        header = os.read(descriptor, _HEADER_BYTES)
        is_header = header.startswith(_MAGIC) and header[_FRACTIONS_AT] == _FRACTIONS
        has_tables = any(header[_COOKIE_AT])
        if is_header and has_tables and len(header) == _HEADER_BYTES:
            version = int.from_bytes(header[_VERSION_AT], "big")
            _check(path, version, int.from_bytes(header[_APPLICATION_AT], "big"))
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def connect(path: Path, synchronous: str, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """Open the store for writing; an empty file gets its tables.

    Raises:
        sqlite3.Error: it cannot be opened; `is_damage` says whether it is to be set aside.
        StoreError: as `prepare`.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        is_new = _number(connection, "schema_version") == 0
        if not is_new:
            version = _number(connection, "user_version")
            _check(path, version, _number(connection, "application_id"))
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # On macOS nothing is on the disk without it; elsewhere it means nothing.
        connection.execute(f"PRAGMA fullfsync = {synchronous == 'full':d}").fetchall()
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        page = _number(connection, "page_size")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page}").fetchall()
        # The log keeps its room, so that frames can be removed when the disk is full.
        connection.execute(f"PRAGMA journal_size_limit = {2 * _CHECKPOINT_BYTES}").fetchall()
        if max_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {max_bytes // page}").fetchall()
        if is_new:
            _create(connection)
            _sync_directory(path)
    except BaseException:
        connection.close()
        raise
    return connection


def set_aside(path: Path, now: int) -> Path:
    """Rename a damaged store, with its log, out of the way.

    Args:
        path: the store.
        now: Unix seconds.

    Raises:
        StoreError: that cannot be done.
    """
    aside = path.with_name(f"{path.name}.damaged-{now}")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{now}-{number}")
    try:
        path.rename(aside)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}-wal").rename(aside.with_name(f"{aside.name}-wal"))
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        _sync_directory(path)
    except OSError as error:
        raise StoreError(
            f"{path} is damaged and cannot be renamed to {aside.name}: {error.strerror}; "
            "move it away"
        ) from error
    return aside


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; "
        f"PRAGMA application_id = {_APPLICATION}; COMMIT;"
    )
    # Who looks at the file's header alone has to find the version there.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _check(path: Path, version: int, application: int) -> None:
    if application != _APPLICATION:
        raise StoreError(
            f"{path} is a database of another program (application id {application:#x}, "
            f"expected {_APPLICATION:#x}); move it away, or set network.relay.store_path"
        )
    if version > VERSION:
        raise StoreTooNew(
            f"{path} has the tables of version {version}, and this thenodes-relay knows "
            f"version {VERSION}; install the newer release again, or set "
            "network.relay.store_path"
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchall()[0][0])


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
