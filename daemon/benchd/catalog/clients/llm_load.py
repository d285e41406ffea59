"""Streaming load on an LLM server."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, program, setting
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec

LLM_LOAD = (
    Parameter(
        name="api",
        type="str",
        default="openai-completions",
        choices=("openai-completions", "openai-chat", "ollama-generate", "ollama-chat"),
        doc="which streaming interface of the server is used",
    ),
    Parameter(
        name="model",
        type="str",
        default=None,
        pattern=r"[!-~]{1,300}",
        doc="model name; default: the one that the server lists",
    ),
    Parameter(
        name="prompt_tokens",
        type="int",
        default=128,
        minimum=1,
        maximum=1_000_000,
        unit="tokens",
        doc="length of a prompt; every prompt is different",
    ),
    Parameter(
        name="output_tokens",
        type="int",
        default=64,
        minimum=1,
        maximum=100_000,
        unit="tokens",
        doc="length of an answer, at most",
    ),
    Parameter(
        name="concurrency",
        type="int",
        default=1,
        minimum=1,
        maximum=10_000,
        unit="users",
        doc="users that each send the next request when the last one is answered (closed loop)",
    ),
    Parameter(
        name="requests",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000_000,
        doc="requests to measure; default: 100 where the client has no `duration`",
    ),
    Parameter(
        name="warmup",
        type="int",
        default=None,
        minimum=0,
        maximum=1_000_000,
        unit="requests",
        doc="requests before the measurement; default: two for each user, at least ten",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of the prompts"),
    Parameter(
        name="timeout",
        type="float",
        default=300.0,
        minimum=0.001,
        maximum=86_400,
        unit="s",
        doc="a request that takes longer is an error",
    ),
    Parameter(
        name="ignore_eos",
        type="bool",
        default=False,
        doc="ask for answers of full length (vLLM, llama.cpp); a shorter one is then an error",
    ),
)


def _llm_load_payload(spec: JobSpec) -> Payload:
    options: list[str] = []
    for parameter in LLM_LOAD:
        value = setting(LLM_LOAD, spec, parameter.name)
        flag = f"--{parameter.name.replace('_', '-')}"
        if isinstance(value, bool):
            options += [flag] if value else []
        elif value is not None:
            options += [flag, str(value)]
    if spec.duration is not None:
        options += ["--duration", str(spec.duration)]
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "llm", "--url", Sh('"$BENCHD_TARGET_URL"')),
            # The job directory is named by its token: prompts differ from job to job.
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *options,
            *arguments(spec),
        ),
        ship=("load",),
    )


KIND = ClientKind(
    name="llm-load",
    summary="streaming load on an LLM server: TTFT, TPOT, end-to-end latency; part of benchd",
    payload=_llm_load_payload,
    parse=readings.load,
    spreads=True,
    distributed=True,
    parameters=LLM_LOAD,
    default_for=("sim-llm",),
)
