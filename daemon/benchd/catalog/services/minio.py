"""MinIO: object storage with the interface of S3, and a console on its second port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import Complaint, Metrics, ServiceKind, arguments, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec, Part

_USER, _PASSWORD = "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"


def _payload(spec: JobSpec) -> Payload:
    own = arguments(spec)
    where: list[Sh] = []
    if own[:1] == ("server",):  # recipes that write the whole command
        own = own[1:]
    else:
        where.append(Sh('"$BENCHD_DATA/minio"'))
    said = {a.partition("=")[0] for a in own if isinstance(a, str)}
    options: list[str | Sh] = []
    if "--address" not in said:
        options += ["--address", Sh('"$BENCHD_BIND:$BENCHD_PORT"')]
    has_console = len(spec.ports) > 1
    if has_console and "--console-address" not in said:
        options += ["--console-address", Sh('"$BENCHD_BIND:$BENCHD_PORT_1"')]
    return Payload(
        argv=(*program(spec, "minio"), "server", *options, *own, *where),
        environment={
            _USER: "benchd",
            "MINIO_BROWSER": "on" if has_console else "off",
            "MINIO_UPDATE": "off",
            # or a scraper would need a token that only its administrator can make
            "MINIO_PROMETHEUS_AUTH_TYPE": "public",
        },
        preamble=('mkdir -p "$BENCHD_DATA/minio"',),
    )


def _check(part: Part) -> Sequence[Complaint]:
    return tuple(_complaints(part))


def _complaints(part: Part) -> Iterator[Complaint]:
    if _PASSWORD not in {**part.environment, **part.secrets}:
        yield (
            ("secrets",),
            (
                "missing: without one, anybody logs in with MinIO's well-known password; write "
                f"secrets: {{{_PASSWORD}: {{generate: 24}}}}"
            ),
        )


KIND = ServiceKind(
    name="minio",
    summary="MinIO, object storage with the interface of S3; its console on the second port; "
    "wants `secrets: {MINIO_ROOT_PASSWORD: ...}`; MINIO_ROOT_USER is benchd where it is not said",
    image="docker://minio/minio:latest",
    payload=_payload,
    ports=("auto", "auto"),
    version=("minio", "--version"),
    extra_check=_check,
    check=HealthCheck(type="http", endpoint="/minio/health/ready"),
    metrics=Metrics(path="/minio/v2/metrics/cluster"),
    speaks=("http",),
)
