"""Ending jobs: many with one command, each at its price, and by name only what has no id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from benchd.core.model import Job, JobState
from benchd.errors import Unreachable
from benchd.sim import EmbeddedCluster
from support.builders import client
from support.near import sample, until
from support.near_slurm import FENCED, Near, Now, Opened, live, order

pytestmark = pytest.mark.asyncio

HELD = "#!/bin/bash\n#SBATCH --hold\n" + FENCED.partition("\n")[2]


def base(slurm: EmbeddedCluster, token: str) -> list[str]:
    return [job.base for job in slurm.jobs(token)]


async def queued(at: Near, count: int) -> list[Job]:
    """Submit jobs that wait."""
    jobs = [client(script=HELD, repeat=i) for i in range(count)]
    return [live(j, await at.cluster.submit(order(j, at.now()))) for j in jobs]


def counted(at: Near) -> Mapping[str, float]:
    """Return SSH commands and RPCs that cancels cost so far."""
    ssh = {"cluster": "alpha", "op": "cancel", "outcome": "ok"}
    rpc = {"cluster": "alpha", "command": "scancel", "outcome": "ok"}
    return {
        "ssh": sample(at.metrics, "benchd_ssh_commands_total", **ssh),
        "rpcs": sample(at.metrics, "benchd_slurm_rpcs_total", **rpc),
    }


async def test_jobs_that_are_to_end_at_once_end_with_one_command(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Cancels that arrive together are one scancel with all ids, charged for each of them."""
    async with opened() as at:
        jobs = await queued(at, 8)
        before = at.cluster.remote.purse.tokens
        events = await asyncio.gather(*(at.cluster.cancel(job) for job in jobs))
        paid = before - at.cluster.remote.purse.tokens
        cost = counted(at)
    assert ([None] * 8, 1) == (events, slurm.calls["scancel"])
    assert ({"ssh": 1.0, "rpcs": 8.0}, 8.0) == (cost, paid)
    assert [["CANCELLED"]] * 8 == [base(slurm, job.token) for job in jobs]


async def test_an_id_that_is_another_jobs_now_is_not_cancelled(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A job whose id Slurm gave again is ended by name; who has the id now goes on."""
    async with opened() as at:
        (lost, heir) = await queued(at, 2)
        lost = replace(lost, slurm_id=heir.slurm_id)
        await at.cluster.poll([lost, heir])
        assert await at.cluster.cancel(lost) is None
    assert (["CANCELLED"], ["PENDING"]) == (base(slurm, lost.token), base(slurm, heir.token))


async def test_a_hundred_jobs_are_ended_by_one_scancel(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """One scancel takes a hundred ids, and ids that Slurm has forgotten are no failure."""
    job = replace(client(), state=JobState.RUNNING)
    async with opened() as at:
        await asyncio.gather(
            *(at.cluster.cancel(replace(job, slurm_id=str(900 + i))) for i in range(101))
        )
    assert 2 == slurm.calls["scancel"]


async def test_cancelling_again_is_harmless_and_leaves_other_names_alone(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A job is ended by its id: whatever else has its name waits until it is seen as a stray."""
    async with opened() as at:
        (job,) = await queued(at, 1)
        await at.shell.run(f"sbatch --job-name={job.token} --hold --wrap true", op="x", timeout=20)
        events = [await at.cluster.cancel(job) for _ in range(2)]
        left = base(slurm, job.token)
        await at.cluster.end_by_name([job.token, "nobody"])
    assert ([None, None], ["CANCELLED", "PENDING"]) == (events, left)
    assert ["CANCELLED", "CANCELLED"] == base(slurm, job.token)


async def test_strays_are_ended_by_their_names_with_one_command(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Ending by name is one SSH command for all names, and each name costs two RPCs."""
    async with opened() as at:
        jobs = await queued(at, 3)
        await at.cluster.end_by_name([job.token for job in jobs])
        cost = counted(at)
        await at.cluster.end_by_name([])
    assert {"ssh": 1.0, "rpcs": 6.0} == cost
    assert [["CANCELLED"]] * 3 == [base(slurm, job.token) for job in jobs]


async def test_a_live_job_without_an_id_is_ended_by_name(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Where no id is known, the name ends the job."""
    async with opened() as at:
        (job,) = await queued(at, 1)
        await at.cluster.cancel(replace(job, slurm_id=None))
    assert ["CANCELLED"] == base(slurm, job.token)


async def test_every_caller_learns_that_a_scancel_failed(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When slurmctld does not answer, all who asked together are told so."""
    async with opened() as at:
        jobs = await queued(at, 3)
        slurm.inject("slurmctld-down")
        said = await asyncio.gather(
            *(at.cluster.cancel(job) for job in jobs), return_exceptions=True
        )
    assert [Unreachable] * 3 == [type(each) for each in said], said
    assert ["scancel failed"] * 3 == [str(each).partition(": ")[2][:14] for each in said]


async def test_who_joined_is_told_when_the_first_gives_up(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A cancelled caller takes nobody's task along: the others learn that nothing is known."""
    async with opened() as at:
        jobs = await queued(at, 2)
        first, second = (asyncio.create_task(at.cluster.cancel(job)) for job in jobs)
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(Unreachable, match="given up"):
            await second
        await at.cluster.cancel(jobs[1])
    await until(lambda: base(slurm, jobs[1].token) == ["CANCELLED"])
    assert first.cancelled()
