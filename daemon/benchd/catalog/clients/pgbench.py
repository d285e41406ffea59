"""pgbench on PostgreSQL: transactions in a closed loop or at a rate, each of them timed."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import databases, wrapped
from benchd.catalog.clients.common import RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting, word
from benchd.catalog.services.postgresql import POSTGRES_DATABASE, POSTGRES_USER
from benchd.core.payload import Payload, Sh
from benchd.core.secrets import TICKET
from benchd.core.spec import JobSpec

# Seconds of measurement where the client has no `duration`.
_SECONDS = 60
PGBENCH = (
    Parameter(
        name="script",
        type="str",
        default="tpcb-like",
        pattern=r"(tpcb-like|simple-update|select-only)|[/$~][!-~]{0,299}",
        doc="one of pgbench's own (tpcb-like, simple-update, select-only), or the path of a file "
        "with transactions of yours",
    ),
    Parameter(
        name="clients", type="int", default=8, minimum=1, maximum=10_000, doc="connections at once"
    ),
    Parameter(
        name="threads", type="int", default=2, minimum=1, maximum=1000, doc="threads of the client"
    ),
    Parameter(
        name="scale",
        type="int",
        default=10,
        minimum=1,
        maximum=1_000_000,
        doc="size of the tables: each unit is 100,000 accounts, about 16 MB; more than `clients`, "
        "or transactions wait for each other's branches",
    ),
    Parameter(
        name="rate",
        type="float",
        default=None,
        minimum=0.1,
        maximum=10**7,
        unit="1/s",
        doc="transactions that begin each second, whether the server keeps up or not (open loop, "
        "Poisson); default: each connection begins the next when the last one has ended",
    ),
    Parameter(
        name="protocol",
        type="str",
        default="prepared",
        choices=("simple", "extended", "prepared"),
        doc="how queries are sent",
    ),
    Parameter(
        name="warmup",
        type="int",
        default=5,
        minimum=0,
        maximum=86_400,
        unit="s",
        doc="the same load before the measurement",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of the rows that are asked for"),
    databases.user(POSTGRES_USER, "others show POSTGRES_PASSWORD"),
    databases.database(POSTGRES_DATABASE),
    wrapped.limit(),
)

# pgbench writes a line for each transaction: client, number, microseconds, script, time, time, and
# with a rate how late it began. They are counted here, to three digits, because a minute of a fast
# server is millions of lines.
_WRAPPER = (
    r"""#!/bin/sh
# usage: pgbench.sh HOST PORT RESULT_DIR USER DATABASE LIMIT WARMUP SECONDS SCALE \
#   PGBENCH [OPTION ...]
# shellcheck disable=SC2016 # quotes are meant
set -u
umask 077
export PGHOST="$1" PGPORT="$2" PGUSER="$4" PGDATABASE="$5" PGCONNECT_TIMEOUT=10 PGAPPNAME=pgbench
dir=$3 limit=$6 warmup=$7 seconds=$8 scale=$9
shift 9
"""
    + wrapped.RUNNING
    + r"""for place in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
  if [ -d "$place" ]; then PATH=$PATH:$place; fi
done
choose "$1" 'use an image that has it (docker://postgres:16)' pgbench
shift
case $PGUSER in
  __USER__) PGPASSWORD=${__TICKET__:-} ;;
  *) PGPASSWORD=${POSTGRES_PASSWORD:-} ;;
esac
export PGPASSWORD
logs=$dir/transactions
phase() { # NAME FILE COMMAND ...
  name=$1 file=$2
  shift 2
  limited "$limit" "$@" >"$dir/$file" 2>"$dir/$file.err"
  status=$?
  [ "$status" -ne 0 ] || return 0
  tail -n 3 "$dir/$file.err" >&2
  case $status in
    124) say "$name was stopped after $limit s: raise parameters.timeout, or do less" ;;
    143) say "$name was stopped" ;;
    *) say "$name failed with status $status" ;;
  esac
  exit "$status"
}
""".replace("__USER__", POSTGRES_USER).replace("__TICKET__", TICKET)
    + databases.POSTGRES_STATUS
    + r"""counted() { # COLUMNS: microseconds that awk makes of a line -> "milliseconds count"
  # in place of its time stands failed or skipped where there was none
  cat "$logs".* | awk "\$3 ~ /^[0-9]+\$/ { us = $1; if (us < 1) us = 1
      step = 1; while (us / step >= 1000) step *= 10
      count[int(us / step + 0.5) * step]++ }
    END { for (us in count) printf \"%.6f %d\\n\", us / 1000, count[us] }" | sort -n
}

phase 'filling the tables' init.txt "$chosen" --initialize --quiet --scale="$scale"
if [ "$warmup" -gt 0 ]; then
  phase 'the warm-up' warmup.txt "$chosen" --no-vacuum --time="$warmup" "$@"
fi
note_status status-before.txt
date +%s.%N >"$dir/started.txt"
phase 'the measurement' pgbench.txt "$chosen" --no-vacuum --time="$seconds" --progress=1 \
  --log --log-prefix="$logs" "$@"
date +%s.%N >"$dir/ended.txt"
note_status status-after.txt
case " $* " in
  *' --rate='*)
    counted '$3' >"$dir/latency-sched.txt"
    counted '$3 - $7' >"$dir/latency-service.txt"
    ;;
  *) counted '$3' >"$dir/latency-service.txt" ;;
esac
rm -f "$logs".*
phase 'dropping the tables' init.txt "$chosen" --initialize --init-steps=d
rm -f "$dir/init.txt" "$dir/init.txt.err"
exit 0
"""
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(PGBENCH, spec, name))

    script, rate = of("script"), setting(PGBENCH, spec, "rate")
    is_own = script in ("tpcb-like", "simple-update", "select-only")
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/pgbench.sh"')),
            *(Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"'), RESULT),
            *(of("user"), of("database"), of("timeout"), of("warmup")),
            *(str(spec.duration or _SECONDS), of("scale"), wrapped.program(spec)),
            *(f"--client={of('clients')}", f"--jobs={of('threads')}"),
            *(f"--protocol={of('protocol')}", f"--random-seed={of('seed')}"),
            *((f"--rate={rate}",) if rate else ()),
            *((f"--builtin={script}",) if is_own else ("--file", word(script))),
            *arguments(spec),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"pgbench.sh": _WRAPPER},
        needs=wrapped.needs(spec, "pgbench"),
    )


KIND = ClientKind(
    name="pgbench",
    summary="PostgreSQL's own load generator: transactions a second and their latencies",
    image="docker://postgres:16",
    payload=_payload,
    parse=readings.pgbench,
    parameters=PGBENCH,
    version=("pgbench", "--version"),
    in_service_image=True,
    extra_check=wrapped.checked(),
    default_for=("postgresql",),
    asks=asks("postgresql"),
    samples=planned,
)
