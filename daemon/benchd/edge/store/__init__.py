"""What benchd remembers: SQLite, and the only folder that contains SQL."""

from benchd.edge.store.store import Snapshot, Store

__all__ = ["Snapshot", "Store"]
