"""GuideLLM 0.7 and later on an OpenAI-compatible server."""

from __future__ import annotations

import json

from benchd.catalog import readings
from benchd.catalog.clients import llm_tools, wrapped
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting, word
from benchd.core.payload import Payload
from benchd.core.spec import JobSpec

GUIDELLM = (
    # it has no warm-up that is counted in requests
    *(p for p in llm_tools.parameters(prompt=256, output=128) if p.name != "warmup"),
    Parameter(
        name="arrival",
        type="str",
        default="poisson",
        choices=("poisson", "constant"),
        doc="how requests at a `rate` are spread",
    ),
)

# What it is told is in a file, as its own reports hold it: a key would be seen on a command line.
_WRAPPER = (
    r"""#!/bin/sh
# usage: guidellm.sh URL RESULT_DIR SECONDS SEED MODEL KEY_VARIABLE TOKENIZER SPEC PROGRAM \
#   [OPTION ...]
set -u
"""
    + llm_tools.BEFORE
    + r"""tokenizer=$1 told=$2
advice='use an image that has version 0.7 or later; its project publishes one of each version'
choose "$3" "$advice" guidellm 'python3 -m guidellm'
shift 3
# shellcheck disable=SC2086 # words of ours
if ! timeout 300 "$chosen" $words run --help >/dev/null 2>"$dir/guidellm.err" </dev/null; then
  say "this guidellm has no \`run\`: $(tail -n 1 "$dir/guidellm.err"); $advice"
  exit 126
fi
config=$BENCHD_JOB/guidellm.json
trap 'rm -f "$config"' EXIT
BENCHD_KEY=$key "$python" - "$told" "$url" "$model" "${tokenizer:-$model}" "$seed" \
  "$dir/guidellm.json" >"$config" <<'PY' || exit 1
import json, os, sys
told, url, model, tokenizer, seed, path = sys.argv[1:]
spec = json.loads(told)
spec["backend"].update(target=url, model=model)
if os.environ.get("BENCHD_KEY"):
    spec["backend"]["api_key"] = os.environ["BENCHD_KEY"]
spec["tokenizer"] = {"kind": "huggingface_auto", "model": tokenizer}
spec["seed"] = {"kind": "static", "value": int(seed)}
spec["outputs"] = [{"kind": "json", "path": path}]
json.dump({"spec": spec}, sys.stdout)
PY
note_metrics metrics-before.txt
date +%s.%N >"$dir/started.txt"
# shellcheck disable=SC2086 # words of ours
limited "$limit" "$chosen" $words run --config="$config" --disable-console-interactive "$@" \
  >"$dir/guidellm.txt" 2>"$dir/guidellm.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_metrics metrics-after.txt
if [ "$status" -eq 124 ]; then
  say "guidellm was stopped after $limit s: raise parameters.timeout, or do less"
elif [ "$status" -ne 0 ]; then
  tail -n 3 "$dir/guidellm.err" >&2
  say "guidellm failed with status $status"
elif [ ! -s "$dir/guidellm.json" ]; then
  tail -n 3 "$dir/guidellm.err" >&2
  say 'guidellm ended well and left no result'
  status=65
fi
exit "$status"
"""
)


def _told(spec: JobSpec) -> str:
    """Return what GuideLLM is to do, but for what only the node knows."""

    def of(name: str) -> object:
        return setting(GUIDELLM, spec, name)

    rate, cap, requests = of("rate"), of("concurrency"), of("requests")
    profile: dict[str, object] = {"kind": "concurrent", "streams": [cap or 1]}
    if rate is not None:
        profile = {"kind": of("arrival"), "rate": [rate]}
        profile |= {"max_concurrency": cap} if cap is not None else {}
    if spec.duration is not None and requests is None:
        end = {"kind": "max_duration", "seconds": spec.duration}
    else:
        end = {"kind": "max_requests", "count": requests or llm_tools.REQUESTS}
    body = {} if of("ignore_eos") else {"extras": {"body": {"ignore_eos": False}}}
    is_chat = of("api") == "openai-chat"
    path = "/v1/chat/completions" if is_chat else "/v1/completions"
    return json.dumps(
        {
            "backend": {"kind": "openai_http", "request_format": path, **body},
            "profile": profile,
            "constraints": [end],
            "data": [
                {
                    "kind": "synthetic_text",
                    "prompt_tokens": of("prompt_tokens"),
                    "output_tokens": of("output_tokens"),
                }
            ],
        },
        sort_keys=True,
    )


def _payload(spec: JobSpec) -> Payload:
    tokenizer = setting(GUIDELLM, spec, "tokenizer")
    return Payload(
        argv=(
            *llm_tools.first_arguments(spec, "guidellm.sh", GUIDELLM),
            *(word(str(tokenizer or "")), _told(spec)),
            wrapped.program(spec),
            *arguments(spec),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"guidellm.sh": _WRAPPER},
        needs=wrapped.needs(spec, "guidellm"),
    )


KIND = ClientKind(
    name="guidellm",
    summary="GuideLLM on an OpenAI-compatible server, in a closed loop or at a rate",
    payload=_payload,
    parse=readings.guidellm,
    parameters=GUIDELLM,
    version=("guidellm", "--version"),
    co_safe=True,
    fits=llm_tools.fits,
    extra_check=wrapped.checked(llm_tools.complaints),
    asks=asks("openai"),
    samples=planned,
)
