"""Grafana, whose data source leads to wherever the Prometheus of its run is.

Grafana reads the addresses of its data sources once, when it starts, and a Prometheus is found when
it answers, may be tried again on another node, and may belong to another run. So the data source is
a port on Grafana's own node: a relay beside it leads from there to where benchd says that the
service is at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from benchd.catalog.kinds import (
    Complaint,
    Parameter,
    ServiceKind,
    arguments,
    program,
    setting,
)
from benchd.catalog.services.grafana_panels import services_dashboard
from benchd.core.payload import Beside, Payload, Sh
from benchd.core.scraping import Watch
from benchd.core.spec import HealthCheck, JobSpec, Part, Secret

PASSWORD = "GF_SECURITY_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
_GRAFANA = (
    Parameter(
        name="homepath",
        type="str",
        default="/usr/share/grafana",
        pattern=r"/[!-~]{0,255}",
        doc="where Grafana is installed, in its image or on the node",
    ),
    Parameter(
        name="anonymous",
        type="bool",
        default=False,
        doc="let everybody who reaches the port look at everything, without a password",
    ),
    Parameter(name="loki", type="bool", default=False, doc="add Loki as a second data source"),
)
# What the recipe says under `environment` is stronger than what it says nothing about.
_USUAL = {
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_LOG_MODE": "console",
    "GF_USERS_ALLOW_SIGN_UP": "false",
}
_ANONYMOUS = {"GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer"}


def _source(name: str, kind: str, port: int, *, usual: bool) -> dict[str, object]:
    return {
        "name": name,
        "uid": f"benchd-{kind}",
        "type": kind,
        "access": "proxy",
        "url": f"http://127.0.0.1:$BENCHD_PORT_{port}",  # Grafana puts it in
        "isDefault": usual,
        "editable": False,
    }


def _files(spec: JobSpec) -> dict[str, str]:
    sources = [_source("Prometheus", "prometheus", 1, usual=True)]
    if setting(_GRAFANA, spec, "loki"):
        sources.append(_source("Loki", "loki", 2, usual=False))
    provider = {
        "name": "benchd",
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": "$BENCHD_JOB/grafana/dashboards"},
    }
    datasources = {"apiVersion": 1, "datasources": sources}
    providers = {"apiVersion": 1, "providers": [provider]}
    board = json.dumps(services_dashboard(), separators=(",", ":"))
    return {
        "grafana/datasources/benchd.yml": yaml.safe_dump(datasources, sort_keys=False),
        "grafana/dashboards/benchd.yml": yaml.safe_dump(providers, sort_keys=False),
        "grafana/dashboards/services.json": board,
    }


def _payload(spec: JobSpec) -> Payload:
    lines: list[str | Sh] = [Sh('"$BENCHD_PORT_1"=prometheus')]
    if setting(_GRAFANA, spec, "loki"):
        lines.append(Sh('"$BENCHD_PORT_2"=loki'))
    asked = bool(setting(_GRAFANA, spec, "anonymous"))
    given = {text.partition("=")[0] for text in spec.args}
    home = [] if "--homepath" in given else [f"--homepath={setting(_GRAFANA, spec, 'homepath')}"]
    return Payload(
        argv=(
            *program(spec, "grafana"),
            *(() if spec.command else ("server",)),
            *home,
            *arguments(spec),
            # After all options; stronger than the configuration's files and than the environment.
            Sh('cfg:server.http_addr="$BENCHD_BIND"'),
            Sh('cfg:server.http_port="$BENCHD_PORT"'),
            Sh('cfg:paths.data="$BENCHD_DATA"'),
            Sh('cfg:paths.logs="$BENCHD_DATA"/log'),
            Sh('cfg:paths.plugins="$BENCHD_DATA"/plugins'),
            Sh('cfg:paths.provisioning="$JOB"/grafana'),
        ),
        environment={**_USUAL, **(_ANONYMOUS if asked else {})},
        files=_files(spec),
        ship=("relay",),
        preamble=('mkdir -p "$JOB/targets"',),
        beside=(
            Beside(
                name="relay",
                argv=(
                    *("python3", Sh('"$BENCHD_SHIP_RELAY"')),
                    *("--file", Sh('"$JOB"/targets/benchd.json'), *lines),
                ),
                port=1,
            ),
        ),
    )


def _check(part: Part) -> Sequence[Complaint]:
    asked = part.parameters.get("anonymous")
    said = part.environment.get("GF_AUTH_ANONYMOUS_ENABLED")
    if asked is not None and said is not None and (said.lower() == "true") is not asked:
        what = f"says {said!r}, but parameters.anonymous says {str(asked).lower()}: keep one"
        return ((("environment", "GF_AUTH_ANONYMOUS_ENABLED"), what),)
    return ()


KIND = ServiceKind(
    name="grafana",
    summary="Grafana with the Prometheus of its run, or the one that `monitoring_targets` names, "
    "and a dashboard of services; the password of `admin` is made for the run",
    image="docker://grafana/grafana:latest",
    payload=_payload,
    parameters=_GRAFANA,
    version=("grafana", "--version"),
    extra_check=_check,
    ports=("auto", "auto", "auto"),  # its own, and those of the relay
    check=HealthCheck(type="http", endpoint="/api/health"),
    metrics=None,  # they want a password where there is one
    watch=Watch.SOURCES,
    secrets={PASSWORD: Secret(generate=24)},
    speaks=("http",),
)
