"""Who watches whom: what runs beside a service to tell of it, and who is told where it is. Pure.

A job that watches others (Prometheus, Grafana) has a file in its directory that says where they
are, in the format of Prometheus's ``file_sd``. It is written anew whenever what it should say is
not what it said last: a service answered for the first time, has ended, or began another life. A
service that no longer answers stays in it, since that is when its metrics are wanted; an empty list
is never the first thing that is written, because it would only say that nothing is known yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from benchd.core.effects import Publish
from benchd.core.model import Endpoint, Job, JobState
from benchd.core.policy import charged, is_followed
from benchd.core.scraping import Exporter, Scrape, Watch
from benchd.core.slurm import ReasonClass, reason_class
from benchd.core.spec import Monitoring, Role, Service
from benchd.core.view import Index, slot_of
from benchd.fields import dashed

# The file, below a job's directory; readers look for ``*.json`` beside it.
TARGETS = "targets/benchd.json"
# Kinds whose services answer queries: what a dashboard draws from.
SOURCES = ("prometheus", "loki")
_CADVISOR = "cadvisor"
# benchd's own exporter, which needs nothing but Python on the node.
OWN = "job"


class HasMetrics(Protocol):
    """Where a service tells Prometheus about itself."""

    @property
    def port(self) -> int:
        """Index in the job's ports."""

    @property
    def path(self) -> str:
        """Path of the page."""


class Watching(Protocol):
    """What monitoring needs to know of a kind of service."""

    @property
    def ports(self) -> tuple[int | Literal["auto"], ...]:
        """Its usual ports."""

    @property
    def metrics(self) -> HasMetrics | None:
        """Where it tells Prometheus about itself."""

    @property
    def watch(self) -> Watch | None:
        """What it is told of others."""


# --- what runs beside a service -------------------------------------------------------------------


def monitored(part: Service, kind: Watching, programs: Mapping[str, str]) -> dict[str, Any]:
    """Return what a service's spec says about monitoring, and its ports with those of exporters.

    ``programs``: where exporters are on the cluster's nodes, by name.
    """
    ports: list[int | Literal["auto"]] = list(part.ports or kind.ports)
    ports += ["auto"] * (len(kind.ports) - len(ports))
    scrapes, exporters = [], []
    if kind.metrics is not None:
        scrapes.append(Scrape(port=kind.metrics.port, path=kind.metrics.path))
    for name, port, stands_for in _beside(part, programs):
        exporters.append(
            Exporter(name=name, port=len(ports), program=programs.get(name), stands_for=stands_for)
        )
        scrapes.append(Scrape(port=len(ports), exporter=name))
        ports.append(port)
    return {
        "ports": tuple(ports),
        "exporters": tuple(exporters),
        "scrapes": tuple(scrapes),
        "watch": kind.watch,
        "watched": part.monitoring_targets,
        "companion": isinstance(part, Monitoring),
    }


def _beside(
    part: Service, programs: Mapping[str, str]
) -> Iterator[tuple[str, int | Literal["auto"], str]]:
    """Yield the exporters of a service: name, port, and for what it stands in."""
    port: int | Literal["auto"] = part.cadvisor_port or "auto"
    missing = part.enable_cadvisor and _CADVISOR not in programs
    if part.enable_cadvisor:
        yield (OWN, port, _CADVISOR) if missing else (_CADVISOR, port, "")
    for name in part.exporters:
        if not (missing and name == OWN):
            yield name, "auto", ""


# --- who is told what -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A service that has answered in its present life, and where it is."""

    job: Job
    endpoint: Endpoint


Group = dict[str, Any]  # of a file_sd list: targets and labels


def publications(index: Index) -> Iterator[Publish]:
    """Yield what jobs that watch others are to be told, where it is not what they know."""
    for job in index.world.jobs:
        if job.spec.watch is None or job.state is not JobState.RUNNING:
            continue
        seen = _scraped if job.spec.watch is Watch.METRICS else _sources
        groups, known = list(seen(job, index)), index.world.published.get(job.token)
        text = json.dumps(groups, indent=1, sort_keys=True) + "\n"
        if text != known and (groups or known is not None):
            yield Publish(job.token, text)


