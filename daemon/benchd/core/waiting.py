"""What benchd waits for now, in a sentence: the same questions as ``decide``, answered in words."""

from __future__ import annotations

from collections import Counter

from benchd.core.effects import World
from benchd.core.images import awaited, being_made, in_the_way, path_of
from benchd.core.matching import (
    bindings_of,
    busy_services,
    is_answering,
    is_measured_whole,
    rests_until,
    services_for,
)
from benchd.core.model import Job, JobState, Readiness, SubState
from benchd.core.monitoring import unfound
from benchd.core.placement import home_of
from benchd.core.policy import is_followed, quota_reached, quotas, span
from benchd.core.restart import why_not_again
from benchd.core.scaling import outlook
from benchd.core.slurm import reason_class
from benchd.core.spec import Role
from benchd.core.turns import before, turns
from benchd.core.view import Index, index, slot_of

# Nothing is in the way but the places that a cluster gives us.
_SOON = "about to be submitted, as soon as the cluster's job limit allows"


def waiting_for(job: Job, world: World, now: float) -> str:
    """Return what has to happen before this job moves; of one that is over, what follows it."""
    arranged = index(world, now)
    if job.is_terminal:
        return after_end(job, arranged)
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
    if job.state is JobState.CREATED:
        return _created(job, arranged, now)
    if job.state is JobState.SUBMITTED:
        return "Slurm has accepted it; the next poll shows whether it waits or runs"
    if job.state is JobState.PENDING:
        return _pending(job)
    return _running(job, arranged)


def _changed(job: Job, follower: Job) -> str:
    """Return what the next attempt asks for otherwise."""
    before, after = (row.spec.resources.model_dump(mode="json") for row in (job, follower))
    words = [f"{key} {value}" for key, value in after.items() if value != before[key]]
    return f" with {', '.join(words)}" if words else ""


def after_end(job: Job, index: Index) -> str:
    """Return which attempt follows a job that is over, or why none does."""
    later = [row for row in index.world.jobs if slot_of(row) == slot_of(job)]
    follower = next((row for row in later if row.attempt == job.attempt + 1), None)
    if follower is not None:
        begins = _begins_in(follower, index.now)
        when = f" in {begins}{_elsewhere(follower)}" if begins else ""
        changed = _changed(job, follower)
        return f"it is followed by attempt {follower.attempt}{changed}{when}: {follower.token}"
    if is_followed(job, index):
        why = "" if why_not_again(job) is None else ", because its service had failed it"
        return f"it is tried again as attempt {job.attempt + 1}{why}{_when_back(job, index)}"
    if job.state is not JobState.FAILED:
        return ""
    run = index.runs.get(job.run_id)
    asked = run is not None and run.cancel_requested_at is not None
    why_not = why_not_again(job) or ("its run was cancelled" if asked else "its run is over")
    where = _where(job) if job.why in ("REFUSED", "HOPELESS", "LIMIT") else ""
    return f"it is not tried again: {why_not}{where}"


def _when_back(job: Job, index: Index) -> str:
    """Return what the next attempt of a job waits for whose cluster was taken out."""
    if job.cluster in index.world.clusters:
        return ""
    return (
        f" when cluster {job.cluster} is in the configuration again; "
        f"`benchctl cancel {job.run_id}` ends its run without it"
    )


def _begins_in(job: Job, now: float) -> str:
    """Return how long a job that was never sent still pauses; empty when it does not."""
    waits = job.state is JobState.CREATED and not job.is_attempted and job.not_before > now
    return span(max(job.not_before - now, 1.0)) if waits else ""


def _elsewhere(job: Job) -> str:
    return f" on other nodes than {', '.join(job.spec.avoid)}" if job.spec.avoid else ""


def _created(job: Job, index: Index, now: float) -> str:
    if job.attempted_at is not None:
        return "it was sent, but the answer was lost; finding out whether Slurm has it"
    if index.world.draining:
        return "benchd is draining and submits nothing new; `benchctl drain --off` goes on"
    if begins := _begins_in(job, now):
        earlier = [r for r in index.world.jobs if slot_of(r) == slot_of(job)]
        before = next((r for r in earlier if r.attempt == job.attempt - 1), None)
        ended = f": attempt {before.attempt} ended {before.why}" if before is not None else ""
        return f"attempt {job.attempt} begins in {begins}{_elsewhere(job)}{ended}"
    if job.not_before > now:
        why = f": {job.detail}" if job.detail else ""
        who = "it did not work" if job.role is Role.IMAGE else "Slurm refused it"
        return f"{who} for now; next try in {job.not_before - now:.0f} s{why}"
    if (image := awaited(job, index)) is not None:
        return f"its image {path_of(image)} has to be there first: {image.token} is {image.state}"
    if held := in_the_way(job, index, being_made(index)):
        return held
    if job.role is Role.IMAGE:
        return _image_created(job)
    if job.role is Role.SERVICE:
        return _service_created(job, index)
    return _client_created(job, index)


