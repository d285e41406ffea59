"""One writer, one reader, whole transactions, many writes in one: what the store needs of SQLite.

A commit costs one fsync whatever is in it, so writes that wait while another is made durable share
the next one. Each keeps a savepoint of its own: one that fails is undone alone. Nobody is told
anything before the common COMMIT.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchd.edge.store import complaints, place
from benchd.edge.store.connection import (
    Connect,
    Connection,
    Parameters,
    Rows,
    Statements,
    connect,
)
from benchd.edge.store.statements import (
    BEGIN_READ,
    BEGIN_WRITE,
    KEEP_ONE,
    MARK_ONE,
    UNDO_ONE,
)
from benchd.errors import StoreBroken, StoreError

T = TypeVar("T")
Body = Callable[[Statements], Any]

# Writes that share one transaction at most: beyond that the fsync is a small part of the cost, and
# the first of them waits long enough.
GROUP = 256


@dataclass(frozen=True, slots=True)
class _Write:
    """A write that waits for its turn, and who waits for it."""

    body: Body
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one write of a group."""

    value: Any = None
    error: Exception | None = None


class Database:
    """The two connections to one file, kept until ``close``."""

    def __init__(
        self,
        path: Path,
        *,
        on_commit: Callable[[float], None] | None = None,
        on_writable: Callable[[bool], None] | None = None,
        on_broken: Callable[[StoreBroken], None] | None = None,
        connect: Connect = connect,
    ) -> None:
        self.path = path
        self.writable = True
        self._connect = connect
        self._on_commit = on_commit
        self._on_writable = on_writable
        self._on_broken = on_broken
        self._broken: str | None = None
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._waiting: list[_Write] = []
        self._writing: asyncio.Task[None] | None = None

    async def open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Connect; ``prepare`` brings the file into shape before anything else looks at it."""
        try:
            self._writer = await self._connect(self.path, writer=True)
            await self._writer.run(prepare)
            self._reader = await self._connect(self.path, writer=False)
        except sqlite3.Error as error:
            await self.close()
            raise await self._explained(error) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let writes that wait be made, then close both connections and join their threads."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        for connection in (reader, writer):  # the writer last: it merges the log into the file
            if connection is not None:
                await connection.close()

    # --- reading ------------------------------------------------------------------------------

    async def read(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Return the rows of one SELECT."""
        return await self.look(lambda db: db.rows(sql, parameters))

    async def look(self, work: Callable[[Statements], T]) -> T:
        """Return what ``work`` makes of several SELECTs that all see the same moment."""
        reader = self._opened(self._reader)
        try:
            return await reader.run(partial(_look, work))
        except sqlite3.Error as error:
            raise await self._explained(error) from error

    # --- writing ------------------------------------------------------------------------------

    async def write(self, body: Callable[[Statements], T]) -> T:
        """Run the body as a durable write: all of it or, when anything raises, nothing.

        A caller that is cancelled does not learn the outcome; the write is made either way. The
        body may be run again after its first run was undone: it does nothing but write.
        """
        self._opened(self._writer)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(body, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="store.write")
        return await done

    async def _write_all(self) -> None:
        group: list[_Write] = []
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                await self._commit(group)
        finally:
            # Only a task that was itself cancelled leaves somebody behind.
            for write in (*group, *self._waiting):
                write.done.cancel()
            self._waiting = []
            self._writing = None

    async def _commit(self, group: Sequence[_Write]) -> None:
        try:
            outcomes = await self._together([write.body for write in group])
        except sqlite3.Error as error:
            if len(group) > 1:
                # One that needs more room than there is must not take the others along.
                for write in group:
                    await self._commit([write])
                return
            complaint = await self._explained(error)
            complaint.__cause__ = error
            outcomes = [_Outcome(error=complaint)]
        except StoreError as error:  # the disk broke under a write before this one
            outcomes = [_Outcome(error=error)] * len(group)
        for write, outcome in zip(group, outcomes, strict=True):
            if write.done.done():  # its caller was cancelled
                continue
            if outcome.error is None:
                write.done.set_result(outcome.value)
            else:
                write.done.set_exception(self._told(outcome.error))

    async def _together(self, bodies: Sequence[Body]) -> list[_Outcome]:
        writer = self._opened(self._writer)
        started = time.perf_counter()
        outcomes = await writer.run(partial(_transact, bodies))
        self._note(writable=True)
        if self._on_commit is not None:
            self._on_commit(time.perf_counter() - started)
        return outcomes

    # --- trouble ------------------------------------------------------------------------------

    async def _explained(self, error: sqlite3.Error) -> StoreError:
        """Return what a failure means; note a full disk, and a broken one."""
        directory = self.path.parent
        if complaints.is_full(error) or (
            complaints.may_be_full(error) and await asyncio.to_thread(place.is_full, directory)
        ):
            self._note(writable=False)
            return place.full(directory)
        said = complaints.explained(error, self.path)
        if isinstance(said, StoreBroken) and self._broken is None:
            self._broken = str(said)
            if self._on_broken is not None:
                self._on_broken(said)
        return said

    def _told(self, error: Exception) -> Exception:
        """Return the error of ours for what one write of a group ran into."""
        if not isinstance(error, sqlite3.Error):
            return error
        said = complaints.explained(error, self.path)
        said.__cause__ = error
        return said

    def _note(self, *, writable: bool) -> None:
        if writable is not self.writable:
            self.writable = writable
            if self._on_writable is not None:
                self._on_writable(writable)

    def _opened(self, connection: Connection | None) -> Connection:
        if self._broken is not None:  # nothing is built upon a disk that lies
            raise StoreBroken(self._broken)
        if connection is None:
            message = f"{self.path} is not open"
            raise StoreError(message)
        return connection


# --- in the connections' threads --------------------------------------------------------------


def _look(work: Callable[[Statements], T], connection: sqlite3.Connection) -> T:
    connection.execute(BEGIN_READ)
    try:
        return work(Statements(connection))
    finally:
        connection.rollback()


def _transact(bodies: Sequence[Body], connection: sqlite3.Connection) -> list[_Outcome]:
    connection.execute(BEGIN_WRITE)
    try:
        outcomes = [_one(body, connection) for body in bodies]
        connection.commit()
    except BaseException:
        with suppress(sqlite3.Error):  # the first error is the one to tell
            connection.rollback()  # nothing to do where SQLite rolled back itself
        raise
    return outcomes


def _one(body: Body, connection: sqlite3.Connection) -> _Outcome:
    connection.execute(MARK_ONE)
    try:
        outcome = _Outcome(value=body(Statements(connection)))
    except Exception as error:
        if not complaints.spares_the_transaction(error):
            raise
        connection.execute(UNDO_ONE)
        outcome = _Outcome(error=error)
    connection.execute(KEEP_ONE)
    return outcome