def _scraped(watcher: Job, index: Index) -> Iterator[Group]:
    """Yield what a Prometheus scrapes: itself, and what the recipe names, or its whole run."""
    wanted = watcher.spec.watched
    company = [watcher] if wanted else index.slots[watcher.run_id]
    for service in _found(company):
        for scrape in service.job.spec.scrapes:
            yield from _group(service, scrape)
    for target in wanted:
        for service in _found(_meant(watcher, target.wanted, index)):
            if service.job.token == watcher.token:
                continue
            if target.port is not None:
                yield _labelled(service, target.port, target.path, target.job_name)
                continue
            for scrape in service.job.spec.scrapes:
                yield from _group(service, scrape, target.job_name)


def _sources(watcher: Job, index: Index) -> Iterator[Group]:
    """Yield what a dashboard draws from: what the recipe names, its run's, else any's."""
    here: Iterable[Job] = (job for job in index.world.jobs if job.cluster == watcher.cluster)
    if wanted := watcher.spec.watched:
        here = (job for target in wanted for job in _meant(watcher, target.wanted, index))
    known = list(_found(here))
    for kind in SOURCES:
        some = [service for service in known if service.job.kind == kind]
        own = [service for service in some if service.job.run_id == watcher.run_id]
        for service in own or some:
            yield from _group(service, Scrape(port=0))


def unfound(watcher: Job, index: Index) -> list[str]:
    """Return the services that a watcher is to see and of which none has answered."""
    names = [target.wanted for target in watcher.spec.watched if target.wanted is not None]
    return [name for name in names if not any(_found(_meant(watcher, name, index)))]


def _found(jobs: Iterable[Job]) -> Iterator[_Found]:
    for job in jobs:
        is_up = job.role is Role.SERVICE and job.state is JobState.RUNNING
        endpoint = job.endpoint
        if not is_up or job.ready_at is None or endpoint is None:
            continue
        if endpoint.generation == job.generation:
            yield _Found(job, endpoint)


def _meant(watcher: Job, wanted: str | None, index: Index) -> list[Job]:
    """Return the services that a name means: of this run, else of any; or an id does."""
    if wanted is None:  # a fixed host is no service
        return []
    name = dashed(wanted)
    own = [job for job in index.slots[watcher.run_id] if job.name == name]
    if named := own or index.external[watcher.cluster, name]:
        return named
    here = [job for job in index.world.jobs if job.cluster == watcher.cluster]
    begun = [job for job in here if wanted == job.slurm_id or job.token.startswith(wanted)]
    return begun if len({slot_of(job) for job in begun}) == 1 else []


def _group(service: _Found, scrape: Scrape, job_name: str | None = None) -> Iterator[Group]:
    """Yield one place of a service where metrics are; none if its job has no such port."""
    if scrape.port < len(service.endpoint.ports):
        port = service.endpoint.ports[scrape.port]
        yield _labelled(service, port, scrape.path, job_name, scrape.exporter)


def _labelled(
    service: _Found, port: int, path: str, job_name: str | None, exporter: str = ""
) -> Group:
    job, host = service.job, service.endpoint.host
    called = job_name or job.name
    labels = {
        "job": f"{called}-{exporter}" if exporter else called,
        "service": job.name,
        "run": job.run_id,
        "node": host,
        "kind": job.kind,
        "point": str(job.point),
        "replica": str(job.replica),
        "__metrics_path__": path,
    }
    if exporter:
        labels["exporter"] = exporter
    return {"targets": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], "labels": labels}


# --- when a companion ends ------------------------------------------------------------------------


def is_done(job: Job, index: Index) -> bool:
    """Tell whether a companion has nothing left to watch, or stands in a measurement's way."""
    if not job.spec.companion:
        return False
    others = [each for each in index.slots[job.run_id] if not each.spec.companion]
    if all(each.is_terminal and not is_followed(each, index) for each in others):
        return True
    return any(
        each.role is Role.CLIENT
        and each.state is JobState.PENDING
        and each.reason is not None
        and reason_class(each.reason).cls is ReasonClass.QUOTA
        and charged(each) == charged(job)
        for each in others
    )
