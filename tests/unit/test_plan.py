"""What decide() wants in each situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.effects import (
    Cancel,
    ClusterView,
    Collect,
    Effect,
    Finish,
    Open,
    Poll,
    Probe,
    Retry,
    Submit,
    World,
)
from benchd.core.lifecycle import Rules, advance
from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Event,
    Job,
    JobState,
    Readiness,
    Run,
    RunOutcome,
    SubState,
    Trigger,
)
from benchd.core.plan import decide, next_wake
from benchd.core.spec import Limits, RestartPolicy, Target
from support.builders import CREATED_AT as T0
from support.builders import client, run, service

NOW = T0 + 1000.0
ENDPOINT = Endpoint(host="n1", ports=(6379,), slurm_id="7", generation=0)
LATER = ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 60)


def world(*jobs: Job, runs: tuple[Run, ...] | None = None, **over: object) -> World:
    """Return a world of one run (or the given ones) on one cluster that needs no poll now."""
    facts: dict[str, object] = {"valid": {}, "clusters": {"alpha": LATER}, **over}
    return World(runs=(run(),) if runs is None else runs, jobs=jobs, **facts)


def ready(**over: object) -> Job:
    """Return a service that answers."""
    facts = {
        "state": JobState.RUNNING,
        "slurm_id": "7",
        "tries": 1,
        "attempted_at": T0,
        "submitted_at": T0,
        "started_at": T0 + 1,
        "readiness": Readiness.READY,
        "readiness_since": T0 + 2,
        "ready_at": T0 + 2,
        "next_probe_at": NOW + 5,
        "endpoint": ENDPOINT,
    }
    return service(**{**facts, **over})


def measuring(target: Job, **over: object) -> Job:
    """Return a client that runs against the service."""
    facts = {
        "state": JobState.RUNNING,
        "slurm_id": "8",
        "tries": 1,
        "attempted_at": T0,
        "submitted_at": T0,
        "started_at": T0 + 5,
        "bindings": (bound(target),),
    }
    return client(**{**facts, **over})


def over(job: Job, state: JobState, **fields: object) -> Job:
    """Return the job as it ended, results home unless said otherwise."""
    facts = {"state": state, "ended_at": NOW, "slurm_id": "9", "collected_at": NOW}
    return replace(job, **{**facts, **fields})


def bound(target: Job) -> Binding:
    """Return the binding to a service."""
    generation = target.generation
    return Binding(
        name="redis", token=target.token, generation=generation, host="n1", ports=(6379,)
    )


def of(kind: type[Effect], effects: list[Effect]) -> list[Effect]:
    """Return the effects of one kind."""
    return [e for e in effects if isinstance(e, kind)]


def test_a_new_run_submits_its_service_and_not_its_client() -> None:
    """The client waits until the service answers."""
    redis = service()
    assert [Submit(redis.token)] == decide(world(redis, client()), NOW)


def test_a_client_is_submitted_with_the_endpoint_once_its_service_is_ready() -> None:
    """The binding carries token, generation, host and ports."""
    redis, bench = ready(), client()
    assert [Submit(bench.token, (bound(redis),))] == decide(world(redis, bench), NOW)


def test_a_ready_service_without_an_endpoint_is_not_measured() -> None:
    """Nobody knows where it answers."""
    assert [] == of(Submit, decide(world(ready(endpoint=None), client()), NOW))


def test_one_measurement_at_a_time_per_service() -> None:
    """Of two waiting clients the first of the order goes; while one measures, the other waits."""
    redis, first, second = ready(), client(repeat=0), client(repeat=1)
    submitted = [e.token for e in decide(world(redis, second, first), NOW)]
    assert [first.token] == submitted
    busy = world(redis, measuring(redis, repeat=0), second)
    assert [] == decide(busy, NOW)


def test_a_concurrent_service_is_shared() -> None:
    """``concurrent: true`` lets both clients go."""
    redis = ready(concurrent=True)
    effects = decide(world(redis, client(repeat=0), client(repeat=1)), NOW)
    assert 2 == len(of(Submit, effects))


def test_one_measurement_at_a_time_holds_across_runs() -> None:
    """A client of another run waits while ours measures the same service."""
    redis, other = ready(), run(id="other", recipe_path="b.yaml")
    foreign = client(run_id="other", targets=(Target(name="redis"),))
    busy = world(redis, measuring(redis), foreign, runs=(run(), other))
    assert [] == decide(busy, NOW)
    free = world(redis, client(name="b"), foreign, runs=(other, run()))
    assert [foreign.token] == [e.token for e in of(Submit, decide(free, NOW))]


def test_a_service_is_kept_while_a_client_of_another_run_wants_it() -> None:
    """The run's own client is done, but somebody else still waits for the service."""
    redis, other = ready(), run(id="other", recipe_path="b.yaml")
    done = over(client(), JobState.COMPLETED)
    foreign = client(run_id="other", targets=(Target(name="redis"),))
    shared = world(redis, done, foreign, runs=(run(), other))
    assert [] == of(Cancel, decide(shared, NOW))


