"""vLLM.

Options as of vLLM 0.27 (docs.vllm.ai: "vllm serve", "Environment Variables", "Security"); those
used here are in 0.8 and later as well. ``VLLM_API_KEY`` in the environment is ``--api-key`` out of
the sight of other users; it guards the paths below /v1 only, so /health and /metrics are open.

Traps that are taken care of here:

* the sizes of tensor and pipeline parallelism follow from the GPUs that are asked for, and sizes
  that do not fit them are refused before a job waits for its nodes;
* it counts as ready when /health says so and the model is listed under the name clients will use;
* models are kept once for all jobs; caches of compilers, which lock files in ways that Lustre does
  not know, are on a disk of the node;
* nothing is told about its use to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from benchd.catalog.kinds import (
    Complaint,
    Metrics,
    Parameter,
    ServiceKind,
    arguments,
    program,
    setting,
    word,
)
from benchd.catalog.services import vllm_ray
from benchd.catalog.services.common import BIND, PORT, SLOW_START
from benchd.catalog.services.gpus import gpus_asked
from benchd.catalog.services.llm_common import (
    MODEL,
    bound,
    place,
    said_twice,
    shared_directory,
)
from benchd.core.payload import Payload, Sh, Step
from benchd.core.spec import HealthCheck, JobSpec, Part, Service

_VLLM = (
    Parameter(
        name="model",
        type="str",
        default=None,
        pattern=MODEL,
        doc="a repository of the Hugging Face hub, or a directory on the cluster that is bound "
        "into the container",
    ),
    Parameter(
        name="served_model_name",
        type="str",
        default=None,
        pattern=r"[!-~]{1,300}",
        doc="the name that clients ask for; default: the model",
    ),
    Parameter(
        name="tensor_parallel_size",
        type="int",
        default=None,
        minimum=1,
        maximum=4096,
        unit="GPUs",
        doc="GPUs that share each layer; it must divide the model's attention heads; default: the "
        "GPUs of a node",
    ),
    Parameter(
        name="pipeline_parallel_size",
        type="int",
        default=None,
        minimum=1,
        maximum=4096,
        unit="stages",
        doc="groups of layers, one after the other; default: the nodes",
    ),
    Parameter(
        name="max_model_len",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000_000,
        unit="tokens",
        doc="prompt and answer together, at most; default: what the model was made for",
    ),
    Parameter(
        name="gpu_memory_utilization",
        type="float",
        default=None,
        minimum=0.01,
        maximum=1,
        doc="share of GPU memory that it takes, whatever the model needs; default: vLLM's own, 0.9",
    ),
    Parameter(
        name="dtype",
        type="str",
        default=None,
        choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
        doc="precision of weights and activations; default: auto, that of the model",
    ),
    Parameter(
        name="quantization",
        type="str",
        default=None,
        pattern=r"[a-z0-9_-]{1,40}",
        doc="how weights are quantised, such as awq, gptq or fp8; default: what the model says",
    ),
    Parameter(
        name="max_num_seqs",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000,
        unit="requests",
        doc="requests that are computed at once; more wait; default: vLLM's own",
    ),
    Parameter(
        name="enable_prefix_caching",
        type="bool",
        default=None,
        doc="keep what equal beginnings of prompts have in common; default: vLLM's own, true; "
        "llm-load's prompts all begin differently",
    ),
    Parameter(name="seed", type="int", default=None, minimum=0, doc="of its random numbers"),
    place("hf_home", "models/huggingface", "of models and tokenizers (HF_HOME)"),
    Parameter(
        name="offline",
        type="bool",
        default=False,
        doc="use what is in hf_home and ask nobody (HF_HUB_OFFLINE), where compute nodes have no "
        "way to the internet",
    ),
)
# Options that carry a secret: on a command line, everybody on the node can read it.
_OPEN = {"--api-key": "VLLM_API_KEY", "--hf-token": "HF_TOKEN"}
# What the batch script decides, and what it is decided by.
_DECIDED = {
    "--port": "`ports`",
    "--host": "nothing: it listens where clients can reach it",
    "--tensor-parallel-size": "parameters.tensor_parallel_size",
    "-tp": "parameters.tensor_parallel_size",
    "--pipeline-parallel-size": "parameters.pipeline_parallel_size",
    "-pp": "parameters.pipeline_parallel_size",
    "--served-model-name": "parameters.served_model_name",
}
_CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "OUTLINES_CACHE_DIR": "outlines",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
}
# Whether the model is listed. 120 s: /v1/models is there as soon as the port is, or soon after.
_LISTED = """\
# Waits until the server lists a model. Arguments: URL of the list, name of the model.
import json, os, sys, time
import urllib.error, urllib.request

