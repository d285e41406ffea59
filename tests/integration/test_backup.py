"""Copies of the database: sound while somebody writes, kept for a while, and put back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from benchd.cli import daemon as program
from benchd.core.model import JobState
from benchd.core.spec import Role
from benchd.edge.store import Backups, Store, backup
from benchd.errors import StoreError, StoreFull
from benchd.places import database_in
from benchd.sim import EmbeddedCluster
from support import builders, stored
from support.inside import PATIENCE, WAITING, Inside, daemon_on

DAY = 86400.0
SERVICE_ONLY = WAITING.partition("client:")[0]
NOON = 1_763_726_400.0  # 2025-11-21T12:00:00Z


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "benchd.sqlite3"


def _ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        return raw.execute(sql).fetchall()


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)


@pytest.mark.asyncio
async def test_a_copy_is_of_one_moment_while_somebody_writes(path: Path, tmp_path: Path) -> None:
    """Of jobs that only ever move together, a copy taken meanwhile has all or none of a move."""
    target = tmp_path / "copy.sqlite3"
    copying = True

    def pair(number: int) -> object:
        values = {"value": str(number)}
        sql = (
            "INSERT INTO meta VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value"
        )
        return lambda tx: [tx.rows(sql, {"key": key, **values}) for key in ("left", "right")]

    async def write(store: Store) -> int:
        number = 0
        while copying:
            number += 1
            await store._db.write(pair(number))  # type: ignore[arg-type] # what it returns is not used
        return number

    async with Store(path) as store:
        await stored.added(store, *(builders.job(replica=n) for n in range(300)))
        writer = asyncio.create_task(write(store))
        for _ in range(5):
            await asyncio.to_thread(backup.take, path, target)
        copying = False
        written = await writer

    (left,), (right,) = _ask(target, "SELECT value FROM meta WHERE key IN ('left', 'right')")
    assert left == right
    assert 0 < int(str(left)) <= written
    assert _ask(target, "PRAGMA integrity_check") == [("ok",)]
    assert len(_ask(target, "SELECT * FROM jobs")) == 300
    assert target.stat().st_mode & 0o777 == 0o600
    assert _names(tmp_path) == [target.name, "state"]


@pytest.mark.asyncio
async def test_copies_are_taken_once_an_interval_and_the_newest_kept(path: Path) -> None:
    """After two days with three copies kept there are three; what else lies there stays."""
    async with Store(path):
        backups = Backups(path, keep=3)
        assert backups.last(NOON) is None
        taken = [backups.keep_up(NOON + hour * 3600, DAY / 4) for hour in range(48)]
    other = backup.folder(path) / "benchd-before-2.sqlite3"
    other.write_text("of a migration")
    backups.keep_up(NOON + 2 * DAY, DAY / 4)

    assert sum(copy is not None for copy in taken) == 8
    assert sorted(p.name for p in backup.folder(path).iterdir()) == [
        "benchd-20251123T000000Z.sqlite3",
        "benchd-20251123T060000Z.sqlite3",
        "benchd-20251123T120000Z.sqlite3",
        "benchd-before-2.sqlite3",
    ]
    assert backups.last(NOON + 2 * DAY) == NOON + 2 * DAY


@pytest.mark.asyncio
async def test_a_clock_that_was_wrong_does_not_end_the_copies(path: Path) -> None:
    """A copy named for a moment to come does not count, and no good one makes way for it."""
    async with Store(path):
        backups = Backups(path, keep=3)
        wrong = backups.keep_up(NOON + 400 * DAY, DAY)
        taken = [backups.keep_up(NOON + hour * 3600, DAY) for hour in range(5 * 24)]

    now = NOON + 5 * DAY
    good = [copy for copy in taken if copy is not None]
    assert wrong is not None
    assert (5, NOON + 4 * DAY) == (len(good), backups.last(now))
    assert sorted([*good[-3:], wrong]) == sorted(backup.folder(path).iterdir())


def test_a_copy_that_was_asked_for_is_kept(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon removes its own copies alone, and a copy made by hand stands in for none."""
    program.main(["backup", "--config", str(_stopped(tmp_path, path))])
    by_hand = Path(capsys.readouterr().out.strip())
    later = time.time() + DAY
    backups = Backups(path, keep=1)
    assert backups.last(later) is None
    for day in range(3):
        backups.keep_up(later + day * DAY, DAY)

    kept = _names(backup.folder(path))
    assert (2, True) == (len(kept), by_hand.name in kept)
    assert backup.newest_sound(path) is not None


