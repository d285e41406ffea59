"""What benchd remembers: SQLite, and the only folder that contains SQL."""

from aiosqlite import sqlite_version as SQLITE_VERSION  # noqa: N812 -- a constant, told as such

from benchd.edge.store.backup import Backups
from benchd.edge.store.store import Store
from benchd.edge.store.world import Snapshot

__all__ = ["SQLITE_VERSION", "Backups", "Snapshot", "Store"]
