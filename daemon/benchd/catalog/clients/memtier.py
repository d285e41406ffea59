"""memtier_benchmark on Redis and Valkey: a mix of SET and GET by many connections."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchd.catalog import readings
from benchd.catalog.clients import redis_tools, wrapped
from benchd.catalog.clients.common import OPEN_LOOP, RESULT
from benchd.catalog.kinds import ClientKind, Complaint, Parameter, arguments, asks, setting
from benchd.core.payload import Payload, Sh
from benchd.core.spec import Client, JobSpec, Part

# Seconds of measurement where the client has neither a `duration` nor a number of requests.
_SECONDS = 60
MEMTIER = (
    Parameter(
        name="threads", type="int", default=4, minimum=1, maximum=500, doc="threads of the client"
    ),
    Parameter(
        name="clients",
        type="int",
        default=50,
        minimum=1,
        maximum=10_000,
        doc="connections of each thread",
    ),
    Parameter(
        name="requests",
        type="int",
        default=None,
        minimum=1,
        maximum=10_000_000_000,
        doc="requests of each connection; default: as many as fit into `duration`",
    ),
    Parameter(
        name="ratio",
        type="str",
        default="1:10",
        pattern=r"\d{1,6}:\d{1,6}",
        doc="SETs to GETs",
    ),
    Parameter(
        name="data_size",
        type="int",
        default=256,
        minimum=1,
        maximum=512 * 1024**2,
        unit="bytes",
        doc="size of a value",
    ),
    Parameter(
        name="pipeline",
        type="int",
        default=1,
        minimum=1,
        maximum=100_000,
        doc="requests sent together on a connection",
    ),
    Parameter(
        name="keyspace",
        type="int",
        default=1_000_000,
        minimum=1,
        maximum=10**12,
        unit="keys",
        doc="number of keys",
    ),
    Parameter(
        name="key_pattern",
        type="str",
        default="R:R",
        pattern=r"[RGSPZ]:[RGSPZ]",
        doc="how keys of SETs and GETs are chosen, as memtier names it: R at random, G around a "
        "median, S one after the other, P the same with a part for each connection, Z Zipf",
    ),
    Parameter(
        name="fill",
        type="bool",
        default=True,
        doc="write every key before the measurement; without it most GETs find nothing",
    ),
    redis_tools.limit(),
)

# memtier ends with status 0 when every connection failed, and counts error replies as work; of both
# only standard error tells, with a line for each: they are counted, and the first are kept.
_WRAPPER = (
    r"""#!/bin/sh
# usage: memtier.sh HOST PORT RESULT_DIR SECONDS FILL PROGRAM [OPTION ...] -- [LOAD OPTION ...]
set -u
host=$1 port=$2 dir=$3 limit=$4 fill=$5
shift 5
"""
    + redis_tools.BEFORE
    + r"""advice='use an image that has it (docker://redis/memtier_benchmark)'
choose "$1" "$advice" memtier_benchmark
shift
set -- "$chosen" "$@"
said=$BENCHD_JOB/memtier-said
watched() { # FILE COMMAND ...: run it within the limit, with what it says on standard error kept
  file=$1
  shift
  rm -f "$said"
  mkfifo "$said" || return 1
  awk '/error response/ { replies++; if (replies > 20) next }
    tolower($0) ~ /connection error|connection refused|failed to connect/ {
      connections++; if (connections > 20) next }
    /^\[RUN/ { next }
    kept++ < 200 { print }
    END { printf "error replies: %d\nconnection errors: %d\n", replies, connections }' \
    <"$said" >"$dir/$file" &
  reader=$!
  limited "$limit" "$@" >"$dir/$file.out" 2>"$said"
  status=$?
  wait "$reader"
  rm -f "$said"
  return "$status"
}
failed() { # WHAT STATUS
  grep -v ': 0$' "$dir/memtier.err" | tail -n 3 >&2
  case $2 in
    124) say "$1 was stopped after $limit s: raise parameters.timeout, or do less" ;;
    143) say "$1 was stopped" ;;
    *) say "$1 failed with status $2" ;;
  esac
  exit "$2"
}

