"""Policies: when a job is given up, when it is tried again, how a run ended. Pure.

Each function is named for its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchd.core.images import loss, lost
from benchd.core.matching import (
    ASIDE,
    bindings_of,
    busy_services,
    is_measured_whole,
    services_for,
)
from benchd.core.model import (
    Binding,
    CancelWhy,
    Job,
    JobState,
    Readiness,
    Run,
    RunOutcome,
    SubState,
)
from benchd.core.readiness import is_given_up, is_unhealthy
from benchd.core.restart import is_retried
from benchd.core.slurm import ReasonClass, reason_class
from benchd.core.spec import Role, Target
from benchd.core.view import Index, ended_well, is_sent

# How often a client may be tried again because its *service* failed it, beyond its own attempts.
# Bounds a service that flaps for ever.
SIBLING_RETRIES = 5
# Seconds a reason that "can never start" must stand before the job is given up: some of them
# (PartitionNodeLimit, BadConstraints) also show for a moment while nodes are down.
HOPELESS_AFTER = 120.0
# What limits a job together with others: cluster, account, QOS and partition.
Charged = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class End:
    """Why a job should end before its time, with the value and the limit where there are any."""

    why: CancelWhy
    detail: str = ""


def cancel_reason(run: Run, job: Job, index: Index) -> End | None:
    """Return why this job should end before its time, or None."""
    if run.cancel_requested_at is not None:
        return End(CancelWhy.ASKED)
    end = over_the_run(run, job, index)
    if end is None and job.state in (JobState.SUBMITTED, JobState.PENDING):
        end = over_in_the_queue(job, run.limits.pending, index)
    if end is not None:
        return end
    if (image := lost(job, index)) is not None:
        return End(CancelWhy.SIBLING, loss(image))
    if job.role is Role.SERVICE:
        return service_fault(job, run.limits.ready, index)
    return End(CancelWhy.SIBLING) if has_lost_its_service(job, index) else None


def over_the_run(run: Run, job: Job, index: Index) -> End | None:
    """Return the end of every job of a run that took longer than its limit.

    What was sent may have ended since we last looked, and then ended in time.
    """
    limit, began = run.limits.run, run.reopened_at or run.created_at
    if limit is None or index.now - began <= limit:
        return None
    if is_sent(job) and not has_passed(job, began + limit, index):
        return None
    taken = f"the run has taken {span(index.now - began)}"
    return End(CancelWhy.LIMIT, _over(taken, "run", limit))


def over_in_the_queue(job: Job, limit: float | None, index: Index) -> End | None:
    """Return the end of a job that waits too long in Slurm's queue, or for ever."""
    since = job.submitted_at
    if since is None:
        return None
    if limit is not None and has_passed(job, since + limit, index):
        reason = f" ({job.reason})" if job.reason else ""
        waited = f"it has waited in Slurm's queue for {span(index.now - since)}{reason}"
        return End(CancelWhy.LIMIT, _over(waited, "pending", limit))
    if is_hopeless(job) and has_passed(job, (job.reason_since or since) + HOPELESS_AFTER, index):
        advice = reason_class(job.reason or "", job.spec.resources).advice
        says = f"Slurm says it can never start: {job.reason}: {advice}"
        return End(CancelWhy.HOPELESS, says)
    return None


def _over(what: str, key: str, limit: float) -> str:
    return f"{what}, and limits.{key} is {span(limit)}"


def span(seconds: float) -> str:
    """Write a duration as a recipe has it: ``90s``, ``2h30m``, ``1d4h``."""
    whole = max(round(seconds), 0)
    if whole < 120:
        return f"{whole}s" if seconds >= 1 else f"{seconds:g}s"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, whole = divmod(whole, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts[:2])


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


def service_fault(job: Job, ready_limit: float | None, index: Index) -> End | None:
    """Return the fault of a service that does not answer in time, or no longer.

    A service that no longer answers may have been suspended, or have ended: Slurm is heard first.
    """
    since = job.readiness_since or 0.0
    if job.substate in ASIDE:
        return None
    if is_given_up(job):
        probes = f"{job.probe_failures} probes in {span(index.now - since)} were not answered"
        return End(CancelWhy.NOT_READY, _with_last(probes, job))
    starting = job.readiness is Readiness.STARTING and job.probe_streak < 0
    if starting and ready_limit is not None and has_passed(job, since + ready_limit, index):
        silent = f"it has run for {span(index.now - since)} without an answer"
        return End(CancelWhy.NOT_READY, _over(silent, "ready", ready_limit))
    if is_unhealthy(job) and job.missing_since is None and has_passed(job, since, index):
        silent = f"it stopped answering {span(index.now - since)} ago"
        return End(CancelWhy.UNHEALTHY, _with_last(silent, job))
    return None


