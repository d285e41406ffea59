"""MySQL and MariaDB: whichever of them is there, on the host or in the image.

Every job has a database of its own. Before the server listens it is given its passwords: in a file
that only it can read and that is gone once it is up, so that neither a command line, nor a log, nor
the script has ever shown one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import Complaint, Parameter, ServiceKind, arguments, setting, word
from benchd.catalog.kinds import program as program_of
from benchd.catalog.services.common import BIND, MAKING_DATA, PORT
from benchd.core.payload import Payload, Sh, Step
from benchd.core.secrets import TICKET
from benchd.core.spec import HealthCheck, JobSpec, Part

_MYSQL = (
    Parameter(
        name="innodb_buffer_pool_size",
        type="str",
        default="128M",
        pattern=r"\d{1,15}[kKmMgG]?",
        doc="memory in which InnoDB keeps data, such as 8G; decides more than anything else "
        "whether the disk is measured as well",
    ),
    Parameter(
        name="max_connections",
        type="int",
        default=500,
        minimum=1,
        maximum=100_000,
        doc="connections at once; a client needs one for each of its threads, and one more",
    ),
    Parameter(
        name="innodb_flush_log_at_trx_commit",
        type="int",
        default=1,
        choices=(0, 1, 2),
        doc="1: on disk at every commit; 2: with the system at every commit; 0: once a second",
    ),
)
# Who load generators are: a user with a password of its own, for data that nobody needs.
MYSQL_USER = "benchd"
MYSQL_DATABASE = "benchd"
# Options that carry a password: on a command line, everybody on the node can read it.
_OPEN = frozenset({"--init-file", "--password"})
# What an image's own variables are called; either prefix is taken.
_ROOT = ("MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD")
_NO_ROOT = ("MYSQL_ALLOW_EMPTY_PASSWORD", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD")
_YES = frozenset({"yes", "true", "1", "on"})

# POSIX sh, for images without bash. A socket's path may have 107 bytes, fewer than a job's
# directory often has: so it is a name in the data directory, which is where the server looks.
_SCRIPT = r"""#!/bin/sh
# usage: mysql.sh ACT SERVER DATA SOCKET [OPTION ...]
# init: make the database, and what the server reads first; serve; up: what follows once it answers
# shellcheck disable=SC2016 # quotes are meant
set -u
umask 077
act=$1 server=$2 data=$3 socket=$4
shift 4
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec
first=$BENCHD_DATA/first.sql

say() { printf 'benchd: %s\n' "$*" >&2; }
stop() { say "$@"; exit 1; }
pick() {
  for name in "$@"; do
    if command -v "$name" >/dev/null 2>&1; then printf '%s\n' "$name"; return 0; fi
  done
  return 1
}
# What follows is SQL on standard output; printf is part of the shell, so ps never shows it.
text() { printf "'"; printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g"; printf "'"; }
name() { printf '`'; printf '%s' "$1" | sed 's/`/``/g'; printf '`'; }
user() { # NAME HOST PASSWORD
  for verb in 'CREATE USER IF NOT EXISTS' 'ALTER USER'; do
    printf '%s ' "$verb"; text "$1"; printf '@'; text "$2"
    printf ' IDENTIFIED BY '; text "$3"; printf ';\n'
  done
}
may() { # RIGHTS WHAT NAME HOST
  printf 'GRANT %s ON %s TO ' "$1" "$2"; text "$3"; printf '@'; text "$4"; printf ';\n'
}
is_yes() { case ${1:-} in yes | true | 1 | on | YES | TRUE | ON) return 0 ;; esac; return 1; }

if [ "$server" = auto ]; then
  server=$(pick mariadbd mysqld) ||
    stop 'neither mariadbd nor mysqld is here: use an image (docker://mariadb:11, docker://mysql:8.4)'
elif ! command -v "$server" >/dev/null 2>&1; then
  stop "$server is not here: leave command out, and benchd takes mariadbd or mysqld"
fi
case $("$server" --no-defaults --version 2>/dev/null) in
  *MariaDB*) flavour=mariadb ;;
  *) flavour=mysql ;;
esac
case " $* " in *' --user'*) as='' ;; *) as="--user=$(id -un 2>/dev/null || id -u)" ;; esac
[ "$(id -u)" = 0 ] || as=''

root=${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}}
database=${MYSQL_DATABASE:-${MARIADB_DATABASE:-}}
login=${MYSQL_USER:-${MARIADB_USER:-}}
password=${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}}
elsewhere=${MYSQL_ROOT_HOST:-${MARIADB_ROOT_HOST:-}}

