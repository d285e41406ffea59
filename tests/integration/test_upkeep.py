"""Drain, reap, adopt and gc on the embedded cluster: nothing is lost, nothing live is ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchd.core.model import JobState, RunOutcome
from benchd.core.spec import Role
from benchd.errors import UserError
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, WAITING, Inside, daemon_on

pytestmark = pytest.mark.asyncio

# A client that waits for a word from the test: a file beside it.
UNTIL_TOLD = WAITING.replace('args: ["300"]', 'args: ["8"]')
SERVICE_ONLY = WAITING.partition("client:")[0]


async def benchctl(inside: Inside, *words: str) -> tuple[int, Any]:
    """Run one command against the daemon of this process; return its status and its JSON."""
    socket = str(inside.daemon.state_dir.parent / "control.sock")
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchd.cli.ctl", "--socket", socket, "--json", *words),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    out, _ = await running.communicate()
    return running.returncode or 0, json.loads(out)


async def until(inside: Inside, holds: Callable[[], Awaitable[bool]]) -> None:
    """Let the daemon work until something holds."""
    async with asyncio.timeout(30):
        while not await holds():
            await inside.turn()


async def test_draining_submits_nothing_new_and_survives_a_restart(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """What runs goes on; what was dropped meanwhile is accepted, and goes after the drain."""
    async with daemon_on(slurm, tmp_path) as first:
        first.drop(SERVICE_ONLY)
        await first.wait_job(Role.SERVICE, state=JobState.RUNNING)
        status, said = await benchctl(first, "drain")
        assert (0, "benchd.drain/1", True, 1) == (
            status,
            said["schema"],
            said["draining"],
            said["sent"],
        )
    async with daemon_on(slurm, tmp_path) as second:
        second.drop(RECIPE)
        await second.wait_job(Role.CLIENT, state=JobState.CREATED)
        polled = second.daemon.sites["sim"].pacing.last_poll_at
        pacing = second.daemon.sites["sim"].pacing
        await until(second, lambda: _true((pacing.last_poll_at or 0) > (polled or 0)))
        waiting = await second.wait_job(Role.SERVICE, state=JobState.CREATED)
        assert "draining" in await second.daemon.steering.waiting(waiting.token)
        assert 1 == len(slurm.jobs())
        await benchctl(second, "drain", "--off")
        await until(second, lambda: _over(second, RunOutcome.PASSED))


async def _true(value: bool) -> bool:
    return value


async def _over(inside: Inside, outcome: RunOutcome) -> bool:
    return any(run.outcome is outcome for run in await inside.daemon.store.runs())


async def lost(slurm: EmbeddedCluster, home: Path, text: str) -> str:
    """Let a run begin, end the daemon, and give it back books that are older than the run."""
    books, backup = home / "state" / "benchd.sqlite3", home / "backup.sqlite3"
    async with daemon_on(slurm, home):
        pass
    shutil.copy(books, backup)
    async with daemon_on(slurm, home) as inside:
        inside.drop(text)
        role = Role.CLIENT if "client:" in text else Role.SERVICE
        job = await inside.wait_job(role, state=JobState.RUNNING)
    for path in books.parent.glob("benchd.sqlite3-*"):
        path.unlink()
    shutil.copy(backup, books)
    return job.run_id


@asynccontextmanager
async def restored(slurm: EmbeddedCluster, home: Path) -> AsyncIterator[Inside]:
    """Run a daemon on older books, which a human has said may go on."""
    async with daemon_on(slurm, home) as inside:
        await inside.daemon.steering.resume("sim", take_over=True)
        yield inside


async def test_an_adopted_measurement_ends_with_its_result(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """Run, service and client are made again from what lies beside them, and submitted once."""
    run_id = await lost(slurm, tmp_path, UNTIL_TOLD)
    client = next(job for job in slurm.jobs() if "-c-" in job.request.name)
    async with restored(slurm, tmp_path) as inside:
        assert [] == list(await inside.daemon.store.runs())
        status, said = await benchctl(inside, "adopt", "sim", str(client.id))
        assert (0, run_id, 2) == (status, said["run"], len(said["jobs"]))
        run = await inside.wait_run()
        jobs = await inside.jobs()
        states = {job.role: job.state for job in jobs.values()}
        assert {Role.SERVICE: JobState.CANCELLED, Role.CLIENT: JobState.COMPLETED} == states
        assert 1 == len(await inside.daemon.store.results(run.id))
        assert {1} == {inside.accepted(token) for token in jobs}
        assert UNTIL_TOLD == run.recipe


async def test_no_secret_is_made_for_a_service_that_has_one(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """When its run's secrets were lost, its clients are told none rather than a wrong one."""
    secretive = SERVICE_ONLY.replace("  ports:", "  secrets: {A_KEY: {generate: 24}}\n  ports:")
    run_id = await lost(slurm, tmp_path, secretive)
    (stray,) = slurm.jobs()
    shutil.rmtree(tmp_path / "state" / "secrets")
    async with restored(slurm, tmp_path) as inside:
        await benchctl(inside, "adopt", "sim", str(stray.id))
        job = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        assert (run_id, 1) == (job.run_id, inside.accepted(job.token))
        assert ({}, frozenset()) == (
            await inside.daemon.keyring.of(job),
            inside.daemon.keyring.runs,
        )


