"""sysbench on MySQL and MariaDB: the usual transactions, in a closed loop or at a rate."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import databases, wrapped
from benchd.catalog.clients.common import RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, planned, setting
from benchd.catalog.readings.sysbench import THREADS
from benchd.catalog.services.mysql import MYSQL_DATABASE, MYSQL_USER
from benchd.core.payload import Payload, Sh
from benchd.core.secrets import TICKET
from benchd.core.spec import JobSpec

# Seconds of measurement where the client has no `duration`.
_SECONDS = 60
_WORKLOADS = (
    "oltp_read_write",
    "oltp_read_only",
    "oltp_write_only",
    "oltp_point_select",
    "oltp_update_index",
    "oltp_update_non_index",
    "oltp_insert",
    "oltp_delete",
    "select_random_points",
    "select_random_ranges",
)
SYSBENCH = (
    Parameter(
        name="workload",
        type="str",
        default="oltp_read_write",
        choices=_WORKLOADS,
        doc="which of sysbench's transactions",
    ),
    Parameter(
        name="threads",
        type="int",
        default=THREADS,
        minimum=1,
        maximum=10_000,
        doc="connections at once, each with a transaction after the other",
    ),
    Parameter(
        name="tables", type="int", default=8, minimum=1, maximum=10_000, doc="tables that are used"
    ),
    Parameter(
        name="table_size",
        type="int",
        default=100_000,
        minimum=1,
        maximum=10**10,
        unit="rows",
        doc="rows of each table, about 240 bytes each: less than innodb_buffer_pool_size in all, "
        "and the disk is hardly read",
    ),
    Parameter(
        name="rand_type",
        type="str",
        default="uniform",
        choices=("uniform", "gaussian", "special", "pareto", "zipfian"),
        doc="which rows are asked for; sysbench's own default is special: few rows, mostly",
    ),
    Parameter(
        name="rate",
        type="int",
        default=None,
        minimum=1,
        maximum=10**7,
        unit="1/s",
        doc="transactions that begin each second, whether the server keeps up or not (open loop); "
        "default: each thread begins the next when the last one has ended",
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
    databases.user(MYSQL_USER, "root and others show MYSQL_ROOT_PASSWORD and MYSQL_PASSWORD"),
    databases.database(MYSQL_DATABASE),
    wrapped.limit(),
)

# The totals as numbers: the workload is sysbench's own, only what it says in the end is ours.
# Percentiles come of the histogram, which it prints before that.
_HOOK = r"""require(os.getenv("BENCHD_WORKLOAD"))

local function number(value)
  if value == nil or value ~= value or value == math.huge then return "null" end
  return string.format("%.9g", value)
end

function sysbench.hooks.report_cumulative(stat)
  local names = {"time_total", "events", "reads", "writes", "other", "errors", "reconnects",
    "latency_min", "latency_avg", "latency_max"}
  local said = {}
  for _, name in ipairs(names) do
    said[#said + 1] = string.format("%q: %s", name, number(stat[name]))
  end
  local file = assert(io.open(os.getenv("BENCHD_TOTALS"), "w"))
  file:write("{", table.concat(said, ", "), "}\n")
  file:close()
end
"""
# The password is in a file that only its owner can read, and not on a command line. The tables are
# made anew for every job: writes of the last one have changed them.
_WRAPPER = (
    r"""#!/bin/sh
# usage: sysbench.sh HOST PORT RESULT_DIR USER DATABASE LIMIT WARMUP SECONDS RATE \
#   SYSBENCH WORKLOAD [OPTION ...]
set -u
umask 077
host=$1 port=$2 dir=$3 user=$4 database=$5 limit=$6 warmup=$7 seconds=$8 rate=$9
shift 9
workload=$2
config=$BENCHD_JOB/sysbench.conf
"""
    + wrapped.RUNNING
    + databases.MYSQL_STATUS
    + r"""trap 'rm -f "$config"' EXIT
[ "$host" != localhost ] || host=127.0.0.1 # or it would look for a socket

case $user in
  __USER__) password=${__TICKET__:-} ;;
  root) password=${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}} ;;
  *) password=${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}} ;;
esac
choose "$1" 'use an image that has it (docker://severalnines/sysbench)' sysbench
shift 2
printf 'mysql-host=%s\nmysql-port=%s\nmysql-user=%s\nmysql-password=%s\nmysql-db=%s\n' \
  "$host" "$port" "$user" "$password" "$database" >"$config" || exit 1

phase() { # NAME FILE ARGUMENT ...
  name=$1 file=$2
  shift 2
  limited "$limit" "$chosen" --config-file="$config" "$@" >"$dir/$file" 2>&1
  status=$?
  [ "$status" -ne 0 ] || return 0
  grep -E 'FATAL|ERROR|error' "$dir/$file" | tail -n 3 >&2
  case $status in
    124) say "$name was stopped after $limit s: raise parameters.timeout, or do less" ;;
    143) say "$name was stopped" ;;
    *) say "$name failed with status $status" ;;
  esac
  exit "$status"
}

phase 'reaching the database' cleanup.txt "$@" "$workload" cleanup
phase 'filling the tables' prepare.txt "$@" "$workload" prepare
if [ "$rate" -gt 0 ]; then set -- "$@" "--rate=$rate"; fi
if [ "$warmup" -gt 0 ]; then
  phase 'the warm-up' warmup.txt "$@" --time="$warmup" "$workload" run
fi
note_status status-before.txt
date +%s.%N >"$dir/started.txt"
export BENCHD_WORKLOAD="$workload" BENCHD_TOTALS="$dir/sysbench.json"
phase 'the measurement' sysbench.txt "$@" --time="$seconds" --histogram=on --percentile=99 \
  --report-interval=1 "$BENCHD_JOB/measured.lua" run
date +%s.%N >"$dir/ended.txt"
note_status status-after.txt
phase 'dropping the tables' cleanup.txt "$@" "$workload" cleanup
rm -f "$dir/cleanup.txt" "$dir/prepare.txt"
exit 0
""".replace("__USER__", MYSQL_USER).replace("__TICKET__", TICKET)
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(SYSBENCH, spec, name) or 0)

    return Payload(
        argv=(
            *("sh", Sh('"$JOB/sysbench.sh"')),
            *(Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"'), RESULT),
            *(of("user"), of("database"), of("timeout"), of("warmup")),
            *(str(spec.duration or _SECONDS), of("rate")),
            *(wrapped.program(spec), of("workload")),
            *(f"--threads={of('threads')}", f"--tables={of('tables')}"),
            *(f"--table-size={of('table_size')}", f"--rand-type={of('rand_type')}"),
            *arguments(spec),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"sysbench.sh": _WRAPPER, "measured.lua": _HOOK},
        needs=wrapped.needs(spec, "sysbench"),
    )


KIND = ClientKind(
    name="sysbench",
    summary="sysbench on MySQL and MariaDB: transactions a second and their latencies",
    image="docker://severalnines/sysbench",
    payload=_payload,
    parse=readings.sysbench,
    parameters=SYSBENCH,
    version=("sysbench", "--version"),
    extra_check=wrapped.checked(),
    default_for=("mysql",),
    asks=asks("mysql"),
    samples=planned,
)
