"""``vllm bench serve``, from the image of the service that it measures."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import llm_tools, wrapped
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting, word
from benchd.catalog.readings.vllm_bench import OUTPUT_TOKENS, PROMPT_TOKENS
from benchd.core.payload import Payload
from benchd.core.spec import JobSpec

VLLM_BENCH = (
    *llm_tools.parameters(prompt=PROMPT_TOKENS, output=OUTPUT_TOKENS),
    Parameter(
        name="burstiness",
        type="float",
        default=1.0,
        minimum=0.001,
        maximum=1000,
        doc="of the arrivals at a `rate`: 1 is Poisson, less comes in bursts, more is even",
    ),
)

# Images were published in which vllm runs and its benchmark does not, so that is asked as well.
# Options differ between versions; those that not all have are taken where they are known.
_WRAPPER = (
    r"""#!/bin/sh
# usage: vllm-bench.sh URL RESULT_DIR SECONDS SEED MODEL KEY_VARIABLE WARMUP TOKENIZER PROGRAM \
#   [OPTION ...]
set -u
"""
    + llm_tools.BEFORE
    + r"""warmup=$1 tokenizer=$2
advice='use the image of the service, docker://vllm/vllm-openai, which has it'
choose "$3" "$advice" vllm 'python3 -m vllm.entrypoints.cli.main'
shift 3
# shellcheck disable=SC2086 # words of ours
help=$(timeout 300 "$chosen" $words bench serve --help=all 2>&1 </dev/null) ||
  help=$(timeout 300 "$chosen" $words bench serve --help 2>&1 </dev/null) || {
  say "vllm is here, its benchmark does not run: $(printf '%s\n' "$help" | grep . | tail -n 1)"
  say "$advice; or install vllm[bench]"
  exit 126
}
case $help in
  *--num-warmups*) set -- "$@" "--num-warmups=$warmup" ;;
  *) [ "$warmup" -eq 0 ] || say 'this version of vllm bench serve knows no warm-up' ;;
esac
if [ -n "$key" ]; then export OPENAI_API_KEY="$key"; fi
note_metrics metrics-before.txt
date +%s.%N >"$dir/started.txt"
# shellcheck disable=SC2086 # words of ours
limited "$limit" "$chosen" $words bench serve --base-url="$url" --model="$model" \
  --tokenizer="${tokenizer:-$model}" --seed="$seed" --temperature=0 --disable-tqdm \
  --percentile-metrics=ttft,tpot,itl,e2el --metric-percentiles=50,90,95,99 \
  --save-result --save-detailed --result-dir="$dir" --result-filename=vllm.json \
  "$@" >"$dir/vllm.txt" 2>"$dir/vllm.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_metrics metrics-after.txt
if [ "$status" -eq 124 ]; then
  say "vllm bench serve was stopped after $limit s: raise parameters.timeout or lower requests"
elif [ "$status" -ne 0 ]; then
  tail -n 3 "$dir/vllm.err" >&2
  say "vllm bench serve failed with status $status"
elif [ ! -s "$dir/vllm.json" ]; then
  tail -n 3 "$dir/vllm.err" >&2
  say 'vllm bench serve ended well and left no result'
  status=65
fi
[ -s "$dir/vllm.json" ] && "$python" - "$dir/vllm.json" <<'PY'
import json, sys
try: # what the model wrote is of no use to numbers, and most of the file
    told = json.load(open(sys.argv[1]))
    told.pop("generated_texts", None)
    text = json.dumps(told)
except (ValueError, AttributeError):
    sys.exit()
open(sys.argv[1], "w").write(text)
PY
exit "$status"
"""
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        value = setting(VLLM_BENCH, spec, name)
        return "" if value is None else str(value)

    is_chat = of("api") == "openai-chat"
    rate, cap = setting(VLLM_BENCH, spec, "rate"), setting(VLLM_BENCH, spec, "concurrency")
    return Payload(
        argv=(
            *llm_tools.first_arguments(spec, "vllm-bench.sh", VLLM_BENCH),
            *(of("warmup"), word(of("tokenizer")), wrapped.program(spec)),
            f"--backend={'openai-chat' if is_chat else 'openai'}",
            f"--endpoint=/v1/{'chat/completions' if is_chat else 'completions'}",
            *("--dataset-name=random", f"--random-input-len={of('prompt_tokens')}"),
            f"--random-output-len={of('output_tokens')}",
            f"--num-prompts={of('requests') or llm_tools.REQUESTS}",
            *((f"--request-rate={rate}", f"--burstiness={of('burstiness')}") if rate else ()),
            *((f"--max-concurrency={cap or 1}",) if cap or not rate else ()),
            *(("--ignore-eos",) if setting(VLLM_BENCH, spec, "ignore_eos") else ()),
            *arguments(spec),
        ),
        environment={**wrapped.ENVIRONMENT, "VLLM_NO_USAGE_STATS": "1"},
        files={"vllm-bench.sh": _WRAPPER},
        needs=wrapped.needs(spec, "vllm"),
    )


KIND = ClientKind(
    name="vllm-bench",
    summary="vllm bench serve: streaming load on an OpenAI-compatible server; in the image of its "
    "service, unless the recipe names another",
    image="docker://vllm/vllm-openai:v0.11.2",
    payload=_payload,
    parse=readings.vllm_bench,
    parameters=VLLM_BENCH,
    version=("vllm", "--version"),
    in_service_image=True,
    fits=llm_tools.fits,
    extra_check=wrapped.checked(
        lambda part: llm_tools.complaints(part, only_requests="vllm bench serve")
    ),
    asks=asks("openai"),
    samples=planned,
)
