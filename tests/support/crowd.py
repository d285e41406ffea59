"""Many live jobs at once: in the books of a daemon, and in its cluster, without submitting them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from benchd.app import Daemon
from benchd.core.model import Event, Job, JobState, Run, Trigger
from benchd.core.spec import Target
from benchd.edge.store import Store
from benchd.sim import EmbeddedCluster
from benchd.sim.nouns import Request
from support import builders
from support.inside import settings_for

# Of so many clients of a run one service is shared; about what recipes with sweeps have.
PER_SERVICE = 9


def runs_of(
    count: int, *, per_run: int, cluster: str, instance: str
) -> list[tuple[Run, list[Job]]]:
    """Return runs with so many new jobs in all, every tenth of them a service."""
    found = []
    for first in range(0, count, per_run):
        run = builders.run(id=f"crowd{first:05d}", recipe_path=f"{first}.yaml", cluster=cluster)
        jobs = [_job(run, number, instance) for number in range(min(per_run, count - first))]
        found.append((run, jobs))
    return found


def _job(run: Run, number: int, instance: str) -> Job:
    repeat, place = divmod(number, PER_SERVICE + 1)
    point = {"run_id": run.id, "cluster": run.cluster, "point": repeat}
    if place == 0:
        job = builders.service(**point)
    else:
        targets = (Target(name="redis", point=repeat),)
        job = builders.client(**point, repeat=place, targets=targets)
    # As long as real ones are: what is read and written of a job has a realistic size.
    script = job.script + "# a line of a real script\n" * 200
    return replace(job, token=job.token.replace(builders.INSTANCE, instance), script=script)


async def book(store: Store, jobs: list[Job], ids: dict[str, str], now: float) -> None:
    """Write down that these stored jobs were accepted."""

    async def accepted(job: Job) -> None:
        sent = await store.intend(job, (), now)
        slurm_id = ids[job.token]
        new = replace(sent, state=JobState.SUBMITTED, slurm_id=slurm_id, submitted_at=now)
        event = Event(trigger=Trigger.SUBMIT_ACCEPTED, slurm_id=slurm_id)
        await store.apply(sent, new, event, now)

    await asyncio.gather(*(accepted(job) for job in jobs))


async def gather(cluster: EmbeddedCluster, home: Path, count: int, **over: object) -> list[Job]:
    """Leave so many jobs in the cluster's queue, held, and in the books of a stopped daemon."""
    async with Daemon(settings_for(cluster, home, **over)) as daemon:
        await daemon.sites["sim"].cluster.open()
        now, all_jobs, ids = daemon.clock(), [], {}
        name = daemon.store.instance
        for run, jobs in runs_of(count, per_run=100, cluster="sim", instance=name):
            await daemon.store.create_run(replace(run, created_at=now, dir_made_at=now), jobs)
            all_jobs += jobs
        for job in all_jobs:
            wish = Request(name=job.token, script=b"#!/bin/sh\n", chdir="/", hold=True)
            known = cluster.model.submit(wish, user=cluster.user, uid=os.getuid(), now=now)
            ids[job.token] = str(known.id)
        await book(daemon.store, all_jobs, ids, now)
    return all_jobs
