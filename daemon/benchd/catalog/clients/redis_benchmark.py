"""Redis's own load generator."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, program, setting
from benchd.catalog.services.redis import REDIS_USER
from benchd.core.payload import Payload, Sh
from benchd.core.secrets import TICKET
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
    Parameter(
        name="timeout",
        type="int",
        default=600,
        minimum=1,
        maximum=604_800,
        unit="s",
        doc="it is stopped after this time, and the measurement is not valid",
    ),
)

# POSIX sh: it also runs in images that have no bash (redis:7-alpine). The target is asked first,
# because redis-benchmark 7.0 spins for ever on a connection that is refused; and it has a hard
# limit, because it waits for ever for a server that has stopped answering.
_REDIS_WRAPPER = r"""#!/bin/sh
# usage: redis-benchmark.sh HOST PORT RESULT_DIR SECONDS PROGRAM [OPTION ...]
set -u
host=$1 port=$2 dir=$3 limit=$4
shift 4
user=__USER__ ticket=${__TICKET__:-}
if [ -n "${REDIS_PASSWORD:-}" ]; then export REDISCLI_AUTH="$REDIS_PASSWORD"; fi
child=''
stopped=''

say() { printf 'benchd: %s\n' "$*" >&2; }

# With redis-cli where it is, else through bash, always within five seconds.
ping_target() {
  if command -v redis-cli >/dev/null 2>&1; then
    timeout 5 redis-cli -h "$host" -p "$port" PING 2>&1
  else
    # shellcheck disable=SC2016
    LC_ALL=C timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit
      if [ -n "${REDISCLI_AUTH:-}" ]; then
        printf "*2\r\n\$4\r\nAUTH\r\n\$%d\r\n%s\r\n" "${#REDISCLI_AUTH}" "$REDISCLI_AUTH" >&3
        IFS= read -r line <&3
        case $line in +OK*) ;; *) printf "%s\n" "${line%?}"; exit ;; esac
      fi
      printf "PING\r\n" >&3 && IFS= read -r line <&3 && printf "%s\n" "${line%?}"
    ' ping "$host" "$port" 2>&1
  fi
}

note_info() {
  command -v redis-cli >/dev/null 2>&1 || return 0
  for section in server stats commandstats; do
    timeout 5 redis-cli -h "$host" -p "$port" INFO "$section" 2>/dev/null
  done > "$dir/$1"
}

# shellcheck disable=SC2317 # the trap calls it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT

answer=$(ping_target)
case $answer in
  PONG | +PONG) ;;
  *NOAUTH*)
    say "$host:$port wants a password: give the service secrets: {REDIS_PASSWORD: {generate: 24}}"
    exit 69 ;;
  *WRONGPASS*) say "$host:$port does not take the password in REDIS_PASSWORD"; exit 69 ;;
  *) say "no PONG from $host:$port within 5 s: ${answer:-no answer}"; exit 69 ;;
esac
if ! command -v "$1" >/dev/null 2>&1; then
  say "$1 is not installed here; use an image that has it (docker://redis:7-alpine)"
  exit 127
fi

if [ -n "${REDISCLI_AUTH:-}" ]; then
  if [ -z "$ticket" ]; then
    say "redis-benchmark can be told a password only where every user of the node reads it, so it"
    say "measures a Redis with a password only if that is a service of kind redis of benchd's own"
    exit 69
  fi
  program=$1
  shift
  set -- "$program" --user "$user" -a "$ticket" "$@"
fi

note_info info-before.txt
date +%s.%N > "$dir/started.txt"
timeout "$limit" "$@" > "$dir/redis-benchmark.csv" 2> "$dir/redis-benchmark.err" &
child=$!
if [ -n "$stopped" ]; then kill -TERM "$child" 2>/dev/null; fi
wait "$child"
status=$?
# A trapped signal ends the first wait early.
if [ -n "$stopped" ]; then wait "$child"; status=143; fi
date +%s.%N > "$dir/ended.txt"
cat "$dir/redis-benchmark.err" >&2
note_info info-after.txt

if [ "$status" -eq 124 ] || { [ "$status" -eq 143 ] && [ -z "$stopped" ]; }; then
  say "redis-benchmark was stopped after $limit s: raise parameters.timeout or lower requests"
  exit 124
fi
if [ "$status" -eq 0 ] && [ "$(wc -l < "$dir/redis-benchmark.csv")" -lt 2 ]; then
  say "redis-benchmark ended well but measured nothing"
  exit 65
fi
exit "$status"
""".replace("__USER__", REDIS_USER).replace("__TICKET__", TICKET)


def _redis_benchmark_payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(REDIS_BENCHMARK, spec, name))

    threads = setting(REDIS_BENCHMARK, spec, "threads")
    host, port = Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"')
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/redis-benchmark.sh"'), host, port, RESULT, of("timeout")),
            *program(spec, "redis-benchmark"),
            *("-h", host, "-p", port, "--csv"),
            *("-n", of("requests"), "-c", of("clients"), "-d", of("data_size")),
            *("-P", of("pipeline"), "-r", of("keyspace"), "-t", of("tests")),
            *(("--threads", str(threads)) if threads else ()),
            *arguments(spec),
        ),
        files={"redis-benchmark.sh": _REDIS_WRAPPER},
    )


KIND = ClientKind(
    name="redis-benchmark",
    summary="Redis's own load generator: throughput and latency in a closed loop",
    image="docker://redis:7-alpine",
    payload=_redis_benchmark_payload,
    parse=readings.redis_benchmark,
    parameters=REDIS_BENCHMARK,
    default_for=("redis",),
)
