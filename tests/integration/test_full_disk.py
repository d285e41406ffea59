"""A daemon whose disk is full, or fails: nothing is begun that could not be written down."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from benchd.core.effects import Submit
from benchd.core.model import JobState, RunOutcome
from benchd.core.spec import Role
from benchd.edge.store import Store
from benchd.errors import StoreBroken
from benchd.sim import EmbeddedCluster
from support import stored
from support.bad_disk import DaemonOn, Disk
from support.daemon import environment
from support.inside import PATIENCE, RECIPE, WAITING, Inside, settings_for, working


async def _until(inside: Inside, holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await inside.turn()


def _is_writable(store: Store, found: bool) -> bool:
    return store.writable is found


@pytest.mark.asyncio
async def test_a_full_disk_stops_what_is_new_and_nothing_else(
    slurm: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While full: looks go on, nothing is submitted, a recipe waits; with room all goes on."""
    monkeypatch.setattr("benchd.app.GAUGES", 0.05)
    disk = Disk()
    async with working(DaemonOn(settings_for(slurm, tmp_path), disk), slurm) as inside:
        daemon = inside.daemon
        pacing, writable = daemon.sites["sim"].pacing, daemon.metrics.store_writable
        inside.drop(WAITING)
        await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)

        disk.fails["COMMIT"] = sqlite3.SQLITE_FULL
        inside.drop(RECIPE, name="second.yaml")
        await _until(inside, lambda: not daemon.store.writable)
        looked, sent = pacing.last_poll_at or 0.0, len(slurm.jobs())
        await _until(inside, lambda: (pacing.last_poll_at or 0.0) > looked)
        assert (writable._value.get(), daemon.steering.status()["store_writable"]) == (0, False)
        assert (len(slurm.jobs()), len(await daemon.store.jobs())) == (sent, 2)
        assert (daemon.state_dir / "inbox" / "second.yaml").is_file()

        disk.fails.clear()
        run = await inside.wait_run()
        jobs = await inside.jobs()

    assert (run.name, run.outcome) == ("tiny", RunOutcome.PASSED)
    assert writable._value.get() == 1
    assert {token: inside.accepted(token) for token in jobs} == dict.fromkeys(jobs, 1)


@pytest.mark.asyncio
async def test_results_wait_for_room(
    slurm: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that cannot be kept is fetched once there is room, and then the run passes."""
    monkeypatch.setattr("benchd.app.GAUGES", 0.05)
    disk = Disk()
    async with working(DaemonOn(settings_for(slurm, tmp_path), disk), slurm) as inside:
        disk.fails["INSERT INTO results"] = sqlite3.SQLITE_FULL
        inside.drop(RECIPE)
        await inside.wait_job(Role.CLIENT, state=JobState.COMPLETED)
        await _until(inside, lambda: not inside.daemon.store.writable)
        assert await inside.daemon.store.results() == ()

        disk.fails.clear()
        assert (await inside.wait_run()).outcome is RunOutcome.PASSED


@pytest.mark.asyncio
async def test_a_daemon_outlives_looks_that_find_no_room(
    slurm: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even reading may need room: gauges and engine try again until there is some."""
    monkeypatch.setattr("benchd.app.GAUGES", 0.05)
    disk = Disk()
    async with working(DaemonOn(settings_for(slurm, tmp_path), disk), slurm) as inside:
        store = inside.daemon.store
        inside.drop(RECIPE)
        await inside.wait_job(Role.SERVICE)
        disk.fails["BEGIN ()"] = sqlite3.SQLITE_FULL  # a look; writes say BEGIN IMMEDIATE
        for found in (False, True, False, True):  # by a look, and by the trial write after it
            await _until(inside, partial(_is_writable, store, found))
        disk.fails.clear()
        assert (await inside.wait_run()).outcome is RunOutcome.PASSED


@pytest.mark.asyncio
async def test_a_submission_that_finds_no_room_is_not_announced(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A row that cannot be read before it is submitted stays as it is, and the turn goes on."""
    disk = Disk()
    async with DaemonOn(settings_for(slurm, tmp_path), disk) as daemon:
        await daemon.intake.submit("tiny.yaml", RECIPE.encode(), os.getuid(), {})
        (service,) = [job for job in await daemon.store.jobs() if job.role is Role.SERVICE]
        disk.fails["BEGIN ()"] = sqlite3.SQLITE_FULL
        order = Submit(service.token)
        await daemon.engine._start(order, "sim", daemon.clock())
        disk.fails.clear()
        after = await daemon.store.job(service.token)
        assert after is not None
        assert (after.rev, after.attempted_at) == (service.rev, None)


@pytest.mark.asyncio
async def test_a_failing_disk_stops_the_daemon(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """After an I/O error the daemon ends with its reason; what was accepted is there after it."""
    disk = Disk()

    async def story() -> None:
        async with working(DaemonOn(settings_for(slurm, tmp_path), disk), slurm) as inside:
            inside.drop(WAITING)
            await inside.wait_job(Role.SERVICE, state=JobState.CREATED)
            disk.fails["COMMIT"] = sqlite3.SQLITE_IOERR
            await _until(inside, inside.daemon._stopping.is_set)

    with pytest.raises(ExceptionGroup) as ended:
        await story()

    assert ended.group_contains(StoreBroken, match="so benchd stops")
    async with working(DaemonOn(settings_for(slurm, tmp_path), Disk()), slurm) as inside:
        await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
        jobs = await inside.jobs()
    assert {token: inside.accepted(token) for token in jobs} == dict.fromkeys(jobs, 1)


def _damaged(path: Path) -> None:
    path.write_bytes(b"no database, but as long as one" * 200)


def _newer(path: Path) -> None:
    shutil.copyfile(stored.FIXTURES / "v1.sqlite3", path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "said"), [(_damaged, "is damaged"), (_newer, "was written by a newer benchd")]
)
def test_what_only_a_human_can_mend_is_not_started_again(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    """A damaged or a newer database ends ``benchd run`` with 78 and one sentence on stderr."""
    path = tmp_path / "state" / "benchd.sqlite3"
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes()
    config = tmp_path / "benchd.yaml"
    config.write_text(
        f"state_dir: {path.parent}\nsocket: {tmp_path}/s\nhttp: null\n"
        f"clusters: {{here: {{local: true, workdir: {tmp_path}/w}}}}\n"
    )

    ended = subprocess.run(
        [sys.executable, "-m", "benchd.cli.daemon", "run", "--config", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr
    assert path.read_bytes() == before
