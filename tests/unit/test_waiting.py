"""What benchd says it waits for, and what it says follows a job that is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.effects import ClusterView, Finish, Retry, Submit, World
from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Job,
    JobState,
    Readiness,
    Run,
    SubState,
)
from benchd.core.plan import decide
from benchd.core.spec import RestartPolicy, Target
from benchd.core.waiting import waiting_for
from support.builders import CREATED_AT as T0
from support.builders import client, run, service

NOW = T0 + 1000.0
AGAIN = RestartPolicy(max_attempts=3)
VIEW = ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 60)


def world(*jobs: Job, runs: tuple[Run, ...] = (run(),), **over: object) -> World:
    """Return a world of one run on one cluster."""
    facts: dict[str, object] = {"valid": {}, "clusters": {"alpha": VIEW}, **over}
    return World(runs=runs, jobs=jobs, **facts)


def failed(why: str, **over: object) -> Job:
    """Return a service that ended so on node n3."""
    facts = {"state": JobState.FAILED, "why": why, "nodes": "n3", "restart": AGAIN, "tries": 1}
    return service(**{**facts, **over})


def test_a_failed_job_names_the_attempt_that_follows_and_when() -> None:
    """The pause is told in seconds, and the nodes that are avoided by name."""
    dead = failed("NODE_FAIL")
    second = service(attempt=2, avoid=("n3",), not_before=NOW + 40, restart=AGAIN)
    expected = f"it is followed by attempt 2 in 40s on other nodes than n3: {second.token}"
    assert expected == waiting_for(dead, world(dead, second), NOW)


def test_an_attempt_that_pauses_says_after_what() -> None:
    """It was not refused: its predecessor failed."""
    dead = failed("NODE_FAIL")
    second = service(attempt=2, avoid=("n3",), not_before=NOW + 40, restart=AGAIN)
    expected = "attempt 2 begins in 40s on other nodes than n3: attempt 1 ended NODE_FAIL"
    assert expected == waiting_for(second, world(dead, second), NOW)


def test_a_refused_job_says_that_slurm_refused_it() -> None:
    """Its pause is another one than that between attempts."""
    refused = service(tries=1, submit_failures=1, not_before=NOW + 15, detail="QOS limit")
    expected = "Slurm refused it for now; next try in 15 s: QOS limit"
    assert expected == waiting_for(refused, world(refused), NOW)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (failed("NODE_FAIL"), "it is tried again as attempt 2"),
        (failed("OUT_OF_MEMORY"), "it is not tried again: the same mem would not do again"),
        (failed("NODE_FAIL", attempt=3), "it is not tried again: this was attempt 3"),
        (failed("HOPELESS"), "it is not tried again: it can never start"),
    ],
)
def test_the_decision_about_a_failed_job_is_told_with_its_reason(job: Job, said: str) -> None:
    """Whether it is tried again or not."""
    assert waiting_for(job, world(job), NOW).startswith(said)


def test_what_failed_on_a_cluster_taken_out_is_held_until_it_is_back_or_the_run_cancelled() -> None:
    """No attempt can be made for a cluster that nobody knows, and no error is made of that."""
    dead = failed("NODE_FAIL")
    without = world(dead, clusters={})
    assert ([], [Retry(dead.token)]) == (decide(without, NOW), decide(world(dead), NOW))
    expected = (
        "it is tried again as attempt 2 when cluster alpha is in the configuration again; "
        f"`benchctl cancel {dead.run_id}` ends its run without it"
    )
    assert expected == waiting_for(dead, without, NOW)
    cancelled = world(dead, runs=(run(cancel_requested_at=NOW),), clusters={})
    assert [Finish] == [type(effect) for effect in decide(cancelled, NOW)]


def test_nothing_of_a_cancelled_run_is_tried_again() -> None:
    """Whatever its policy would allow."""
    dead, stopped = failed("NODE_FAIL"), run(cancel_requested_at=NOW)
    said = waiting_for(dead, world(dead, runs=(stopped,)), NOW)
    assert "it is not tried again: its run was cancelled" == said


def test_a_client_that_its_service_failed_follows_it() -> None:
    """It was cancelled, and is no failure of its own."""
    up = service(attempt=2)
    bound = Binding(name="redis", token="old", generation=0, host="n1", ports=())
    hit = client(state=JobState.CANCELLED, cancel_why=CancelWhy.SIBLING, bindings=(bound,))
    said = waiting_for(hit, world(up, hit), NOW)
    assert "it is tried again as attempt 2, because its service had failed it" == said


def test_what_went_well_has_nothing_to_follow() -> None:
    """A completed job waits for nothing."""
    assert "" == waiting_for(client(state=JobState.COMPLETED), world(), NOW)


def test_draining_holds_what_was_never_sent_and_says_so() -> None:
    """What was sent is settled all the same."""
    new, sent = service(), service(name="b", tries=1, attempted_at=T0)
    seen = world(new, sent, draining=True)
    assert [sent.token] == [effect.token for effect in decide(seen, NOW)]
    assert "benchd is draining" in waiting_for(new, seen, NOW)


def test_a_service_is_held_back_while_another_waits_for_the_same_quota() -> None:
    """More of them would only wait beside it; another account is another quota."""
    queued = service(state=JobState.PENDING, slurm_id="7", reason="QOSMaxJobsPerUserLimit")
    held, free = service(name="b"), service(name="c", resources={"account": "other"})
    seen = world(replace(queued, tries=1, attempted_at=T0, submitted_at=NOW), held, free)
    assert [free.token] == [effect.token for effect in decide(seen, NOW)]
    said = waiting_for(held, seen, NOW)
    assert f"held back: {queued.token} waits for a limit" in said
    assert "QOSMaxJobsPerUserLimit" in said


def test_of_those_refused_for_a_quota_the_next_finds_out_for_the_others() -> None:
    """One of them is sent again when its time has come, and the rest wait for what it is told."""
    said = {"reason": "AssocMaxSubmitJobLimit", "submit_failures": 1}
    first = service(name="a", not_before=NOW - 5, **said)
    second = service(name="b", not_before=NOW - 1, **said)
    seen = world(first, second, service(name="c"))
    assert [first.token] == [effect.token for effect in decide(seen, NOW)]


def test_a_quota_holds_back_no_part_of_what_has_begun() -> None:
    """A measurement that holds a place already gets the rest of its services."""
    queued = service(state=JobState.PENDING, slurm_id="7", reason="QOSGrpCpuLimit", name="q")
    queued = replace(queued, tries=1, attempted_at=T0, submitted_at=NOW)
    begun = replace(service(name="x", state=JobState.RUNNING), slurm_id="8", tries=1)
    rest = service(name="y")
    both = client(targets=(Target(name="x", point=0), Target(name="y", point=0)))
    seen = world(queued, begun, rest, both)
    assert rest.token in {e.token for e in decide(seen, NOW) if isinstance(e, Submit)}
    alone = world(queued, replace(begun, state=JobState.CREATED, slurm_id=None), rest, both)
    assert not [e for e in decide(alone, NOW) if isinstance(e, Submit) and e.token == rest.token]


def test_a_suspended_service_is_said_to_be() -> None:
    """Nobody expects an answer from it, nor from what waits for it."""
    asleep = service(state=JobState.RUNNING, substate=SubState.SUSPENDED, readiness=Readiness.READY)
    assert "Slurm has suspended it" in waiting_for(asleep, world(asleep), NOW)
    waiting = client()
    said = waiting_for(waiting, world(asleep, waiting), NOW)
    assert "service redis is RUNNING and suspended; it has to answer first" == said


REFUSED = {"reason": "QOSMaxSubmitJobPerUserLimit", "submit_failures": 1, "not_before": NOW - 5}
READY = {
    "state": JobState.RUNNING,
    "readiness": Readiness.READY,
    "ready_at": T0,
    "endpoint": Endpoint(host="n1", ports=(6379,), slurm_id="7", generation=0),
    "next_probe_at": NOW + 5,
}


@pytest.mark.parametrize(
    "target", [Target(name="redis", point=0), Target(name="redis")], ids=["own", "of any run"]
)
def test_a_client_refused_for_a_quota_does_not_hold_back_what_it_waits_for(target: Target) -> None:
    """It cannot find out for the others before the service answers, so the service is sent."""
    refused, new = client(tries=1, targets=(target,), **REFUSED), service(attempt=2)
    seen = world(refused, new)
    assert [Submit(new.token, ())] == decide(seen, NOW)
    assert "about to be submitted" in waiting_for(new, seen, NOW)


def test_a_client_refused_for_a_quota_that_may_be_sent_finds_out_for_the_others() -> None:
    """Its service answers, so that its next try tells whether the limit has cleared."""
    refused, other = client(tries=1, **REFUSED), service(name="b")
    seen = world(service(**READY), refused, other)
    assert [refused.token] == [e.token for e in decide(seen, NOW) if isinstance(e, Submit)]
    tried = replace(refused, attempted_at=NOW, tries=2)
    said = waiting_for(other, world(service(**READY), tried, other), NOW)
    assert f"held back: {refused.token} waits for a limit" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"readiness": Readiness.STARTING}, "service redis is RUNNING and STARTING; it has to"),
        ({"readiness": Readiness.UNREADY}, "service redis is RUNNING and UNREADY; it has to"),
        ({"cancel_requested_at": NOW}, "service redis is about to end; it has to answer first"),
        ({}, "about to be submitted, as soon as the cluster's job limit allows"),
    ],
)
def test_a_client_of_any_run_s_service_says_what_it_waits_for(
    changed: dict[str, object], said: str
) -> None:
    """It is busy with another measurement only where there is one."""
    up, waiting = service(**{**READY, **changed}), client(targets=(Target(name="redis"),))
    assert waiting_for(waiting, world(up, waiting), NOW).startswith(said)


def test_a_client_whose_service_is_measured_waits_for_its_turn() -> None:
    """One measurement at a time."""
    up, waiting = service(**READY), client(repeat=1)
    bound = Binding(name="redis", token=up.token, generation=0, host="n1", ports=(6379,))
    other = client(state=JobState.RUNNING, slurm_id="8", tries=1, bindings=(bound,))
    expected = "its service is busy with another measurement; one at a time"
    assert expected == waiting_for(waiting, world(up, waiting, other), NOW)
