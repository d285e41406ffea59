"""Loki, which keeps logs and finds them again."""

from __future__ import annotations

import yaml

from benchd.catalog.kinds import Metrics, Parameter, ServiceKind, arguments, program, setting
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec

_LOKI = (
    Parameter(
        name="retention_time",
        type="str",
        default=None,
        pattern=r"[0-9]+[hd]",
        doc="how long lines are kept, at least 24h; default: as long as the job's data",
    ),
)
# Day from which the layout of the store holds: any that is before the first line will do.
_FROM = "2024-01-01"


def configuration(spec: JobSpec) -> str:
    """Return loki.yml; Loki itself puts in port and directory from its environment."""
    retention = setting(_LOKI, spec, "retention_time")
    layout = {
        "from": _FROM,
        "store": "tsdb",
        "object_store": "filesystem",
        "schema": "v13",
        "index": {"prefix": "index_", "period": "24h"},
    }
    document = {
        "auth_enabled": False,
        "analytics": {"reporting_enabled": False},
        "server": {
            "http_listen_address": "${BENCHD_BIND}",
            "http_listen_port": "${BENCHD_PORT}",
            # Its parts talk to each other through this one: nobody else has business there.
            "grpc_listen_address": "127.0.0.1",
            "grpc_listen_port": "${BENCHD_PORT_1}",
        },
        "common": {
            "instance_addr": "127.0.0.1",
            "path_prefix": "${BENCHD_DATA}",
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}},
            "storage": {
                "filesystem": {
                    "chunks_directory": "${BENCHD_DATA}/chunks",
                    "rules_directory": "${BENCHD_DATA}/rules",
                }
            },
        },
        "schema_config": {"configs": [layout]},
    }
    if retention is not None:
        document["limits_config"] = {"retention_period": retention}
        document["compactor"] = {
            "working_directory": "${BENCHD_DATA}/compactor",
            "retention_enabled": True,
            "delete_request_store": "filesystem",
        }
    return yaml.safe_dump(document, sort_keys=False)


def _payload(spec: JobSpec) -> Payload:
    return Payload(
        argv=(
            *program(spec, "loki"),
            Sh('-config.file="$JOB"/loki.yml'),
            "-config.expand-env=true",
            *arguments(spec),
        ),
        files={"loki.yml": configuration(spec)},
    )


KIND = ServiceKind(
    name="loki",
    summary="Loki, which keeps lines that are pushed to it; data in $BENCHD_DATA",
    image="docker://grafana/loki:3.1.0",
    payload=_payload,
    parameters=_LOKI,
    version=("loki", "-version"),
    ports=("auto", "auto"),
    check=HealthCheck(type="http", endpoint="/ready"),
    metrics=Metrics(),
    speaks=("http",),
)
