"""What the rows of a poll mean for a job: which row speaks for it, and which events follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.model import (
    Accepted,
    CancelWhy,
    Evidence,
    Expired,
    Job,
    JobState,
    Observation,
    Refused,
    Trigger,
    Unknown,
)
from benchd.core.news import chosen, events_of, submission_event
from benchd.core.spec import RestartPolicy
from support.builders import client

NOTHING = Evidence(source="sbatch", exit_status=0, raw="")


def row(slurm_id: str, word: str = "RUNNING", **over: object) -> Observation:
    """Return one row of squeue about our job."""
    return Observation(token=client().token, slurm_id=slurm_id, word=word, **over)


def submitted(slurm_id: str | None = "7") -> Job:
    """Return a job that Slurm accepted under this id."""
    state = JobState.CREATED if slurm_id is None else JobState.SUBMITTED
    return replace(client(), state=state, slurm_id=slurm_id, tries=1, attempted_at=1.0)


@pytest.mark.parametrize(
    ("answer", "trigger"),
    [
        (Accepted(slurm_id="7", evidence=NOTHING), Trigger.SUBMIT_ACCEPTED),
        (Refused(why="no", final=True, evidence=NOTHING), Trigger.SUBMIT_REFUSED),
        (Expired(evidence=NOTHING), Trigger.TRY_EXPIRED),
    ],
)
def test_an_answer_that_says_something_is_an_event(answer: object, trigger: Trigger) -> None:
    """Accepted, refused and expired tries each have their trigger."""
    event = submission_event(answer)
    assert event is not None
    assert trigger == event.trigger


def test_an_unknown_outcome_is_no_event() -> None:
    """Not knowing is not failing."""
    assert submission_event(Unknown(evidence=NOTHING)) is None


def test_a_job_that_was_never_answered_is_found_by_its_name() -> None:
    """The row both records the id and says the state."""
    job, seen = submitted(None), row("7")
    events = events_of(job, seen, None)
    expected = [Trigger.SUBMIT_ACCEPTED, Trigger.SEEN_RUNNING]
    assert (seen, expected) == (chosen(job, [seen], None), [e.trigger for e in events])
    assert events[0].slurm_id == "7"


def test_the_holder_of_the_claim_speaks_for_the_job() -> None:
    """Of twins the one whose claim stands is followed, whatever id we knew."""
    twins = [row("7", "FAILED", exit_code=75), row("8")]
    job = submitted("7")
    kept = chosen(job, twins, "8")
    assert twins[1] == kept
    assert [Trigger.SEEN_TWIN, Trigger.SEEN_RUNNING] == [
        e.trigger for e in events_of(job, twins[1], "8")
    ]


def test_a_twin_that_lost_the_claim_does_not_fail_the_job() -> None:
    """Its exit 75 says who to follow, not how the job ended."""
    events = events_of(submitted("7"), row("7", "FAILED", exit_code=75), "8")
    assert [(Trigger.SEEN_TWIN, "8")] == [(e.trigger, e.slurm_id) for e in events]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (row("7", "FAILED", exit_code=75), (Trigger.SEEN_FAILED, "NEVER_STARTED")),
        (row("7", "CANCELLED", by="1"), (Trigger.SEEN_CANCELLED, None)),
        (row("7", "NODE_FAIL"), (Trigger.SEEN_FAILED, None)),
        (row("7", "COMPLETED"), (Trigger.SEEN_COMPLETED, None)),
    ],
)
def test_a_job_that_comes_late_and_finds_its_claim_sealed_never_started(
    seen: Observation, expected: tuple[Trigger, str | None]
) -> None:
    """Its exit 75 is benchd's doing and no failure of the program; what Slurm names stays so."""
    assert [expected] == [(e.trigger, e.why) for e in events_of(submitted("7"), seen, "sealed")]


def test_a_row_with_a_foreign_id_says_nothing() -> None:
    """Slurm uses ids again: only our id or the claim counts once an id is known."""
    assert chosen(submitted("7"), [row("9")], None) is None


