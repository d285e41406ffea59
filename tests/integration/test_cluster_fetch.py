"""Bringing home what a job left, from a file system that lags, fails or was cleaned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchd.core.model import Fetched, Job, JobState
from benchd.edge import parcels
from benchd.errors import NotYet, Unreachable
from benchd.sim import EmbeddedCluster
from support.builders import client
from support.near import settings_for
from support.near_slurm import Now, Opened, job_dir, near

pytestmark = pytest.mark.asyncio


def ended(now: Now, **over: Any) -> Job:
    """Return a job that ended by itself one second ago."""
    values = {"state": JobState.COMPLETED, "slurm_id": "5", "ended_at": now() - 1, **over}
    return replace(client(), **values)


def leave(slurm: EmbeddedCluster, job: Job, **over: Any) -> Path:
    """Write what a job leaves; ``over`` changes its exit.json."""
    place = job_dir(slurm, job)
    (place / "result").mkdir(parents=True)
    (place / "result" / "result.json").write_text("{}")
    values = {"slurm_id": "5", "generation": 0, "status": 0, "started_at": 1, "ended_at": 2}
    (place / "exit.json").write_text(json.dumps({**values, **over}))
    (place / "5.out").write_text("said")
    return place


def program(slurm: EmbeddedCluster, name: str, text: str) -> Path:
    """Put a program before the real one on the login node."""
    file = slurm.dir / "bin" / name
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)
    return file


async def test_a_failing_tar_is_no_empty_result(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When the file system fails while results are read, they are read again later."""
    job = ended(now)
    leave(slurm, job)
    broken = program(slurm, "tar", "echo 'tar: result: Stale file handle' >&2; exit 2")
    async with opened() as at:
        with pytest.raises(NotYet, match="Stale file handle"):
            await at.cluster.fetch(job)
        broken.unlink()
        fetched = await at.cluster.fetch(job)
    assert ({"exit.json", "result/result.json", "out", "err"}, False) == (
        set(fetched.files),
        fetched.truncated,
    )


async def test_samples_that_fill_the_limit_do_not_keep_the_result_from_coming_home(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Of more than can be brought home the documents come first, and that it was cut is said."""
    job = ended(now)
    home = leave(slurm, job)
    (home / "result" / "result.json").unlink()  # so that the directory has it behind the samples
    (home / "result" / "a.jsonl.gz").write_bytes(b"x" * 100_000)
    (home / "result" / "result.json").write_text('{"a": 1}')
    async with opened() as at:
        fetched = await parcels.fetch(at.cluster.remote, await at.cluster.open(), job, limit=50_000)
    assert (b'{"a": 1}', True) == (fetched.files["result/result.json"], fetched.truncated)


async def test_a_log_that_cannot_be_read_is_read_again(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A failing read of a log is not taken for an empty log."""
    job = ended(now)
    leave(slurm, job)
    program(slurm, "tail", "echo 'tail: 5.out: Input/output error' >&2; exit 1")
    async with opened() as at:
        with pytest.raises(NotYet, match="Input/output error"):
            await at.cluster.fetch(job)


async def test_what_stays_unreadable_is_left_out_in_the_end(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """After the grace period the rest comes home, and it is said that something is missing."""
    job = ended(now)
    leave(slurm, job)
    program(slurm, "tar", '/usr/bin/tar "$@"; exit 2')
    async with opened() as at:
        now.now += 10.0
        fetched = await at.cluster.fetch(job)
    assert (True, b"{}") == (fetched.truncated, fetched.files["result/result.json"])


@pytest.mark.parametrize("left", ["nothing", "another-id", "another-span", "half"])
@pytest.mark.parametrize(
    "over", [{}, {"state": JobState.FAILED, "slurm_state": "FAILED", "exit_code": 3}]
)
async def test_a_result_is_waited_for_until_its_exit_file_is_seen(
    slurm: EmbeddedCluster, now: Now, opened: Opened, left: str, over: dict[str, Any]
) -> None:
    """A job that ended by itself left an exit.json of its id and span, visible a bit later."""
    job = ended(now, generation=1, **over)
    place = leave(slurm, job, slurm_id="5", generation=1)
    whole = (place / "exit.json").read_text()
    early = {
        "nothing": None,
        "another-id": whole.replace('"5"', '"4"'),
        "another-span": whole.replace('"generation": 1', '"generation": 0'),
        "half": whole[:20],
    }[left]
    (place / "exit.json").unlink()
    if early is not None:
        (place / "exit.json").write_text(early)
    async with opened() as at:
        with pytest.raises(NotYet, match=r"exit\.json of job 5 is not seen yet"):
            await at.cluster.fetch(job)
        (place / "exit.json").write_text(whole)
        fetched = await at.cluster.fetch(job)
    assert b"{}" == fetched.files["result/result.json"]


@pytest.mark.parametrize(("testbed", "grace"), [(True, 5.0), (False, 120.0)])
async def test_the_grace_period_ends(
    slurm: EmbeddedCluster, now: Now, testbed: bool, grace: float
) -> None:
    """Two minutes after the end, five seconds on a testbed, what is there has to do."""
    job = ended(now, ended_at=now())
    job_dir(slurm, job).mkdir(parents=True)
    settings = settings_for(slurm).model_copy(update={"testbed": testbed})
    async with near(slurm, now, settings=settings) as at:
        now.now += grace - 0.5
        with pytest.raises(NotYet):
            await at.cluster.fetch(job)
        now.now += 1.0
        fetched = await at.cluster.fetch(job)
    assert Fetched(files={"out": b"", "err": b""}) == fetched


@pytest.mark.parametrize(
    "over",
    [
        {"state": JobState.CANCELLED},
        {"state": JobState.FAILED, "slurm_state": "TIMEOUT"},
        {"state": JobState.FAILED, "slurm_state": "FAILED", "signal": 53, "exit_code": 0},
        {"state": JobState.FAILED, "slurm_state": "FAILED", "exit_code": 78},
    ],
)
async def test_a_job_that_was_ended_is_not_waited_for(
    slurm: EmbeddedCluster, now: Now, opened: Opened, over: dict[str, Any]
) -> None:
    """Who was killed, or never did its work, may have left nothing."""
    job = ended(now, **over)
    job_dir(slurm, job).mkdir(parents=True)
    async with opened() as at:
        assert {"out": b"", "err": b""} == (await at.cluster.fetch(job)).files


async def test_a_directory_that_was_cleaned_away_is_gone(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Where the workdir is there and the job's directory is not, nothing comes home, ever."""
    job = ended(now)
    async with opened() as at:
        before = await at.cluster.fetch(job)
        leave(slurm, job)
        there = await at.cluster.fetch(job)
        shutil.rmtree(slurm.workdir / "runs" / job.run_id)
        after = await at.cluster.fetch(job)
    assert [True, False, True] == [before.gone, there.gone, after.gone]
    assert {} == after.files


@pytest.mark.parametrize("how", ["missing", "empty"])
async def test_a_workdir_that_is_not_there_says_nothing(
    slurm: EmbeddedCluster, now: Now, opened: Opened, how: str
) -> None:
    """A file system that is not mounted is no proof that a job left nothing."""
    job = ended(now)
    leave(slurm, job)
    async with opened() as at:
        await at.cluster.open()
        slurm.workdir.rename(slurm.dir / "elsewhere")
        if how == "empty":
            slurm.workdir.mkdir()
        with pytest.raises(Unreachable, match="cannot read"):
            await at.cluster.fetch(job)
