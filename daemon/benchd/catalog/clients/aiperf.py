"""AIPerf on an OpenAI-compatible server."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import llm_tools, wrapped
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting, word
from benchd.catalog.readings.aiperf import OUTPUT_TOKENS
from benchd.core.payload import Payload
from benchd.core.spec import JobSpec

AIPERF = (
    *llm_tools.parameters(prompt=256, output=OUTPUT_TOKENS),
    Parameter(
        name="arrival",
        type="str",
        default="poisson",
        choices=("poisson", "constant"),
        doc="how requests at a `rate` are spread",
    ),
)

_WRAPPER = (
    r"""#!/bin/sh
# usage: aiperf.sh URL RESULT_DIR SECONDS SEED MODEL KEY_VARIABLE TOKENIZER PROGRAM [OPTION ...]
set -u
"""
    + llm_tools.BEFORE
    + r"""tokenizer=$1
advice='use an image that has it: install aiperf from the Python package index into one'
choose "$2" "$advice" aiperf 'python3 -m aiperf'
shift 2
if [ -n "$key" ]; then
  say 'aiperf can be told a key only where every user of the node reads it, on its command line:'
  say 'measure this server with llm-load or guidellm'
  exit 69
fi
left=$BENCHD_JOB/aiperf
note_metrics metrics-before.txt
date +%s.%N >"$dir/started.txt"
# shellcheck disable=SC2086 # words of ours
limited "$limit" "$chosen" $words profile --url="$url" --model="$model" \
  --tokenizer="${tokenizer:-$model}" --random-seed="$seed" --streaming \
  --use-server-token-count --ui=none --output-artifact-dir="$left" \
  "$@" >"$dir/aiperf.txt" 2>"$dir/aiperf.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_metrics metrics-after.txt
for file in profile_export_aiperf.json profile_export.jsonl; do
  find "$left" -name "$file" -type f -exec cp {} "$dir/$file" \; 2>/dev/null
done
if [ "$status" -eq 124 ]; then
  say "aiperf was stopped after $limit s: raise parameters.timeout, or do less"
elif [ "$status" -ne 0 ]; then
  tail -n 3 "$dir/aiperf.err" >&2
  say "aiperf failed with status $status"
elif [ ! -s "$dir/profile_export_aiperf.json" ]; then
  tail -n 3 "$dir/aiperf.err" >&2
  say 'aiperf ended well and left no result'
  status=65
fi
exit "$status"
"""
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        value = setting(AIPERF, spec, name)
        return "" if value is None else str(value)

    rate, cap = of("rate"), of("concurrency")
    whole = setting(AIPERF, spec, "ignore_eos")
    if spec.duration is not None and not of("requests"):
        end = f"--benchmark-duration={spec.duration}"
    else:
        end = f"--request-count={of('requests') or llm_tools.REQUESTS}"
    warmup = setting(AIPERF, spec, "warmup")
    return Payload(
        argv=(
            *llm_tools.first_arguments(spec, "aiperf.sh", AIPERF),
            *(word(of("tokenizer")), wrapped.program(spec)),
            f"--endpoint-type={'chat' if of('api') == 'openai-chat' else 'completions'}",
            f"--synthetic-input-tokens-mean={of('prompt_tokens')}",
            *("--synthetic-input-tokens-stddev=0", f"--output-tokens-mean={of('output_tokens')}"),
            "--output-tokens-stddev=0",
            *((f"--request-rate={rate}", f"--arrival-pattern={of('arrival')}") if rate else ()),
            *((f"--concurrency={cap or 1}",) if cap or not rate else ()),
            *((f"--warmup-request-count={warmup}",) if warmup else ()),
            *(("--extra-inputs=ignore_eos:true",) if whole else ()),
            *(end, *arguments(spec)),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"aiperf.sh": _WRAPPER},
        needs=wrapped.needs(spec, "aiperf"),
    )


KIND = ClientKind(
    name="aiperf",
    summary="AIPerf on an OpenAI-compatible server, in a closed loop or at a rate",
    payload=_payload,
    parse=readings.aiperf,
    parameters=AIPERF,
    version=("aiperf", "--version"),
    fits=llm_tools.fits,
    extra_check=wrapped.checked(llm_tools.complaints),
    asks=asks("openai"),
    samples=planned,
)