url, name = sys.argv[1:]
request = urllib.request.Request(url)
if os.environ.get("VLLM_API_KEY"):
    request.add_header("Authorization", "Bearer " + os.environ["VLLM_API_KEY"])
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
deadline = time.monotonic() + 120
while True:
    try:
        with direct.open(request, timeout=10) as answer:
            names = [model.get("id") for model in json.load(answer)["data"]]
        problem = "it lists %s" % ", ".join(map(str, names))
        if name in names:
            break
    except (OSError, ValueError, KeyError) as error:
        problem = str(error)
    if time.monotonic() > deadline:
        sys.exit("benchd: the model %s is not at %s: %s" % (name, url, problem))
    time.sleep(0.5)
"""


def _said(part: Part | JobSpec, name: str) -> int | None:
    value = part.parameters.get(f"{name}_parallel_size")
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return int(value) if whole and value is not None else None


def _sizes(part: Part | JobSpec) -> tuple[int | None, int]:
    """Return tensor and pipeline sizes: what the recipe says, and what follows from the GPUs."""
    nodes = part.resources.nodes or 1
    tensor, pipeline = _said(part, "tensor"), _said(part, "pipeline")
    asked = gpus_asked(part.resources)
    if pipeline is None:
        spread = nodes if tensor is None or asked is None else max(asked // tensor, 1)
        pipeline = spread if nodes > 1 else 1
    if tensor is None and asked is not None:
        tensor = max(asked // pipeline, 1)
    return tensor, pipeline


def _options(spec: JobSpec) -> Iterator[str]:
    tensor, pipeline = _sizes(spec)
    if tensor is not None:
        yield from ("--tensor-parallel-size", str(tensor))
    if pipeline > 1:
        yield from ("--pipeline-parallel-size", str(pipeline))
    if (spec.resources.nodes or 1) > 1:
        yield from ("--distributed-executor-backend", "ray")
    for name in (
        "served_model_name",
        "max_model_len",
        "gpu_memory_utilization",
        "dtype",
        "quantization",
        "max_num_seqs",
        "seed",
    ):
        value = setting(_VLLM, spec, name)
        if value is not None:
            yield from (f"--{name.replace('_', '-')}", str(value))
    caching = setting(_VLLM, spec, "enable_prefix_caching")
    if caching is not None:
        yield "--enable-prefix-caching" if caching else "--no-enable-prefix-caching"


def _words(spec: JobSpec) -> tuple[str | Sh, ...]:
    """Return the server's command; recipes may write its older form, python3 -m vllm..."""
    said = arguments(spec)
    own = program(spec, "vllm")
    if own[-1] == "vllm" and said[:1] != ("serve",):
        own = (*own, "serve")
    elif own[-1] == "vllm":
        own, said = (*own, "serve"), said[1:]
    model = spec.parameters.get("model")
    named: tuple[str | Sh, ...] = ()
    if model is not None:
        named = (word(str(model)),) if own[-1] == "serve" else ("--model", word(str(model)))
    return (*own, *named, "--host", BIND, "--port", PORT, *_options(spec), *said)


