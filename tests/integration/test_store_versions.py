"""The file of another version, and a file that is damaged: migrated, or refused and left alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchd.core.model import JobState
from benchd.edge.store import Store
from benchd.edge.store.database import Database
from benchd.edge.store.migrate import migrate, scripts
from benchd.edge.store.rows import durable
from benchd.errors import StoreError, StoreUnusable
from support import builders, stored
from support.stored import FIXTURES

RELEASED = tuple(range(1, max(scripts())))
# What support/store_fixture.py left in each of them.
STATES = {
    "bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1": (JobState.CANCELLED, 4),
    "bq7x2m-k5wz3tqa2f-c-redis-bench-p0r0-0-a1": (JobState.COMPLETED, 4),
    "bq7x2m-m2unfinish-s-redis-p0r0-0-a1": (JobState.RUNNING, 4),
    "bq7x2m-m2unfinish-c-redis-bench-p0r0-0-a1": (JobState.CREATED, 1),
    "bq7x2m-m2unfinish-c-redis-bench-p0r1-0-a1": (JobState.CREATED, 0),
    "bq7x2m-m2unfinish-c-redis-bench-p0r2-0-a1": (JobState.CREATED, 2),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state" / "benchd.sqlite3"


def _ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        return raw.execute(sql).fetchall()


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what is kept in a directory; the index of a log is made anew at will."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.endswith("-shm"):
            yield str(path.relative_to(directory)), path.read_bytes()


def test_each_released_version_has_its_fixture() -> None:
    """There is a database of every version before this one, and it says that version itself."""
    found = {p.stem: _ask(p, "PRAGMA user_version")[0][0] for p in FIXTURES.glob("*.sqlite3")}

    assert found == {f"v{version}": version for version in RELEASED}


@pytest.mark.asyncio
@pytest.mark.parametrize("version", RELEASED)
async def test_an_older_file_keeps_everything(path: Path, version: int) -> None:
    """After the migration every record, history, result and word is there, and history adds up."""
    shutil.copyfile(FIXTURES / f"v{version}.sqlite3", path)

    async with Store(path) as store:
        jobs = await store.jobs()
        assert {job.token: (job.state, job.rev) for job in jobs} == STATES
        for job in jobs:
            whole = await store.job(job.token)
            assert whole == replace(job, script="#!/bin/bash\nexit 0\n")
            assert await store.fold(job.token) == durable(job)
            assert len(await store.transitions(job.token)) == job.rev
        assert len(await store.results()) == 1
        assert await store.meta("epoch:alpha") == "3 -"
        assert [run.outcome is None for run in await store.runs()] == [True, False]
        world = await store.world()
    assert [job.token for job in world.jobs] == [t for t in STATES if "m2unfinish" in t]


@pytest.mark.asyncio
@pytest.mark.parametrize("version", RELEASED)
async def test_a_copy_is_kept_before_a_migration(path: Path, version: int) -> None:
    """The old file is in backup/ as it was, in a file of its own that nobody else reads."""
    shutil.copyfile(FIXTURES / f"v{version}.sqlite3", path)
    before = _ask(path, "SELECT * FROM jobs")

    async with Store(path):
        pass

    copy = path.parent / "backup" / f"benchd-before-{version + 1}.sqlite3"
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]
    assert _ask(copy, "PRAGMA user_version") == [(version,)]
    assert _ask(copy, "PRAGMA integrity_check") == [("ok",)]
    assert _ask(copy, "SELECT * FROM jobs") == before
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
@pytest.mark.parametrize("version", RELEASED)
async def test_a_migrated_file_is_like_a_new_one(path: Path, version: int) -> None:
    """Tables, triggers and indices do not depend on the version that a file began with."""
    shutil.copyfile(FIXTURES / f"v{version}.sqlite3", path)
    new = path.with_name("new.sqlite3")
    for each in (path, new):
        async with Store(each):
            pass

    schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    assert _ask(path, schema) == _ask(new, schema)


@pytest.mark.asyncio
@pytest.mark.parametrize("version", RELEASED)
async def test_an_older_file_is_worked_on(path: Path, version: int) -> None:
    """A job of a migrated file moves on, and what it is can still not be changed."""
    shutil.copyfile(FIXTURES / f"v{version}.sqlite3", path)
    token = next(t for t, (state, _) in STATES.items() if state is JobState.RUNNING)

    async with Store(path) as store:
        job = await store.job(token)
        assert job is not None
        event = stored.event(stored.Trigger.SEEN_RUNNING)
        moved = await store.apply(job, replace(job, nodes="c7"), event, stored.NOW)
        assert await store.fold(token) == durable(moved)
        with pytest.raises(StoreError, match="what a job is never changes"):
            await store._db.write(lambda tx: tx.rows("UPDATE jobs SET name = 'x'"))


@pytest.mark.asyncio
async def test_a_failed_migration_changes_nothing(path: Path) -> None:
    """A step that fails in its middle is undone as a whole, its version too."""
    async with Store(path):
        pass
    version = max(scripts())
    steps = {**scripts(), version + 1: "CREATE TABLE half (x); CREATE TABLE meta (x);"}
    database = Database(path)

    with pytest.raises(StoreError, match="table meta already exists"):
        await database.open(lambda connection: migrate(connection, path, steps))

    assert _ask(path, "PRAGMA user_version") == [(version,)]
    assert _ask(path, "SELECT * FROM sqlite_schema WHERE name = 'half'") == []


@pytest.mark.asyncio
async def test_a_newer_file_is_refused(path: Path) -> None:
    """The file of a newer benchd is left alone, and the message says what to start."""
    async with Store(path):
        pass
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 99")
    before = dict(_files(path.parent))

    with pytest.raises(StoreUnusable, match=r"newer benchd \(version 99 of the store, .*knows 4\)"):
        await Store(path).open()

    assert dict(_files(path.parent)) == before


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.asyncio
async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """What is no database at all is named, and that there is no copy of it."""
    _overwrite(path, 0, b"not a database at all, but long enough to look like one" * 40)

    with pytest.raises(StoreUnusable, match=r"benchd\.sqlite3 is damaged .*no sound copy in .*up"):
        await Store(path).open()


@pytest.mark.asyncio
async def test_a_damaged_file_is_found_at_start_and_left_as_it_is(path: Path) -> None:
    """A damaged page is found before anything is built on it; the newest sound copy is named."""
    async with Store(path) as store:
        await stored.added(store, *(builders.job(replica=n) for n in range(60)))
    copies = path.parent / "backup"
    copies.mkdir()
    shutil.copyfile(path, copies / "benchd-20261120T000000Z.sqlite3")
    newer = copies / "benchd-20261121T000000Z.sqlite3"
    shutil.copyfile(path, newer)
    for each in (path, newer):
        _overwrite(each, each.stat().st_size // 2, b"\xff" * 8192)
    before = dict(_files(path.parent))

    with pytest.raises(
        StoreUnusable, match=r"is damaged .*copy .*benchd-20261120T000000Z\.sqlite3"
    ):
        await Store(path).open()

    assert dict(_files(path.parent)) == before
