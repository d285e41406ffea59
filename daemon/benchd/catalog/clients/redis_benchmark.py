"""Redis's own load generator."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import redis_tools, wrapped
from benchd.catalog.clients.common import OPEN_LOOP, RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec

REDIS_BENCHMARK = (
    Parameter(
        name="clients", type="int", default=50, minimum=1, maximum=10_000, doc="connections at once"
    ),
    Parameter(
        name="requests",
        type="int",
        default=100_000,
        minimum=1,
        maximum=10_000_000_000,
        doc="requests of each test",
    ),
    Parameter(
        name="tests",
        type="str",
        default="set,get",
        pattern=r"[a-z0-9_]+(,[a-z0-9_]+)*",
        doc="tests to run, as redis-benchmark names them, separated by commas",
    ),
    Parameter(
        name="data_size",
        type="int",
        default=3,
        minimum=1,
        maximum=1024**3,
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
        doc="number of random keys; redis-benchmark's own default is one single hot key",
    ),
    Parameter(
        name="threads",
        type="int",
        default=None,
        minimum=1,
        maximum=500,
        doc="threads of the client; default: one",
    ),
    redis_tools.limit(),
)

_REDIS_WRAPPER = (
    r"""#!/bin/sh
# usage: redis-benchmark.sh HOST PORT RESULT_DIR SECONDS PROGRAM [OPTION ...]
set -u
host=$1 port=$2 dir=$3 limit=$4
shift 4
"""
    + redis_tools.BEFORE
    + r"""advice='use an image that has it (docker://redis:7-alpine)'
choose "$1" "$advice" redis-benchmark valkey-benchmark
shift
if [ -n "${REDISCLI_AUTH:-}" ]; then set -- --user "$user" -a "$ticket" "$@"; fi

note_info info-before.txt
date +%s.%N >"$dir/started.txt"
limited "$limit" "$chosen" "$@" >"$dir/redis-benchmark.csv" 2>"$dir/redis-benchmark.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_info info-after.txt
cat "$dir/redis-benchmark.err" >&2

if [ "$status" -eq 124 ]; then
  say "redis-benchmark was stopped after $limit s: raise parameters.timeout or lower requests"
fi
if [ "$status" -eq 0 ] && [ "$(wc -l <"$dir/redis-benchmark.csv")" -lt 2 ]; then
  say "redis-benchmark ended well but measured nothing"
  exit 65
fi
exit "$status"
"""
)


def _redis_benchmark_payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(REDIS_BENCHMARK, spec, name))

    threads = setting(REDIS_BENCHMARK, spec, "threads")
    host, port = Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"')
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/redis-benchmark.sh"'), host, port, RESULT, of("timeout")),
            wrapped.program(spec),
            *("-h", host, "-p", port, "--csv"),
            *("-n", of("requests"), "-c", of("clients"), "-d", of("data_size")),
            *("-P", of("pipeline"), "-r", of("keyspace"), "-t", of("tests")),
            *(("--threads", str(threads)) if threads else ()),
            *arguments(spec),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"redis-benchmark.sh": _REDIS_WRAPPER},
        needs=wrapped.needs(spec, "redis-benchmark", "valkey-benchmark"),
    )


KIND = ClientKind(
    name="redis-benchmark",
    summary="Redis's own load generator: throughput and latency in a closed loop",
    image="docker://redis:7-alpine",
    payload=_redis_benchmark_payload,
    parse=readings.redis_benchmark,
    parameters=REDIS_BENCHMARK,
    version=("redis-benchmark", "--version"),
    in_service_image=True,
    extra_check=wrapped.checked(),
    default_for=("redis",),
    elsewhere=dict.fromkeys(OPEN_LOOP, redis_tools.NO_RATE.format(tool="redis-benchmark")),
    asks=asks("redis"),
    samples=planned,
    untimed="it ends after `parameters.requests`; memtier and redis-load measure for a time",
)