def _environment(spec: JobSpec) -> dict[str, str | Sh]:
    found: dict[str, str | Sh] = {
        "HF_HOME": bound("BENCHD_HF_HOME"),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    found |= {name: Sh(f'"$BENCHD_DATA/{below}"') for name, below in _CACHES.items()}
    if setting(_VLLM, spec, "offline"):
        found |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return found


def _payload(spec: JobSpec) -> Payload:
    spread = (spec.resources.nodes or 1) > 1
    name = served(spec)
    return Payload(
        argv=(*(("bash", Sh('"$JOB/ray-head.sh"')) if spread else ()), *_words(spec)),
        environment=_environment(spec),
        files={"listed.py": _LISTED, **(vllm_ray.FILES if spread else {})},
        preamble=(
            *shared_directory(
                "BENCHD_HF_HOME",
                spec.parameters.get("hf_home") or spec.environment.get("HF_HOME"),
                "models/huggingface",
            ),
            *(vllm_ray.PREAMBLE if spread else ()),
        ),
        binds=(bound("BENCHD_HF_HOME"),),
        workers=Step(argv=("bash", Sh('"$JOB/ray-worker.sh"'))) if spread else None,
        once_up=(_is_listed(name),) if name is not None else (),
    )


def _is_listed(name: str) -> Step:
    url = Sh('"http://$BENCHD_HOST_IP:$BENCHD_PORT/v1/models"')
    return Step(argv=("python3", Sh('"$JOB/listed.py"'), url, word(name)))


def served(part: Part | JobSpec) -> str | None:
    """Return the name under which clients find the model."""
    name = part.parameters.get("served_model_name") or part.parameters.get("model")
    return None if name is None else str(name)


def _complaints(part: Part) -> Sequence[Complaint]:
    variables = {"hf_home": "HF_HOME", "offline": "HF_HUB_OFFLINE"}
    return (
        *_model_complaints(part),
        *_size_complaints(part),
        *_argument_complaints(part),
        *_check_complaints(part),
        *said_twice(part, variables),
    )


def _model_complaints(part: Part) -> Iterator[Complaint]:
    if "model" not in part.parameters and not part.args:
        yield ("parameters", "model"), "missing: which model is to be served"


def _size_complaints(part: Part) -> Iterator[Complaint]:
    asked, nodes = gpus_asked(part.resources), part.resources.nodes or 1
    if asked is None:
        return
    if asked % nodes:
        yield ("resources",), f"{asked} GPUs cannot be spread evenly over {nodes} nodes"
        return
    tensor, pipeline = _sizes(part)
    product = (tensor or 1) * pipeline
    said = next((n for n in ("tensor", "pipeline") if _said(part, n) is not None), None)
    at = ("resources",) if said is None else ("parameters", f"{said}_parallel_size")
    what = f"tensor size {tensor} x pipeline size {pipeline} = {product} GPUs"
    if nodes > 1 and product != asked:
        yield at, f"{what}, but the {nodes} nodes have {asked}: the product must be that number"
    elif asked % product:
        yield at, f"{what}, which does not divide the {asked} that are asked for"


def _argument_complaints(part: Part) -> Iterator[Complaint]:
    for index, text in enumerate(part.args):
        option = text.partition("=")[0].replace("_", "-")
        if option in _OPEN:
            what = f"{option} would show its value to every user of the node; instead, write"
            yield ("args", index), f"{what} secrets: {{{_OPEN[option]}: {{generate: 32}}}}"
        elif option in _DECIDED:
            yield ("args", index), f"{option} is decided by {_DECIDED[option]}: leave it out here"


def _check_complaints(part: Part) -> Iterator[Complaint]:
    locked = "VLLM_API_KEY" in part.secrets or "VLLM_API_KEY" in part.environment
    check = part.health_check if isinstance(part, Service) else None
    if locked and check is not None and urlsplit(check.endpoint or "").path.startswith("/v1"):
        what = "can never pass: vLLM answers 401 there to whoever brings no key, and checks bring"
        yield ("health_check", "endpoint"), f"{what} none; leave it out, or write /health"


KIND = ServiceKind(
    name="vllm",
    summary="vLLM's OpenAI-compatible server, on one node or, through Ray, on several; wants a key "
    "when it has `secrets: {VLLM_API_KEY: ...}`",
    image="docker://vllm/vllm-openai:v0.11.2",
    payload=_payload,
    parameters=_VLLM,
    version=("python3", "-c", "import vllm; print(vllm.__version__)"),
    extra_check=_complaints,
    check=HealthCheck(type="http", endpoint="/health", start_period=SLOW_START),
    metrics=Metrics(),
    storage="local",
    speaks=("http", "openai"),
)
