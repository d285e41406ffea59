"""A daemon that comes back to many live jobs: one question to Slurm settles them all."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from benchd.core.model import JobState
from benchd.sim import EmbeddedCluster
from support import crowd
from support.inside import PATIENCE, daemon_on

pytestmark = pytest.mark.asyncio

MANY = 1_000
# Seconds: after its first look the daemon has no reason to look again while the test runs.
RARELY = {"interval": 600, "floor": 300}


async def test_one_poll_settles_a_thousand_jobs(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """After a start one squeue moves every row to what its job is, each with its own evidence."""
    jobs = await crowd.gather(slurm, tmp_path, MANY)
    ended = jobs[5::100]  # by somebody else, while nobody looked
    for job in ended:
        slurm.model.cancel(slurm.jobs(job.token)[0].id, uid=0, now=slurm.clock.now())
    before = Counter(slurm.calls)

    async with daemon_on(slurm, tmp_path, poll=RARELY) as inside:
        store = inside.daemon.store
        async with asyncio.timeout(PATIENCE):
            while await store.jobs(state=JobState.SUBMITTED):
                await inside.turn()
        settled = {job.token: job for job in await store.jobs() if job.slurm_id is not None}
        news = {t: [m for m in await store.transitions(t) if "seen" in m.trigger] for t in settled}

    asked = Counter(slurm.calls) - before
    lost = {job.token for job in ended}
    states = {t: JobState.FAILED if t in lost else JobState.PENDING for t in settled}
    assert {token: job.state for token, job in settled.items()} == states
    assert len(settled) == MANY
    assert (asked["squeue"], asked["sbatch"]) == (1, 0)
    assert [len(moves) for moves in news.values()] == [1] * MANY
    assert all(str(settled[token].slurm_id) in m.evidence.raw for token, (m,) in news.items())
