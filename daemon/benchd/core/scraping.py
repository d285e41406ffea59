"""What recipes say about monitoring, and what a job's spec keeps of it: the models.

A service may have *exporters* beside it, and its kind may speak Prometheus itself; both are its
*scrapes*. A service that *watches* is told where the services of its choice are, for as long as it
runs (``core.monitoring``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from benchd.fields import DashedName, Line, Model

Port = Annotated[int, Field(ge=1, le=65535)]
# A name, a token or the beginning of one, or the number of a Slurm job.
_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?$"
_PATH = r"^/[!-~]{0,1023}$"
# What each expression asks for, in the words of error messages.
PATTERNS = {
    _ID: "a service's name, a job's token or the beginning of one, or a Slurm id",
    _HOST: "the name or address of a machine",
    _PATH: "a path: it begins with / and has no spaces",
}
_WHICH = "name one of service, service_id and host"

ExporterName = Literal["job", "node", "process", "redis", "mysql"]


class MonitoringTarget(Model):
    """One thing that a Prometheus scrapes: a service, or a fixed host."""

    service: DashedName | None = Field(
        None, description="a service of this recipe, else one of that name in any run here"
    )
    service_id: Annotated[str, StringConstraints(pattern=_ID)] | None = Field(
        None,
        description="the same by what `benchctl services` shows: a name, a job's token or the "
        "beginning of one, a Slurm id",
    )
    name: DashedName | None = Field(None, description="the same as service")
    host: Annotated[str, StringConstraints(pattern=_HOST)] | None = Field(
        None, description="a machine, instead of a service"
    )
    job_name: Line | None = Field(
        None, description="what Prometheus calls it; default: the service, with its exporter"
    )
    port: Port | None = Field(
        None,
        description="a fixed port there; default: of a service, its own metrics and its exporters",
    )
    path: Annotated[str, StringConstraints(pattern=_PATH)] = Field(
        "/metrics", description="where the metrics are, with port"
    )

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(each is not None for each in (self.service, self.service_id, self.name)) > 1:
            raise ValueError(f"{_WHICH}, not several")
        if (self.wanted is None) is (self.host is None):
            raise ValueError(_WHICH if self.host is None else f"{_WHICH}, not several")
        if self.host is not None and self.port is None:
            raise ValueError("a host needs a port: benchd knows only where its own services listen")
        return self

    @property
    def wanted(self) -> str | None:
        """The service, by whichever of its names."""
        return self.service or self.service_id or self.name


class Watched(Model):
    """What a service says about monitoring."""

    enable_cadvisor: bool = Field(
        False,
        description="run cAdvisor beside it, if `runtime.exporters` says where one is; if not, "
        "benchd's own exporter in its place, as with `exporters: [job]`",
    )
    cadvisor_port: Port | None = Field(None, description="default: a free one")
    exporters: tuple[ExporterName, ...] = Field(
        (),
        description="run these beside it. job: what this job uses, part of benchd; node, process, "
        "redis, mysql: the programs of these names, found on the node or by `runtime.exporters`",
    )
    monitoring_targets: tuple[MonitoringTarget, ...] = Field(
        (),
        description="kinds that watch others: which; default: all services of this recipe",
    )


class Scrape(Model):
    """One place where a service tells its metrics."""

    port: int  # index in the job's ports
    path: str = "/metrics"
    exporter: str = ""  # empty: the service itself


class Exporter(Model):
    """One program that runs beside a job and tells about it."""

    name: str  # cadvisor, or one of ExporterName
    port: int  # index in the job's ports
    program: str | None = None  # path of a program or of an image; None: found on the node
    stands_for: str = ""  # what the recipe asked for, when the cluster has none


class Watch(StrEnum):
    """What a kind that watches others is told."""

    METRICS = "metrics"  # every scrape of the services, as Prometheus wants it
    SOURCES = "sources"  # where the services are that answer queries


class Monitored(Model):
    """What a job's spec keeps about monitoring."""

    exporters: tuple[Exporter, ...] = ()
    scrapes: tuple[Scrape, ...] = ()
    watch: Watch | None = None
    watched: tuple[MonitoringTarget, ...] = ()
    companion: bool = False  # it watches the run: its failure is not the run's
