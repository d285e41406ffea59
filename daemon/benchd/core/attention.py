"""Jobs for a human to look at: Slurm keeps them waiting for what does not pass by itself. Pure.

A job that is held never starts; one whose nodes or partition are down may wait for days. Neither is
a failure, so nothing ends them but ``limits.pending``: they are shown, counted and logged instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchd.core.model import Job, JobState, SubState
from benchd.core.slurm_reasons import ADVICE, ReasonClass, ReasonVerdict, reason_class

# Classes that somebody should know of while there is time.
ALERTS = frozenset({ReasonClass.HELD, ReasonClass.INFRASTRUCTURE, ReasonClass.NEVER})


@dataclass(frozen=True, slots=True)
class Attention:
    """One job that waits for a human: why, in Slurm's word, and what helps."""

    token: str
    cluster: str
    cls: ReasonClass
    reason: str
    advice: str


def judged(job: Job) -> ReasonVerdict:
    """Return why a pending job waits; what is held is held, whatever reason stands beside it."""
    verdict = reason_class(job.reason or "", job.spec.resources)
    if job.substate is SubState.HELD and verdict.cls is not ReasonClass.HELD:
        return ReasonVerdict(ReasonClass.HELD, *ADVICE[ReasonClass.HELD])
    return verdict


def attention(jobs: Iterable[Job]) -> list[Attention]:
    """Return the pending jobs that wait for what does not pass by itself."""
    seen = [(job, judged(job)) for job in jobs if job.state is JobState.PENDING]
    return [
        Attention(job.token, job.cluster, verdict.cls, job.reason or "", verdict.advice)
        for job, verdict in seen
        if verdict.cls in ALERTS
    ]


def waiting(jobs: Iterable[Job]) -> Mapping[tuple[str, str], int]:
    """Return how many pending jobs there are by cluster and class of reason."""
    pending = (job for job in jobs if job.state is JobState.PENDING)
    return Counter((job.cluster, str(judged(job).cls)) for job in pending)
