"""Writes that share a transaction: each keeps its own answer, and none is told too early."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import Job
from benchd.edge.store import Store
from benchd.edge.store.connection import Statements
from benchd.errors import Stale, StoreBroken, StoreError, StoreFull
from support import builders, stored
from support.bad_disk import Disk
from support.stored import NOW

MANY = 100  # writers at once


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def commits() -> list[float]:
    return []


@pytest_asyncio.fixture
async def store(tmp_path: Path, disk: Disk, commits: list[float]) -> AsyncIterator[Store]:
    path = tmp_path / "state" / "benchd.sqlite3"
    async with Store(path, on_commit=commits.append, connect=disk.connect) as opened:
        jobs = [builders.job(replica=n) for n in range(MANY)]
        await stored.added(opened, *jobs)
        commits.clear()
        yield opened


def _moved(store: Store, replica: int, detail: str = "x", rev: int = 0) -> asyncio.Task[Job]:
    job = builders.job(replica=replica, rev=rev)
    event = stored.event(stored.Trigger.SUBMIT_REFUSED)
    return asyncio.create_task(store.apply(job, replace(job, detail=detail), event, NOW))


@pytest.mark.asyncio
async def test_writers_at_once_share_a_commit(store: Store, commits: list[float]) -> None:
    """A hundred simultaneous moves are all made and take a handful of commits."""
    moved = await asyncio.gather(*(_moved(store, n) for n in range(MANY)))

    assert [job.rev for job in moved] == [1] * MANY
    assert len(commits) < 5
    assert [job.detail for job in await store.jobs()] == ["x"] * MANY


@pytest.mark.asyncio
async def test_who_fails_fails_alone(store: Store) -> None:
    """Among writes that share a commit, a stale move and a broken invariant take nobody along."""
    stale = _moved(store, 1, rev=7)
    other = builders.run(id="r2", recipe_path="other.yaml")
    broken = asyncio.create_task(store.create_run(other, [_impossible()]))
    good = [_moved(store, n) for n in (2, 3)]

    answers = await asyncio.gather(stale, broken, *good, return_exceptions=True)

    assert isinstance(answers[0], Stale)
    assert isinstance(answers[1], StoreError)
    assert [answer.rev for answer in answers[2:] if isinstance(answer, Job)] == [1, 1]
    details = {job.replica: job.detail for job in await store.jobs()}
    assert [details[n] for n in (1, 2, 3)] == [None, "x", "x"]
    assert await store.run("r2") is None


def _impossible() -> Job:
    return builders.job(run_id="r2", slurm_id="7")  # an id, though nothing was ever sent


@pytest.mark.asyncio
async def test_a_write_that_fails_in_its_middle_leaves_nothing(store: Store) -> None:
    """What a body wrote before it raised is undone, though the commit it was part of is made."""

    def half(tx: Statements) -> None:
        tx.rows("INSERT INTO meta (key, value) VALUES ('half', '1')")
        raise StoreError("changed its mind")

    failing = asyncio.create_task(store._db.write(half))
    good = asyncio.create_task(store.set_meta("whole", "1"))

    with pytest.raises(StoreError, match="changed its mind"):
        await failing
    await good
    assert [await store.meta(key) for key in ("half", "whole")] == [None, "1"]


@pytest.mark.asyncio
async def test_nobody_is_told_before_the_commit(store: Store, disk: Disk) -> None:
    """When the common commit fails, every one of its writers is told so, and nothing is there."""
    disk.fails["COMMIT"] = sqlite3.SQLITE_FULL

    answers = await asyncio.gather(*(_moved(store, n) for n in range(9)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreFull] * 9
    assert {job.rev for job in await store.jobs()} == {0}
    assert not store.writable
    disk.fails.clear()
    assert (await _moved(store, 0)).rev == 1
    assert store.writable


@pytest.mark.asyncio
async def test_one_that_needs_more_room_takes_nobody_along(store: Store, disk: Disk) -> None:
    """Where there is no room for one write of a group, the others are made all the same."""
    disk.fails["huge"] = sqlite3.SQLITE_FULL

    answers = await asyncio.gather(
        *(_moved(store, n, "huge" if n == 4 else "x") for n in range(9)), return_exceptions=True
    )

    failed = [n for n, answer in enumerate(answers) if not isinstance(answer, Job)]
    assert failed == [4]
    assert isinstance(answers[4], StoreFull)
    details = [job.detail for job in (await store.jobs())[:9]]
    assert details == [None if n == 4 else "x" for n in range(9)]


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", range(8))
async def test_a_writer_that_goes_away_neither_loses_nor_doubles(store: Store, turns: int) -> None:
    """Whenever one of several writers is cancelled, each of the moves is made exactly once."""
    tasks = [_moved(store, n) for n in range(5)]
    await asyncio.sleep(0)  # all are under way
    for _ in range(turns):
        await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.wait(tasks)
    await store.set_meta("after", "all of them")

    found = await store.jobs()
    assert [job.rev for job in found[:5]] == [1] * 5
    assert [len(await store.transitions(job.token)) for job in found[:5]] == [1] * 5


@pytest.mark.asyncio
async def test_closing_waits_for_those_who_wait(tmp_path: Path) -> None:
    """What was asked for before the end is in the file after it."""
    path = tmp_path / "state" / "benchd.sqlite3"
    async with Store(path) as store:
        writes = [asyncio.create_task(store.set_meta(str(n), "x")) for n in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)

    async with Store(path) as store:
        assert await store.meta("599") == "x"


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT])
async def test_a_disk_that_fails_is_never_written_again(
    tmp_path: Path, disk: Disk, code: int
) -> None:
    """After an I/O error or damage everything is refused, and who asked to be told is told once."""
    told: list[StoreBroken] = []
    path = tmp_path / "state" / "benchd.sqlite3"
    async with Store(path, connect=disk.connect, on_broken=told.append) as store:
        await store.set_meta("a", "1")
        disk.fails["bad"] = code
        with pytest.raises(StoreBroken, match="benchd stops"):
            await store.set_meta("a", "bad")
        disk.fails.clear()

        answers = await asyncio.gather(
            store.set_meta("a", "2"), store.meta("a"), store.world(), return_exceptions=True
        )

    assert [type(answer) for answer in answers] == [StoreBroken] * 3
    assert len(told) == 1
    async with Store(path) as store:
        assert await store.meta("a") == "1"
