"""cAdvisor as a service of its own: what all cgroups of its node use."""

from __future__ import annotations

from benchd.catalog.kinds import Metrics, Parameter, ServiceKind, arguments, program, setting
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec

_CADVISOR = (
    Parameter(
        name="housekeeping_interval",
        type="str",
        default="10s",
        pattern=r"[0-9]+(ms|s|m)",
        doc="time between two looks at each cgroup, such as 10s",
    ),
)


def _payload(spec: JobSpec) -> Payload:
    interval = setting(_CADVISOR, spec, "housekeeping_interval")
    return Payload(
        argv=(
            *program(spec, "cadvisor"),
            Sh('-listen_ip="$BENCHD_BIND"'),
            Sh('-port="$BENCHD_PORT"'),
            f"-housekeeping_interval={interval}",
            "-store_container_labels=false",
            *arguments(spec),
        )
    )


KIND = ServiceKind(
    name="cadvisor",
    summary="cAdvisor on a node of its choice; beside a service, say `enable_cadvisor` there",
    payload=_payload,
    parameters=_CADVISOR,
    version=("cadvisor", "--version"),
    check=HealthCheck(type="http", endpoint="/healthz"),
    metrics=Metrics(),
    speaks=("http",),
)