def test_without_an_id_the_oldest_row_is_taken() -> None:
    """Ids are compared as numbers, not as text."""
    rows = [row("100"), row("99")]
    assert rows[1] == chosen(submitted(None), rows, None)


@pytest.mark.parametrize(("exit_code", "signal"), [(78, None), (0, 53)])
def test_a_job_that_could_not_see_its_directory_is_named_so(
    exit_code: int, signal: int | None
) -> None:
    """Without a claim, 78 and 0:53 mean that the workdir is not visible on the node."""
    failed = row("7", "FAILED", exit_code=exit_code, signal=signal)
    assert ["WORKDIR_NOT_VISIBLE"] == [e.why for e in events_of(submitted("7"), failed, None)]
    assert [None] == [e.why for e in events_of(submitted("7"), failed, "7")]


def test_a_preempted_job_that_is_to_be_requeued_is_held_open_only_for_a_while() -> None:
    """Slurm may bring it back; when it does not, or nobody wants it any more, it has failed."""
    job = submitted("7")
    spec = job.spec.model_copy(update={"restart": RestartPolicy(requeue=True)})
    job = replace(job, spec=spec)
    gone = row("7", "PREEMPTED", ended_at=1000.0)
    assert [] == events_of(job, gone, None, 1001.0)
    assert [Trigger.SEEN_FAILED] == [e.trigger for e in events_of(job, gone, None, 100_000.0)]
    unwanted = replace(job, cancel_requested_at=1000.5, cancel_why=CancelWhy.ASKED)
    assert [Trigger.SEEN_FAILED] == [e.trigger for e in events_of(unwanted, gone, None, 1001.0)]


@pytest.mark.parametrize(
    ("seen", "unclaimed", "why"),
    [
        ({"exit_code": 1, "started_at": 5.0, "ended_at": 5.0}, True, "LAUNCH_FAILED"),
        ({"exit_code": 1, "started_at": 5.0, "ended_at": 5.0}, False, None),
        ({"exit_code": 1, "started_at": 5.0, "ended_at": 9.0}, True, None),
        ({"exit_code": 1}, True, None),
        ({"exit_code": 7, "reason": "JobLaunchFailure"}, False, "LAUNCH_FAILED"),
        ({"exit_code": 0, "signal": 53, "reason": "JobLaunchFailure"}, True, "WORKDIR_NOT_VISIBLE"),
    ],
)
def test_a_job_that_its_node_could_not_start_is_told_from_one_that_failed(
    seen: dict[str, object], unclaimed: bool, why: str | None
) -> None:
    """Both are FAILED for Slurm; only one of them has begun its work, in the job's directory."""
    failed = row("7", "FAILED", **seen)
    (event,) = events_of(submitted("7"), failed, None, unclaimed=unclaimed)
    assert why == event.why


@pytest.mark.parametrize(
    ("seen", "unclaimed", "expected"),
    [
        ({"signal": 54}, False, (Trigger.SEEN_FAILED, "LAUNCH_FAILED")),
        ({"started_at": 5.0, "ended_at": 5.0}, True, (Trigger.SEEN_FAILED, "LAUNCH_FAILED")),
        ({"started_at": 5.0, "ended_at": 5.0}, False, (Trigger.SEEN_CANCELLED, None)),
        ({"started_at": 5.0, "ended_at": 65.0}, True, (Trigger.SEEN_CANCELLED, None)),
        ({"started_at": 5.0, "ended_at": 5.0, "by": "1"}, True, (Trigger.SEEN_CANCELLED, None)),
        ({"started_at": 5.0, "ended_at": 5.0, "nodes": ""}, True, (Trigger.SEEN_CANCELLED, None)),
    ],
)
def test_a_failed_prolog_is_not_taken_for_a_cancellation(
    seen: dict[str, object], unclaimed: bool, expected: tuple[Trigger, str | None]
) -> None:
    """Slurm cancels what a node's prolog would not let begin; nobody asked it to."""
    cancelled = row("7", "CANCELLED", **{"nodes": "n1", "exit_code": 0, **seen})
    (event,) = events_of(submitted("7"), cancelled, None, unclaimed=unclaimed)
    assert expected == (event.trigger, event.why)


