"""A connection to SQLite and the thread it lives in.

aiosqlite gives each connection a thread and sends it one statement at a time. What the store does
is made of several statements that belong together, so whole functions are sent instead: one hop to
the thread and back for a transaction, and nothing of ours awaited while it is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import aiosqlite

from benchd.errors import StoreUnusable

T = TypeVar("T")
Rows = list[sqlite3.Row]
Parameters = Mapping[str, object]

# Milliseconds to wait for a lock. Nobody else should hold one: benchd is alone (flock).
BUSY_TIMEOUT = 5000
_BOTH = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT}",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
)
_WRITER = (
    *_BOTH,
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 1000",  # pages (4 KiB): the log is merged every 4 MiB
    "PRAGMA journal_size_limit = 67108864",  # bytes: give the log's space back above 64 MiB
)
_READER = (*_BOTH, "PRAGMA query_only = ON")


class Connection(Protocol):
    """Where the store's functions are run, one after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection to its end, also when the caller is cancelled."""

    async def close(self) -> None:
        """Close the connection and end its thread."""


class Connect(Protocol):
    """Makes a connection that reads and writes, or one that only reads."""

    async def __call__(self, path: Path, *, writer: bool) -> Connection:
        """Open the file, which exists."""


class Statements:
    """What a function of the store may do inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Run one statement and return its rows."""
        return self._connection.execute(sql, parameters or {}).fetchall()

    def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters."""
        self._connection.executemany(sql, rows)


class _Threaded(aiosqlite.Connection):
    """aiosqlite's connection, and the one thing it does not offer: any function in its thread."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call] # the library lacks the hint
        return result


def opened(path: Path, *, writer: bool = False, still: bool = False) -> sqlite3.Connection:
    """Open the file in the calling thread, set up as the store wants it.

    ``still``: nobody writes it. Unless there is a log to be read, nothing is left beside it then.
    """
    mode = "rw" if writer else "ro"
    if still and not _has_log(path):
        mode = "ro&immutable=1"
    uri = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in _WRITER if writer else _READER:
            connection.execute(pragma)
        if writer:
            _log_ahead(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _log_ahead(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        message = f"{path}: no write-ahead log is possible here (SQLite says {mode})"
        raise StoreUnusable(message)


async def connect(path: Path, *, writer: bool) -> Connection:
    """Open the file in a thread of its own."""
    connector: Callable[[], Any] = lambda: opened(path, writer=writer)  # noqa: E731 -- runs in the thread
    # 64 is the library's own default: rows fetched at once by its cursors, which are not used here
    return await _Threaded(connector, iter_chunk_size=64)  # type: ignore[return-value] # it returns itself
