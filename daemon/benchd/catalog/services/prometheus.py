"""Prometheus, told of its targets by benchd for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from benchd.catalog.kinds import (
    Complaint,
    Metrics,
    Parameter,
    ServiceKind,
    arguments,
    program,
    setting,
)
from benchd.core.payload import Payload, Sh
from benchd.core.scraping import MonitoringTarget, Watch
from benchd.core.spec import HealthCheck, JobSpec, Part

# As Prometheus writes durations; more would be no mistake of ours to find.
_DURATION = r"([0-9]+(ms|[smhdwy]))+"
_RETENTION = "PROMETHEUS_RETENTION_TIME"
# Seconds between two looks at the list of targets: a shared file system tells nobody of changes.
_REFRESH = "5s"
_PROMETHEUS = (
    Parameter(
        name="retention_time",
        type="str",
        default="15d",
        pattern=_DURATION,
        doc="how long samples are kept, such as 15d; the environment variable "
        f"{_RETENTION} says the same",
    ),
    Parameter(
        name="scrape_interval",
        type="str",
        default="5s",
        pattern=_DURATION,
        doc="time between two looks at each target, such as 5s; a rate needs four of them",
    ),
)
# What stands on the command line once already, and must be said in another way.
_OURS = {
    "--config.file": "it is written by benchd; say monitoring_targets and parameters instead",
    "--storage.tsdb.path": "data is kept for each job; say storage: local or shared instead",
    "--storage.tsdb.retention.time": "write parameters: {retention_time: ...}",
    "--web.listen-address": "write ports: [...]",
}


def _retention(spec: JobSpec) -> str:
    own = spec.parameters.get("retention_time") or spec.environment.get(_RETENTION)
    return str(own or setting(_PROMETHEUS, spec, "retention_time"))


def configuration(spec: JobSpec) -> str:
    """Return prometheus.yml: one job whose targets come from files, and the fixed hosts."""
    interval = setting(_PROMETHEUS, spec, "scrape_interval")
    jobs: list[dict[str, Any]] = [
        {
            "job_name": "benchd",  # each target says its own
            "file_sd_configs": [{"files": ["targets/*.json"], "refresh_interval": _REFRESH}],
        }
    ]
    fixed = [_fixed(target) for target in spec.watched if target.host is not None]
    if fixed:
        jobs.append({"job_name": "hosts", "static_configs": fixed})
    document = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "scrape_configs": jobs,
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _fixed(target: MonitoringTarget) -> dict[str, Any]:
    host = f"[{target.host}]" if ":" in str(target.host) else target.host
    labels = {"job": target.job_name or target.host, "__metrics_path__": target.path}
    return {"targets": [f"{host}:{target.port}"], "labels": labels}


def _payload(spec: JobSpec) -> Payload:
    return Payload(
        argv=(
            *program(spec, "prometheus"),
            Sh('--config.file="$JOB"/prometheus.yml'),
            Sh('--storage.tsdb.path="$BENCHD_DATA"'),
            f"--storage.tsdb.retention.time={_retention(spec)}",
            Sh('--web.listen-address="$BENCHD_BIND:$BENCHD_PORT"'),
            *arguments(spec),
        ),
        files={"prometheus.yml": configuration(spec)},
        preamble=('mkdir -p "$JOB/targets"',),
    )


def _check(part: Part) -> Sequence[Complaint]:
    return tuple(_complaints(part))


def _complaints(part: Part) -> Iterator[Complaint]:
    said, own = part.environment.get(_RETENTION), part.parameters.get("retention_time")
    if said is not None:
        retention = next(p for p in _PROMETHEUS if p.name == "retention_time")
        if wrong := retention.complaint(said):
            yield ("environment", _RETENTION), wrong
        elif own is not None and own != said:
            what = f"says {said!r}, but parameters.retention_time says {own!r}: keep one of them"
            yield ("environment", _RETENTION), what
    for index, text in enumerate(part.args):
        option = text.partition("=")[0]
        if option in _OURS:
            yield ("args", index), f"{option} stands there already: {_OURS[option]}"


KIND = ServiceKind(
    name="prometheus",
    summary="Prometheus; it is told of the services of its run, or of `monitoring_targets`, as "
    "they come and go; data in $BENCHD_DATA",
    image="docker://prom/prometheus:latest",
    payload=_payload,
    parameters=_PROMETHEUS,
    version=("prometheus", "--version"),
    extra_check=_check,
    check=HealthCheck(type="http", endpoint="/-/ready"),
    metrics=Metrics(),
    watch=Watch.METRICS,
    speaks=("http",),
)
