"""What the LLM load generators of others have in common: parameters, and what is asked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchd.catalog.clients import wrapped
from benchd.catalog.clients.common import RESULT, URL
from benchd.catalog.clients.llm_load import VLLM_KEY
from benchd.catalog.kinds import Complaint, Parameter, setting
from benchd.core.payload import Sh
from benchd.core.spec import Client, JobSpec, Part
from benchd.fields import Scalar

REQUESTS = 200  # of a measurement that neither a number nor a duration ends
# A model or a directory: text that JSON and the tools' own lists take as it is.
_PLAIN = r"[A-Za-z0-9/$][A-Za-z0-9._/:@+${}-]{0,299}"


_WHICH = (
    Parameter(
        name="api",
        type="str",
        default="openai-completions",
        choices=("openai-completions", "openai-chat"),
        doc="which streaming interface of the server is used",
    ),
    Parameter(
        name="model",
        type="str",
        default=None,
        pattern=_PLAIN,
        doc="model name; default: the one that the server lists",
    ),
    Parameter(
        name="tokenizer",
        type="str",
        default=None,
        pattern=_PLAIN,
        doc="the model's directory, or its repository where nodes reach it; default: the "
        "service's model",
    ),
)
_LOAD = (
    Parameter(
        name="requests",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000_000,
        doc="requests to measure; default: 200 where the client has no `duration`",
    ),
    Parameter(
        name="concurrency",
        type="int",
        default=None,
        minimum=1,
        maximum=10_000,
        unit="users",
        doc="requests in flight: so many at once, and with a `rate` so many at most; default: "
        "1, and with a `rate` no limit",
    ),
    Parameter(
        name="rate",
        type="float",
        default=None,
        minimum=0.001,
        maximum=10**6,
        unit="1/s",
        doc="requests that begin each second (open loop); default: each user sends the next "
        "request when the last one is answered",
    ),
    Parameter(
        name="warmup",
        type="int",
        default=16,
        minimum=0,
        maximum=1_000_000,
        unit="requests",
        doc="requests before the measurement, where the tool can",
    ),
    Parameter(
        name="ignore_eos",
        type="bool",
        default=True,
        doc="ask for answers of full length; a shorter one is then an error",
    ),
    Parameter(
        name="seed",
        type="int",
        default=None,
        minimum=0,
        maximum=2**32 - 1,
        doc="of prompts and arrivals; default: another one for each job, or the prefix cache "
        "of a server would answer what the last run has asked",
    ),
    Parameter(
        name="api_key_env",
        type="str",
        default=None,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,99}",
        doc="variable with the server's key, such as a secret of the service; default for "
        "vllm: VLLM_API_KEY",
    ),
    wrapped.limit(),
)


def parameters(*, prompt: int, output: int) -> tuple[Parameter, ...]:
    """Return the parameters of all of them."""
    return (
        *_WHICH,
        Parameter(
            name="prompt_tokens",
            type="int",
            default=prompt,
            minimum=1,
            maximum=1_000_000,
            unit="tokens",
            doc="length of a prompt",
        ),
        Parameter(
            name="output_tokens",
            type="int",
            default=output,
            minimum=1,
            maximum=100_000,
            unit="tokens",
            doc="length of an answer",
        ),
        *_LOAD,
    )


def fits(kind: str, service: Part | None, _client: Part) -> dict[str, Scalar]:
    """Return what follows from the service: its model, tokenizer and key."""
    if kind != "vllm":
        return {}
    said: Mapping[str, Scalar] = {} if service is None else service.parameters
    model = said.get("model")
    found: dict[str, Scalar] = {"api_key_env": VLLM_KEY}
    if model is not None:
        found["tokenizer"] = model
        served = said.get("served_model_name") or model
        # A path below a variable is known on the cluster only; the server lists one model anyway.
        found |= {} if "$" in str(served) else {"model": served}
    return found


def complaints(part: Part, *, only_requests: str = "") -> Iterator[Complaint]:
    """Yield what is wrong; ``only_requests`` is the tool that knows no duration."""
    if not isinstance(part, Client) or part.duration is None:
        return
    if only_requests:
        what = f"{only_requests} sends a number of requests and knows no time: use requests"
        yield ("duration",), what
    elif part.parameters.get("requests") is not None:
        what = "and duration say two ends of one measurement: leave one of them out"
        yield ("parameters", "requests"), what


# POSIX sh. The server is asked first, with the key and past any proxy, and for its model where the
# recipe names none: Python is wherever these tools are. `$key` is empty where there is none.
BEFORE = (
    wrapped.RUNNING
    + r"""umask 077
url=$1 dir=$2 limit=$3 seed=$4 model=$5 keyed=$6
shift 6
host=${url#*://}
no_proxy=${no_proxy:+$no_proxy,}${host%%[:/]*}
NO_PROXY=$no_proxy
export no_proxy NO_PROXY
key=''
if [ -n "$keyed" ]; then key=$(printenv "$keyed") || key=''; fi
if [ -z "$seed" ]; then seed=$(basename "$BENCHD_JOB" | cksum | cut -d' ' -f1); fi
printf '%s\n' "$seed" >"$dir/seed.txt"
python=$(command -v python3 || command -v python) || {
  say 'there is no python here, which the tool needs: use an image that has it'
  exit 127
}
listed=$(BENCHD_KEY=$key timeout 30 "$python" - "$url" "$model" <<'PY'
import json, os, sys, urllib.request
url, model = sys.argv[1:]
request = urllib.request.Request(url + "/v1/models")
if os.environ.get("BENCHD_KEY"):
    request.add_header("Authorization", "Bearer " + os.environ["BENCHD_KEY"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    told = json.load(opener.open(request, timeout=20))
    names = [str(each["id"]) for each in told["data"]]
except (OSError, ValueError, KeyError, TypeError) as error:
    sys.exit("benchd: %s/v1/models does not list models: %s" % (url, error))
if model and model not in names:
    sys.exit("benchd: the server has no model %s; it lists: %s" % (model, ", ".join(names[:5])))
if not names:
    sys.exit("benchd: the server lists no model")
print(model or names[0])
PY
) || exit 69
model=$listed
# Until its tokens rest: a server may count the end of an answer a moment after it has sent it.
note_metrics() { # FILE: what the server counts itself, where it shows that
  BENCHD_KEY=$key timeout 60 "$python" - "$url" "$dir/$1" 2>/dev/null <<'PY' || return 0
import os, sys, time, urllib.request
url, path = sys.argv[1:]
request = urllib.request.Request(url + "/metrics")
if os.environ.get("BENCHD_KEY"):
    request.add_header("Authorization", "Bearer " + os.environ["BENCHD_KEY"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
before = None
for _ in range(10):
    page = opener.open(request, timeout=5).read(4 * 1024 * 1024)
    tokens = [line for line in page.split(b"\n") if b"tokens" in line]
    if tokens == before:
        break
    before = tokens
    time.sleep(0.05)
with open(path, "wb") as file:
    file.write(page)
PY
}
"""
)


def first_arguments(
    spec: JobSpec, script: str, known: tuple[Parameter, ...]
) -> tuple[str | Sh, ...]:
    """Return how a wrapper is called: what ``BEFORE`` reads."""

    def of(name: str) -> str:
        value = setting(known, spec, name)
        return "" if value is None else str(value)

    return (
        *("sh", Sh(f'"$JOB/{script}"'), URL, RESULT),
        *(of("timeout"), of("seed"), of("model"), of("api_key_env")),
    )
