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
from benchd.core.slurm import event as event_of


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
    job: Job, row: Observation, claim: str | None, now: float | None = None
) -> list[Event]:
    """Return what one row means for a job: found by name, another holder, and its state."""
    events: list[Event] = []
    wanted = job.cancel_requested_at is not None
    said = event_of(row, requeue=job.spec.restart.requeue, now=now, wanted=wanted)
    source = said or Event(trigger=Trigger.SEEN_PENDING, evidence=row.evidence)
    if job.state is JobState.CREATED:  # its submission was never answered
        events.append(_accepted(row.slurm_id, source))
    elif job.slurm_id != row.slurm_id:
        events.append(
            Event(trigger=Trigger.SEEN_TWIN, slurm_id=row.slurm_id, evidence=row.evidence)
        )
    if claim is not None and claim not in (row.slurm_id, "sealed"):
        events.append(Event(trigger=Trigger.SEEN_TWIN, slurm_id=claim, evidence=row.evidence))
    elif said is not None:
        events.append(
            replace(said, why="WORKDIR_NOT_VISIBLE") if _saw_no_workdir(row, claim) else said
        )
    return events


def _saw_no_workdir(row: Observation, claim: str | None) -> bool:
    """Tell whether the job could not see its directory: the script's 78, or Slurm's own 0:53."""
    return claim is None and (row.exit_code == 78 or (row.exit_code == 0 and row.signal == 53))


def _accepted(slurm_id: str, event: Event) -> Event:
    """Return the event that says: this job was found in Slurm by its name."""
    return Event(trigger=Trigger.SUBMIT_ACCEPTED, slurm_id=slurm_id, evidence=event.evidence)