if [ -n "${REDISCLI_AUTH:-}" ]; then set -- "$@" --authenticate="$user:$ticket"; fi
if [ "$fill" -gt 0 ]; then
  watched memtier.err "$@" --ratio=1:0 --key-pattern=P:P --requests=allkeys --pipeline=16 ||
    failed 'filling the keys' "$?"
fi
note_info info-before.txt
date +%s.%N >"$dir/started.txt"
watched memtier.err "$@" "--ratio=$MEMTIER_RATIO" "--key-pattern=$MEMTIER_PATTERN" \
  "--pipeline=$MEMTIER_PIPELINE" "$MEMTIER_STOP" --json-out-file="$dir/memtier.json"
status=$?
date +%s.%N >"$dir/ended.txt"
note_info info-after.txt
[ "$status" -eq 0 ] || failed 'the measurement' "$status"
done=$(awk '/"Totals"/ { totals = 1 }
  totals && /"Count"/ { gsub(/[^0-9]/, ""); print; exit }' "$dir/memtier.json" 2>/dev/null)
if [ "${done:-0}" -eq 0 ]; then
  grep -v ': 0$' "$dir/memtier.err" | tail -n 3 >&2
  say 'memtier ended well and measured nothing'
  exit 65
fi
exit 0
"""
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(MEMTIER, spec, name))

    host, port = Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"')
    requests = setting(MEMTIER, spec, "requests")
    stop = f"--requests={requests}" if requests else f"--test-time={spec.duration or _SECONDS}"
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/memtier.sh"'), host, port, RESULT, of("timeout")),
            str(int(bool(setting(MEMTIER, spec, "fill")))),
            wrapped.program(spec),
            *("-s", host, "-p", port, "--hide-histogram", "--distinct-client-seed"),
            *(f"--threads={of('threads')}", f"--clients={of('clients')}"),
            *(f"--data-size={of('data_size')}", "--key-minimum=1"),
            *(f"--key-maximum={of('keyspace')}", "--print-percentiles=50,90,95,99,99.9"),
            *arguments(spec),
        ),
        environment={
            **wrapped.ENVIRONMENT,
            "MEMTIER_RATIO": of("ratio"),
            "MEMTIER_PATTERN": of("key_pattern"),
            "MEMTIER_PIPELINE": of("pipeline"),
            "MEMTIER_STOP": stop,
        },
        files={"memtier.sh": _WRAPPER},
        needs=wrapped.needs(spec, "memtier_benchmark"),
    )


def _complaints(part: Part) -> Iterator[Complaint]:
    requests = part.parameters.get("requests")
    if isinstance(part, Client) and requests is not None and part.duration is not None:
        what = "and duration say two ends of one measurement: leave one of them out"
        yield ("parameters", "requests"), what
    if part.parameters.get("ratio") == "0:0":
        yield ("parameters", "ratio"), "0:0 asks for nothing at all"


def _planned(part: Client) -> int | None:
    each = part.parameters.get("requests")
    if not isinstance(each, int):
        return None
    count = (part.parameters.get("threads", 4), part.parameters.get("clients", 50))
    return each * math.prod(n for n in count if isinstance(n, int))


KIND = ClientKind(
    name="memtier",
    summary="memtier_benchmark on Redis: SETs and GETs in a ratio, in a closed loop",
    image="docker://redis/memtier_benchmark",
    payload=_payload,
    parse=readings.memtier,
    parameters=MEMTIER,
    version=("memtier_benchmark", "--version"),
    extra_check=wrapped.checked(_complaints),
    elsewhere=dict.fromkeys(OPEN_LOOP, redis_tools.NO_RATE.format(tool="memtier")),
    asks=asks("redis"),
    samples=_planned,
)
