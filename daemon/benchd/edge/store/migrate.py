"""Bringing the database into the shape this version needs: forward only, a copy made first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path

from benchd.edge.store import backup, complaints
from benchd.edge.store.connection import opened
from benchd.errors import StoreUnusable

# STRICT tables came with 3.37, JSON functions in every build with 3.38, DROP COLUMN with 3.35.
SQLITE_MINIMUM = (3, 38, 0)
# Version of the store -> the script that leads to it from the version before.
_SCRIPTS = {1: "schema.sql", 2: "schema_2.sql", 3: "schema_3.sql", 4: "schema_4.sql"}


def scripts() -> Mapping[int, str]:
    """Return version -> the script that leads to it from the version before."""
    folder = resources.files("benchd.edge.store")
    return {n: folder.joinpath(name).read_text(encoding="utf-8") for n, name in _SCRIPTS.items()}


def inspect(path: Path) -> None:
    """Refuse a file that is damaged or newer than we are, without changing a byte of it."""
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        needed = ".".join(map(str, SQLITE_MINIMUM))
        message = f"SQLite {sqlite3.sqlite_version} is too old: benchd needs {needed} or newer"
        raise StoreUnusable(message)
    if path.stat().st_size == 0:  # made a moment ago
        return
    try:
        problems = backup.problems(path)
        if problems:
            raise StoreUnusable(f"{path} is damaged ({problems}): {_advice(path)}")
        with closing(opened(path, still=True)) as connection:
            version = version_of(connection)
    except sqlite3.Error as error:
        raise complaints.explained(error, path) from error
    newest = max(_SCRIPTS)
    if version > newest:
        raise StoreUnusable(
            f"{path} was written by a newer benchd (version {version} of the store, this one knows "
            f"{newest}): start that benchd again, or restore a copy from {backup.folder(path)}"
        )


def migrate(connection: sqlite3.Connection, path: Path, steps: Mapping[int, str]) -> None:
    """Apply what the file lacks; each step is one transaction with its version."""
    version, newest = version_of(connection), max(steps)
    if version == newest:
        return
    if version > 0:
        name = f"{path.stem}-before-{version + 1}{path.suffix}"
        backup.copy(connection, backup.folder(path) / name)
    for step in range(version + 1, newest + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{steps[step]}\nPRAGMA user_version = {step};\nCOMMIT;"
            )
        except sqlite3.Error:
            connection.rollback()
            raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the store that a file is."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _advice(path: Path) -> str:
    """Say what to do about a damaged file: which copy is sound is known only by looking."""
    aside = f"keep benchd stopped, move {path.name} and its -wal and -shm aside"
    sound = backup.newest_sound(path)
    if sound is None:
        return (
            f"{aside}; there is no sound copy in {backup.folder(path)}, so benchd would begin "
            "anew and report what still runs as strays"
        )
    return f"{aside}, copy {sound} to {path}, and start it again"
