"""Policies: when a job is given up, when it is tried again, how a run ended. Pure.

Each function is named for its answer.
"""

from __future__ import annotations

from benchd.core.model import CancelWhy, Job, JobState, Readiness, Run, RunOutcome
from benchd.core.readiness import is_given_up, is_unhealthy
from benchd.core.slurm import ReasonClass, reason_class
from benchd.core.spec import Role
from benchd.core.view import Index, ended_well

# How often a client may be tried again because its *service* failed it, beyond its own attempts.
# Bounds a service that flaps for ever.
SIBLING_RETRIES = 5
# Seconds a reason that "can never start" must stand before the job is given up: some of them
# (PartitionNodeLimit, BadConstraints) also show for a moment while nodes are down.
HOPELESS_AFTER = 120.0
# Words after which the same job would end the same way, or that a human caused on purpose.
NEVER_RETRIED = frozenset(
    {
        "REFUSED",
        "CANCELLED_BY_OTHER",
        "HOPELESS",
        "LIMIT",
        "LOST",
        "WORKDIR_NOT_VISIBLE",
        "DEADLINE",
    }
)


def cancel_reason(run: Run, job: Job, index: Index) -> CancelWhy | None:
    """Return why this job should end before its time, or None."""
    now, limits = index.now, run.limits
    if run.cancel_requested_at is not None:
        return CancelWhy.ASKED
    if limits.run is not None and now - (run.reopened_at or run.created_at) > limits.run:
        return CancelWhy.LIMIT
    if job.state in (JobState.SUBMITTED, JobState.PENDING) and job.submitted_at is not None:
        if limits.pending is not None and has_passed(job, job.submitted_at + limits.pending, index):
            return CancelWhy.LIMIT
        if is_hopeless(job) and has_passed(job, job.submitted_at + HOPELESS_AFTER, index):
            return CancelWhy.HOPELESS
    if job.role is Role.SERVICE:
        return service_fault(job, limits.ready, index)
    return CancelWhy.SIBLING if has_lost_its_service(job, index) else None


def is_hopeless(job: Job) -> bool:
    """Tell whether Slurm's reason says that this job can never start as it is written."""
    return job.reason is not None and reason_class(job.reason).cls is ReasonClass.NEVER


def has_passed(job: Job, deadline: float, index: Index) -> bool:
    """Tell whether a deadline passed and Slurm was heard after it.

    While we could not look, a job may have moved on: our own blindness is no fault of it.
    """
    view = index.world.clusters.get(job.cluster)
    heard_at = view.last_poll_at if view is not None else None
    return heard_at is not None and min(heard_at, index.now) > deadline


def service_fault(job: Job, ready_limit: float | None, index: Index) -> CancelWhy | None:
    """Return the fault of a service that does not answer in time, or no longer."""
    since = job.readiness_since
    if is_given_up(job):
        return CancelWhy.NOT_READY
    starting = job.readiness is Readiness.STARTING and job.probe_streak < 0
    if (
        starting
        and ready_limit is not None
        and has_passed(job, (since or 0.0) + ready_limit, index)
    ):
        return CancelWhy.NOT_READY
    return CancelWhy.UNHEALTHY if is_unhealthy(job) else None


def has_lost_its_service(job: Job, index: Index) -> bool:
    """Tell whether what this client measures, or was to measure, is gone."""
    if job.bindings:
        return any(
            service is None
            or service.readiness is not Readiness.READY
            or service.generation != binding.generation
            for binding in job.bindings
            for service in (index.rows.get(binding.token),)
        )
    return any(is_gone(service) for service in own_services(job, index))


def own_services(job: Job, index: Index) -> list[Job]:
    """Return the services of the same run that a client targets, latest attempts."""
    return [
        service
        for target in job.spec.targets
        if target.point is not None
        for service in index.services[job.run_id, target.name, target.point]
    ]


def is_gone(job: Job) -> bool:
    """Tell whether a slot is over, well or badly, and will not be tried again by its own policy."""
    return job.is_terminal and not is_retried(job)


def is_beyond_hope(job: Job) -> bool:
    """Tell whether a slot ended badly and will not be tried again by its own policy."""
    return is_gone(job) and not ended_well(job)


def is_retried(job: Job) -> bool:
    """Tell whether this ended row is followed by another attempt, by its own policy."""
    if job.state is not JobState.FAILED or job.why in NEVER_RETRIED:
        return False
    policy = job.spec.restart
    return policy.policy == "on-failure" and job.attempt < policy.max_attempts


def is_followed(job: Job, index: Index) -> bool:
    """Tell whether another attempt of this ended row is to come: its own, or after its service."""
    run = index.runs.get(job.run_id)
    if run is None or run.cancel_requested_at is not None or not job.is_terminal:
        return False
    if is_retried(job):
        return True
    return (
        fell_with_its_service(job, index)
        and job.attempt < job.spec.restart.max_attempts + SIBLING_RETRIES
        and not any(is_gone(service) for service in own_services(job, index))
    )


def fell_with_its_service(job: Job, index: Index) -> bool:
    """Tell whether a client ended because of its service.

    Either we ended it for that reason, or it failed by itself before we could, because what it
    measured had died or restarted under it.
    """
    if job.role is not Role.CLIENT:
        return False
    if job.cancel_why is CancelWhy.SIBLING:  # whatever it managed to end as
        return True
    return job.state is JobState.FAILED and any(
        service is not None
        and (service.generation != binding.generation or service.state is JobState.FAILED)
        for binding in job.bindings
        for service in (index.rows.get(binding.token),)
    )


def verdict(run: Run, slots: list[Job], index: Index) -> tuple[RunOutcome, str | None]:
    """Return how a run whose slots are all over ended, and the sentence that says why."""
    if run.cancel_requested_at is not None:
        return RunOutcome.CANCELLED, "cancelled on request"
    clients = [j for j in slots if j.role is Role.CLIENT]
    if not clients:
        bad = [j for j in slots if not (ended_well(j) or was_put_down(j))]
    else:
        bad = [j for j in clients if j.state is not JobState.COMPLETED]
        bad = [j for j in slots if bad and j.role is Role.SERVICE and is_beyond_hope(j)] or bad
    stopped = [j for j in bad if j.cancel_why is CancelWhy.ASKED]
    if stopped:
        return RunOutcome.CANCELLED, f"{stopped[0].role} {stopped[0].name} cancelled on request"
    if bad:
        return RunOutcome.FAILED, blame(bad)
    invalid = [j for j in clients if not index.world.valid.get(j.token, False)]
    if invalid:
        return RunOutcome.INVALID, f"{len(invalid)} of {len(clients)} results are not valid"
    return RunOutcome.PASSED, None


def was_put_down(job: Job) -> bool:
    """Tell whether a service that had answered was ended by its user: the end it was made for."""
    return job.cancel_why is CancelWhy.ASKED and job.ready_at is not None


def blame(jobs: list[Job]) -> str:
    """Return one sentence about the first of the jobs that spoilt a run."""
    first = jobs[0]
    others = f" (and {len(jobs) - 1} more)" if len(jobs) > 1 else ""
    detail = f": {first.detail}" if first.detail else ""
    why = first.why if first.why != first.state else f"exit {first.exit_code}"
    words = [first.role, first.name, str(first.state), why or ""]
    return " ".join(w for w in words if w) + detail + others