def test_a_service_is_released_when_its_clients_are_over() -> None:
    """DONE is success, not a fault."""
    redis = ready()
    effects = decide(world(redis, over(client(), JobState.COMPLETED)), NOW)
    assert [Cancel(redis.token, CancelWhy.DONE)] == effects


def test_a_service_that_nobody_measures_stays_with_the_measurements_of_its_run() -> None:
    """A monitor beside the measured service lives until the last client is over."""
    redis, monitor = ready(), ready(name="monitor", slurm_id="10")
    assert [] == of(Cancel, decide(world(redis, monitor, measuring(redis)), NOW))
    done = world(redis, monitor, over(client(), JobState.COMPLETED))
    ended = {e.token for e in of(Cancel, decide(done, NOW))}
    assert {redis.token, monitor.token} == ended


def test_a_service_without_clients_is_kept_up() -> None:
    """A recipe with services only keeps them until somebody cancels or their time ends."""
    assert [] == decide(world(ready()), NOW)


def test_points_with_their_own_service_are_measured_independently() -> None:
    """A client of point 1 does not take the service of point 0."""
    zero, one = ready(point=0), service(point=1)
    waiting = client(point=1, targets=(Target(name="redis", point=1),))
    effects = decide(world(zero, one, waiting, client(point=0)), NOW)
    clients = [e.token for e in of(Submit, effects) if e.bindings]
    assert [client(point=0).token] == clients


def test_a_dying_service_takes_its_client_along_and_both_come_back() -> None:
    """The client is cancelled as SIBLING, its traces are collected, then it is tried again."""
    again = RestartPolicy(max_attempts=2)
    dead = over(ready(restart=again), JobState.FAILED, why="NODE_FAIL", readiness=Readiness.UNKNOWN)
    hit = measuring(dead)
    assert [Cancel(hit.token, CancelWhy.SIBLING), Retry(dead.token)] == decide(
        world(dead, hit), NOW
    )
    ended = over(hit, JobState.CANCELLED, cancel_why=CancelWhy.SIBLING, collected_at=None)
    replacement = service(attempt=2, restart=again)
    assert [Collect(ended.token)] == of(Collect, decide(world(dead, replacement, ended), NOW))
    home = replace(ended, collected_at=NOW)
    assert [Retry(home.token)] == of(Retry, decide(world(dead, replacement, home), NOW))


def test_a_client_that_fell_with_its_service_is_tried_again() -> None:
    """It failed by itself before we could cancel it: the fault is the service's all the same."""
    dead = over(ready(), JobState.FAILED, why="NODE_FAIL", readiness=Readiness.UNKNOWN)
    replacement = service(attempt=2)
    fell = over(measuring(dead), JobState.FAILED, why="FAILED")
    assert [Retry(fell.token)] == of(Retry, decide(world(dead, replacement, fell), NOW))
    alone = over(measuring(ready()), JobState.FAILED, why="FAILED")
    assert [] == of(Retry, decide(world(ready(), alone), NOW))


def test_a_client_is_cancelled_when_its_service_restarted() -> None:
    """Another generation is another service: the numbers would describe both."""
    redis = ready()
    hit = measuring(redis)
    effects = decide(world(replace(redis, generation=1), hit), NOW)
    assert [Cancel(hit.token, CancelWhy.SIBLING)] == of(Cancel, effects)


