"""Which services a client would measure now, if it were sent. Pure."""

from __future__ import annotations

from benchd.core.model import Binding, Job, Readiness, SubState
from benchd.core.spec import Role, Target
from benchd.core.view import Index, is_sent

# While a job is so, that its service does not answer says nothing about it.
ASIDE = frozenset({SubState.SUSPENDED, SubState.COMPLETING})


def busy_services(index: Index) -> set[str]:
    """Return the tokens of services in a measurement that does not allow company."""
    bound = {
        binding.token
        for job in index.world.jobs
        if job.role is Role.CLIENT and is_sent(job)
        for binding in job.bindings
    }
    return {t for t in bound if t in index.rows and not index.rows[t].spec.concurrent}


def bindings_of(job: Job, index: Index, taken: set[str]) -> tuple[Binding, ...] | None:
    """Return what a client would measure now, or None while it has to wait."""
    bindings: list[Binding] = []
    for target in job.spec.targets:
        services = _candidates(job, target, index, taken)
        if not services:
            return None
        bindings += [_bound(target, service) for service in services]
    return tuple(bindings)


def _candidates(job: Job, target: Target, index: Index, taken: set[str]) -> list[Job]:
    services = services_for(job, target, index)
    if target.point is not None:  # all the replicas together
        return services if all(_is_free(s, taken) for s in services) else []
    return [s for s in services if _is_free(s, taken)][:1]


def services_for(job: Job, target: Target, index: Index) -> list[Job]:
    """Return the services that a target of a client names: of its own run, or of any."""
    if target.point is not None:
        return index.services[job.run_id, target.name, target.point]
    return index.external[job.cluster, target.name]


def is_answering(service: Job) -> bool:
    """Tell whether a service may be measured now, if nobody else measures it."""
    if service.readiness is not Readiness.READY or service.endpoint is None:
        return False
    if service.substate in ASIDE:  # it will not answer until Slurm lets it go on, if ever
        return False
    return service.cancel_requested_at is None


def _is_free(service: Job, taken: set[str]) -> bool:
    return is_answering(service) and service.token not in taken


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
