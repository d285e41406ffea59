"""Which measurement's turn it is: services made for one measurement, and the stop after a failure.

Pure. A service that is ``fresh`` for each measurement takes its place on the cluster only when the
measurement before it is over. All of them at once would fill the cluster and leave no room for the
clients; and one beside the measured one would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchd.core.model import CancelWhy, Job, JobState, Run
from benchd.core.policy import End, is_followed
from benchd.core.spec import Role
from benchd.core.view import Index, ended_well


def turns(index: Index) -> Mapping[str, Job]:
    """Return, by run, the first service made for one measurement that is not over."""
    first: dict[str, Job] = {}
    for run in index.world.runs:
        for job in index.slots[run.id]:
            if not _is_single(job) or (job.is_terminal and not is_followed(job, index)):
                continue
            if run.id not in first or _turn(job) < _turn(first[run.id]):
                first[run.id] = job
    return first


def before(job: Job, turn: Mapping[str, Job]) -> Job | None:
    """Return the service that must be over before this one is submitted, or None."""
    first = turn.get(job.run_id)
    if first is None or not _is_single(job) or _turn(job) <= _turn(first):
        return None
    return first


def _is_single(job: Job) -> bool:
    return job.role is Role.SERVICE and job.spec.fresh == "measurement"


def _turn(job: Job) -> tuple[int, int]:
    return job.repeat, job.point


def stop(run: Run, index: Index) -> End | None:
    """Return the end of every other measurement of a run that is to stop at its first failure.

    What failed before a human tried the run again has been taken note of.
    """
    for job in index.slots[run.id]:
        if job.role is Role.CLIENT and job.spec.stop_on_failure and _failed_now(job, run, index):
            how = f"{job.state} {job.why or ''}".strip()
            if job.state is JobState.COMPLETED:
                how = "without a valid result"
            which = f"{job.name} of point {job.point}, repeat {job.repeat} ended {how}"
            what = f"stop_on_failure: {which}, so nothing more is measured"
            return End(CancelWhy.LIMIT, what)
    return None


def _failed_now(job: Job, run: Run, index: Index) -> bool:
    """Tell whether a measurement is beyond hope since the run was begun, or begun again."""
    if not job.is_terminal or is_followed(job, index):
        return False
    if job.cancel_why in (CancelWhy.ASKED, CancelWhy.LIMIT):
        return False
    at = job.collected_at or job.ended_at or job.created_at
    if run.reopened_at is not None and at < run.reopened_at:
        return False
    if not ended_well(job):
        return True
    return job.collected_at is not None and not index.world.valid.get(job.token, True)
