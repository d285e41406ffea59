"""When a replica is added to a service, and when one is ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.effects import AddReplica, Cancel, ClusterView, Submit, World
from benchd.core.model import Binding, CancelWhy, Endpoint, Job, JobState, Readiness, Run
from benchd.core.plan import decide
from benchd.core.spec import Scale, Target
from benchd.core.waiting import waiting_for
from support.builders import CREATED_AT as T0
from support.builders import client, run, service

SCALE = Scale(min=1, max=3, scale_up_after=30.0, scale_down_after=300.0)
VIEW = ClusterView(name="alpha", last_poll_at=T0, next_poll_at=T0 + 1e6)
READY_AT = T0 + 10.0


def there(replica: int, **over: object) -> Job:
    """Return a replica that answers."""
    facts: dict[str, object] = {
        "state": JobState.RUNNING,
        "slurm_id": f"{replica + 7}",
        "nodes": "n1",
        "tries": 1,
        "attempted_at": T0,
        "readiness": Readiness.READY,
        "ready_at": READY_AT,
        "next_probe_at": T0 + 1e6,
        "endpoint": Endpoint(host="n1", ports=(1,), slurm_id=f"{replica + 7}", generation=0),
        "scale": SCALE,
        "replica": replica,
        **over,
    }
    return service(**facts)


def measuring(of: Job, repeat: int) -> Job:
    """Return a client that measures this replica now."""
    bound = Binding(name="redis", token=of.token, generation=0, host="n1", ports=(1,))
    facts: dict[str, object] = {"state": JobState.RUNNING, "slurm_id": f"c{repeat}", "tries": 1}
    return client(repeat=repeat, bindings=(bound,), attempted_at=T0, **facts)


def scaled(*jobs: Job, now: float, runs: tuple[Run, ...] = (), **over: object) -> list[object]:
    """Return what decide() wants of the number of replicas."""
    facts: dict[str, object] = {"valid": {}, "clusters": {"alpha": VIEW}, **over}
    world = World(runs=runs or (run(),), jobs=jobs, **facts)  # type: ignore[arg-type] # by name
    wanted = [effect for effect in decide(world, now) if isinstance(effect, AddReplica | Cancel)]
    return [e if isinstance(e, AddReplica) else (e.token, e.why) for e in wanted]


ONE = there(0)
BUSY = (ONE, measuring(ONE, 0))
WAITING = client(repeat=1)
FAILED = there(1, state=JobState.FAILED, why="EXITED", readiness=Readiness.UNKNOWN, endpoint=None)
QUEUED = service(scale=SCALE, replica=1, state=JobState.PENDING, slurm_id="9", tries=1)
ANOTHER = (there(1), measuring(there(1), 2))
ADDED = [AddReplica(ONE.token, 1)]
ENDING = there(2, cancel_requested_at=T0, cancel_why=CancelWhy.DONE)


@pytest.mark.parametrize(
    ("jobs", "waited", "expected"),
    [
        ((*BUSY, WAITING), 30.0, ADDED),
        ((*BUSY, WAITING), 29.0, []),  # not for long enough
        (BUSY, 900.0, []),  # nothing waits
        ((ONE, WAITING), 900.0, []),  # it starts now
        ((*BUSY, WAITING, QUEUED), 900.0, []),  # one is on its way
        ((*BUSY, WAITING, FAILED), 900.0, []),  # the next one would fail like it
        ((*BUSY, *ANOTHER, WAITING), 30.0, [AddReplica(ONE.token, 2)]),
        ((*BUSY, *ANOTHER, there(2), measuring(there(2), 3), WAITING), 900.0, []),  # max
        # it is in Slurm until it is gone
        ((*BUSY, *ANOTHER, ENDING, WAITING), 900.0, [(ENDING.token, CancelWhy.DONE)]),
        ((*BUSY, replace(WAITING, not_before=T0 + 1e5)), 900.0, []),  # it pauses anyhow
        ((*BUSY, client(targets=(Target(name="web", point=0),), repeat=1)), 900.0, []),
    ],
)
def test_a_replica_is_added_when_measurements_wait_for_one(
    jobs: tuple[Job, ...], waited: float, expected: list[object]
) -> None:
    """One more when the queue stood for long enough, none is on its way, and there may be more."""
    assert expected == scaled(*jobs, now=READY_AT + waited)


def test_what_another_run_waits_for_adds_replicas_too() -> None:
    """A client of a recipe without the service counts, from the moment at which it was dropped."""
    outer = client(run_id="zzzzzzzzzz", targets=(Target(name="redis"),), created_at=T0 + 500.0)
    runs = (run(), run(id="zzzzzzzzzz", recipe_path="b.yaml"))
    assert [] == scaled(*BUSY, outer, now=T0 + 529.0, runs=runs)
    assert ADDED == scaled(*BUSY, outer, now=T0 + 530.0, runs=runs)


def test_a_draining_daemon_adds_nothing() -> None:
    """Whoever drains wants less work in Slurm, not more."""
    assert [] == scaled(*BUSY, WAITING, now=T0 + 900.0, draining=True)


def test_a_service_that_answers_slowly_gets_company() -> None:
    """With scale_latency, a health check that is slow for scale_up_after adds a replica."""
    scale = SCALE.model_copy(update={"scale_latency": 0.5})
    slow = there(0, scale=scale, concurrent=True)
    jobs = (slow, measuring(slow, 0))
    assert [] == scaled(*jobs, now=T0 + 900.0)
    assert [] == scaled(*jobs, now=T0 + 900.0, slow={slow.token: T0 + 880.0})
    added = [AddReplica(slow.token, 1)]
    assert added == scaled(*jobs, now=T0 + 900.0, slow={slow.token: T0 + 800.0})


EXTRA = there(1, created_at=T0)
ENDED = [(EXTRA.token, CancelWhy.DONE)]
OVER = replace(
    measuring(EXTRA, 3), state=JobState.COMPLETED, ended_at=T0 + 500.0, collected_at=T0 + 501.0
)


@pytest.mark.parametrize(
    ("jobs", "now", "expected"),
    [
        ((*BUSY, EXTRA), READY_AT + 300.0, ENDED),
        ((*BUSY, EXTRA), READY_AT + 299.0, []),
        ((*BUSY, EXTRA, OVER), T0 + 799.0, []),  # it was in a measurement until 500
        ((*BUSY, EXTRA, OVER), T0 + 800.0, ENDED),
        ((*BUSY, EXTRA, measuring(EXTRA, 3)), T0 + 900.0, []),
        ((ONE, EXTRA, measuring(EXTRA, 3)), T0 + 900.0, []),  # the first one stays
        ((*BUSY, QUEUED), T0 + 300.0, [(QUEUED.token, CancelWhy.DONE)]),
        ((*BUSY, EXTRA, WAITING), T0 + 900.0, []),
    ],
)
def test_an_idle_replica_is_ended(
    jobs: tuple[Job, ...], now: float, expected: list[object]
) -> None:
    """What was added ends when it had nothing to do for long enough; the first min stay."""
    assert expected == scaled(*jobs, now=now)


def test_a_replica_that_ended_again_costs_no_measurement() -> None:
    """A client goes on waiting for the replicas that are left, and takes the first free one."""
    gone = there(
        1,
        state=JobState.CANCELLED,
        cancel_why=CancelWhy.DONE,
        cancel_requested_at=T0,
        endpoint=None,
    )
    world = World(runs=(run(),), jobs=(ONE, gone, WAITING), valid={}, clusters={"alpha": VIEW})
    (sent,) = [effect for effect in decide(world, T0 + 20.0) if isinstance(effect, Submit)]
    assert (WAITING.token, [ONE.token]) == (sent.token, [b.token for b in sent.bindings])


FREE = "it starts when one of them is free, or has ended"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), "another one is added when it has waited 30s"),
        ((QUEUED,), "replica 1 is on its way (PENDING)"),
        ((*ANOTHER, there(2), measuring(there(2), 3)), FREE),
    ],
)
def test_a_measurement_is_told_what_it_waits_for(more: tuple[Job, ...], expected: str) -> None:
    """`why` says whether a replica is to come, or which one is."""
    world = World(runs=(run(),), jobs=(*BUSY, WAITING, *more), valid={}, clusters={"alpha": VIEW})
    said = waiting_for(WAITING, world, T0 + 20.0)
    assert f"its service is busy with another measurement; {expected}" == said
