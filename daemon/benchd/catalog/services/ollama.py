"""Ollama.

Options as of Ollama 0.33 (docs/faq.mdx, docs/context-length.mdx and envconfig/config.go of its
source; 0.5 and later read the same variables). How many layers go to the GPU (``num_gpu``) and the
context (``num_ctx``) may come with every request as well (docs/api.md, "options"), and a request
that says another one than the last makes the server load the model again.

Traps that are taken care of here:

* the model is there before the service counts as ready, and loaded: no client waits for a download;
* the directory of models is shared: a server that starts would remove what nobody refers to yet
  (``OLLAMA_NOPRUNE``), and two that fetch the same model write to the same file (the lock);
* ``OLLAMA_HOST`` of old recipes does not move the server away from the port that clients are told;
* a model is not unloaded while the client waits in Slurm's queue (``keep_alive``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import Complaint, Parameter, ServiceKind, arguments, program, setting
from benchd.catalog.services.common import BIND, SLOW_START
from benchd.catalog.services.llm_common import (
    MODEL,
    bound,
    place,
    said_twice,
    shared_directory,
)
from benchd.core.payload import Payload, Sh, Step
from benchd.core.spec import HealthCheck, JobSpec, Part, Service

_OLLAMA = (
    Parameter(
        name="model",
        type="str",
        default=None,
        pattern=MODEL,
        doc="the model to serve, such as llama3.2:1b: pulled before the service counts as ready "
        "unless it is there; default: none, clients bring their own",
    ),
    place("models_dir", "models/ollama", "of models (OLLAMA_MODELS)"),
    Parameter(
        name="num_parallel",
        type="int",
        default=None,
        minimum=1,
        maximum=1024,
        unit="requests",
        doc="requests that one model answers at once (OLLAMA_NUM_PARALLEL); the others wait, so "
        "throughput is flat beyond it; default: Ollama's own, 1; memory grows with it",
    ),
    Parameter(
        name="context_length",
        type="int",
        default=None,
        minimum=1,
        maximum=10_000_000,
        unit="tokens",
        doc="context of a request (OLLAMA_CONTEXT_LENGTH, num_ctx of llm-load): what is longer is "
        "cut silently; default: Ollama's own, by GPU memory; llm-load asks for what it needs",
    ),
    Parameter(
        name="gpu_layers",
        type="int",
        default=None,
        minimum=0,
        maximum=10_000,
        unit="layers",
        doc="layers on the GPU, 0: none; Ollama takes it with requests only, so llm-load sends it; "
        "default: as many as fit",
    ),
    Parameter(
        name="keep_alive",
        type="str",
        default="-1",
        pattern=r"-?\d+(\.\d+)?([a-z]+)?",
        doc="how long an unused model stays loaded (OLLAMA_KEEP_ALIVE): 5m, 1h, -1: for ever",
    ),
    Parameter(
        name="max_loaded_models",
        type="int",
        default=None,
        minimum=1,
        maximum=1000,
        unit="models",
        doc="models in memory at once (OLLAMA_MAX_LOADED_MODELS); default: Ollama's own",
    ),
    Parameter(
        name="max_queue",
        type="int",
        default=None,
        minimum=1,
        maximum=1_000_000,
        unit="requests",
        doc="requests that may wait before it says 503 (OLLAMA_MAX_QUEUE); default: its own, 512",
    ),
    Parameter(
        name="flash_attention",
        type="bool",
        default=None,
        doc="flash attention (OLLAMA_FLASH_ATTENTION); default: where the hardware has it",
    ),
    Parameter(
        name="kv_cache_type",
        type="str",
        default=None,
        choices=("f16", "q8_0", "q4_0"),
        doc="precision of the key-value cache (OLLAMA_KV_CACHE_TYPE); default: f16",
    ),
    Parameter(
        name="preload",
        type="bool",
        default=True,
        doc="load the model before the service counts as ready; not with gpu_layers, which come "
        "with the first request; false for embedding models, which cannot be loaded so",
    ),
)
_VARIABLES = {
    "num_parallel": "OLLAMA_NUM_PARALLEL",
    "context_length": "OLLAMA_CONTEXT_LENGTH",
    "keep_alive": "OLLAMA_KEEP_ALIVE",
    "max_loaded_models": "OLLAMA_MAX_LOADED_MODELS",
    "max_queue": "OLLAMA_MAX_QUEUE",
    "flash_attention": "OLLAMA_FLASH_ATTENTION",
    "kv_cache_type": "OLLAMA_KV_CACHE_TYPE",
    "models_dir": "OLLAMA_MODELS",
}
_HOST = re.compile(r"(?:http://)?(?P<host>[^/:]*|\[[^]]*\])(?::(?P<port>\d+))?/?")
_EVERYWHERE = frozenset({"", "0.0.0.0", "[::]", "*"})  # noqa: S104 - compared, not bound

# 3 minutes without a touch are the end of a job that held the lock; it touches it every 20 s.
PULL = """\
# Brings a model that is not there. Argument: the model. The lock is for other jobs that share the
# directory: Ollama writes what it fetches to the same file, whoever asks.
set -u
have() { ollama show "$1" >/dev/null 2>&1; }
have "$1" && exit 0
lock=$OLLAMA_MODELS/.benchd-pull misses=0
until mkdir "$lock" 2>/dev/null; do
    have "$1" && exit 0
    [ -d "$lock" ] || misses=$((misses + 1))
    [ "$misses" -lt 3 ] || break
    [ -z "$(find "$lock" -prune -mmin +3 2>/dev/null)" ] || rmdir "$lock" 2>/dev/null || :
    sleep 2
