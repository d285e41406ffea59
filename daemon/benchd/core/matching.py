"""Which services a client would measure now, if it were sent. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchd.core.model import Binding, Job, Readiness, SubState
from benchd.core.placement import nodes_of
from benchd.core.spec import Role, Target
from benchd.core.view import Index, ended_well, is_sent

# While a job is so, that its service does not answer says nothing about it.
ASIDE = frozenset({SubState.SUSPENDED, SubState.COMPLETING})


def busy_services(index: Index) -> Counter[str]:
    """Return how many measurements each service is in, by its token."""
    return Counter(
        binding.token
        for job in index.world.jobs
        if job.role is Role.CLIENT and is_sent(job)
        for binding in job.bindings
    )


def bindings_of(
    job: Job, index: Index, taken: Counter[str], targets: Sequence[Target] | None = None
) -> tuple[Binding, ...] | None:
    """Return what a client would measure now, or None while it has to wait.

    ``targets``: only these of its targets are looked at.
    """
    bindings: list[Binding] = []
    for target in job.spec.targets if targets is None else targets:
        services = _candidates(job, target, index, taken)
        if not services:
            return None
        bindings += [_bound(target, service) for service in services]
    return tuple(bindings)


def _candidates(job: Job, target: Target, index: Index, taken: Counter[str]) -> list[Job]:
    services = services_for(job, target, index)
    free = [s for s in services if _is_free(s, taken) and rests_until(job, s, index) <= index.now]
    if job.spec.placement != "any":  # Slurm has yet to say where they run
        free = [service for service in free if nodes_of(service.nodes)]
    if is_measured_whole(target, services):
        return services if len(free) == len(services) else []
    return sorted(free, key=lambda service: taken[service.token])[:1]


def is_measured_whole(target: Target, services: Sequence[Job]) -> bool:
    """Tell whether a client measures all replicas of a service together, rather than any of them.

    One of them is enough where their number changes, and where they belong to another run.
    """
    return target.point is not None and not any(s.spec.scale is not None for s in services)


def is_extra(service: Job) -> bool:
    """Tell whether this replica was added beyond those that are there from the start."""
    return service.spec.scale is not None and service.replica >= service.spec.scale.min


def services_for(job: Job, target: Target, index: Index) -> list[Job]:
    """Return the services that a target of a client names: of its own run, or of any.

    Replicas that were added for a while and ended again are no concern of any client.
    """
    if target.point is not None:
        services = index.services[job.run_id, target.name, target.point, target.repeat]
    else:
        services = index.external[job.cluster, target.name]
    return [service for service in services if not (is_extra(service) and ended_well(service))]


def is_answering(service: Job) -> bool:
    """Tell whether a service may be measured now, if nobody else measures it."""
    if service.readiness is not Readiness.READY or service.endpoint is None:
        return False
    if service.substate in ASIDE:  # it will not answer until Slurm lets it go on, if ever
        return False
    return service.cancel_requested_at is None


def _is_free(service: Job, taken: Counter[str]) -> bool:
    return is_answering(service) and (service.spec.concurrent or not taken[service.token])


def rests_until(job: Job, service: Job, index: Index) -> float:
    """Return when the pause between a service's last measurement and this one is over."""
    ended = index.measured.get(service.token)
    return ended + job.spec.cooldown if ended is not None else 0.0


def _bound(target: Target, service: Job) -> Binding:
    ports = service.endpoint.ports if service.endpoint else ()
    if target.port in ports:
        ports = (target.port, *(p for p in ports if p != target.port))
    return Binding(
        name=target.name,
        token=service.token,
        generation=service.generation,
        host=service.endpoint.host if service.endpoint else "",
        ports=ports,
        nodes=service.nodes or "",
    )
