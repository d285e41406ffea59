"""``benchd backup``: a copy of the database, whether the daemon works or not."""

from __future__ import annotations

import time
from pathlib import Path

from benchd.edge.store import backup
from benchd.errors import UserError


def copy(database: Path, wanted: Path | None) -> Path:
    """Leave a checked copy where it is wanted; return where that is."""
    if not database.is_file():
        raise UserError(
            f"there is no database {database}: name the daemon's configuration with --config, and "
            "under systemd its STATE_DIRECTORY"
        )
    target = wanted or backup.folder(database)
    if wanted is None or target.is_dir():
        target /= backup.named(database, time.time(), backup.BY_HAND)
    if wanted is not None and not target.parent.is_dir():
        raise UserError(f"there is no directory {target.parent}: make it, or name another place")
    if target.exists() and target.samefile(database):
        raise UserError(f"{target} is the database itself: name another file or a directory")
    backup.take(database, target)
    return target
