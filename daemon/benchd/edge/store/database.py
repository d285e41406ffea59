"""One writer, one reader, whole transactions: what the store needs of SQLite, and no more.

aiosqlite runs one thread per connection and hands it one statement at a time; a function cannot be
sent there by its public interface. So a transaction is a few hops, and what must not happen is that
its caller is cancelled between two of them: every write runs in a task of its own, shielded from
its caller, and ``close`` waits for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiosqlite

from benchd.edge.store import place
from benchd.edge.store.statements import BEGIN_READ, BEGIN_WRITE
from benchd.errors import StoreError

T = TypeVar("T")
Rows = list[aiosqlite.Row]
Parameters = Mapping[str, object]
Select = tuple[str, Parameters]
Connect = Callable[..., Awaitable[aiosqlite.Connection]]

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

# Primary result codes of SQLite (https://sqlite.org/rescode.html); aiosqlite does not export them.
_BUSY, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _CONSTRAINT, _NOTADB = (
    *(5, 8, 10, 11, 13, 14, 19, 26),
)
_PRIMARY = 0xFF  # an extended code carries its primary one in the low byte


class Statements:
    """What the body of a transaction may do with a connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def rows(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Run one statement and return its rows: one hop to the thread and back."""
        # typed as a sequence by aiosqlite, though it hands on whatever sqlite3 takes
        values: Any = {} if parameters is None else parameters
        return list(await self._connection.execute_fetchall(sql, values))

    async def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters, in one hop."""
        values: Any = rows
        await self._connection.executemany(sql, values)

    async def script(self, sql: str) -> None:
        """Run several statements in one hop; the script brings its own BEGIN and COMMIT."""
        await self._connection.executescript(sql)


class Database:
    """The two connections to one file, kept until ``close``."""

    def __init__(
        self,
        path: Path,
        *,
        on_commit: Callable[[float], None] | None = None,
        on_writable: Callable[[bool], None] | None = None,
        connect: Connect = aiosqlite.connect,
    ) -> None:
        self.path = path
        self.writable = True
        self._connect = connect
        self._on_commit = on_commit
        self._on_writable = on_writable
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._writes: set[asyncio.Task[Any]] = set()

    async def open(self, migrate: Callable[[Statements], Awaitable[None]]) -> None:
        """Connect; ``migrate`` brings the file into shape before anything else looks at it."""
        try:
            self._writer = await self._connect(self.path, isolation_level=None)
            writer = await _set_up(self._writer, _WRITER)
            mode = (await writer.rows("PRAGMA journal_mode = WAL"))[0][0]
            if mode != "wal":
                message = f"{self.path}: no write-ahead log is possible here (SQLite says {mode})"
                raise StoreError(message)
            await migrate(writer)
            uri = f"file:{quote(str(self.path))}?mode=ro"
            self._reader = await self._connect(uri, uri=True, isolation_level=None)
            await _set_up(self._reader, _READER)
        except aiosqlite.Error as error:
            await self.close()
            raise await self._explained(error) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let running transactions end, then close both connections and join their threads."""
        while self._writes:
            await asyncio.wait(self._writes)
        async with self._reading, self._writing:
            reader, self._reader = self._reader, None
            writer, self._writer = self._writer, None
            for connection in (reader, writer):  # the writer last: it merges the log into the file
                if connection is not None:
                    await connection.close()

    async def read(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Return the rows of one SELECT."""
        return (await self.read_together((sql, parameters or {})))[0]

    async def read_together(self, *selects: Select) -> list[Rows]:
        """Return the rows of several SELECTs that all see the same moment."""
        async with self._reading:
            connection = self._opened(self._reader)
            statements = Statements(connection)
            try:
                if len(selects) > 1:
                    await statements.rows(BEGIN_READ)
                return [await statements.rows(*select) for select in selects]
            except aiosqlite.Error as error:
                raise explained(error, self.path) from error
            finally:
                if len(selects) > 1:
                    await connection.rollback()

    async def write(self, body: Callable[[Statements], Coroutine[Any, Any, T]]) -> T:
        """Run the body as one durable transaction: all of it or, when anything raises, nothing.

        A caller that is cancelled does not learn the outcome; the transaction ends either way.
        """
        task = asyncio.create_task(self._transaction(body), name="store.write")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _transaction(self, body: Callable[[Statements], Coroutine[Any, Any, T]]) -> T:
        async with self._writing:
            connection = self._opened(self._writer)
            statements = Statements(connection)
            started = time.perf_counter()
            try:
                await statements.rows(BEGIN_WRITE)
                result = await body(statements)
                await connection.commit()
            except BaseException as error:
                with contextlib.suppress(aiosqlite.Error):  # the first error is the one to tell
                    await connection.rollback()  # nothing to do where SQLite rolled back itself
                if isinstance(error, aiosqlite.Error):
                    raise await self._explained(error) from error
                raise
            self._note(writable=True)
            if self._on_commit is not None:
                self._on_commit(time.perf_counter() - started)
            return result

    async def _explained(self, error: aiosqlite.Error) -> StoreError:
        """Return what a failed write means; a used-up quota shows as a mere I/O error."""
        code = _code(error)
        directory = self.path.parent
        no_room = code == _FULL
        if code in (_IOERR, _CANTOPEN):
            no_room = await asyncio.to_thread(place.is_full, directory)
        if not no_room:
            return explained(error, self.path)
        self._note(writable=False)
        return place.full(directory)

    def _note(self, *, writable: bool) -> None:
        if writable is not self.writable:
            self.writable = writable
            if self._on_writable is not None:
                self._on_writable(writable)

    def _opened(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None:
            message = f"{self.path} is not open"
            raise StoreError(message)
        return connection


async def _set_up(connection: aiosqlite.Connection, pragmas: Sequence[str]) -> Statements:
    connection.row_factory = aiosqlite.Row
    statements = Statements(connection)
    for pragma in pragmas:
        await statements.rows(pragma)
    return statements


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", None) or 0  # absent on sqlite3's own complaints
    return code & _PRIMARY


def explained(error: aiosqlite.Error, path: Path) -> StoreError:
    """Return the error of ours that says what happened and what to do."""
    code = _code(error)
    if code == _CONSTRAINT:
        return StoreError(
            f"refused by an invariant of the store ({error}): nothing was written; "
            "this is a mistake in benchd, please report it"
        )
    if code in (_CORRUPT, _NOTADB):
        return damaged(path, str(error))
    if code == _BUSY:
        return StoreError(f"{path} is locked by another program: close what else has it open")
    if code in (_READONLY, _CANTOPEN):
        return StoreError(f"{path}: {error}: make it and its directory writable for benchd's user")
    return StoreError(f"{path}: {error}: look at the disk and the system's log")


def damaged(path: Path, what: str) -> StoreError:
    """Return the error for a file that is no longer a sound database."""
    return StoreError(
        f"{path} is damaged ({what}): keep benchd stopped, move the file and its -wal and -shm "
        f"aside, and put the newest copy from {path.parent / 'backup'} in its place"
    )
