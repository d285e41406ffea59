"""Secrets on their way to a cluster and back off it, through the real protocol of submission."""

from __future__ import annotations

import stat

import pytest

from benchd.core.model import Accepted
from benchd.core.secrets import MOMENTARY
from benchd.sim import EmbeddedCluster
from support.builders import client
from support.near_slurm import FENCED, Now, Opened, job_dir, order

pytestmark = pytest.mark.asyncio
SECRETS = {"A_PASSWORD": "CANARY \u00e9 '$(x)\" \\", "B_KEY": "b"}


async def test_secrets_arrive_in_a_file_of_their_owner(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Next to the script lies a file of mode 0600; what Slurm gets has no word of it."""
    job = client(script=FENCED)
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now(), secrets=SECRETS))
    assert isinstance(answer, Accepted)
    path = job_dir(slurm, job) / "try-1" / "secret.env"
    assert "-rw-------" == stat.filemode(path.stat().st_mode)
    expected = (
        """A_PASSWORD='CANARY \u00e9 '"'"'$(x)" \\'\nB_KEY=b\nBENCHD_SECRETS='A_PASSWORD B_KEY'\n"""
    )
    assert expected == path.read_text()
    assert FENCED.encode() == slurm.jobs(job.token)[0].request.script
    assert "CANARY" not in repr(answer)


async def test_without_secrets_there_is_no_such_file(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A submission that has none leaves the directory as it always was."""
    job = client(script=FENCED)
    async with opened() as at:
        await at.cluster.submit(order(job, now()))
    assert not (job_dir(slurm, job) / "try-1" / "secret.env").exists()


async def test_the_second_of_two_equal_orders_writes_nothing(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Other secrets in a repeated order change nothing: what was submitted keeps what it has."""
    job = client(script=FENCED)
    async with opened() as at:
        await at.cluster.submit(order(job, now(), secrets=SECRETS))
        path = job_dir(slurm, job) / "try-1" / "secret.env"
        before = path.read_text()
        await at.cluster.submit(order(job, now(), secrets={"A_PASSWORD": "other"}))
    assert (before, 1) == (path.read_text(), len(slurm.jobs(job.token)))


async def test_what_ended_jobs_left_is_removed(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Every try of the named jobs is cleaned, and nothing else; doing it again is harmless."""
    jobs = [client(script=FENCED), client(script=FENCED, repeat=1)]
    async with opened() as at:
        for job in jobs:
            await at.cluster.submit(order(job, now(), secrets=SECRETS))
        files = [job_dir(slurm, job) / "try-1" / "secret.env" for job in jobs]
        late = job_dir(slurm, jobs[0]) / "try-2" / "secret.env"
        late.parent.mkdir()
        late.write_text("x")
        killed = [job_dir(slurm, jobs[0]) / name for name in MOMENTARY]
        for path in killed:
            path.parent.mkdir(exist_ok=True)
            path.write_text("password=x")
        for _ in range(2):
            await at.cluster.forget(jobs[:1])
    assert [False, True, False] == [path.exists() for path in (*files, late)]
    assert [] == [path for path in killed if path.exists()]
    assert (files[0].parent / "script.sh").exists()
