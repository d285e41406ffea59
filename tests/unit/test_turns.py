"""Pauses between measurements, services made for one of them, and the stop after a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.effects import Cancel, ClusterView, Finish, Submit, World
from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Job,
    JobState,
    Readiness,
    Run,
    RunOutcome,
)
from benchd.core.plan import decide, next_wake
from benchd.core.spec import RestartPolicy, Target
from benchd.core.waiting import waiting_for
from support.builders import CREATED_AT as T0
from support.builders import client, run, service

NOW = T0 + 1000.0
VIEW = ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 600)
SENT = {"tries": 1, "attempted_at": T0, "submitted_at": T0, "started_at": T0}


def world(*jobs: Job, runs: tuple[Run, ...] = (run(),), **over: object) -> World:
    """Return a world of one run on one cluster."""
    facts: dict[str, object] = {"valid": {}, "clusters": {"alpha": VIEW}, **over}
    return World(runs=runs, jobs=jobs, **facts)


def ready(**over: object) -> Job:
    """Return a service that answers."""
    facts = {
        **SENT,
        "state": JobState.RUNNING,
        "slurm_id": "7",
        "readiness": Readiness.READY,
        "readiness_since": T0,
        "ready_at": T0,
        "next_probe_at": NOW + 5,
        "endpoint": Endpoint(host="n1", ports=(6379,), slurm_id="7", generation=0),
    }
    return service(**{**facts, **over})


def ended(job: Job, target: Job, state: JobState = JobState.COMPLETED, **over: object) -> Job:
    """Return a measurement of a service that is over and home."""
    binding = Binding(name="redis", token=target.token, generation=0, host="n1", ports=(6379,))
    facts = {"state": state, "slurm_id": "8", "ended_at": NOW - 5, "collected_at": NOW - 4}
    return replace(job, **{**SENT, **facts, "bindings": (binding,), **over})


def submitted(found: World, now: float = NOW) -> list[str]:
    """Return the tokens of what is submitted."""
    return [effect.token for effect in decide(found, now) if isinstance(effect, Submit)]


def test_a_pause_keeps_a_service_from_the_next_measurement() -> None:
    """It begins when a result is home; the daemon says how long, and wakes at its end."""
    redis = ready()
    first = ended(client(cooldown=10.0), redis)
    then = client(repeat=1, cooldown=10.0)
    found = world(redis, first, then)
    assert [] == submitted(found)
    assert "the pause between two measurements (cooldown 10s) ends in 6s" == waiting_for(
        then, found, NOW
    )
    assert min(NOW + 5, NOW + 6) == next_wake(found, NOW)
    assert [then.token] == submitted(found, NOW + 6)


def test_a_pause_is_about_one_service() -> None:
    """Another service that is free is measured meanwhile; the first measurement waits for none."""
    one, other = ready(), ready(point=1, slurm_id="70")
    first = ended(client(cooldown=10.0), one)
    targets = (Target(name="redis", point=1),)
    then = client(point=1, cooldown=10.0, targets=targets)
    assert [then.token] == submitted(world(one, other, first, then))


def test_a_result_that_is_not_home_yet_does_not_start_the_pause() -> None:
    """What is still being fetched may still load the file system of the service."""
    redis = ready()
    first = ended(client(cooldown=10.0), redis, ended_at=NOW - 60, collected_at=None)
    assert [] == submitted(world(redis, first, client(repeat=1, cooldown=10.0)))


def singles() -> tuple[Job, Job, Job, Job]:
    """Return two services, each made for one measurement, and these."""
    services = [service(repeat=n, fresh="measurement") for n in (0, 1)]
    clients = [client(repeat=n, targets=(Target(name="redis", point=0, repeat=n),)) for n in (0, 1)]
    return services[0], services[1], clients[0], clients[1]


def test_a_service_made_for_one_measurement_waits_for_the_one_before() -> None:
    """They take turns, in the order of the measurements, and `why` says who comes before."""
    first, second, one, two = singles()
    assert [first.token] == submitted(world(first, second, one, two))
    said = f"it is made for one measurement; {first.token}, which comes before, is not over yet"
    assert said == waiting_for(second, world(first, second, one, two), NOW)
    running = ready(fresh="measurement", repeat=0)
    assert [] == submitted(world(running, second, ended(one, running), two))
    over = replace(running, state=JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    over = replace(over, cancel_requested_at=NOW, readiness=Readiness.UNKNOWN, ended_at=NOW)
    assert [second.token] == submitted(world(over, second, ended(one, running), two))


def test_a_measurement_takes_its_own_service_only() -> None:
    """A service of the same name and point that is made for another repeat is not it."""
    running = ready(fresh="measurement", repeat=0)
    _, second, one, two = singles()
    assert [one.token] == submitted(world(running, second, one, two))


def test_a_service_is_ended_with_its_one_measurement() -> None:
    """Other repeats do not keep it."""
    running = ready(fresh="measurement", repeat=0)
    _, second, one, two = singles()
    effects = decide(world(running, second, ended(one, running), two), NOW)
    assert Cancel(running.token, CancelWhy.DONE) in effects


def stopping(state: JobState, **over: object) -> tuple[Job, Job, Job]:
    """Return a service, a measurement that ended so, and one that is to come."""
    redis = ready()
    return (
        redis,
        ended(client(stop_on_failure=True), redis, state, **over),
        client(repeat=1, stop_on_failure=True),
    )


@pytest.mark.parametrize(
    ("facts", "valid", "said"),
    [
        ({"state": JobState.FAILED, "why": "TIMEOUT"}, False, "FAILED TIMEOUT"),
        ({"state": JobState.COMPLETED}, False, "without a valid result"),
    ],
)
def test_a_measurement_that_failed_for_good_ends_the_others(
    facts: dict[str, object], valid: bool, said: str
) -> None:
    """Where the recipe says stop_on_failure; with a sentence that names the first failure."""
    redis, bad, rest = stopping(**facts)
    which = f"redis-bench of point 0, repeat 0 ended {said}"
    sentence = f"stop_on_failure: {which}, so nothing more is measured"
    effects = decide(world(redis, bad, rest, valid={bad.token: valid}), NOW)
    assert Cancel(rest.token, CancelWhy.LIMIT, sentence) in effects
    assert [] == [effect for effect in effects if isinstance(effect, Submit)]


@pytest.mark.parametrize(
    ("facts", "runs"),
    [
        ({"state": JobState.COMPLETED}, (run(),)),
        ({"state": JobState.CANCELLED, "cancel_why": CancelWhy.ASKED}, (run(),)),
        ({"state": JobState.FAILED, "why": "TIMEOUT"}, (run(reopened_at=NOW - 1),)),
        ({"state": JobState.FAILED, "why": "FAILED", "again": 2}, (run(),)),
    ],
)
def test_what_is_no_failure_or_was_noted_stops_nothing(
    facts: dict[str, object], runs: tuple[Run, ...]
) -> None:
    """Success, a human's wish, what failed before a human tried again, what is tried again."""
    again = RestartPolicy(max_attempts=int(str(facts.pop("again", 1))))
    redis, done, rest = stopping(**facts)
    done = replace(done, spec=done.spec.model_copy(update={"restart": again}))
    found = world(redis, done, rest, runs=runs, valid={done.token: True})
    assert [rest.token] == submitted(found)


def test_without_the_key_a_failed_point_stops_nothing() -> None:
    """The rest is measured, and the run says at its end what failed."""
    redis = ready()
    bad = ended(client(), redis, JobState.FAILED, why="TIMEOUT")
    rest = client(repeat=1)
    assert [rest.token] == submitted(world(redis, bad, rest))


def test_a_stopped_run_is_blamed_on_what_failed_first() -> None:
    """Not on the measurements that were ended for it."""
    redis, bad, rest = stopping(JobState.FAILED, why="TIMEOUT")
    stop = {"state": JobState.CANCELLED, "cancel_why": CancelWhy.LIMIT}
    rest = replace(rest, **stop, cancel_requested_at=NOW, why="LIMIT", ended_at=NOW)
    redis = replace(redis, state=JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    redis = replace(redis, cancel_requested_at=NOW, readiness=Readiness.UNKNOWN)
    (finish,) = [e for e in decide(world(redis, rest, bad), NOW) if isinstance(e, Finish)]
    assert RunOutcome.FAILED is finish.outcome
    assert "client redis-bench FAILED TIMEOUT (and 1 more)" == finish.why