def _with_last(sentence: str, job: Job) -> str:
    return f"{sentence}; the last one: {job.detail}" if job.detail else sentence


def has_lost_its_service(job: Job, index: Index) -> bool:
    """Tell whether what this client measures, or was to measure, is gone."""
    if job.bindings:
        return any(is_lost(index.rows.get(each.token), each) for each in job.bindings)
    return lacks_a_service(job, index)


def is_lost(service: Job | None, binding: Binding) -> bool:
    """Tell whether a service is no longer what a client was bound to.

    A bound service answered once. Where its row does not know that yet, both were adopted, and
    nobody has looked at it since.
    """
    if service is None:
        return True
    if service.state in (JobState.CREATED, JobState.SUBMITTED):
        return False
    if service.generation != binding.generation or service.substate is SubState.SUSPENDED:
        return True
    unseen = service.readiness is Readiness.STARTING and service.ready_at is None
    return service.readiness is not Readiness.READY and not unseen


def own_services(job: Job, index: Index) -> list[Job]:
    """Return the services of the same run that a client targets, latest attempts."""
    return [service for _, services in _own(job, index) for service in services]


def _own(job: Job, index: Index) -> Iterator[tuple[Target, list[Job]]]:
    for target in job.spec.targets:
        if target.point is not None:
            yield target, services_for(job, target, index)


def lacks_a_service(job: Job, index: Index) -> bool:
    """Tell whether what a client needs of its own run is over for good.

    Where one replica is enough, it is the last of them that counts.
    """
    return any(
        any(map(is_gone, services))
        if is_measured_whole(target, services)
        else all(map(is_gone, services))
        for target, services in _own(job, index)
    )


def is_gone(job: Job) -> bool:
    """Tell whether a slot is over, well or badly, and will not be tried again by its own policy."""
    return job.is_terminal and not is_retried(job)


def is_beyond_hope(job: Job) -> bool:
    """Tell whether a slot ended badly and will not be tried again by its own policy."""
    return is_gone(job) and not ended_well(job)


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
        and not lacks_a_service(job, index)
        and lost(job, index) is None
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
    slots = [j for j in slots if not j.spec.companion]
    clients = [j for j in slots if j.role is Role.CLIENT]
    if not clients:
        bad = [j for j in slots if not (ended_well(j) or was_put_down(j))]
    else:
        bad = [j for j in clients if j.state is not JobState.COMPLETED]
        bad = [j for j in slots if bad and j.role is Role.SERVICE and is_beyond_hope(j)] or bad
    bad = [j for j in slots if bad and j.role is Role.IMAGE and is_beyond_hope(j)] or bad
    bad.sort(key=lambda j: j.cancel_why is CancelWhy.LIMIT)  # the cause before what it ended
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


def quota_reached(job: Job, full: Mapping[Charged, Job], index: Index) -> Job | None:
    """Return a job of ours that waits for a quota that this one would be under as well, or None.

    Submitting more would start nothing. Clients are no concern of this: what they measure runs
    already, and its end is what makes room. Nor is the rest of what has begun to take its place.
    """
    other = full.get(charged(job)) if job.role is Role.SERVICE else None
    if other is None or other.token == job.token or has_company(job, index):
        return None
    return other


def has_company(service: Job, index: Index) -> bool:
    """Tell whether Slurm has another service of the same measurement already."""
    clients = (job for job in index.slots[service.run_id] if job.role is Role.CLIENT)
    return any(
        service in needed and any(other.is_live for other in needed)
        for needed in (own_services(client, index) for client in clients)
    )


def charged(job: Job) -> Charged:
    """Return what limits this job together with others."""
    asked = job.spec.resources
    return job.cluster, asked.account, asked.qos, asked.partition


def quotas(index: Index) -> Mapping[Charged, Job]:
    """Return what is at its quota, and a job of ours that waits for it.

    That is one that Slurm has in its queue; else, of those that it did not even take, the one
    whose next try comes first: it finds out for the others.
    """
    waiting = [
        job
        for job in index.world.jobs
        if job.state in (JobState.CREATED, JobState.PENDING)
        and job.reason is not None
        and job.cancel_requested_at is None
        and reason_class(job.reason).cls is ReasonClass.QUOTA
        and _finds_out(job, index)
    ]
    waiting.sort(key=lambda job: (job.state is JobState.PENDING, -job.not_before))
    return {charged(job): job for job in waiting}


def _finds_out(job: Job, index: Index) -> bool:
    """Tell whether Slurm will say of this job, without any other, that the limit has cleared.

    A refused client that has nothing to measure is not tried again before it has, and the limit
    may be gone long before: it must hold back nothing, least of all the service it waits for.
    """
    if job.role is Role.SERVICE or is_sent(job):
        return True
    return bindings_of(job, index, busy_services(index)) is not None