first_words() {
  if [ "$flavour" = mariadb ]; then
    # what mariadb-install-db makes besides, and all without a password
    printf "DELETE FROM mysql.global_priv WHERE User IN ('root', '') AND Host <> 'localhost';\n"
    printf 'FLUSH PRIVILEGES;\n'
  fi
  printf 'CREATE DATABASE IF NOT EXISTS `__DATABASE__`;\n'
  if [ -n "${__TICKET__:-}" ]; then
    user __USER__ % "$__TICKET__"
    may 'ALL PRIVILEGES' '`__DATABASE__`.*' __USER__ %
    may 'ALL PRIVILEGES' '`__DATABASE___slap`.*' __USER__ %
    may 'PROCESS, REPLICATION CLIENT' '*.*' __USER__ %
    may 'SELECT' '`performance_schema`.*' __USER__ %
  elif is_yes "${MYSQL_ALLOW_EMPTY_PASSWORD:-${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-}}"; then
    user __USER__ % ''
    may 'ALL PRIVILEGES' '`__DATABASE__`.*' __USER__ %
    may 'ALL PRIVILEGES' '`__DATABASE___slap`.*' __USER__ %
    may 'PROCESS, REPLICATION CLIENT' '*.*' __USER__ %
  fi
  if [ -n "$database" ]; then
    printf 'CREATE DATABASE IF NOT EXISTS '; name "$database"; printf ';\n'
  fi
  if [ -n "$login" ] && [ "$login" != root ]; then
    user "$login" % "$password"
    if [ -n "$database" ]; then may 'ALL PRIVILEGES' "$(name "$database").*" "$login" %; fi
  fi
  if [ -n "$elsewhere" ] && [ "$elsewhere" != localhost ]; then
    user root "$elsewhere" "$root"
    may 'ALL PRIVILEGES' '*.*' root "$elsewhere"
  fi
  printf "ALTER USER 'root'@'localhost' IDENTIFIED BY "; text "$root"; printf ';\n'
}

case $act in
  init)
    mkdir -p "$data" "$BENCHD_DATA/tmp" || stop "$data cannot be made"
    if [ -d "$data/mysql" ]; then
      say "the database in $data is used as it is; only its passwords are new"
    elif [ -n "$(ls -A "$data")" ]; then
      stop "$data is not empty and holds no database: name another --datadir, or empty it"
    elif [ "$flavour" = mariadb ]; then
      maker=$(pick mariadb-install-db mysql_install_db) ||
        stop 'mariadb-install-db is not here: use the whole image of MariaDB'
      # shellcheck disable=SC2086 # one option, or none
      "$maker" --no-defaults --auth-root-authentication-method=normal --skip-test-db \
        --skip-name-resolve --datadir="$data" $as >"$BENCHD_DATA/install.log" 2>&1 ||
        { cat "$BENCHD_DATA/install.log" >&2; stop "$maker failed; its words are above"; }
    else
      # shellcheck disable=SC2086 # one option, or none
      "$server" --no-defaults --initialize-insecure --datadir="$data" $as ||
        stop "$server --initialize-insecure failed; its words are above"
    fi
    first_words >"$first" || stop "$first cannot be written: is the file system full?"
    ;;
  serve)
    case ${1:-} in
      --defaults-* | --no-defaults) front=$1 && shift ;;
      *) front=--no-defaults ;;
    esac
    case $flavour in
      mysql) set -- --loose-mysqlx=OFF "$@" ;; # a second port that nobody asked for
      *) set -- --log-warnings=1 "$@" ;;       # no line for each look of a health check
    esac
    if [ -n "$as" ]; then set -- "$as" "$@"; fi
    exec "$server" "$front" --datadir="$data" --socket="$socket" \
      --pid-file="$BENCHD_DATA/mysqld.pid" --tmpdir="$BENCHD_DATA/tmp" --init-file="$first" "$@"
    ;;
  up)
    rm -f "$first"
    client=$(pick mariadb mysql) || {
      [ -e "$BENCHD_JOB/init.sql" ] || exit 0
      stop 'init_script needs the program mariadb or mysql, and neither is here'
    }
    cd "$data" || exit 1
    ask() {
      MYSQL_PWD=$root "$client" --no-defaults --protocol=socket --socket="$socket" --user=root \
        --connect-timeout=30 "$@"
    }
    ask --execute='SELECT 1' >/dev/null ||
      stop "root cannot log in: the first words to the server did not arrive; see its own above"
    if [ -e "$BENCHD_DATA/prepared" ] || [ ! -e "$BENCHD_JOB/init.sql" ]; then exit 0; fi
    if [ -n "$database" ]; then set -- "$database"; fi
    ask "$@" <"$BENCHD_JOB/init.sql" ||
      stop 'init_script failed; what the server says is above'
    : >"$BENCHD_DATA/prepared"
    ;;
