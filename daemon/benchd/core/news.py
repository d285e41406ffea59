"""What a cluster's answers mean for a job: which row speaks for it, which events follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchd.core.model import (
    Accepted,
    Event,
    Expired,
    Job,
    JobState,
    Observation,
    Refused,
    Submission,
    Trigger,
    Unknown,
)
from benchd.core.restart import is_retried
from benchd.core.slurm import event as event_of
from benchd.core.slurm_reasons import is_launch_failure

# Seconds from start to end of a job that was never launched: Slurm's times are whole seconds.
AT_ONCE = 1.0
# The signal with which Slurm from 24.11 on reports that a node's prolog failed (0:54).
PROLOG_FAILED = 54
# What Slurm says of jobs that it does not hold, whatever reason still stands beside them.
_OVER = frozenset({"RUNNING", "COMPLETED", "CANCELLED", "FAILED"})
# Our word for a job that its node could not start.
LAUNCH_FAILED = "LAUNCH_FAILED"
# Our word for a job that was lost before it began, and the claim by which it never can.
NEVER_STARTED = "NEVER_STARTED"
SEALED = "sealed"


def submission_event(answer: Submission) -> Event | None:
    """Return the event of a submission's answer; None while nothing is known."""
    match answer:
        case Accepted():
            return Event(
                trigger=Trigger.SUBMIT_ACCEPTED,
                slurm_id=answer.slurm_id,
                evidence=answer.evidence,
            )
        case Refused():
            return Event(
                trigger=Trigger.SUBMIT_REFUSED,
                why=answer.why,
                final=answer.final,
                reason=answer.reason,
                evidence=answer.evidence,
            )
        case Expired():
            return Event(trigger=Trigger.TRY_EXPIRED, evidence=answer.evidence)
        case Unknown():
            return None


def chosen(job: Job, rows: Sequence[Observation], claim: str | None) -> Observation | None:
    """Return the row that speaks for the job: the claim's holder, else its own id, else the first.

    A row with another id than ours and without the claim says nothing about the job.
    """
    by_id = {row.slurm_id: row for row in rows}
    for slurm_id in (claim, job.slurm_id):
        if slurm_id is not None and slurm_id in by_id:
            return by_id[slurm_id]
    if job.slurm_id is None and rows:
        return min(rows, key=lambda row: (len(row.slurm_id), row.slurm_id))
    return None


def events_of(
    job: Job,
    row: Observation,
    claim: str | None,
    now: float | None = None,
    *,
    unclaimed: bool = False,
    lag: float = 0.0,
) -> list[Event]:
    """Return what one row means for a job: found by name, another holder, and its state.

    ``unclaimed``: the job's directory was read, and its script never began to work there, unless
    that was less than ``lag`` seconds ago: what a node wrote may be seen so much later.
    """
    events: list[Event] = []
    wanted = job.cancel_requested_at is not None
    said = event_of(row, requeue=job.spec.restart.requeue, now=now, wanted=wanted)
    only_unclaimed = unclaimed and failed_at_once(row) and _why(row, claim, unclaimed=False) is None
    if only_unclaimed and not wanted and now is not None and _ended_within(row, now, lag):
        said = None  # a claim may yet be seen, and then it failed by itself
    source = said or Event(trigger=Trigger.SEEN_PENDING, evidence=row.evidence)
    if job.state is JobState.CREATED:  # its submission was never answered
        events.append(_accepted(row.slurm_id, source))
    elif job.slurm_id != row.slurm_id:
        events.append(
            Event(trigger=Trigger.SEEN_TWIN, slurm_id=row.slurm_id, evidence=row.evidence)
        )
    if claim is not None and claim not in (row.slurm_id, SEALED):
        events.append(Event(trigger=Trigger.SEEN_TWIN, slurm_id=claim, evidence=row.evidence))
    elif said is not None:
        why = _why(row, claim, unclaimed=unclaimed)
        if why is None and is_better_elsewhere(job, row):
            why = LAUNCH_FAILED
        if why == LAUNCH_FAILED:  # nobody cancelled it, whatever Slurm calls it
            said = replace(said, trigger=Trigger.SEEN_FAILED)
        events.append(replace(said, why=why))
    return events


def _why(row: Observation, claim: str | None, *, unclaimed: bool) -> str | None:
    """Return our word for what Slurm calls FAILED only; None when Slurm's word says enough."""
    if _saw_no_workdir(row, claim):
        return "WORKDIR_NOT_VISIBLE"
    launched = row.word != "FAILED" or row.reason != "JobLaunchFailure"
    if row.word == "CANCELLED" and row.signal == PROLOG_FAILED:
        return LAUNCH_FAILED
    if not launched or (unclaimed and failed_at_once(row)):
        return LAUNCH_FAILED
    # It was sealed as lost, and comes all the same: its script found that and gave up.
    return NEVER_STARTED if claim == SEALED and row.word == "FAILED" else None


def is_better_elsewhere(job: Job, row: Observation) -> bool:
    """Tell whether Slurm holds a job whose launch failed, while the recipe allows another attempt.

    What is held never starts by itself. So it is given up here, and ended in Slurm by its name as
    everything is that is over in the books.
    """
    held = is_launch_failure(row.reason) or row.word in {"LAUNCH_FAILED", "GETENV_FAILED"}
    given_up = replace(job, state=JobState.FAILED, why=LAUNCH_FAILED)
    return held and row.word not in _OVER and is_retried(given_up)


def failed_at_once(row: Observation) -> bool:
    """Tell whether a job ended in its first second, as it does when its node cannot start it.

    A job whose credential was revoked is FAILED with 1:0, one whose prolog failed is CANCELLED by
    Slurm itself; the script of neither ran.
    """
    by_slurm = row.word == "CANCELLED" and bool(row.nodes) and row.by in (None, "0")
    failed = row.word == "FAILED" and row.exit_code == 1
    if not (failed or by_slurm) or row.started_at is None:
        return False
    return row.ended_at is not None and row.ended_at - row.started_at <= AT_ONCE


def _ended_within(row: Observation, now: float, seconds: float) -> bool:
    # Slurm's clock may be ahead of ours, or far off.
    return row.ended_at is not None and abs(now - row.ended_at) < seconds


def _saw_no_workdir(row: Observation, claim: str | None) -> bool:
    """Tell whether the job could not see its directory: the script's 78, or Slurm's own 0:53."""
    return claim is None and (row.exit_code == 78 or (row.exit_code == 0 and row.signal == 53))


def _accepted(slurm_id: str, event: Event) -> Event:
    """Return the event that says: this job was found in Slurm by its name."""
    return Event(trigger=Trigger.SUBMIT_ACCEPTED, slurm_id=slurm_id, evidence=event.evidence)
