"""Bringing the database into the shape this version needs: forward only, a copy made first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import aiosqlite

from benchd.edge.store.database import Statements, damaged
from benchd.errors import StoreError

# STRICT tables came with 3.37, JSON functions in every build with 3.38.
SQLITE_MINIMUM = (3, 38, 0)
# Problems of quick_check that are worth showing; one is enough to stop.
_SHOWN = 3


def scripts() -> Mapping[int, str]:
    """Return version -> the script that leads to it from the version before."""
    schema = resources.files("benchd.edge.store").joinpath("schema.sql")
    return {1: schema.read_text(encoding="utf-8")}


async def migrate(database: Statements, path: Path, steps: Mapping[int, str]) -> None:
    """Check the file and apply what it lacks; each step is one transaction with its version."""
    if aiosqlite.sqlite_version_info < SQLITE_MINIMUM:
        needed = ".".join(map(str, SQLITE_MINIMUM))
        message = f"SQLite {aiosqlite.sqlite_version} is too old: benchd needs {needed} or newer"
        raise StoreError(message)
    version = (await database.rows("PRAGMA user_version"))[0][0]
    newest = max(steps)
    if version > newest:
        message = (
            f"{path} was written by a newer benchd (version {version} of the store, this one knows "
            f"{newest}): start that benchd again, or restore a copy from {path.parent / 'backup'}"
        )
        raise StoreError(message)
    await _check(database, path)
    if version == newest:
        return
    if version > 0:
        await _copy(database, path, version)
    for step in range(version + 1, newest + 1):
        await database.script(
            f"BEGIN IMMEDIATE;\n{steps[step]}\nPRAGMA user_version = {step};\nCOMMIT;"
        )


async def _check(database: Statements, path: Path) -> None:
    problems = [str(row[0]) for row in await database.rows("PRAGMA quick_check")]
    if problems != ["ok"]:
        raise damaged(path, "; ".join(problems[:_SHOWN]))


async def _copy(database: Statements, path: Path, version: int) -> Path:
    """Leave a sound copy of the file as it was under ``backup/``."""
    target = path.parent / "backup" / f"{path.stem}-before-{version + 1}{path.suffix}"
    draft = target.with_suffix(".tmp")
    await asyncio.to_thread(_make_room, draft)
    await database.rows("VACUUM INTO :draft", {"draft": str(draft)})
    async with aiosqlite.connect(draft) as copy:
        await _check(Statements(copy), draft)
    await asyncio.to_thread(_keep, draft, target)
    return target


def _make_room(draft: Path) -> None:
    draft.parent.mkdir(mode=0o700, exist_ok=True)
    draft.unlink(missing_ok=True)


def _keep(draft: Path, target: Path) -> None:
    """Make the copy durable under its name, readable by nobody else."""
    draft.chmod(0o600)
    for place in (draft, draft.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    draft.replace(target)
