"""What jobs were given and charged: what is learned of it, what is told, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.charges import charged, totals
from benchd.core.lifecycle import Rules, advance
from benchd.core.model import Event, Job, JobState, Trigger, Used
from benchd.fields import Resources
from support.builders import CREATED_AT as T0
from support.builders import client, service

TRES = "billing=4,cpu=4,gres/gpu=2,mem=2G,node=2"
SUBMITTED = client(state=JobState.SUBMITTED, slurm_id="7")
RULES = Rules()


def seen(job: Job, trigger: Trigger, used: Used | None, **fields: object) -> Job:
    """Return a job after a poll has told this of it."""
    event = Event(trigger=trigger, used=used, started_at=T0 + 1, **fields)  # type: ignore[arg-type] # fields of Event
    return advance(job, event, T0 + 9, RULES)


def test_what_slurm_gave_a_job_is_learned_when_it_starts_and_settled_when_it_ends() -> None:
    """While it runs nothing is moved by it: a second word of that would look like a restart."""
    running = seen(SUBMITTED, Trigger.SEEN_RUNNING, Used(tres=TRES))
    assert Used(tres=TRES) == running.used
    assert running == seen(running, Trigger.SEEN_RUNNING, Used(tres="cpu=1"))
    assert running == seen(running, Trigger.SEEN_RUNNING, None)
    over = seen(running, Trigger.SEEN_COMPLETED, Used(energy_j=9, elapsed_s=3))
    assert Used(tres=TRES, energy_j=9, elapsed_s=3) == over.used
    assert Used(tres=TRES) == seen(running, Trigger.SEEN_FAILED, None).used  # by its exit.json


def test_a_span_that_was_requeued_is_not_charged_to_the_next() -> None:
    """Each span has its own; so has a twin that is followed from now on."""
    running = seen(SUBMITTED, Trigger.SEEN_RUNNING, Used(tres=TRES))
    assert None is seen(running, Trigger.SEEN_PENDING, None).used
    again = seen(running, Trigger.SEEN_RUNNING, Used(tres="cpu=1"), generation=1)
    assert Used(tres="cpu=1") == again.used
    assert None is seen(running, Trigger.SEEN_TWIN, None, slurm_id="8").used


OVER = client(state=JobState.COMPLETED, started_at=T0, ended_at=T0 + 90)
ALONE = OVER.spec.model_copy(update={"resources": Resources(exclusive=True)})


@pytest.mark.parametrize(
    ("job", "until", "told"),
    [
        (client(), None, {}),
        (OVER, None, {"elapsed_s": 90.0}),
        (
            replace(OVER, used=Used(tres=TRES)),
            None,
            {"tres": TRES, "elapsed_s": 90.0, "billing": 4.0, "billing_hours": 0.1},
        ),
        (  # it was suspended for a while
            replace(OVER, used=Used(tres="billing=2.5", energy_j=77, elapsed_s=36)),
            None,
            {"tres": "billing=2.5", "elapsed_s": 36.0, "billing": 2.5, "billing_hours": 0.025}
            | {"energy_j": 77, "exclusive": False},
        ),
        (
            replace(OVER, spec=ALONE, used=Used(energy_j=77)),
            None,
            {"elapsed_s": 90.0, "energy_j": 77, "exclusive": True},
        ),
        (
            service(state=JobState.RUNNING, started_at=T0, used=Used(tres="cpu=1")),
            T0 + 30,
            {"tres": "cpu=1", "elapsed_s": 30.0, "running": True},
        ),
        (service(state=JobState.RUNNING, started_at=T0), None, {}),
    ],
)  # fmt: skip
def test_what_is_not_known_of_a_job_is_not_told(
    job: Job, until: float | None, told: dict[str, object]
) -> None:
    """Never as 0; a service that goes on counts up to the end of its client."""
    assert told == charged(job, until)


def test_sums_say_of_how_many_jobs_they_are() -> None:
    """Jobs that never ran count for nothing, and one without GPUs has used none."""
    jobs = [
        replace(OVER, used=Used(tres=TRES, energy_j=1000)),
        replace(OVER, used=Used(tres="cpu=1,node=1")),
        replace(OVER, started_at=None, used=None),
    ]
    part = " (1 of 2 jobs: of the others it is not known)"
    assert {
        "charged.node_hours": "0.075",
        "charged.cpu_hours": "0.125",
        "charged.gpu_hours": "0.05",
        "charged.billing_hours": f"0.1{part}",
        "charged.energy_j": f"1000{part}",
    } == dict(totals(jobs))
    assert {} == dict(totals(jobs[2:]))