esac
"""
_SCRIPT = (
    _SCRIPT.replace("__USER__", MYSQL_USER)
    .replace("__DATABASE__", MYSQL_DATABASE)
    .replace("__TICKET__", TICKET)
)


def _said(spec: JobSpec, option: str) -> str | None:
    """Return the value of an option in the user's own arguments; the last one counts."""
    found = None
    for index, text in enumerate(spec.args):
        name, sign, value = text.partition("=")
        if name == option:
            found = value if sign else next(iter(spec.args[index + 1 :]), None)
    return found


def _payload(spec: JobSpec) -> Payload:
    data, socket = _said(spec, "--datadir"), _said(spec, "--socket")
    server = program_of(spec, "auto")
    where = (
        server[0],
        word(data) if data else Sh('"$BENCHD_DATA/mysql"'),
        word(socket) if socket else "mysql.sock",
    )
    script = Sh('"$JOB/mysql.sh"')
    own = [a for a in arguments(spec) if isinstance(a, str) and _is_front(a)]
    options: list[str | Sh] = ["--port", PORT, "--bind-address", BIND]
    # Names of hosts are not looked up, and a health check, which never logs in, shuts nobody out.
    options += ["--skip-name-resolve", "--max-connect-errors=4294967295"]
    for name in ("innodb_buffer_pool_size", "max_connections", "innodb_flush_log_at_trx_commit"):
        options.append(f"--{name.replace('_', '-')}={setting(_MYSQL, spec, name)}")
    rest = tuple(a for a in arguments(spec) if not (isinstance(a, str) and _is_front(a)))
    user = tuple(a for a in spec.args if a.startswith("--user"))
    files = {"mysql.sh": _SCRIPT}
    if spec.init_script is not None:
        files["init.sql"] = spec.init_script
    return Payload(
        argv=("sh", script, "serve", *where, *own[:1], *server[1:], *options, *rest),
        files=files,
        before=(Step(argv=("sh", script, "init", *where, *user)),),
        once_up=(Step(argv=("sh", script, "up", *where)),),
        after=('rm -f "$BENCHD_DATA/first.sql"',),
    )


def _is_front(text: str) -> bool:
    """Tell whether an option has to be the first of all."""
    return text.startswith("--defaults-") or text == "--no-defaults"


def _check(part: Part) -> Sequence[Complaint]:
    return tuple(_complaints(part))


def _complaints(part: Part) -> Iterator[Complaint]:
    told = {**part.environment, **part.secrets}
    if not any(name in told for name in _ROOT) and not any(
        part.environment.get(name, "").lower() in _YES for name in _NO_ROOT
    ):
        yield (
            ("secrets",),
            (
                "missing: other nodes reach this server, so root needs a password; write secrets: "
                "{MYSQL_ROOT_PASSWORD: {generate: 24}}, or environment: "
                '{MYSQL_ALLOW_EMPTY_PASSWORD: "yes"} for one that is open to all'
            ),
        )
    if ("MYSQL_USER" in told) != ("MYSQL_PASSWORD" in told):
        yield ("environment",), "MYSQL_USER and MYSQL_PASSWORD belong together: write both"
    for index, text in enumerate(part.args):
        option = text.partition("=")[0]
        if option in _OPEN:
            what = f"{option} is benchd's: passwords go to secrets:, SQL goes to init_script:"
            yield ("args", index), what


KIND = ServiceKind(
    name="mysql",
    summary="MySQL or MariaDB, whichever is there; a database of its own for each job; wants "
    "`secrets: {MYSQL_ROOT_PASSWORD: ...}`",
    image="docker://mariadb:11",
    payload=_payload,
    parameters=_MYSQL,
    version=("sh", "-c", "mariadbd --version || mysqld --version"),
    extra_check=_check,
    check=HealthCheck(type="mysql", start_period=MAKING_DATA),
    init_script=True,
    speaks=("mysql",),
)
