"""The life of a job as spans of time."""

from __future__ import annotations

from benchd.core.model import Job, JobState, Transition
from benchd.core.spans import spans
from support.builders import CREATED_AT, client, service


def moves(*rows: tuple[float, str, str]) -> list[Transition]:
    return [
        Transition(token="t", at=CREATED_AT + at, trigger="t", old=old, new=new)
        for at, old, new in rows
    ]


def told(job: Job, *rows: tuple[float, str, str], now: float = 100.0) -> list[tuple[str, float]]:
    """Return each phase with the second in which it ends."""
    return [(str(s.phase), s.end - CREATED_AT) for s in spans(job, moves(*rows), CREATED_AT + now)]


def test_a_service_goes_through_its_phases() -> None:
    """Creation, queue, start, health and end of a service follow each other without gaps."""
    job = service(state=JobState.CANCELLED, started_at=CREATED_AT + 20, ended_at=CREATED_AT + 90)
    assert told(
        job,
        (5, "CREATED", "SUBMITTED"),
        (8, "SUBMITTED", "PENDING"),
        (25, "PENDING", "RUNNING"),
        (40, "STARTING", "READY"),
        (60, "READY", "UNREADY"),
        (70, "UNREADY", "READY"),
        (95, "RUNNING", "CANCELLED"),
    ) == [
        ("waiting", 5),
        ("queued", 20),
        ("starting", 40),
        ("ready", 60),
        ("unready", 70),
        ("ready", 90),
    ]


def test_a_job_that_no_poll_saw_running_did_run() -> None:
    """Between two polls a job may run and end; Slurm's own times still show it."""
    job = client(state=JobState.COMPLETED, started_at=CREATED_AT + 10, ended_at=CREATED_AT + 14)
    assert told(job, (5, "CREATED", "SUBMITTED"), (30, "SUBMITTED", "COMPLETED")) == [
        ("waiting", 5),
        ("queued", 10),
        ("running", 14),
    ]


def test_a_requeue_goes_back_to_the_queue() -> None:
    """A job that Slurm put back runs twice, with a queue between."""
    job = client(state=JobState.RUNNING, started_at=CREATED_AT + 60)
    assert told(
        job,
        (5, "CREATED", "SUBMITTED"),
        (10, "SUBMITTED", "RUNNING"),
        (30, "RUNNING", "PENDING"),
        (61, "PENDING", "RUNNING"),
    ) == [("waiting", 5), ("queued", 10), ("running", 30), ("queued", 61), ("running", 100)]


def test_a_job_that_was_never_sent_only_waited() -> None:
    """A job cancelled before its submission has one span."""
    job = client(state=JobState.CANCELLED, ended_at=CREATED_AT + 7)
    assert told(job, (7, "CREATED", "CANCELLED")) == [("waiting", 7)]