@pytest.mark.parametrize(
    ("seconds", "claim", "wanted", "why"),
    [
        (119.0, None, False, []),  # a login node may believe for a while that there is no claim
        (121.0, None, False, ["LAUNCH_FAILED"]),
        (1.0, "7", False, [None]),  # it worked, and failed
        (1.0, None, True, ["LAUNCH_FAILED"]),  # nobody waits for what is to end anyway
        (-9999.0, None, False, ["LAUNCH_FAILED"]),  # Slurm's clock is of no use
    ],
)
@pytest.mark.parametrize("word", ["FAILED", "CANCELLED"])
def test_that_a_job_made_no_claim_is_believed_when_it_would_be_seen(
    word: str, seconds: float, claim: str | None, *, wanted: bool, why: list[str | None]
) -> None:
    """A job that failed in its first second may have claimed its work all the same."""
    at = 1000.0
    ended = row("7", word, nodes="n1", exit_code=1, started_at=at, ended_at=at)
    asked = {"cancel_requested_at": at, "cancel_why": CancelWhy.ASKED} if wanted else {}
    job = replace(submitted("7"), **asked)
    events = events_of(job, ended, claim, at + seconds, unclaimed=claim is None, lag=120.0)
    assert why == [event.why for event in events]


@pytest.mark.parametrize(
    "seen",
    [{"word": "FAILED", "reason": "JobLaunchFailure"}, {"word": "CANCELLED", "signal": 54}],
)
def test_a_failed_launch_that_slurm_names_is_believed_at_once(seen: dict[str, object]) -> None:
    """Nothing that a node may have written later says otherwise."""
    ended = row("7", **{"nodes": "n1", "exit_code": 1, "started_at": 9.0, "ended_at": 9.0, **seen})
    events = events_of(submitted("7"), ended, None, 10.0, unclaimed=True, lag=120.0)
    assert ["LAUNCH_FAILED"] == [event.why for event in events]


def test_a_refusal_for_a_quota_names_the_limit() -> None:
    """What the user's other jobs have used up stands in the job's reason."""
    refused = Refused(why="no", final=False, evidence=Evidence(), reason="AssocMaxSubmitJobLimit")
    event = submission_event(refused)
    assert event is not None
    assert (Trigger.SUBMIT_REFUSED, "AssocMaxSubmitJobLimit") == (event.trigger, event.reason)


@pytest.mark.parametrize(
    ("attempts", "seen", "trigger"),
    [
        (2, {"word": "PENDING", "reason": "launch failed requeued held"}, Trigger.SEEN_FAILED),
        (2, {"word": "LAUNCH_FAILED"}, Trigger.SEEN_FAILED),
        (1, {"word": "PENDING", "reason": "launch failed requeued held"}, Trigger.SEEN_PENDING),
        (2, {"word": "PENDING", "reason": "JobHeldUser"}, Trigger.SEEN_PENDING),
        (2, {"word": "RUNNING", "reason": "launch failed requeued held"}, Trigger.SEEN_RUNNING),
    ],
)
def test_a_job_that_is_held_after_its_launch_failed_is_given_up_for_another_attempt(
    attempts: int, seen: dict[str, str], trigger: Trigger
) -> None:
    """It would never start by itself; where no attempt follows, a human may still release it."""
    job = replace(submitted("7"), spec=client(restart=RestartPolicy(max_attempts=attempts)).spec)
    (event,) = events_of(job, row("7", **seen), None)
    why = "LAUNCH_FAILED" if trigger is Trigger.SEEN_FAILED else None
    assert (trigger, why) == (event.trigger, event.why)