done
while [ -d "$lock" ]; do touch -c "$lock"; sleep 20; done >/dev/null 2>&1 &
keeper=$!
trap 'kill "$keeper" 2>/dev/null; rmdir "$lock" 2>/dev/null' EXIT
trap 'exit 143' TERM
have "$1" && exit 0 # another one brought it between our look and the lock
ollama pull "$1" && exit 0
have "$1" && exit 0
echo "benchd: the model $1 could not be pulled; see the lines above. Where compute nodes cannot" \\
    "reach its library, pull it once where that can be reached, into $OLLAMA_MODELS" >&2
exit 1
"""


def _words(spec: JobSpec) -> tuple[str | Sh, ...]:
    """Return the server's command; recipes write ``command: ollama`` and ``args: [serve]``."""
    said = arguments(spec)
    serve = () if said[:1] == ("serve",) else ("serve",)
    return (*program(spec, "ollama"), *serve, *said)


def _ours(host: Sh) -> tuple[str | Sh, ...]:
    """Return what holds whatever the recipe's environment says: the port clients are told."""
    return (
        "env",
        Sh(f'OLLAMA_HOST={host.text}:"$BENCHD_PORT"'),
        Sh('OLLAMA_MODELS="$BENCHD_OLLAMA_MODELS"'),
    )


def _environment(spec: JobSpec) -> dict[str, str | Sh]:
    found: dict[str, str | Sh] = {"OLLAMA_NOPRUNE": "1"}
    for parameter, variable in _VARIABLES.items():
        value = setting(_OLLAMA, spec, parameter)
        if value is not None and parameter != "models_dir":
            found[variable] = str(int(value)) if isinstance(value, bool) else str(value)
    return found


def _once_up(spec: JobSpec) -> tuple[Step, ...]:
    model = spec.parameters.get("model")
    if model is None:
        return ()
    here = Sh('"$BENCHD_HOST_IP"')
    # A proxy is for what the server fetches, not for us who speak to it.
    there = (*_ours(here), Sh(f"NO_PROXY={here.text}"), Sh(f"no_proxy={here.text}"))
    pull = Step(argv=(*there, "sh", Sh('"$JOB/pull-model.sh"'), str(model)))
    if not setting(_OLLAMA, spec, "preload") or "gpu_layers" in spec.parameters:
        return (pull,)
    # An empty prompt loads the model and answers nothing.
    return (pull, Step(argv=(*there, *program(spec, "ollama")[:1], "run", str(model), "")))


def _payload(spec: JobSpec) -> Payload:
    directory = spec.parameters.get("models_dir") or spec.environment.get("OLLAMA_MODELS")
    return Payload(
        argv=(*_ours(BIND), *_words(spec)),
        environment=_environment(spec),
        files={"pull-model.sh": PULL} if "model" in spec.parameters else {},
        preamble=shared_directory("BENCHD_OLLAMA_MODELS", directory, "models/ollama"),
        binds=(bound("BENCHD_OLLAMA_MODELS"),),
        once_up=_once_up(spec),
    )


def _complaints(part: Part) -> Sequence[Complaint]:
    return (*said_twice(part, _VARIABLES), *_host_complaints(part))


def _host_complaints(part: Part) -> Iterator[Complaint]:
    said = part.environment.get("OLLAMA_HOST")
    if said is None:
        return
    at = ("environment", "OLLAMA_HOST")
    match = _HOST.fullmatch(said)
    if match is None or match["host"] not in _EVERYWHERE:
        yield at, f"{said!r} would hide the server from clients on other nodes: leave it out"
        return
    ports = part.ports if isinstance(part, Service) else ()
    port = match["port"]
    if port is not None and str(next(iter(ports), "auto")) != port:
        what = f"names port {port}, but the server gets the first of `ports`"
        yield at, f"{what}: write ports: [{port}], or leave the port out here"


def listed(model: str) -> str:
    """Return the name under which Ollama lists a model: with a tag, ``latest`` if none is said."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _expects(part: Part) -> str | None:
    model = part.parameters.get("model")
    return None if model is None else f'"{listed(str(model))}"'


KIND = ServiceKind(
    name="ollama",
    summary="Ollama: pulls and loads its model before it counts as ready; its models are shared by "
    "all jobs",
    image="docker://ollama/ollama:0.12.6",
    payload=_payload,
    parameters=_OLLAMA,
    # The server that is asked may be down, and then the first line is a warning.
    version=(
        "sh",
        "-c",
        "ollama --version 2>/dev/null | grep -oE '[0-9]+[.][0-9.]+.*' | tail -n 1",
    ),
    extra_check=_complaints,
    check=HealthCheck(type="http", endpoint="/api/tags", start_period=SLOW_START),
    expects=_expects,
    speaks=("http", "openai", "ollama"),
)
