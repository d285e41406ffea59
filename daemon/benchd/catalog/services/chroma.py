"""Chroma, from version 1.0 on: the server that speaks API v2."""

from __future__ import annotations

from benchd.catalog.kinds import ServiceKind, arguments, program
from benchd.catalog.services.common import BIND, PORT
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec


def _payload(spec: JobSpec) -> Payload:
    own = arguments(spec)
    if own[:1] == ("run",):  # recipes that write the whole command
        own = own[1:]
    said = {a.partition("=")[0] for a in own if isinstance(a, str)}
    usual: tuple[tuple[str, str | Sh], ...] = (
        ("--path", Sh('"$BENCHD_DATA/chroma"')),
        ("--host", BIND),
        ("--port", PORT),
    )
    options = [word for option in usual if option[0] not in said for word in option]
    return Payload(
        argv=(*program(spec, "chroma"), "run", *options, *own),
        # It writes a paragraph for each request otherwise, into the job's log on shared disk.
        environment={"ANONYMIZED_TELEMETRY": "False", "RUST_LOG": "warn"},
        preamble=('mkdir -p "$BENCHD_DATA/chroma"',),
    )


KIND = ServiceKind(
    name="chroma",
    summary="the vector database Chroma (1.0 or newer); data of its own for each job",
    image="docker://chromadb/chroma:latest",
    payload=_payload,
    version=("chroma", "--version"),
    check=HealthCheck(type="http", endpoint="/api/v2/heartbeat"),
    speaks=("http", "chroma"),
)
