"""mysqlslap (mariadb-slap): how long a number of queries takes. A smoke test: no percentiles."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import databases, wrapped
from benchd.catalog.clients.common import OPEN_LOOP, RESULT
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, setting
from benchd.catalog.services.mysql import MYSQL_DATABASE, MYSQL_USER
from benchd.core.payload import Payload, Sh
from benchd.core.secrets import TICKET
from benchd.core.spec import JobSpec

MYSQLSLAP = (
    Parameter(
        name="concurrency", type="int", default=8, minimum=1, maximum=10_000, doc="connections"
    ),
    Parameter(
        name="queries",
        type="int",
        default=10_000,
        minimum=1,
        maximum=10**9,
        doc="queries of one repetition, of all connections together",
    ),
    Parameter(
        name="iterations", type="int", default=3, minimum=1, maximum=10_000, doc="repetitions"
    ),
    Parameter(
        name="load_type",
        type="str",
        default="mixed",
        choices=("mixed", "read", "write", "key", "update"),
        doc="what the queries do",
    ),
    databases.user(MYSQL_USER, "root and others show MYSQL_ROOT_PASSWORD and MYSQL_PASSWORD"),
    wrapped.limit(),
)

_WRAPPER = (
    r"""#!/bin/sh
# usage: mysqlslap.sh HOST PORT RESULT_DIR USER LIMIT PROGRAM [OPTION ...]
set -u
umask 077
host=$1 port=$2 dir=$3 user=$4 limit=$5 program=$6
shift 6
"""
    + wrapped.RUNNING
    + databases.MYSQL_STATUS
    + r"""[ "$host" != localhost ] || host=127.0.0.1 # or it would look for a socket
case $user in
  __USER__) password=${__TICKET__:-} ;;
  root) password=${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}} ;;
  *) password=${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}} ;;
esac
export MYSQL_PWD="$password"
advice='use docker://mariadb:11, which has it as mariadb-slap (mysql:8 has none)'
choose "$program" "$advice" mariadb-slap mysqlslap
note_status status-before.txt
date +%s.%N >"$dir/started.txt"
limited "$limit" "$chosen" --no-defaults --host="$host" --port="$port" --user="$user" \
  --auto-generate-sql --create-schema=__DATABASE___slap --csv="$dir/mysqlslap.csv" "$@" \
  2>"$dir/mysqlslap.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_status status-after.txt
cat "$dir/mysqlslap.err" >&2
if [ "$status" -eq 0 ] && [ ! -s "$dir/mysqlslap.csv" ]; then
  say "$chosen ended well but measured nothing"
  exit 65
fi
[ "$status" -ne 124 ] || say "$chosen was stopped after $limit s: raise parameters.timeout"
exit "$status"
""".replace("__USER__", MYSQL_USER)
    .replace("__TICKET__", TICKET)
    .replace("__DATABASE__", MYSQL_DATABASE)
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        return str(setting(MYSQLSLAP, spec, name))

    return Payload(
        argv=(
            *("sh", Sh('"$JOB/mysqlslap.sh"')),
            *(Sh('"$BENCHD_TARGET_HOST"'), Sh('"$BENCHD_TARGET_PORT"'), RESULT),
            *(of("user"), of("timeout"), wrapped.program(spec)),
            *(f"--concurrency={of('concurrency')}", f"--number-of-queries={of('queries')}"),
            *(f"--iterations={of('iterations')}",),
            f"--auto-generate-sql-load-type={of('load_type')}",
            *arguments(spec),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"mysqlslap.sh": _WRAPPER},
        needs=wrapped.needs(spec, "mariadb-slap", "mysqlslap"),
    )


KIND = ClientKind(
    name="mysqlslap",
    summary="mysqlslap (mariadb-slap): queries a second, and nothing about single ones",
    image="docker://mariadb:11",
    payload=_payload,
    parse=readings.mysqlslap,
    parameters=MYSQLSLAP,
    version=("mysqlslap", "--version"),
    in_service_image=True,
    extra_check=wrapped.checked(),
    elsewhere=dict.fromkeys(
        OPEN_LOOP, "mysqlslap only knows connections that wait for answers: use kind: sysbench"
    ),
    asks=asks("mysql"),
    untimed="it ends after `parameters.queries`; sysbench measures for a time",
)
