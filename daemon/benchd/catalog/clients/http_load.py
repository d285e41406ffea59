"""The same request to any HTTP server."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT, URLS, objectives, sharing
from benchd.catalog.clients.own_load import LOAD, TIMEOUT, options, samples, shared_loads
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec

HTTP_LOAD = (
    Parameter(
        name="method",
        type="str",
        default="GET",
        choices=("GET", "POST", "PUT", "DELETE"),
        doc="of the request",
    ),
    Parameter(
        name="path",
        type="str",
        default="/",
        pattern=r"/[!-~]{0,2000}",
        doc="path of the request, with what follows ? in it, if anything",
    ),
    Parameter(name="body", type="str", default="", doc="what is sent with it"),
    Parameter(
        name="content_type",
        type="str",
        default=None,
        pattern=r"[!-~]{1,200}",
        doc="of the body; default: application/json",
    ),
    Parameter(
        name="expect_status",
        type="int",
        default=None,
        minimum=100,
        maximum=599,
        doc="the status of a good answer; default: any from 200 to 399",
    ),
    Parameter(name="expect", type="str", default="", doc="text that a good answer contains"),
    Parameter(
        name="bearer_env",
        type="str",
        default=None,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,99}",
        doc="variable with the token to show, such as a secret of the service",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of the arrivals"),
    *LOAD,
    TIMEOUT,
)


def _payload(spec: JobSpec) -> Payload:
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "http", "--url", URLS),
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *sharing(spec),
            *options(HTTP_LOAD, spec),
            *arguments(spec),
        ),
        ship=("load",),
        each_node=spec.nodes > 1,
    )


KIND = ClientKind(
    name="http-load",
    summary="the same request to any HTTP server: latency and throughput; part of benchd",
    payload=_payload,
    parse=readings.load,
    spreads=True,
    distributed=True,
    parameters=HTTP_LOAD,
    default_for=("minio", "qdrant"),
    extra_check=lambda part: (*shared_loads(part), *objectives(part, "http")),
    asks=asks("http"),
    samples=samples,
)
