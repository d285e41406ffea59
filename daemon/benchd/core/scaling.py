"""How many replicas a service should have now: ``replicas: {min, max}``. Pure.

Each measurement uses one replica of such a service, so what waits for one is the length of its
queue. Everything is told from what is stored: how long something has waited from the rows of what
waits and of what it waits for, so that a restart forgets nothing and adds nothing twice. Only how
long a service has been slow is known from probes alone, and begins again with the daemon.

* One is added when measurements could start if a replica were free, have waited for
  ``scale_up_after``, and no replica is on its way: one that waits in Slurm's queue is capacity to
  come, and a cluster that is full is asked for no more. The same when a health check takes longer
  than ``scale_latency`` for as long.
* None is added after a replica that failed for good: the next one would fail like it.
* One that was added is ended when nothing waits and it was in no measurement for
  ``scale_down_after``. The first ``min`` replicas stay while their clients need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchd.core.effects import AddReplica, Cancel
from benchd.core.matching import bindings_of, busy_services, is_answering, is_extra
from benchd.core.model import CancelWhy, Job, JobState
from benchd.core.policy import is_beyond_hope, is_gone, own_services, span
from benchd.core.spec import Role, Scale, Target
from benchd.core.view import Index, is_sent


@dataclass(frozen=True, slots=True)
class Pool:
    """One service with a scale, and all its replicas: the latest attempt of each."""

    scale: Scale
    replicas: Sequence[Job]

    @property
    def first(self) -> Job:
        """The replica that stands for all: they are alike."""
        return self.replicas[0]

    @property
    def staying(self) -> list[Job]:
        """Those that are there, are to come, or are to be tried again."""
        return [r for r in self.replicas if not is_gone(r) and r.cancel_requested_at is None]

    def is_meant(self, client: Job, target: Target) -> bool:
        """Tell whether a target of a client is this service."""
        first = self.first
        if target.name != first.name or client.cluster != first.cluster:
            return False
        meant = (client.run_id, target.point, target.repeat)
        own = meant == (first.run_id, first.point, first.repeat)
        return own if target.point is not None else True


def scalings(index: Index) -> Iterator[AddReplica | Cancel]:
    """Yield the replicas to add, and those to end."""
    pools = list(_pools(index))
    if not pools:
        return
    taken, used = busy_services(index), _last_used(index)
    for pool in pools:
        waiting = list(_waiting(pool, index, taken))
        since = _wanting(pool, waiting, index, taken)
        if since is None and not waiting:  # what waits without wanting more takes one now
            yield from _idle(pool, index, taken, used)
        elif since is not None and _may_grow(pool, index, since):
            number = max(replica.replica for replica in pool.replicas) + 1
            yield AddReplica(pool.first.token, number)


def _pools(index: Index) -> Iterator[Pool]:
    for (run_id, *_), replicas in index.services.items():
        run, scale = index.runs.get(run_id), replicas[0].spec.scale
        if scale is not None and run is not None and run.cancel_requested_at is None:
            yield Pool(scale, replicas)


def _waiting(pool: Pool, index: Index, taken: Counter[str]) -> Iterator[Job]:
    """Yield the measurements that would start if this service had a free replica."""
    for run in index.world.runs:
        for job in index.slots[run.id]:
            if job.role is not Role.CLIENT or job.state is not JobState.CREATED or is_sent(job):
                continue
            if job.cancel_requested_at is not None or job.not_before > index.now:
                continue
            rest = [t for t in job.spec.targets if not pool.is_meant(job, t)]
            if len(rest) == len(job.spec.targets):
                continue
            if bindings_of(job, index, taken, rest) is not None:
                yield job


def _wanting(pool: Pool, waiting: Sequence[Job], index: Index, taken: Counter[str]) -> float | None:
    """Return since when one more replica has been wanted; None when it is not."""
    answering = [replica for replica in pool.staying if is_answering(replica)]
    free = [replica for replica in answering if not taken[replica.token]]
    slow = index.world.slow
    since = [slow[replica.token] for replica in answering if replica.token in slow]
    if not pool.first.spec.concurrent and len(waiting) > len(free):
        ready = [s.ready_at or 0.0 for job in waiting for s in own_services(job, index)]
        began = min(max(job.created_at, job.not_before) for job in waiting)
        since.append(max([began, *ready]))
    if not since:
        return None
    return max([min(since), *(replica.ready_at or 0.0 for replica in answering)])


def _may_grow(pool: Pool, index: Index, since: float) -> bool:
    if index.now - since < pool.scale.scale_up_after or index.world.draining:
        return False
    # One that is ending is in Slurm until it is gone, however long nobody can be told to end it.
    if sum(not is_gone(replica) for replica in pool.replicas) >= pool.scale.max:
        return False
    if any(is_beyond_hope(replica) for replica in pool.replicas):
        return False
    return all(is_answering(replica) for replica in pool.staying)


def _last_used(index: Index) -> dict[str, float]:
    """Return when the last measurement of each service ended.

    Those of runs that are over are not in the world any more: then it was longer ago than this.
    """
    used: dict[str, float] = {}
    for job in index.world.jobs:
        if job.role is Role.CLIENT and job.ended_at is not None:
            for binding in job.bindings:
                used[binding.token] = max(used.get(binding.token, 0.0), job.ended_at)
    return used


def _idle(
    pool: Pool, index: Index, taken: Counter[str], used: dict[str, float]
) -> Iterator[Cancel]:
    """Yield the end of what was added and has had nothing to do for long enough."""
    for replica in pool.staying:
        if not is_extra(replica) or taken[replica.token]:
            continue
        since = max(replica.created_at, replica.ready_at or 0.0, used.get(replica.token, 0.0))
        if index.now - since >= pool.scale.scale_down_after:
            detail = f"no measurement has wanted this replica for {span(index.now - since)}"
            yield Cancel(replica.token, CancelWhy.DONE, detail)


def outlook(replicas: Sequence[Job]) -> str:
    """Say how a measurement gets one of these replicas, all of which are in use."""
    scale = replicas[0].spec.scale
    if scale is None or sum(not is_gone(replica) for replica in replicas) >= scale.max:
        return "it starts when one of them is free, or has ended"
    there = [r for r in replicas if not is_gone(r) and r.cancel_requested_at is None]
    if coming := [r for r in there if not is_answering(r)]:
        return f"replica {coming[0].replica} is on its way ({coming[0].state})"
    return f"another one is added when it has waited {span(scale.scale_up_after)}"
