"""NVIDIA Triton Inference Server.

Options as of Triton 2.31 (release 23.02) and later: ``tritonserver --help``; docs/user_guide/
metrics.md and docs/customization_guide/inference_protocols.md of its source. Three ports: HTTP,
gRPC, metrics. /v2/health/ready answers 200 when every model of the repository is loaded
(``--strict-readiness`` is its default), and a model that cannot be loaded ends the server.

No usual image is named: Triton's images are not on Docker Hub but in NVIDIA's own registry (the NGC
catalogue), under ``nvidia/tritonserver`` with tags such as ``24.08-py3``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import (
    Complaint,
    Metrics,
    Parameter,
    ServiceKind,
    arguments,
    program,
    setting,
)
from benchd.catalog.services.common import BIND, SLOW_START
from benchd.catalog.services.llm_common import PLACE, bound
from benchd.core.containers import shell_path
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec, Part, Service

_TRITON = (
    Parameter(
        name="model_repository",
        type="str",
        default=None,
        pattern=PLACE,
        doc="directory with a directory for each model: NAME/config.pbtxt, NAME/1/...",
    ),
    Parameter(
        name="models",
        type="str",
        default=None,
        pattern=r"[A-Za-z0-9_.*-]+(,[A-Za-z0-9_.*-]+)*",
        doc="which of them are loaded, with commas between them; default: all",
    ),
    Parameter(
        name="log_verbose",
        type="int",
        default=0,
        minimum=0,
        maximum=9,
        doc="how much it says about itself",
    ),
)
_PORTS = ("--http-port", "--grpc-port", "--metrics-port")


def _payload(spec: JobSpec) -> Payload:
    repository = spec.parameters.get("model_repository")
    chosen = setting(_TRITON, spec, "models")
    options: list[str | Sh] = []
    for index, option in enumerate(_PORTS):
        options += [option, Sh(f'"$BENCHD_PORT_{index}"')]
    for option in ("--http-address", "--grpc-address", "--metrics-address"):
        options += [option, BIND]
    if repository is not None:
        options += ["--model-repository", bound("BENCHD_MODEL_REPOSITORY")]
    if chosen is not None:
        options += ["--model-control-mode", "explicit"]
        options += [f"--load-model={name}" for name in str(chosen).split(",")]
    verbose = setting(_TRITON, spec, "log_verbose")
    options += ["--log-verbose", str(verbose)] if verbose else []
    return Payload(
        argv=(*program(spec, "tritonserver"), *options, *arguments(spec)),
        preamble=_found(str(repository)) if repository is not None else (),
        binds=(bound("BENCHD_MODEL_REPOSITORY"),) if repository is not None else (),
    )


def _found(repository: str) -> tuple[str, ...]:
    return (
        f"export BENCHD_MODEL_REPOSITORY={shell_path(repository)}",
        '[ -d "$BENCHD_MODEL_REPOSITORY" ] || benchd_stop "the model repository" \\',
        '    "$BENCHD_MODEL_REPOSITORY is not seen from $BENCHD_HOST"',
    )


def _complaints(part: Part) -> Sequence[Complaint]:
    return tuple(_each_complaint(part))


def _each_complaint(part: Part) -> Iterator[Complaint]:
    said = any(text.partition("=")[0] == "--model-repository" for text in part.args)
    if "model_repository" not in part.parameters and not said:
        yield ("parameters", "model_repository"), "missing: the directory with the models"
    ports = part.ports if isinstance(part, Service) else ()
    if ports and len(ports) != len(_PORTS):
        what = f"{len(ports)} of three: HTTP, gRPC and metrics, such as [8000, 8001, 8002]"
        yield ("ports",), what


KIND = ServiceKind(
    name="triton",
    summary="NVIDIA Triton Inference Server with a model repository; ports: HTTP, gRPC, metrics; "
    "its image is in NVIDIA's registry (NGC catalogue): nvidia/tritonserver",
    payload=_payload,
    parameters=_TRITON,
    ports=("auto", "auto", "auto"),
    check=HealthCheck(type="http", endpoint="/v2/health/ready", start_period=SLOW_START),
    extra_check=_complaints,
    metrics=Metrics(port=2),
    speaks=("http",),
)