def test_a_service_beyond_hope_ends_its_clients_and_the_run() -> None:
    """Nothing waits for what will not come."""
    dead = over(service(), JobState.FAILED, why="REFUSED", detail="invalid partition")
    waiting = client()
    assert [Cancel(waiting.token, CancelWhy.SIBLING)] == decide(world(dead, waiting), NOW)
    ended = over(waiting, JobState.CANCELLED, cancel_why=CancelWhy.SIBLING, slurm_id=None)
    why = "service redis FAILED REFUSED: invalid partition"
    assert [Finish(run().id, RunOutcome.FAILED, why)] == decide(world(dead, ended), NOW)


def test_a_run_passes_when_every_result_is_home_and_valid() -> None:
    """Finish comes only after the last result was collected."""
    redis = over(service(), JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    bench = over(client(), JobState.COMPLETED)
    waiting = replace(bench, collected_at=None)
    assert [Collect(bench.token)] == decide(world(redis, waiting), NOW)
    valid = world(redis, bench, valid={bench.token: True})
    assert [Finish(run().id, RunOutcome.PASSED)] == decide(valid, NOW)
    assert RunOutcome.INVALID == decide(world(redis, bench), NOW)[0].outcome


@pytest.mark.parametrize(
    ("jobs", "outcome"),
    [
        ([over(ready(), JobState.CANCELLED, cancel_why=CancelWhy.ASKED)], RunOutcome.PASSED),
        ([over(service(), JobState.CANCELLED, cancel_why=CancelWhy.ASKED)], RunOutcome.CANCELLED),
        (
            [
                over(service(), JobState.CANCELLED, cancel_why=CancelWhy.DONE),
                over(client(), JobState.CANCELLED, cancel_why=CancelWhy.ASKED),
            ],
            RunOutcome.CANCELLED,
        ),
        (
            [
                over(ready(), JobState.CANCELLED, cancel_why=CancelWhy.ASKED),
                over(client(), JobState.CANCELLED, cancel_why=CancelWhy.SIBLING),
            ],
            RunOutcome.CANCELLED,
        ),
    ],
)
def test_a_job_that_its_user_ended_ends_the_run_as_cancelled(
    jobs: list[Job], outcome: RunOutcome
) -> None:
    """But for a service without clients that had answered: to be put down is its normal end."""
    (finish,) = decide(world(*jobs), NOW)
    assert isinstance(finish, Finish)
    assert outcome is finish.outcome


def test_a_cancelled_run_cancels_all_its_jobs_and_is_not_retried() -> None:
    """What has ended stays as it is."""
    stopped = run(cancel_requested_at=NOW)
    redis = ready(restart=RestartPolicy(max_attempts=3))
    failed = over(client(restart=RestartPolicy(max_attempts=3)), JobState.FAILED, why="FAILED")
    effects = decide(world(redis, failed, runs=(stopped,)), NOW)
    assert [Cancel(redis.token, CancelWhy.ASKED)] == effects


def test_a_failed_job_is_retried_only_as_often_as_its_policy_says() -> None:
    """The second attempt is the last of two."""
    policy = RestartPolicy(max_attempts=2)
    first = over(client(restart=policy), JobState.FAILED, why="FAILED")
    second = replace(first, attempt=2, token="second")
    assert [Retry(first.token)] == of(Retry, decide(world(ready(), first), NOW))
    assert [] == of(Retry, decide(world(ready(), first, second), NOW))


def test_a_job_that_a_human_cancelled_is_not_retried() -> None:
    """Neither is one that Slurm refused for good."""
    policy = RestartPolicy(max_attempts=9)
    for why in ("CANCELLED_BY_OTHER", "REFUSED", "LOST"):
        failed = over(client(restart=policy), JobState.FAILED, why=why)
        assert [] == of(Retry, decide(world(ready(), failed), NOW))


def test_an_unsettled_submission_is_settled_whatever_else_is_true() -> None:
    """The same try is asked about again, with the bindings it was sent with."""
    redis = ready()
    sent = client(tries=1, attempted_at=T0, bindings=(bound(redis),))
    assert [Submit(sent.token, sent.bindings)] == of(Submit, decide(world(redis, sent), NOW))


def test_back_off_and_the_job_limit_hold_submissions() -> None:
    """Neither a job whose pause runs nor one beyond max_jobs is sent."""
    assert [] == of(Submit, decide(world(service(not_before=NOW + 1)), NOW))
    full = {"alpha": replace(LATER, max_jobs=1)}
    two = world(service(name="a"), service(name="b"), clusters=full)
    assert 1 == len(of(Submit, decide(two, NOW)))


def test_nothing_is_announced_to_a_cluster_that_was_never_reached() -> None:
    """It is opened first: what was never announced can be cancelled without asking anybody."""
    closed = {"alpha": replace(LATER, is_open=False)}
    effects = decide(world(service(), service(name="b"), clusters=closed), NOW)
    assert [Open("alpha")] == effects


def test_a_paused_cluster_is_left_alone_but_wishes_are_recorded() -> None:
    """Nothing is sent; a cancellation is still written down."""
    paused = {"alpha": replace(LATER, paused=True, next_poll_at=0.0)}
    redis = ready(next_probe_at=T0)
    assert [] == decide(world(redis, client(), clusters=paused), NOW)
    stopped = world(redis, runs=(run(cancel_requested_at=NOW),), clusters=paused)
    assert [Cancel(redis.token, CancelWhy.ASKED)] == decide(stopped, NOW)


def test_limits_of_a_run_end_what_takes_too_long() -> None:
    """Pending, ready and run limits each name their reason."""
    limited = run(limits=Limits(pending=60.0, ready=60.0))
    queued = replace(
        service(), state=JobState.PENDING, slurm_id="7", submitted_at=T0, attempted_at=T0, tries=1
    )
    starting = ready(name="b", readiness=Readiness.STARTING, probe_streak=-1)
    effects = of(Cancel, decide(world(queued, starting, runs=(limited,)), NOW))
    expected = {(queued.token, CancelWhy.LIMIT), (starting.token, CancelWhy.NOT_READY)}
    assert expected == {(e.token, e.why) for e in effects}


@pytest.mark.parametrize(
    ("job", "limits", "detail"),
    [
        (
            replace(
                service(reason="Resources"),
                state=JobState.PENDING,
                submitted_at=T0,
                attempted_at=T0,
                tries=1,
            ),
            Limits(pending=60.0),
            "it has waited in Slurm's queue for 16m40s (Resources), and limits.pending is 60s",
        ),
        (
            service(
                state=JobState.RUNNING,
                readiness=Readiness.STARTING,
                readiness_since=T0 + 100,
                probe_streak=-1,
            ),
            Limits(ready=300.0),
            "it has run for 15m without an answer, and limits.ready is 5m",
        ),
        (service(), Limits(run=900.0), "the run has taken 16m40s, and limits.run is 15m"),
    ],
)
def test_a_limit_is_named_with_the_value_that_passed_it(
    job: Job, limits: Limits, detail: str
) -> None:
    """Whoever reads it sees what to raise, and by how much."""
    (end,) = of(Cancel, decide(world(job, runs=(run(limits=limits),)), NOW))
    assert detail == end.detail


def test_the_limit_of_a_run_ends_services_and_clients_alike() -> None:
    """Sent or not; but what was sent may have ended in time, so Slurm is heard first."""
    limited = run(limits=Limits(run=900.0))
    up, waiting = ready(), client(repeat=1)
    busy = measuring(up)
    both = {(job.token, CancelWhy.LIMIT) for job in (up, busy, waiting)}
    effects = decide(world(up, busy, waiting, runs=(limited,)), NOW)
    assert both == {(e.token, e.why) for e in of(Cancel, effects)}
    deaf = {"alpha": replace(LATER, last_poll_at=T0 + 800)}
    effects = decide(world(up, busy, waiting, runs=(limited,), clusters=deaf), NOW)
    assert [waiting.token] == [e.token for e in of(Cancel, effects)]
    again = replace(limited, reopened_at=NOW - 10)
    assert [] == of(Cancel, decide(world(up, busy, waiting, runs=(again,)), NOW))


def silent(**over: object) -> Job:
    """Return a service that has not answered for far more than a minute of looks."""
    facts = {"readiness": Readiness.UNREADY, "readiness_since": T0 + 900, "probe_streak": -40}
    return ready(**{**facts, "detail": "refused", **over})


def test_a_service_that_fell_silent_is_given_up_after_slurm_was_heard() -> None:
    """It may have ended or been suspended: that is looked at first."""
    (end,) = of(Cancel, decide(world(silent()), NOW))
    said = "it stopped answering 100s ago; the last one: refused"
    assert (CancelWhy.UNHEALTHY, said) == (end.why, end.detail)
    for heard_at in (None, T0 + 899):
        deaf = {"alpha": replace(LATER, last_poll_at=heard_at)}
        assert [] == of(Cancel, decide(world(silent(), clusters=deaf), NOW))
    assert [] == of(Cancel, decide(world(silent(missing_since=NOW - 1)), NOW))


@pytest.mark.parametrize("substate", [SubState.SUSPENDED, SubState.COMPLETING])
def test_what_slurm_holds_still_is_neither_probed_nor_judged(substate: SubState) -> None:
    """It cannot answer, and that is no fault of it."""
    held = silent(substate=substate, next_probe_at=T0)
    assert [] == decide(world(held), NOW)
    assert LATER.next_poll_at == next_wake(world(held), NOW)


def test_nothing_is_measured_on_a_suspended_service() -> None:
    """Who measures it is cancelled and tried again, who waits for it waits on."""
    asleep = ready(substate=SubState.SUSPENDED)
    hit, waiting = measuring(asleep), client(repeat=1)
    assert [Cancel(hit.token, CancelWhy.SIBLING)] == decide(world(asleep, hit, waiting), NOW)
    ended = over(hit, JobState.CANCELLED, cancel_why=CancelWhy.SIBLING)
    assert [Retry(ended.token)] == decide(world(asleep, ended, waiting), NOW)


def test_a_requeued_service_is_measured_anew_when_its_next_life_answers() -> None:
    """Its client is cancelled, tried again, and waits for the generation that is READY."""
    up = ready()
    hit = measuring(up)
    queued = advance(up, Event(trigger=Trigger.SEEN_PENDING, generation=1), NOW, Rules())
    assert [Cancel(hit.token, CancelWhy.SIBLING)] == of(Cancel, decide(world(queued, hit), NOW))
    missed = advance(up, Event(trigger=Trigger.SEEN_RUNNING, generation=1), NOW, Rules())
    assert [Cancel(hit.token, CancelWhy.SIBLING)] == of(Cancel, decide(world(missed, hit), NOW))
    ended = over(hit, JobState.CANCELLED, cancel_why=CancelWhy.SIBLING)
    again = client(attempt=2)
    assert [Retry(ended.token)] == of(Retry, decide(world(missed, ended), NOW))
    assert [] == of(Submit, decide(world(missed, ended, again), NOW))
    answers = replace(missed, readiness=Readiness.READY, endpoint=ENDPOINT, ready_at=NOW)
    (sent,) = of(Submit, decide(world(answers, ended, again), NOW))
    assert (again.token, 1) == (sent.token, sent.bindings[0].generation)


def test_an_adopted_client_keeps_its_service_until_somebody_has_looked() -> None:
    """Both rows were made again: that nothing is known yet is no loss."""
    up = ready(generation=1)
    hit = measuring(up)
    unknown = replace(service(), tries=1, attempted_at=T0)
    starting = replace(up, readiness=Readiness.STARTING, ready_at=None, probe_streak=0)
    for known in (unknown, replace(unknown, state=JobState.SUBMITTED, slurm_id="7"), starting):
        assert [] == of(Cancel, decide(world(known, hit), NOW))
    for gone in (replace(starting, generation=2), replace(up, readiness=Readiness.UNREADY)):
        assert [hit.token] == [e.token for e in of(Cancel, decide(world(gone, hit), NOW))]


def test_our_own_blindness_is_no_fault_of_a_job() -> None:
    """No deadline has passed for what nobody could look at since."""
    limited = run(limits=Limits(pending=60.0, ready=60.0))
    queued = replace(
        service(), state=JobState.PENDING, slurm_id="7", submitted_at=T0, attempted_at=T0, tries=1
    )
    starting = ready(name="b", readiness=Readiness.STARTING, probe_streak=-1)
    blind = ready(name="c", readiness=Readiness.STARTING, probe_streak=0)
    for heard_at in (None, T0 + 50):
        deaf = {"alpha": replace(LATER, last_poll_at=heard_at)}
        effects = decide(world(queued, starting, runs=(limited,), clusters=deaf), NOW)
        assert [] == of(Cancel, effects)
    assert [] == of(Cancel, decide(world(blind, runs=(limited,)), NOW))


def test_a_client_that_was_refused_for_now_is_submitted_again() -> None:
    """What it was to measure then does not make its service busy now."""
    redis = ready()
    refused = client(tries=1, submit_failures=1, bindings=(bound(redis),))
    assert [Submit(refused.token, (bound(redis),))] == decide(world(redis, refused), NOW)


def test_services_leave_a_place_for_their_clients() -> None:
    """Of two services only one is sent where two jobs may be at once."""
    two = {"alpha": replace(LATER, max_jobs=2)}
    pairs = (service(point=0), service(point=1), client(point=0), client(point=1))
    assert [pairs[0].token] == [e.token for e in decide(world(*pairs, clusters=two), NOW)]
    up = ready(point=0)
    now = decide(world(up, *pairs[1:], clusters=two), NOW)
    assert [pairs[2].token] == [e.token for e in of(Submit, now)]


def test_a_client_whose_service_is_gone_does_not_wait_for_it() -> None:
    """Also when the service ended well: nothing will answer any more."""
    gone = over(ready(), JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    late = client(attempt=2)
    assert [Cancel(late.token, CancelWhy.SIBLING)] == decide(world(gone, late), NOW)


def test_a_client_that_completed_while_it_was_cancelled_is_tried_again() -> None:
    """Its numbers describe a service that was going."""
    redis = ready()
    done = over(measuring(redis), JobState.COMPLETED, cancel_why=CancelWhy.SIBLING)
    assert [Retry(done.token)] == of(Retry, decide(world(redis, done), NOW))


def test_a_job_that_can_never_start_is_given_up_after_a_while() -> None:
    """The reason must stand for two minutes, because some also show while nodes are down."""
    queued = replace(
        service(),
        state=JobState.PENDING,
        slurm_id="7",
        attempted_at=T0,
        tries=1,
        reason="InvalidQOS",
    )
    early = replace(queued, submitted_at=NOW - 60)
    just = replace(queued, submitted_at=NOW - 86400, reason_since=NOW - 60)
    late = replace(queued, submitted_at=NOW - 86400, reason_since=NOW - 300)
    assert [] == of(Cancel, decide(world(early), NOW))
    assert [] == of(Cancel, decide(world(just), NOW))
    assert [Cancel(late.token, CancelWhy.HOPELESS)] == of(Cancel, decide(world(late), NOW))


@pytest.mark.parametrize(("ahead", "due"), [(0.0, 1), (3.0, 0), (3600.0, 1)])
def test_a_probe_that_lies_too_far_ahead_is_due(ahead: float, due: int) -> None:
    """A moment beyond the check's own interval was written before the clock was set back."""
    redis = ready(next_probe_at=NOW + ahead)
    assert due == len(of(Probe, decide(world(redis), NOW)))


def test_polls_and_probes_come_when_they_are_due() -> None:
    """One poll for the cluster, one probe for each running service."""
    redis = ready(next_probe_at=NOW)
    due = world(redis, clusters={"alpha": replace(LATER, next_poll_at=NOW)})
    assert [Probe(redis.token), Poll("alpha")] == decide(due, NOW)


def test_a_cluster_without_jobs_is_not_polled() -> None:
    """An idle daemon sends nothing."""
    idle = world(runs=(), clusters={"alpha": replace(LATER, next_poll_at=0.0)})
    assert [] == decide(idle, NOW)


def test_a_live_row_of_a_closed_run_is_ended() -> None:
    """Nothing is left behind on the cluster."""
    left = ready()
    assert [Cancel(left.token, CancelWhy.DONE)] == decide(world(left, runs=()), NOW)


def test_deciding_again_without_news_wants_the_same() -> None:
    """Effects are recomputed, never remembered."""
    now = world(ready(), client())
    assert decide(now, NOW) == decide(now, NOW)


def test_the_next_look_comes_with_the_next_thing_due() -> None:
    """The loop sleeps until the earliest probe, poll or end of a pause."""
    redis = ready(next_probe_at=NOW + 5)
    assert NOW + 5 == next_wake(world(redis), NOW)
    assert NOW + 3 == next_wake(world(redis, client(not_before=NOW + 3)), NOW)
