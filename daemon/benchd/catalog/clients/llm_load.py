"""Streaming load on an LLM server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT, URLS, objectives, sharing
from benchd.catalog.clients.own_load import LOAD, TIMEOUT, options, samples, shared_loads
from benchd.catalog.kinds import ClientKind, Complaint, Parameter, arguments, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec, Part
from benchd.fields import Scalar

# What vLLM's key is called in its environment, and so in that of its clients.
VLLM_KEY = "VLLM_API_KEY"


def _timed(parameter: Parameter) -> Parameter:
    """Return a parameter with an objective that answers of an LLM have."""
    doc = parameter.doc.replace("latency_sched_ms<=50", "ttft_sched_ms<=500")
    return replace(parameter, doc=doc)


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
        name="cache_mode",
        type="str",
        default="unique",
        choices=("unique", "shared-prefix", "repeat"),
        doc="what a cache of prefixes finds: nothing; all but the end of each prompt; everything",
    ),
    Parameter(
        name="prompt_ids",
        type="bool",
        default=False,
        doc="send numbers of tokens (openai-completions of vLLM): lengths are exact",
    ),
    Parameter(
        name="dataset",
        type="str",
        default=None,
        pattern=r"/[!-~]{1,1000}",
        doc="file on the cluster with prompts: lines of JSON with prompt and, if wanted, "
        "output_tokens, or a ShareGPT file",
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
    *(_timed(one) for one in LOAD),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of prompts and arrivals"),
    replace(TIMEOUT, default=300.0),
    Parameter(
        name="ignore_eos",
        type="bool",
        default=False,
        doc="ask for answers of full length (vLLM, llama.cpp); a shorter one is then an error",
    ),
    Parameter(
        name="record_chunks",
        type="bool",
        default=False,
        doc="keep the gaps between the chunks of each answer in samples.jsonl.gz (gaps_us): some "
        "4 bytes a token",
    ),
    Parameter(
        name="api_key_env",
        type="str",
        default=None,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,99}",
        doc="variable with the server's key, such as a secret of the service; default for vllm: "
        "VLLM_API_KEY",
    ),
    Parameter(
        name="num_ctx",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000_000,
        unit="tokens",
        doc="context that Ollama is asked for with each request; default: that of the service, "
        "else enough for prompt and answer",
    ),
    Parameter(
        name="num_gpu",
        type="int",
        default=None,
        minimum=0,
        maximum=10_000,
        unit="layers",
        doc="layers that Ollama is asked to put on the GPU; default: those of the service",
    ),
)


def _fits(kind: str, service: Part | None, client: Part) -> dict[str, Scalar]:
    """Return what follows from the service: its interface, model and key."""
    said = {} if service is None else service.parameters
    if kind == "ollama":
        wanted = {"api": "ollama-generate", "model": said.get("model")}
        if str(client.parameters.get("api", "ollama-")).startswith("ollama-"):
            wanted["num_ctx"] = said.get("context_length")
        # Whoever asks through another interface cannot say it, and is told so when it starts.
        wanted["num_gpu"] = said.get("gpu_layers")
        return {name: value for name, value in wanted.items() if value is not None}
    if kind == "vllm":
        model = said.get("served_model_name") or said.get("model")
        # A path below a variable is known on the cluster only; the server lists one model anyway.
        named = {} if model is None or "$" in str(model) else {"model": model}
        return {"api": "openai-completions", "api_key_env": VLLM_KEY, **named}
    return {}


def _asks(part: Part) -> tuple[str, ...]:
    api = str(part.parameters.get("api", ""))
    return (api.partition("-")[0],) if api else ("openai", "ollama")


def _llm_load_payload(spec: JobSpec) -> Payload:
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "llm", "--url", URLS),
            # The job directory is named by its token: prompts differ from job to job.
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *sharing(spec),
            *options(LLM_LOAD, spec),
            *arguments(spec),
        ),
        ship=("load",),
        each_node=spec.nodes > 1,
    )


def _prompts(part: Part) -> Iterator[Complaint]:
    """Yield what is wrong with the prompts that are asked for."""
    given = part.parameters
    for name in ("prompt_ids", "cache_mode"):
        if "dataset" in given and given.get(name) not in (None, False, "unique"):
            yield ("parameters", name), "a dataset has its own prompts: leave it out"
    if "dataset" in given and "prompt_tokens" in given:
        what = "a dataset's prompts are as long as they are: leave it out"
        yield ("parameters", "prompt_tokens"), what
    if given.get("prompt_ids") is True and given.get("api") not in (None, "openai-completions"):
        yield ("parameters", "prompt_ids"), "only api: openai-completions takes them"


KIND = ClientKind(
    name="llm-load",
    summary="streaming load on an LLM server: TTFT, TPOT, end-to-end latency; part of benchd",
    payload=_llm_load_payload,
    parse=readings.load,
    spreads=True,
    distributed=True,
    parameters=LLM_LOAD,
    default_for=("sim-llm", "ollama", "vllm"),
    fits=_fits,
    extra_check=lambda part: (*shared_loads(part), *_prompts(part), *objectives(part, "llm")),
    asks=_asks,
    samples=samples,
)
