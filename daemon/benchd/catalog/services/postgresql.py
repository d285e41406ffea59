"""PostgreSQL: a cluster of its own for each job, with passwords that no command line shows.

It refuses to be root. Where a job is root all the same (containers that map the user to it), it
runs as ``postgres`` or ``nobody``, as its own image does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import Complaint, Parameter, ServiceKind, arguments, program, setting
from benchd.catalog.services.common import MAKING_DATA, PORT
from benchd.core.payload import Payload, Sh, Step
from benchd.core.secrets import TICKET
from benchd.core.spec import HealthCheck, JobSpec, Part

_MEMORY = r"\d{1,15}(kB|MB|GB|TB)"
_POSTGRESQL = (
    Parameter(
        name="shared_buffers",
        type="str",
        default="128MB",
        pattern=_MEMORY,
        doc="memory in which pages are kept, such as 8GB; a quarter of the job's is usual",
    ),
    Parameter(
        name="max_connections",
        type="int",
        default=200,
        minimum=1,
        maximum=10_000,
        doc="connections at once",
    ),
    Parameter(
        name="work_mem",
        type="str",
        default="4MB",
        pattern=_MEMORY,
        doc="memory for one sort or hash of one query",
    ),
    Parameter(
        name="fsync",
        type="bool",
        default=True,
        doc="false: nothing waits for the disk, and a crash loses the database",
    ),
    Parameter(
        name="synchronous_commit",
        type="str",
        default="on",
        choices=("on", "off", "local"),
        doc="off: a commit does not wait for the disk; quote it, or YAML reads false",
    ),
)
# Who load generators are: a user with a password of its own and one database.
POSTGRES_USER = "benchd"
POSTGRES_DATABASE = "benchd"

# POSIX sh. No socket in the file system: its path would be too long, and everybody's on the node.
_SCRIPT = r"""#!/bin/sh
# usage: postgresql.sh ACT SERVER [OPTION ...]
# init: make the cluster; serve; up: what follows once it answers
# shellcheck disable=SC2016 # quotes are meant
set -u
umask 077
act=$1 server=$2
shift 2
data=$BENCHD_DATA/postgresql
admin=${POSTGRES_USER:-postgres}
for place in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin; do
  if [ -d "$place" ]; then PATH=$PATH:$place; fi
done

say() { printf 'benchd: %s\n' "$*" >&2; }
stop() { say "$@"; exit 1; }
text() { printf "E'"; printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g"; printf "'"; }

# As root: a user that is not, and a command that becomes it.
as=''
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 && other=postgres || other=nobody
  if command -v setpriv >/dev/null 2>&1; then
    as="setpriv --reuid=$other --regid=$(id -g "$other") --clear-groups"
  elif command -v gosu >/dev/null 2>&1; then
    as="gosu $other"
  elif command -v su-exec >/dev/null 2>&1; then
    as="su-exec $other"
  else
    stop 'the job is root, which PostgreSQL refuses to be, and neither setpriv, gosu nor su-exec' \
      'is here to become another user'
  fi
fi

for needed in initdb "$server"; do
  command -v "$needed" >/dev/null 2>&1 ||
    stop "$needed is not here: use an image (docker://postgres:16), or install the server"
done

case $act in
  init)
    mkdir -p "$data" || stop "$data cannot be made"
    if [ -n "$as" ]; then
      chown "$other" "$BENCHD_DATA" "$data"
      # shellcheck disable=SC2086 # several words
      $as test -w "$data" || stop "the job is root, and $other, who is to run PostgreSQL," \
        "cannot reach $data: write storage: local, so that it lies in /tmp"
    fi
    cd "$BENCHD_DATA" || exit 1
    rm -f "$data/postmaster.pid" # of an earlier start of this job, perhaps on another node
    [ ! -s "$data/PG_VERSION" ] || exit 0
    set -- --pgdata="$data" --username="$admin" --encoding=UTF8 --locale=C
    method=trust
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
      method=scram-sha-256
      printf '%s\n' "$POSTGRES_PASSWORD" >"$BENCHD_DATA/first-password" || exit 1
      [ -z "$as" ] || chown "$other" "$BENCHD_DATA/first-password"
      set -- "$@" --pwfile="$BENCHD_DATA/first-password"
    fi
    # shellcheck disable=SC2086 # several words
    $as initdb --auth="$method" "$@" >"$BENCHD_DATA/initdb.log" 2>&1
    status=$?
    rm -f "$BENCHD_DATA/first-password"
    if [ "$status" -ne 0 ]; then
      grep -v STATEMENT "$BENCHD_DATA/initdb.log" >&2 # which would show the password
      stop 'initdb failed; its words are above'
    fi
    printf 'host all all all %s\n' "$method" >>"$data/pg_hba.conf"
    ;;
  serve)
    cd "$data" || exit 1
    # Asked to end (SIGTERM) it would wait for its clients; SIGINT is the ending that does not.
    trap 'kill -INT "$child" 2>/dev/null' TERM INT
    # shellcheck disable=SC2086 # several words
    $as "$server" -D "$data" "$@" &
    child=$!
    wait "$child"
    status=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done
    exit "$status"
    ;;
  up)
    command -v psql >/dev/null 2>&1 || stop 'psql is not here: use the whole image of PostgreSQL'
    ask() { # DATABASE; statements that hold passwords come on standard input, and reach no log
      PGPASSWORD=${POSTGRES_PASSWORD:-} psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
        --host="$1" --port="$BENCHD_PORT" --username="$admin" --dbname="$2"
    }
    database=${POSTGRES_DB:-$admin}
    {
      printf 'SET log_min_error_statement = panic; SET log_statement = none;\n'
      printf "SELECT 'CREATE ROLE __USER__ LOGIN' WHERE NOT EXISTS"
      printf " (SELECT FROM pg_roles WHERE rolname = '__USER__') \\\\gexec\n"
      if [ -n "${__TICKET__:-}" ]; then
        printf 'ALTER ROLE __USER__ PASSWORD '; text "$__TICKET__"; printf ';\n'
      fi
      printf 'GRANT pg_monitor TO __USER__;\n'
      for each in __DATABASE__ "$database"; do
        printf "SELECT 'CREATE DATABASE ' || quote_ident(d) FROM (VALUES ("; text "$each"
        printf ')) t(d) WHERE d NOT IN (SELECT datname FROM pg_database) \\gexec\n'
      done
      printf 'ALTER DATABASE __DATABASE__ OWNER TO __USER__;\n'
    } | ask "$BENCHD_BIND" postgres || stop 'users and databases could not be made; see above'
    [ ! -e "$BENCHD_DATA/prepared" ] || exit 0
    [ -e "$BENCHD_JOB/init.sql" ] || exit 0
    ask "$BENCHD_BIND" "$database" <"$BENCHD_JOB/init.sql" >/dev/null ||
      stop 'init_script failed; what the server says is above'
    : >"$BENCHD_DATA/prepared"
    ;;
