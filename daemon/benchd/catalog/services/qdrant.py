"""Qdrant: everything is told by variables, and its second port speaks gRPC."""

from __future__ import annotations

from benchd.catalog.kinds import Metrics, ServiceKind, arguments, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec


def _payload(spec: JobSpec) -> Payload:
    # With one port only, gRPC has the next one, as its own numbers 6333 and 6334 have it: else it
    # would be 6334 for two of them on one node.
    grpc = '"$BENCHD_PORT_1"' if len(spec.ports) > 1 else '"$((BENCHD_PORT + 1))"'
    return Payload(
        argv=(
            *program(spec, "/qdrant/qdrant" if spec.container else "qdrant"),
            *arguments(spec),
        ),
        environment={
            "QDRANT__SERVICE__HOST": Sh('"$BENCHD_BIND"'),
            "QDRANT__SERVICE__HTTP_PORT": Sh('"$BENCHD_PORT"'),
            "QDRANT__SERVICE__GRPC_PORT": Sh(grpc),
            "QDRANT__STORAGE__STORAGE_PATH": Sh('"$BENCHD_DATA/storage"'),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": Sh('"$BENCHD_DATA/snapshots"'),
            "QDRANT__TELEMETRY_DISABLED": "true",
            # or it would leave a mark in the directory of the image, which cannot be written to
            "QDRANT_INIT_FILE_PATH": Sh('"$BENCHD_DATA/.qdrant-initialized"'),
        },
        preamble=('mkdir -p "$BENCHD_DATA/storage" "$BENCHD_DATA/snapshots"',),
    )


KIND = ServiceKind(
    name="qdrant",
    summary="the vector database Qdrant; HTTP on its first port, gRPC on its second; wants a key "
    "when it has `secrets: {QDRANT__SERVICE__API_KEY: ...}`",
    image="docker://qdrant/qdrant:latest",
    payload=_payload,
    ports=("auto", "auto"),
    version=("sh", "-c", "qdrant --version || /qdrant/qdrant --version"),
    check=HealthCheck(type="http", endpoint="/readyz"),
    metrics=Metrics(),
    speaks=("http",),
)
