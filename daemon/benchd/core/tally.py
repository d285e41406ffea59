"""What people are told about jobs: how many measured, which attempt counts, how one ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from benchd.core.model import Job, JobState
from benchd.core.spec import Role
from benchd.core.view import Slot, slot_of


def how_it_ended(job: Job) -> str:
    """Return the signal or the exit status of a job in words; empty when there is none."""
    if job.signal:
        return f"killed by signal {job.signal}"
    if not job.exit_code:
        return ""
    meaning = {126: ": the command cannot be run", 127: ": the command was not found"}
    return f"exit status {job.exit_code}{meaning.get(job.exit_code, '')}"


def cause(job: Job) -> str:
    """Return why a job ended as it did: our sentence, else Slurm's word and the exit status."""
    word = job.why if job.why != job.state else ""
    ended = job.detail or how_it_ended(job)
    return ": ".join(part for part in (word, ended) if part) or str(job.state).lower()


def progress(clients: Iterable[Job]) -> tuple[int, int]:
    """Return how many measurements were made, and how many there are to make.

    What failed or was cancelled is over, but it measured nothing.
    """
    states = [job.state for job in clients if job.role is Role.CLIENT]
    return states.count(JobState.COMPLETED), len(states)


def latest_attempts(jobs: Iterable[Job]) -> list[Job]:
    """Return the newest attempt of everything the recipe wants, in the order of the rows."""
    newest: dict[Slot, Job] = {}
    for job in jobs:
        slot = slot_of(job)
        if slot not in newest or newest[slot].attempt < job.attempt:
            newest[slot] = job
    return list(newest.values())