async def test_reap_lists_and_ends_only_what_is_in_no_book(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A dry run ends nothing; the real one ends the stray and leaves the live job alone."""
    await lost(slurm, tmp_path, SERVICE_ONLY)
    (stray,) = slurm.jobs()
    async with restored(slurm, tmp_path) as inside:
        inside.drop(SERVICE_ONLY, name="other.yaml")
        live = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        status, said = await benchctl(inside, "reap", "--dry-run")
        found = [(row["slurm_id"], row["why"], row["ended"]) for row in said["strays"]]
        assert (0, [(str(stray.id), "not in the books", False)]) == (status, found)
        assert "RUNNING" == stray.base
        counted = inside.daemon.steering.status()["strays"]
        assert {"sim": 1} == counted
        _, said = await benchctl(inside, "reap", "sim")
        assert [True] == [row["ended"] for row in said["strays"]]
        await until(inside, lambda: _true(stray.base == "CANCELLED"))
        assert "RUNNING" == slurm.jobs(live.token)[0].base


async def test_what_cannot_be_adopted_is_refused_with_the_reason(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A job that is known, one that is not there, one whose papers are gone, one without a run."""
    await lost(slurm, tmp_path, SERVICE_ONLY)
    (stray,) = slurm.jobs()
    async with restored(slurm, tmp_path) as inside:
        adopt = inside.daemon.upkeep.adopt
        inside.drop(SERVICE_ONLY, name="other.yaml")
        live = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        place = await inside.daemon.sites["sim"].cluster.open()
        run_id = stray.request.name.split("-")[1]
        run_json = Path(place.run_dir(run_id)) / "run.json"
        with pytest.raises(UserError, match="is in the books"):
            await adopt("sim", str(live.slurm_id))
        with pytest.raises(UserError, match="no live job 999999"):
            await adopt("sim", "999999")
        with pytest.raises(UserError, match="no cluster 'moon'"):
            await adopt("moon", "1")
        await asyncio.to_thread(run_json.unlink)
        with pytest.raises(UserError, match=r"there is no run\.json"):
            await adopt("sim", str(stray.id))
        job_json = Path(place.job_dir(run_id, stray.request.name)) / "try-1" / "job.json"
        await asyncio.to_thread(job_json.unlink)
        with pytest.raises(UserError, match=r"there is no job\.json"):
            await adopt("sim", str(stray.id))
        assert "RUNNING" == stray.base


def names(folder: Path) -> set[str]:
    """Return what lies in a directory."""
    return {path.name for path in folder.iterdir()}


async def test_gc_removes_only_what_is_over_and_home(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """What is live, young or strange stays; also what a gc cut short had put aside is removed."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(RECIPE)
        done = await inside.wait_run()
        inside.drop(SERVICE_ONLY, name="live.yaml")
        live = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        place = await inside.daemon.sites["sim"].cluster.open()
        strange = Path(place.run_dir("z" * 10))
        await asyncio.to_thread(strange.mkdir)
        _, said = await benchctl(inside, "gc")
        assert {"not in the books of this benchd", "the run is not over", "over for"} == {
            " ".join(row["kept"].split()[:2]) if "for" in row["kept"] else row["kept"]
            for row in said["runs"]
        }
        _, said = await benchctl(inside, "gc", "--older-than", "0s", "--dry-run")
        assert [done.id] == [row["run"] for row in said["runs"] if not row["kept"]]
        assert {strange.name, live.run_id, done.id} == names(strange.parent)
        _, said = await benchctl(inside, "gc", "--older-than", "0s")
        assert [done.id] == [row["run"] for row in said["runs"] if row["removed"]]
        assert {strange.name, live.run_id} == names(strange.parent)
        left = strange.with_name(f".old-{done.id}.1")
        await asyncio.to_thread(left.mkdir)
        await benchctl(inside, "gc", "--dry-run")
        assert {left.name, strange.name, live.run_id} == names(strange.parent)
        await benchctl(inside, "gc")
        assert {strange.name, live.run_id} == names(strange.parent)
        kept = await inside.daemon.store.run(done.id)
        assert kept is not None
        assert None is kept.dir_made_at
        assert done == replace(kept, dir_made_at=done.dir_made_at)


async def test_the_output_is_read_at_home_once_it_is_there(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """What a job said is shown without the cluster, also after its directory was removed there."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(RECIPE)
        run = await inside.wait_run()
        client = await inside.wait_job(Role.CLIENT, state=JobState.COMPLETED)
        name = f"{client.token}.out"
        there = next(slurm.workdir.glob(f"**/{client.slurm_id}.out")).read_text()
        assert there == (tmp_path / "state" / "runs" / run.id / "logs" / name).read_text() != ""
        await inside.daemon.upkeep.gc(0.0, dry_run=False)
        await inside.daemon.steering.pause("sim")
        shown = await inside.daemon.steering.log(client.token, "out", 0, len(there) + 1)
        assert shown is not None
        assert there == shown.decode()
        assert there[3:5].encode() == await inside.daemon.steering.log(client.token, "out", 3, 2)