def _image_created(job: Job) -> str:
    if job.spec.container is not None and job.spec.container.build == "login":
        return f"{path_of(job)} is looked for, and made on the login node unless somebody makes it"
    return f"{path_of(job)} is looked for; it is submitted unless the image is there or being made"


def _client_created(job: Job, index: Index) -> str:
    for target in job.spec.targets:
        services = services_for(job, target, index)
        if not services:
            return f"no service called {target.name} runs on {job.cluster} yet"
        silent = [service for service in services if not is_answering(service)]
        whole = is_measured_whole(target, services)
        if silent and (whole or len(silent) == len(services)):
            return f"service {target.name} is {_said(silent[0], index)}; it has to answer first"
    busy = busy_services(index)
    if bindings_of(job, index, busy) is not None:
        return _SOON
    return _resting(job, index, busy) or (
        f"its service is busy with another measurement; {_when_free(job, index)}"
    )


def _resting(job: Job, index: Index, busy: Counter[str]) -> str:
    """Return what is said while only the pause after another measurement is in the way."""
    services = [s for target in job.spec.targets for s in services_for(job, target, index)]
    left = max((rests_until(job, service, index) for service in services), default=0.0) - index.now
    if left <= 0 or any(busy[s.token] for s in services if not s.spec.concurrent):
        return ""
    pause = span(job.spec.cooldown)
    return f"the pause between two measurements (cooldown {pause}) ends in {span(max(left, 1.0))}"


def _when_free(job: Job, index: Index) -> str:
    for target in job.spec.targets:
        services = services_for(job, target, index)
        if any(service.spec.scale is not None for service in services):
            return outlook(services)
    return "one at a time"


def _service_created(job: Job, index: Index) -> str:
    if (first := before(job, turns(index))) is not None:
        return f"it is made for one measurement; {first.token}, which comes before, is not over yet"
    held = quota_reached(job, quotas(index), index)
    if held is None:
        return _SOON
    return (
        f"held back: {held.token} waits for a limit on your jobs together ({held.reason}), "
        "and more jobs would only wait beside it"
    )


def _said(service: Job, index: Index) -> str:
    if not service.is_terminal and service.cancel_requested_at is not None:
        return "about to end"
    if service.state is JobState.RUNNING:
        return f"RUNNING and {service.substate or service.readiness}"
    if service.is_terminal:
        return f"{service.state} ({service.why}), {after_end(service, index)}"
    reason = f" ({service.reason})" if service.reason else ""
    return f"{service.state}{reason}"


def _pending(job: Job) -> str:
    if not job.reason:
        return "waiting in Slurm's queue"
    says = reason_class(job.reason, job.spec.resources)
    return f"waiting in Slurm's queue ({job.reason}): {says.advice}{_where(job)}"


def _where(job: Job) -> str:
    """Return what its placement asks of the cluster."""
    if job.spec.placement == "same-node":
        home = home_of(job.bindings) or "the node of its service"
        return f"; it is to run beside its service on {home}, which must have room for both"
    if job.spec.placement == "other-node":
        return "; it is not to run where its services do, so another node must have room"
    return ""


def _running(job: Job, index: Index) -> str:
    if job.role is Role.IMAGE:
        return f"making {path_of(job)}"
    if job.role is Role.CLIENT:
        return "measuring; its result is fetched when Slurm shows its end"
    if job.substate is SubState.SUSPENDED:
        return "Slurm has suspended it; it is looked at again when Slurm lets it go on"
    if job.readiness is Readiness.READY and (missing := unfound(job, index)):
        return f"it answers; no service called {', '.join(missing)} does on {job.cluster} yet"
    if job.readiness is Readiness.READY and job.spec.companion:
        return "it answers; it watches the run and ends with its measurements"
    if job.readiness is Readiness.READY:
        return "it answers; it stays up while a client needs it"
    if job.readiness is Readiness.UNREADY:
        return f"it stopped answering: {job.detail or 'no answer'}"
    return "it runs but does not answer yet; probing"
