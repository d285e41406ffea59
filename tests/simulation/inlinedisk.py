"""SQLite without its threads: one connection that outlives the daemon, as a disk does.

The product's own ``Database``, SQL, schema and migrations run on it; only the hop to a thread is
gone. What was to be done in the thread is a step of the loop: the process may die before it and
after it. What was committed is on the disk, what was not is not.

Transactions are savepoints here. So what came after a moment can be taken back (``Disk.aside``),
which costs microseconds, where loading an image makes SQLite compile every statement anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Disk:
    """A database that can be taken back to what it was."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.raw.row_factory = sqlite3.Row
        self.raw.execute("PRAGMA foreign_keys = ON")
        self.raw.execute("PRAGMA trusted_schema = OFF")
        self._depth = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take back, at the end, whatever was written inside."""
        name = f"aside_{self._depth}"
        self._depth += 1
        self.raw.execute(f"SAVEPOINT {name}")
        try:
            yield
        finally:
            self.raw.execute(f"ROLLBACK TO {name}")
            self.raw.execute(f"RELEASE {name}")
            self._depth -= 1


# What a statement returns that does nothing here.
_NOTHING: Any = None


class Port:
    """One machine's way to its disk; for the store's functions it is a ``sqlite3.Connection``."""

    def __init__(self, disk: Disk) -> None:
        self._raw = disk.raw
        self.commits = 0
        self.process = 0  # connections of earlier ones are dead
        self._is_writing = False

    async def connect(self, _path: Path, *, writer: bool) -> Any:
        """Open a connection, in place of the store's own ``connect``."""
        return _Connection(self, writer=writer)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run one statement; the beginning of a transaction is a savepoint."""
        if sql.startswith("BEGIN"):
            if sql == "BEGIN":  # to read: nobody writes while a step is taken
                return _NOTHING
            self._is_writing = True
            sql = "SAVEPOINT work"
        return self._raw.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        """Run one statement for each set of parameters."""
        return self._raw.executemany(sql, parameters)

    def executescript(self, sql: str) -> sqlite3.Cursor:
        """Run a migration, which brings its own transaction."""
        self.commits += 1
        return self._raw.executescript(sql)

    def commit(self) -> None:
        """Make it durable."""
        self._raw.execute("RELEASE work")
        self._is_writing = False
        self.commits += 1

    def rollback(self) -> None:
        """Take back what is not committed."""
        if self._is_writing:
            self._raw.execute("ROLLBACK TO work")
            self._raw.execute("RELEASE work")
            self._is_writing = False

    def power_cut(self) -> None:
        """Lose the process that had it open."""
        self.process += 1
        self.rollback()


class _Connection:
    """One of the store's two connections. Work is done in the order in which it was asked for."""

    def __init__(self, port: Port, *, writer: bool) -> None:
        self._port = port
        self._process = port.process
        self._writer = writer

    async def run(self, work: Callable[[Any], T]) -> T:
        """Run a function in a step of its own, also when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        loop.call_soon(self._do, future, work)
        return await future

    def _do(self, future: asyncio.Future[T], work: Callable[[Any], T]) -> None:
        if self._process != self._port.process:
            return
        before = self._port.commits
        try:
            result = work(self._port)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the one who waits gets it
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
        if not self._writer and self._port.commits != before:
            message = "the reading connection wrote"
            raise AssertionError(message)

    async def close(self) -> None:
        """Nothing to close: the disk stays."""
