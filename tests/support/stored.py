"""Jobs brought to a point of their life in a real store."""

from __future__ import annotations

from dataclasses import replace

from benchd.core.model import Event, Evidence, Job, JobState, Readiness, Trigger
from benchd.edge.store import Store
from support import builders
from support.daemon import REPO

# One database for each released version of the store.
FIXTURES = REPO / "tests" / "data" / "store"
NOW = builders.CREATED_AT + 10


def event(trigger: Trigger, raw: str = "") -> Event:
    """Return an event that squeue told."""
    return Event(trigger=trigger, evidence=Evidence(source="squeue", exit_status=0, raw=raw))


async def added(store: Store, *jobs: Job) -> None:
    """Store the default run with these jobs."""
    assert await store.create_run(builders.run(), jobs)


async def submitted(store: Store, job: Job, slurm_id: str = "7") -> Job:
    """Announce a stored job and have it accepted."""
    job = await store.intend(job, (), NOW)
    new = replace(job, state=JobState.SUBMITTED, slurm_id=slurm_id, submitted_at=NOW)
    return await store.apply(job, new, event(Trigger.SUBMIT_ACCEPTED), NOW)


async def running(store: Store, job: Job) -> Job:
    """Bring a stored service to RUNNING and STARTING."""
    job = await submitted(store, job)
    new = replace(
        job, state=JobState.RUNNING, readiness=Readiness.STARTING, nodes="c1", next_probe_at=NOW
    )
    return await store.apply(job, new, event(Trigger.SEEN_RUNNING), NOW)


def bare(*jobs: Job) -> tuple[Job, ...]:
    """Return jobs as they are where many are read at once: without their scripts."""
    return tuple(replace(job, script="") for job in jobs)
