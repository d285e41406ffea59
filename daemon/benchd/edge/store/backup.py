"""Copies of the database: taken while it is in use, checked, and kept for a while.

A copy is whole or it is not there: written beside its name, checked page by page, made durable, and
only then named. It is one file in itself, without a log beside it.
"""

from __future__ import annotations

import calendar
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from benchd.edge.store import complaints
from benchd.edge.store.connection import opened
from benchd.errors import StoreError, StoreFull

# Pages (4 KiB) copied in one step: a megabyte, so that nothing waits long for the file's lock.
_STEP = 256
# Problems of a check that are worth showing; one is enough to refuse a file.
_SHOWN = 3
# Bytes that stay free beside the copy: a backup must not be what fills the disk.
SPARE = 64 * 1024 * 1024
# In names: when a copy was taken (UTC), in an order that sorts. Copies made before a migration are
# named for the version they lead to and are never removed, nor are those that people ask for.
_STAMP = "%Y%m%dT%H%M%SZ"
BY_HAND = "kept-"


def folder(path: Path) -> Path:
    """Return where copies of this database are kept."""
    return path.parent / "backup"


def problems(path: Path, check: str = "quick_check") -> str:
    """Return what is wrong with a file that nobody writes, empty when it is sound."""
    try:
        with closing(opened(path, still=True)) as connection:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}")]
    except sqlite3.Error as error:
        if not complaints.is_damage(error):
            raise
        return str(error)
    return "" if found == ["ok"] else "; ".join(found[:_SHOWN])


def newest_sound(path: Path) -> Path | None:
    """Return the newest copy that passes a check."""
    for copy in sorted(folder(path).glob(f"*{path.suffix}"), key=_written_at, reverse=True):
        with suppress(sqlite3.Error):
            if not problems(copy):
                return copy
    return None


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Leave a sound copy of what ``source`` sees now, under a name that nothing else has yet."""
    draft = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _fill(source, draft)
        if found := problems(draft, "integrity_check"):
            raise StoreError(f"the copy {target} is not sound ({found}): look at the disk")
        _durable(draft)
        draft.replace(target)
        _durable(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot write the copy {target}: {error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _fill(source: sqlite3.Connection, draft: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as target:
        source.backup(target, pages=_STEP)
        # Of a file in WAL mode a reader may want to write beside it; a copy is for reading.
        target.execute("PRAGMA journal_mode = DELETE")


def _durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take(path: Path, target: Path) -> None:
    """Copy a database that may be in use by another process or thread."""
    try:
        free, needed = shutil.disk_usage(_existing(target.parent)).free, path.stat().st_size
        if free < needed + SPARE:
            raise StoreFull(
                f"no room for a copy in {target.parent}: it takes {needed} bytes, and {free} are "
                "free; make room there, or name another place"
            )
        with closing(opened(path)) as source:
            # The open read makes all steps see one moment: without it the copy would begin anew
            # whenever the daemon writes.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            copy(source, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot copy {path}: {error}") from error


def _existing(directory: Path) -> Path:
    return next(p for p in (directory, *directory.parents) if p.exists())


class Backups:
    """Copies in ``backup/``, named for the moment they were taken."""

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        self.keep = keep

    def last(self, now: float) -> float | None:
        """Return when the newest copy was taken, in seconds since the epoch."""
        return max((_taken_at(copy) for copy in self._copies(now)), default=None)

    def keep_up(self, now: float, interval: float) -> Path | None:
        """Take a copy if the newest is older than the interval; keep only the newest few."""
        last = self.last(now)
        if last is not None and now - last < interval:
            return None
        target = folder(self.path) / named(self.path, now)
        take(self.path, target)
        for old in self._copies(now)[: -self.keep]:
            old.unlink(missing_ok=True)
        return target

    def _copies(self, now: float) -> list[Path]:
        """Return the copies, oldest first; what has another name is not ours to remove.

        One from a time to come was taken while the clock was wrong. Nobody knows how old it is, so
        it neither puts off the next copy nor makes a good one superfluous.
        """
        pattern = f"{self.path.stem}-[0-9]*T[0-9]*Z{self.path.suffix}"
        return sorted(c for c in folder(self.path).glob(pattern) if _taken_at(c) <= now)


def named(path: Path, now: float, kind: str = "") -> str:
    """Return the name of a copy that is taken now; one of a kind is not removed by ``Backups``."""
    return f"{path.stem}-{kind}{time.strftime(_STAMP, time.gmtime(now))}{path.suffix}"


def _taken_at(copy: Path) -> float:
    """Return the moment in a copy's name, 0 for a name that says none."""
    stamp = copy.stem.rpartition("-")[2]
    with suppress(ValueError):
        return float(calendar.timegm(time.strptime(stamp, _STAMP)))
    return 0.0
