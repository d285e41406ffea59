"""What a poll makes of jobs that Slurm does not know any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from benchd.config import PollSettings
from benchd.core.effects import Poll
from benchd.core.lifecycle import Rules, advance
from benchd.core.model import Event, Evidence, Job, JobState, Observation, PollAnswer, Run
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from benchd.perform import Performing
from support.builders import CREATED_AT, service

pytestmark = pytest.mark.asyncio

PATIENCE = 600.0  # seconds


@dataclass
class Site:
    """Books, engine and cluster in one: Slurm knows none of the jobs, and sealing takes 1 s."""

    jobs: dict[str, Job]
    free: bool = True
    ended: dict[str, Observation] = field(default_factory=dict)
    now: float = CREATED_AT + 10_000
    asked: list[str] = field(default_factory=list)

    async def world(self) -> tuple[tuple[Run, ...], tuple[Job, ...], dict[str, bool]]:
        """Return the jobs as they are now."""
        return (), tuple(self.jobs.values()), {}

    async def known(self, _tokens: Sequence[str]) -> dict[str, JobState]:
        """Return that nobody asks about other jobs."""
        return {}

    async def learn(self, token: str, event: Event, rules: Rules, _seen: Job | None) -> Job:
        """Move the row at the time of learning, as the engine does."""
        self.jobs[token] = advance(self.jobs[token], event, self.now, rules)
        return self.jobs[token]

    async def poll(self, jobs: Sequence[Job]) -> PollAnswer:
        """Answer that two witnesses know nothing of any of them, but for what ended unclaimed."""
        return PollAnswer(
            seen={token: (row,) for token, row in self.ended.items()},
            absent={j.token: Evidence(source="sacct") for j in jobs if j.token not in self.ended},
            unclaimed=frozenset(self.ended),
        )

    async def seal(self, jobs: Sequence[Job]) -> frozenset[str]:
        """Take the claims that are free."""
        self.asked += [job.name for job in jobs]
        self.now += 1.0
        return frozenset(job.token for job in jobs if self.free)


def missing(name: str, seconds: float, now: float) -> Job:
    """Return a queued service that nobody has known for so long."""
    facts = {"state": JobState.PENDING, "slurm_id": f"7{name}", "tries": 1, "attempted_at": 1.0}
    return service(name=name, missing_since=now - seconds, submitted_at=1.0, **facts)


async def polled(site: Site) -> dict[str, tuple[JobState, str | None]]:
    """Poll once; return each service's state and why."""
    anything = cast("Any", site)
    performing = Performing(
        engine=anything,
        store=anything,
        clusters={"alpha": anything},
        pacings={"alpha": Pacing("alpha", PollSettings())},
        closing=cast("Any", None),
        next_attempt=cast("Any", None),
        next_replica=cast("Any", None),
        secrets_of=cast("Any", None),
        patience={"alpha": PATIENCE},
        metrics=Metrics(),
        clock=lambda: site.now,
    )
    await performing.perform(Poll("alpha"))
    return {job.name: (job.state, job.why) for job in site.jobs.values()}


def site_of(*, free: bool = True, **gone: float) -> Site:
    """Return a site whose services have been missing for so many seconds."""
    site = Site({}, free=free)
    rows = [missing(name, seconds, site.now) for name, seconds in gone.items()]
    site.jobs = {row.token: row for row in rows}
    return site


async def test_no_job_is_given_up_before_its_claim_was_asked_for() -> None:
    """Patience that ends while the claims of others are taken ends at the next poll."""
    site = site_of(a=PATIENCE + 0.4, b=PATIENCE - 0.2)
    never = (JobState.FAILED, "NEVER_STARTED")
    assert {"a": never, "b": (JobState.PENDING, None)} == await polled(site)
    assert ({"a": never, "b": never}, ["a", "b"]) == (await polled(site), site.asked)


async def test_a_job_whose_claim_is_held_is_lost() -> None:
    """It began to work, and nobody can tell whether it still does."""
    assert {"a": (JobState.FAILED, "LOST")} == await polled(site_of(free=False, a=PATIENCE + 1))


async def test_a_job_without_a_claim_is_judged_when_its_claim_would_be_seen() -> None:
    """The login node's memory of the directory may be older than what the job's node wrote."""
    site = site_of(a=0.0)
    (token,) = site.jobs
    at = site.now
    site.ended[token] = Observation(
        token=token, slurm_id="7a", word="FAILED", exit_code=1, started_at=at, ended_at=at
    )
    assert {"a": (JobState.PENDING, None)} == await polled(site)
    site.now += 120.0
    assert {"a": (JobState.FAILED, "LAUNCH_FAILED")} == await polled(site)
