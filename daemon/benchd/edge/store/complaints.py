"""What SQLite's complaints mean, and what to do about them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from benchd.errors import StoreBroken, StoreError, StoreUnusable

# Primary result codes of SQLite (https://sqlite.org/rescode.html).
_ERROR, _BUSY, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN = 1, 5, 8, 10, 11, 13, 14
_TOOBIG, _CONSTRAINT, _MISMATCH, _RANGE, _NOTADB = 18, 19, 20, 25, 26
_PRIMARY = 0xFF  # an extended code carries its primary one in the low byte
# Complaints about one statement: the transaction around it is as good as before. 0: sqlite3's own.
_OF_THE_STATEMENT = frozenset({0, _ERROR, _TOOBIG, _CONSTRAINT, _MISMATCH, _RANGE})


def code(error: BaseException) -> int:
    """Return the primary result code; 0 for complaints of Python's module itself."""
    found: int = getattr(error, "sqlite_errorcode", None) or 0
    return found & _PRIMARY


def spares_the_transaction(error: Exception) -> bool:
    """Tell whether only one statement failed, and not the disk or the file under all of them."""
    return not isinstance(error, sqlite3.Error) or code(error) in _OF_THE_STATEMENT


def may_be_full(error: BaseException) -> bool:
    """Tell whether want of room may be behind it: a used-up quota shows as a mere I/O error."""
    return code(error) in (_IOERR, _CANTOPEN)


def is_full(error: BaseException) -> bool:
    """Tell whether SQLite itself says that there is no room."""
    return code(error) == _FULL


def is_damage(error: BaseException) -> bool:
    """Tell whether the file is no sound database."""
    return code(error) in (_CORRUPT, _NOTADB)


def explained(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the error of ours that says what happened and what to do."""
    primary = code(error)
    if primary == _CONSTRAINT:
        return StoreError(
            f"refused by an invariant of the store ({error}): nothing was written; "
            "this is a mistake in benchd, please report it"
        )
    if is_damage(error):
        return StoreBroken(
            f"{path} is damaged ({error}): benchd stops; start it again, and it says which copy "
            "is sound"
        )
    if primary == _IOERR:
        return StoreBroken(
            f"{path}: {error}: the disk does not do what it is told, so benchd stops; look at the "
            "disk and the system's log"
        )
    if primary == _BUSY:
        return StoreError(f"{path} is locked by another program: close what else has it open")
    if primary in (_READONLY, _CANTOPEN):
        return StoreUnusable(
            f"{path}: {error}: make it and its directory writable for benchd's user"
        )
    return StoreError(f"{path}: {error}: look at the disk and the system's log")