@pytest.mark.asyncio
async def test_a_copy_does_not_fill_the_disk(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a copy would leave too little room, none is begun, and the message says how much."""
    async with Store(path):
        pass
    monkeypatch.setattr(backup, "SPARE", 2**62)

    with pytest.raises(StoreFull, match=r"no room for a copy in .*: it takes \d+ bytes"):
        backup.take(path, tmp_path / "copies" / "copy.sqlite3")
    assert not (tmp_path / "copies").exists()


@pytest.mark.asyncio
async def test_a_damaged_database_leaves_no_copy(path: Path, tmp_path: Path) -> None:
    """What cannot be read whole is not kept as if it could, and the last good copy stays."""
    target = tmp_path / "copy.sqlite3"
    async with Store(path) as store:
        await stored.added(store, *(builders.job(replica=n) for n in range(60)))
    backup.take(path, target)
    good = target.read_bytes()
    _overwrite(path)

    with pytest.raises(StoreError, match=r"copy|damaged"):
        backup.take(path, target)
    assert target.read_bytes() == good
    assert _names(tmp_path) == [target.name, "state"]


@pytest.mark.parametrize("where", ["", "copies", "copies/mine.sqlite3"])
def test_benchd_backup_says_where_the_copy_is(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Without a place it is in backup/; a directory gets a dated name; a file is that file."""
    config = _stopped(tmp_path, path)
    (tmp_path / "copies").mkdir()
    words = [str(tmp_path / where)] if where else []

    assert program.main(["backup", "--config", str(config), *words]) == 0

    copy = Path(capsys.readouterr().out.strip())
    folder = tmp_path / "copies" if where else path.parent / "backup"
    assert copy.parent == folder
    assert (copy.name == "mine.sqlite3") is where.endswith("sqlite3")
    assert _ask(copy, "SELECT value FROM meta WHERE key = 'a'") == [("b",)]


def _stopped(tmp_path: Path, path: Path) -> Path:
    """Leave a database, and the configuration of the daemon that it is of."""

    async def store() -> None:
        async with Store(path) as opened:
            await opened.set_meta("a", "b")

    asyncio.run(store())
    file = tmp_path / "benchd.yaml"
    file.write_text(
        f"state_dir: {path.parent}\nclusters: {{here: {{local: true, workdir: {tmp_path}/w}}}}\n"
    )
    return file


def test_benchd_backup_refuses_what_makes_no_sense(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No copy of nothing, onto the database, into no directory; status 2 and a sentence."""
    config = _stopped(tmp_path, path)
    nowhere = tmp_path / "unmounted" / "copy.sqlite3"
    assert program.main(["backup", "--config", str(config), str(nowhere)]) == 2
    assert f"there is no directory {nowhere.parent}" in capsys.readouterr().err
    assert not nowhere.parent.exists()
    before = path.read_bytes()
    assert program.main(["backup", "--config", str(config), str(path)]) == 2
    assert "is the database itself" in capsys.readouterr().err
    assert path.read_bytes() == before
    path.unlink()
    assert program.main(["backup", "--config", str(config)]) == 2
    assert "there is no database" in capsys.readouterr().err


def _put_back(home: Path, copy: Path) -> None:
    """Do what the manual says: move the database and its log aside, put the copy there."""
    state, aside = home / "state", home / "aside"
    aside.mkdir()
    for file in state.glob("benchd.sqlite3*"):
        file.rename(aside / file.name)
    shutil.copyfile(copy, state / "benchd.sqlite3")


async def _work_until(inside: Inside, holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await inside.turn()


@pytest.mark.asyncio
@pytest.mark.parametrize("restarted", [True, False])
async def test_after_an_old_copy_nothing_runs_twice(
    slurm: EmbeddedCluster, tmp_path: Path, restarted: bool
) -> None:
    """With books from before a submission its try is found, not made, and what is newer a stray."""
    copy = tmp_path / "copy.sqlite3"
    async with daemon_on(slurm, tmp_path) as first:
        await first.daemon.sites["sim"].cluster.open()
        first.daemon.engine.draining = True
        first.drop(WAITING)
        await first.wait_job(Role.CLIENT, state=JobState.CREATED)
        await asyncio.to_thread(backup.take, database_in(first.daemon.state_dir), copy)
        first.daemon.engine.draining = False
        first.daemon.engine.wake()
        await first.wait_job(Role.CLIENT, state=JobState.RUNNING)
        first.drop(SERVICE_ONLY, name="later.yaml")
        await _work_until(first, lambda: len(slurm.jobs()) == 3)
        later = await first.wait_job(Role.SERVICE, state=JobState.RUNNING)
        ids = {job.token: job.slurm_id for job in (await first.jobs()).values()}
    if restarted:
        async with daemon_on(slurm, tmp_path) as again:
            await again.daemon.sites["sim"].cluster.open()
    _put_back(tmp_path, copy)

    async with daemon_on(slurm, tmp_path) as second:
        site = second.daemon.sites["sim"]
        if restarted:  # which raised the epoch in the workdir
            await _work_until(second, lambda: site.pacing.paused is not None)
            assert "epoch" in str(site.pacing.paused)
            assert len(slurm.jobs()) == 3
            await second.daemon.steering.resume("sim", take_over=True)
        await second.wait_job(Role.CLIENT, state=JobState.RUNNING)
        strays = second.daemon.metrics.strays.labels("sim")
        await _work_until(second, lambda: strays._value.get() == 1)
        books = await second.jobs()

    expected = {token: slurm_id for token, slurm_id in ids.items() if token != later.token}
    assert {token: job.slurm_id for token, job in books.items()} == expected
    assert {token: len(slurm.jobs(token)) for token in ids} == dict.fromkeys(ids, 1)
    assert slurm.jobs(later.token)[0].base == "RUNNING"


@pytest.mark.asyncio
async def test_the_daemon_takes_a_copy_when_one_is_due(
    slurm: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day without a copy ends with one, and the metric says when it was taken."""
    monkeypatch.setattr("benchd.app.BACKUP_LOOK", 0.01)
    async with daemon_on(slurm, tmp_path) as inside:
        last = inside.daemon.metrics.store_backup_timestamp_seconds
        await _work_until(inside, lambda: last._value.get() > 0)
        (name,) = _names(inside.daemon.state_dir / "backup")
        copy = inside.daemon.state_dir / "backup" / name
        assert _ask(copy, "PRAGMA integrity_check") == [("ok",)]
        assert abs(inside.daemon.clock() - last._value.get()) < PATIENCE
