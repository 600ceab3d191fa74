"""Whether the databases of a node are whole."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from .finding import Finding, ok, problem, warning

__all__ = ["check_database"]

_STEPS = 10_000
_SECONDS = 4.0


def check_database(path: Path, what: str, *, most_seconds: float = _SECONDS) -> Sequence[Finding]:
    """Read a database through, as far as the time lets; nothing is written. For a thread.

    Args:
        path: the file.
        what: is kept in it, for people.
        most_seconds: for reading it.
    """
    at = str(path)
    try:
        if not path.exists():
            return [ok("store", f"not there yet: {what}", subject=at)]
        # Where nobody has it open: even to read it, SQLite would make files beside it.
        alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        database = sqlite3.connect(f"file:{quote(at)}?mode=ro{alone}", uri=True, timeout=1.0)
    except (sqlite3.Error, OSError) as error:
        return [_unreadable(at, error)]
    ends = time.monotonic() + most_seconds
    database.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
    try:
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            text = f"{what}: fine as far as {most_seconds:g} s of reading went"
            return [ok("store", text, subject=at)]
        return [_unreadable(at, error)]
    except sqlite3.DatabaseError as error:
        return [_damaged(at, str(error))]
    finally:
        database.close()
    return [ok("store", what, subject=at)] if said == "ok" else [_damaged(at, said)]


def _unreadable(at: str, error: Exception) -> Finding:
    fix = "look at owner and mode, or try again when nobody writes to it"
    why = error.strerror if isinstance(error, OSError) else str(error)
    return warning("store", f"cannot be read: {why}", fix, subject=at)


def _damaged(at: str, said: str) -> Finding:
    fix = "stop the node, restore it from a backup, or move it away to begin a new one"
    return problem("store", f"damaged: {said}", fix, subject=at)
