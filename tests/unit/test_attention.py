"""Which waiting jobs are shown to humans, and what is said of them."""

from __future__ import annotations

import pytest

from benchd.core.attention import attention, waiting
from benchd.core.model import Job, JobState, SubState
from support.builders import client, service


def pending(reason: str, **over: object) -> Job:
    """Return a job that Slurm keeps in its queue for this reason."""
    return service(state=JobState.PENDING, slurm_id="7", reason=reason, **over)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (pending("Resources"), None),
        (pending("Priority"), None),
        (pending("QOSMaxJobsPerUserLimit"), None),
        (pending("SomethingNew"), None),
        (pending("JobHeldAdmin"), "held"),
        (pending("launch failed requeued held", substate=SubState.HELD), "held"),
        (pending("BeginTime", substate=SubState.HELD), "held"),
        (pending("PartitionDown"), "infrastructure"),
        (pending("ReqNodeNotAvail, UnavailableNodes:n1"), "infrastructure"),
        (pending("InvalidQOS"), "never"),
        (client(state=JobState.RUNNING, slurm_id="7", reason="JobHeldAdmin"), None),
        (client(reason="PartitionDown"), None),
    ],
)
def test_a_human_is_asked_where_waiting_does_not_help(job: Job, expected: str | None) -> None:
    """What is held, blocked or hopeless is shown; what only waits for its turn is not."""
    shown = attention([job])
    assert ([expected] if expected else []) == [str(item.cls) for item in shown]
    assert all(item.advice and item.token == job.token for item in shown)


def test_the_advice_names_what_was_asked_for() -> None:
    """A partition that is down is called by its name."""
    (item,) = attention([pending("PartitionDown", resources={"partition": "gpu"})])
    assert "the partition gpu is down; wait, or use another partition (`sinfo -s`)" == item.advice


def test_waiting_jobs_are_counted_by_class() -> None:
    """Every pending job is in exactly one class, also those of an unknown reason."""
    jobs = [
        *(pending(reason) for reason in ("Resources", "Priority", "JobHeldUser", "Strange")),
        client(),
    ]
    expected = {("alpha", "wait"): 2, ("alpha", "held"): 1, ("alpha", "unknown"): 1}
    assert expected == dict(waiting(jobs))
