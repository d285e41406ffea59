"""A disk that can be told to fail, under a real database."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchd.app import Daemon
from benchd.config import Settings
from benchd.edge.store import Store
from benchd.edge.store.connection import Connection, connect

T = TypeVar("T")


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file grow: what a quota or a full disk says, said by the process's own limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@dataclass
class Disk:
    """A disk that can be told to fail; its connections are real ones."""

    fails: dict[str, int] = field(default_factory=dict)  # a piece of SQL -> the result code

    async def connect(self, path: Path, *, writer: bool) -> Connection:
        """Open a connection whose statements may fail."""
        connection = await connect(path, writer=writer)
        return _Failing(connection, self)


class _Failing:
    def __init__(self, connection: Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.run(lambda raw: work(_Raw(raw, self._disk)))  # type: ignore[arg-type] # as much of it as is used

    async def close(self) -> None:
        await self._connection.close()


class _Raw:
    def __init__(self, raw: sqlite3.Connection, disk: Disk) -> None:
        self._raw = raw
        self._disk = disk

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        self._maybe(f"{sql} {parameters}")
        return self._raw.execute(sql, parameters)  # type: ignore[arg-type] # handed on as it came

    def commit(self) -> None:
        self._maybe("COMMIT")
        self._raw.commit()

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)

    def _maybe(self, text: str) -> None:
        for piece, code in self._disk.fails.items():
            if piece in text:
                error = sqlite3.OperationalError("the disk says no")
                error.sqlite_errorcode = code
                raise error


class DaemonOn(Daemon):
    """A daemon whose database is on such a disk."""

    def __init__(self, settings: Settings, disk: Disk) -> None:
        super().__init__(settings)
        self.disk = disk

    def _store(self) -> Store:
        store = super()._store()
        store._db._connect = self.disk.connect
        return store