esac
"""
_SCRIPT = (
    _SCRIPT.replace("__USER__", POSTGRES_USER)
    .replace("__DATABASE__", POSTGRES_DATABASE)
    .replace("__TICKET__", TICKET)
)


def _payload(spec: JobSpec) -> Payload:
    options: list[str] = []
    for parameter in _POSTGRESQL:
        value = setting(_POSTGRESQL, spec, parameter.name)
        said = ("off", "on")[value] if isinstance(value, bool) else value
        options += ["-c", f"{parameter.name}={said}"]
    server = program(spec, "postgres")
    script = Sh('"$JOB/postgresql.sh"')
    files = {"postgresql.sh": _SCRIPT}
    if spec.init_script is not None:
        files["init.sql"] = spec.init_script
    return Payload(
        argv=(
            *("sh", script, "serve", *server),
            *("-p", PORT, "-c", Sh('"listen_addresses=$BENCHD_BIND"')),
            *("-c", "unix_socket_directories=", *options, *arguments(spec)),
        ),
        files=files,
        before=(Step(argv=("sh", script, "init", server[0])),),
        once_up=(Step(argv=("sh", script, "up", server[0])),),
    )


def _check(part: Part) -> Sequence[Complaint]:
    return tuple(_complaints(part))


def _complaints(part: Part) -> Iterator[Complaint]:
    told = {**part.environment, **part.secrets}
    is_open = part.environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust"
    if "POSTGRES_PASSWORD" not in told and not is_open:
        yield (
            ("secrets",),
            (
                "missing: other nodes reach this server, so its first user needs a password; write "
                "secrets: {POSTGRES_PASSWORD: {generate: 24}}, or environment: "
                "{POSTGRES_HOST_AUTH_METHOD: trust} for one that is open to all"
            ),
        )
    user = part.environment.get("POSTGRES_USER", "postgres")
    if user == POSTGRES_USER or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", user):
        what = f"{user!r} cannot be its first user: letters, digits and _, and not {POSTGRES_USER}"
        yield ("environment", "POSTGRES_USER"), f"{what}, which the load generators are"


KIND = ServiceKind(
    name="postgresql",
    summary="PostgreSQL; a cluster of its own for each job; wants "
    "`secrets: {POSTGRES_PASSWORD: ...}`",
    image="docker://postgres:16",
    payload=_payload,
    parameters=_POSTGRESQL,
    version=("postgres", "--version"),
    extra_check=_check,
    check=HealthCheck(type="postgres", start_period=MAKING_DATA),
    init_script=True,
    speaks=("postgresql",),
)
