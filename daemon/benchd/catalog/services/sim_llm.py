"""The synthetic LLM server that is part of benchd."""

from __future__ import annotations

from collections.abc import Sequence

from benchd.catalog.kinds import (
    Complaint,
    Metrics,
    Parameter,
    ServiceKind,
    arguments,
    program,
    setting,
)
from benchd.catalog.services.common import BIND, PORT
from benchd.core.payload import Payload, Sh
from benchd.core.spec import HealthCheck, JobSpec, Part

_SIM_LLM = (
    Parameter(
        name="model",
        type="str",
        default="sim-llm",
        pattern=r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}",
        doc="the model name it answers to: letters, digits and ._:/-",
    ),
    Parameter(
        name="ttft_ms",
        type="float",
        default=50.0,
        minimum=0,
        maximum=600_000,
        unit="ms",
        doc="time to the first token (mean)",
    ),
    Parameter(
        name="tpot_ms",
        type="float",
        default=10.0,
        minimum=0,
        maximum=60_000,
        unit="ms",
        doc="time for each further token (mean)",
    ),
    Parameter(
        name="distribution",
        type="str",
        default="constant",
        choices=("constant", "normal", "lognormal", "exponential"),
        doc="how both times are distributed",
    ),
    Parameter(
        name="jitter",
        type="float",
        default=0.0,
        minimum=0,
        maximum=2,
        doc="standard deviation as a share of the mean, for normal and lognormal",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of the random delays"),
    Parameter(
        name="parallel",
        type="int",
        default=16,
        minimum=1,
        maximum=10_000,
        unit="requests",
        doc="requests that are generated at once; the others wait in order",
    ),
)


def _sim_llm_payload(spec: JobSpec) -> Payload:
    options: list[str] = []
    for parameter in _SIM_LLM:
        value = setting(_SIM_LLM, spec, parameter.name)
        options += [f"--{parameter.name.replace('_', '-')}", str(value)]
    return Payload(
        argv=(
            *program(spec, "python3"),
            Sh('"$BENCHD_SHIP_LLM"'),
            *("--host", BIND, "--port", PORT),
            *options,
            *arguments(spec),
        ),
        ship=("llm",),
    )


def _sim_llm_check(part: Part) -> Sequence[Complaint]:
    jitter = part.parameters.get("jitter", 0)
    distribution = part.parameters.get("distribution", "constant")
    if jitter and distribution in ("constant", "exponential"):
        at = ("parameters", "jitter")
        return ((at, f"a {distribution} distribution has none: use normal or lognormal"),)
    return ()


KIND = ServiceKind(
    name="sim-llm",
    summary="a synthetic LLM server with known delays, OpenAI and Ollama APIs; part of benchd",
    payload=_sim_llm_payload,
    parameters=_SIM_LLM,
    extra_check=_sim_llm_check,
    check=HealthCheck(type="http", endpoint="/health"),
    metrics=Metrics(),
    speaks=("http", "openai", "ollama"),
)
