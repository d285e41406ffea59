"""The health of a service: when it counts as answering, and when it is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.model import Endpoint, Job, JobState, ProbeAnswer, Readiness, Verdict
from benchd.core.readiness import UNREADY_GRACE, is_given_up, is_unhealthy, observe
from benchd.core.spec import HealthCheck
from support.builders import CREATED_AT as T0
from support.builders import service

ENDPOINT = Endpoint(host="n1", ports=(6379,), slurm_id="7", generation=0)


def running(readiness: Readiness = Readiness.STARTING, **over: object) -> Job:
    """Return a service that has been running since T0."""
    check = HealthCheck(type="redis", interval=5.0, retries=3, start_period=10.0)
    job = service(health_check=check)
    facts = {"state": JobState.RUNNING, "slurm_id": "7", "started_at": T0, "readiness_since": T0}
    return replace(job, readiness=readiness, **{**facts, **over})


def answer(verdict: Verdict) -> ProbeAnswer:
    """Return one look with this verdict."""
    return ProbeAnswer(verdict=verdict, detail="said so", seconds=0.01, endpoint=ENDPOINT)


def test_one_good_answer_makes_a_starting_service_ready() -> None:
    """READY carries its time and the endpoint that answered."""
    ready = observe(running(), answer(Verdict.GOOD), T0 + 3)
    expected = (Readiness.READY, T0 + 3, ENDPOINT, T0 + 8)
    assert expected == (ready.readiness, ready.ready_at, ready.endpoint, ready.next_probe_at)


@pytest.mark.parametrize(("bad", "expected"), [(2, Readiness.READY), (3, Readiness.UNREADY)])
def test_a_ready_service_falls_after_three_bad_answers(bad: int, expected: Readiness) -> None:
    """One or two bad answers under load are no outage."""
    job = running(Readiness.READY, ready_at=T0)
    for k in range(bad):
        job = observe(job, answer(Verdict.BAD), T0 + 20 + k)
    assert expected is job.readiness


def test_a_good_answer_between_bad_ones_starts_the_count_again() -> None:
    """Only bad answers in a row count."""
    job = running(Readiness.READY, ready_at=T0)
    for verdict in (Verdict.BAD, Verdict.BAD, Verdict.GOOD, Verdict.BAD, Verdict.BAD):
        job = observe(job, answer(verdict), T0 + 20)
    assert Readiness.READY is job.readiness


def test_our_own_trouble_is_no_verdict() -> None:
    """A probe that could not be sent moves only the time of the next one."""
    job = running(Readiness.READY, ready_at=T0)
    looked = observe(job, replace(answer(Verdict.NONE), endpoint=None), T0 + 20)
    assert replace(job, next_probe_at=T0 + 25) == looked


def test_failures_in_the_start_period_do_not_use_up_retries() -> None:
    """Three retries are counted from the end of the start period."""
    job = running()
    for second in range(5):
        job = observe(job, answer(Verdict.BAD), T0 + second)
    assert not is_given_up(job)
    for second in range(3):
        job = observe(job, answer(Verdict.BAD), T0 + 10 + second)
    assert is_given_up(job)


def test_an_unready_service_is_unhealthy_after_its_grace() -> None:
    """It gets a minute of looks to come back; looks that could not be made do not count."""
    job = running(Readiness.UNREADY, readiness_since=T0)
    looks = 3 + int(UNREADY_GRACE / 5.0)  # three to fall, then one every five seconds
    verdicts = tuple(is_unhealthy(replace(job, probe_streak=-n)) for n in (looks - 1, looks))
    assert (False, True) == verdicts
