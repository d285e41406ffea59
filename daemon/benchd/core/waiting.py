"""What benchd waits for now, in a sentence: the same questions as ``decide``, answered in words."""

from __future__ import annotations

from benchd.core.effects import World
from benchd.core.model import Job, JobState, Readiness
from benchd.core.policy import own_services
from benchd.core.slurm import reason_class
from benchd.core.spec import Role
from benchd.core.view import Index, index


def waiting_for(job: Job, world: World, now: float) -> str:
    """Return what has to happen before this job moves; empty for a job that is over."""
    if job.is_terminal:
        return ""
    view = world.clusters.get(job.cluster)
    if view is None:
        return f"cluster {job.cluster} is not in the configuration any more"
    if view.paused:
        return f"cluster {job.cluster} is paused: see `benchctl cluster list`"
    if job.cancel_requested_at is not None:
        return f"its end was asked for ({job.cancel_why}); waiting until Slurm shows it is gone"
    if job.missing_since is not None:
        missing = now - job.missing_since
        return f"Slurm has not known it for {missing:.0f} s; it counts as LOST only beyond patience"
    arranged = index(world, now)
    if job.state is JobState.CREATED:
        return _created(job, arranged, now)
    if job.state is JobState.SUBMITTED:
        return "Slurm has accepted it; the next poll shows whether it waits or runs"
    if job.state is JobState.PENDING:
        return _pending(job)
    return _running(job)


def _created(job: Job, index: Index, now: float) -> str:
    if job.attempted_at is not None:
        return "it was sent, but the answer was lost; finding out whether Slurm has it"
    if job.not_before > now:
        why = f": {job.detail}" if job.detail else ""
        return f"Slurm refused it for now; next try in {job.not_before - now:.0f} s{why}"
    if job.role is Role.SERVICE:
        return "about to be submitted, as soon as the cluster's job limit allows"
    for service in own_services(job, index):
        if service.readiness is not Readiness.READY:
            return f"service {service.name} is {_said(service)}; it has to answer first"
    for target in job.spec.targets:
        if target.point is None and not index.external[job.cluster, target.name]:
            return f"no service called {target.name} runs on {job.cluster} yet"
    return "its service is busy with another measurement; one at a time"


def _said(service: Job) -> str:
    if service.state is JobState.RUNNING:
        return f"RUNNING and {service.readiness}"
    reason = f" ({service.reason})" if service.reason else ""
    return f"{service.state}{reason}"


def _pending(job: Job) -> str:
    if not job.reason:
        return "waiting in Slurm's queue"
    return f"waiting in Slurm's queue ({job.reason}): {reason_class(job.reason).advice}"


def _running(job: Job) -> str:
    if job.role is Role.CLIENT:
        return "measuring; its result is fetched when Slurm shows its end"
    if job.readiness is Readiness.READY:
        return "it answers; it stays up while a client needs it"
    if job.readiness is Readiness.UNREADY:
        return f"it stopped answering: {job.detail or 'no answer'}"
    return "it runs but does not answer yet; probing"
