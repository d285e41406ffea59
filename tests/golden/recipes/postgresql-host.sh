#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=01:00:00
# Job bq7x2m-k5wz3tqa2f-s-postgresql-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
# shellcheck disable=SC2016,SC2317,SC2329 # quotes are meant; traps call
set -u
JOB=${1:-} TRY=${2:-}
ID=${SLURM_JOB_ID:-} GENERATION=${SLURM_RESTART_COUNT:-0}

benchd_say() { printf 'benchd: %s\n' "$*" >&2; }
benchd_stop() { benchd_say "$@"; exit 1; }
benchd_unseen() {
    benchd_say "$@"
    [ -z "$JOB" ] || { : >"$JOB/unseen-$ID" || : >"$JOB.unseen-$ID"; } 2>/dev/null
    exit 78
}
[ -n "$ID" ] || benchd_unseen 'SLURM_JOB_ID is not set: this script is for sbatch, not for a shell'
[ -d "$JOB/try-$TRY" ] || benchd_unseen "the job directory '$JOB' (try '$TRY') is not seen" \
    "from $(uname -n): workdir must be on a file system that compute nodes mount"

ln -sT "$ID" "$JOB/claim" 2>/dev/null
for benchd_look in 1 2 3; do
    benchd_owner=$(readlink "$JOB/claim") && break
    [ "$benchd_look" = 3 ] || sleep 1
done
[ -n "$benchd_owner" ] || benchd_unseen "no claim can be made in '$JOB' from $(uname -n):" \
    'is it read-only, full, or over its quota?'
if [ "$benchd_owner" != "$ID" ]; then
    : >"$JOB/twin-$ID"
    benchd_say "nothing to do for Slurm job $ID: the work belongs to '$benchd_owner'"
    exit 75
fi
if ! mkdir "$JOB/try-$TRY/span-$GENERATION" 2>/dev/null; then
    [ -d "$JOB/try-$TRY/span-$GENERATION" ] || benchd_unseen "no directory can be made in" \
        "'$JOB/try-$TRY' from $(uname -n): is it read-only, full, or over its quota?"
    benchd_say "nothing is done twice: Slurm lost track of job $ID and started it again"
    benchd_status=$(sed -n 's/.*"status":\([0-9]*\).*/\1/p' "$JOB/exit.json" 2>/dev/null)
    exit "${benchd_status:-76}"
fi
rm -f "$JOB/endpoint.json" "$JOB/exit.json"
if [ "$GENERATION" != 0 ] && [ -d "$JOB/result" ]; then
    mv -T "$JOB/result" "$JOB/result.before-$GENERATION" # of a span that does not count
fi

benchd_started=$(date +%s)
benchd_status=0 benchd_pid='' benchd_starting='' benchd_woken='' benchd_late=''

benchd_leave() { :; }
benchd_record() {
    local status=$?
    trap '' TERM INT USR1 USR2
    [ -z "$benchd_pid" ] || kill -s KILL -- "-$benchd_pid" 2>/dev/null
    printf '{"slurm_id":"%s","generation":%d,"status":%d,"started_at":%d,"ended_at":%d}\n' \
        "$ID" "$GENERATION" "$status" "$benchd_started" "$(date +%s)" >"$JOB/.exit.json.$ID" &&
        mv -fT "$JOB/.exit.json.$ID" "$JOB/exit.json"
    benchd_leave
    exit "$status"
}
benchd_signal() {
    benchd_woken=1
    if [ -n "$benchd_pid" ]; then
        kill -s "$1" -- "-$benchd_pid" 2>/dev/null
    elif [ -n "$benchd_starting" ]; then
        benchd_late=$1
    elif [ "$1" = TERM ] || [ "$1" = INT ]; then
        exit "$((128 + $2))"
    fi
}
benchd_watch() {
    set +m
    trap : TERM INT USR1 USR2
    ("$@")
    printf '%d\n' "$?" >&"$benchd_pipe"
}
benchd_run() {
    benchd_late='' benchd_starting=1
    exec {benchd_pipe}<> <(:)
    set -m
    benchd_watch "$@" </dev/null &
    benchd_pid=$!
    set +m
    [ -z "$benchd_late" ] || kill -s "$benchd_late" -- "-$benchd_pid" 2>/dev/null
    while :; do
        benchd_woken=''
        wait "$benchd_pid"
        benchd_status=$?
        [ -n "$benchd_woken" ] || break
    done
    read -r -t 1 benchd_said <&"$benchd_pipe" && benchd_status=$benchd_said
    [ "$benchd_status" -ge 0 ] || benchd_status=143
    benchd_starting=''
}
trap benchd_record EXIT
trap 'benchd_signal TERM 15' TERM
trap 'benchd_signal INT 2' INT
trap 'benchd_signal USR1 10' USR1
trap 'benchd_signal USR2 12' USR2

benchd_host() {
    local address found=' '
    BENCHD_HOST=$(uname -n)
    BENCHD_HOST_IP=''
    for address in $(getent ahostsv4 "$BENCHD_HOST" 2>/dev/null); do
        case $address in
            *.*.*.*) case $found in *" $address "*) ;; *) found="$found$address " ;; esac ;;
        esac
    done
    for address in $found; do
        case $address in 127.*) ;; *) BENCHD_HOST_IP=$address && break ;; esac
    done
    case $BENCHD_HOST_IP/$BENCHD_HOST in
        /* | */*[!A-Za-z0-9.-]*)
            for address in $(hostname -I 2>/dev/null) 127.0.0.1; do
                case $address in
                    *.*.*.*) BENCHD_HOST_IP=$address && break ;;
                esac
            done
            BENCHD_HOST=$BENCHD_HOST_IP found=" $BENCHD_HOST_IP "
            ;;
    esac
    case $found in
        ' 127.'* | *' '*' '*' '*) BENCHD_BIND=0.0.0.0 ;;
        *) BENCHD_BIND=$BENCHD_HOST_IP ;;
    esac
    export BENCHD_HOST BENCHD_HOST_IP BENCHD_BIND
}
benchd_host
export BENCHD_NODES=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-1}} BENCHD_NODE_INDEX=0

benchd_forget() {
    local status=$?
    rm -f -- "$JOB"/try-*/secret.env
    return "$status"
}
trap 'benchd_forget; benchd_record' EXIT
benchd_secrets() {
    local file=$JOB/try-$TRY/secret.env
    if [ ! -e "$file" ]; then
        [ -z "$1" ] || benchd_stop "the secrets ($1) are not in $file any more:" \
            'what stood in the recipe itself is removed when its run ends; submit it again'
        return 0
    fi
    set -a
    # shellcheck disable=SC1090,SC1091 # written at submission
    . "$file" || benchd_stop "$file cannot be read"
    set +a
    benchd_forget
}
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-s-postgresql-p0r0-0-a1 BENCHD_JOB=$JOB
printf '%s' '#!/bin/sh
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

say() { printf '"'"'benchd: %s\n'"'"' "$*" >&2; }
stop() { say "$@"; exit 1; }
text() { printf "E'"'"'"; printf '"'"'%s'"'"' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'"'"'/'"'"''"'"'/g"; printf "'"'"'"; }

# As root: a user that is not, and a command that becomes it.
as='"'"''"'"'
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 && other=postgres || other=nobody
  if command -v setpriv >/dev/null 2>&1; then
    as="setpriv --reuid=$other --regid=$(id -g "$other") --clear-groups"
  elif command -v gosu >/dev/null 2>&1; then
    as="gosu $other"
  elif command -v su-exec >/dev/null 2>&1; then
    as="su-exec $other"
  else
    stop '"'"'the job is root, which PostgreSQL refuses to be, and neither setpriv, gosu nor su-exec'"'"' \
      '"'"'is here to become another user'"'"'
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
      printf '"'"'%s\n'"'"' "$POSTGRES_PASSWORD" >"$BENCHD_DATA/first-password" || exit 1
      [ -z "$as" ] || chown "$other" "$BENCHD_DATA/first-password"
      set -- "$@" --pwfile="$BENCHD_DATA/first-password"
    fi
    # shellcheck disable=SC2086 # several words
    $as initdb --auth="$method" "$@" >"$BENCHD_DATA/initdb.log" 2>&1
    status=$?
    rm -f "$BENCHD_DATA/first-password"
    if [ "$status" -ne 0 ]; then
      grep -v STATEMENT "$BENCHD_DATA/initdb.log" >&2 # which would show the password
      stop '"'"'initdb failed; its words are above'"'"'
    fi
    printf '"'"'host all all all %s\n'"'"' "$method" >>"$data/pg_hba.conf"
    ;;
  serve)
    cd "$data" || exit 1
    # Asked to end (SIGTERM) it would wait for its clients; SIGINT is the ending that does not.
    trap '"'"'kill -INT "$child" 2>/dev/null'"'"' TERM INT
    # shellcheck disable=SC2086 # several words
    $as "$server" -D "$data" "$@" &
    child=$!
    wait "$child"
    status=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done
    exit "$status"
    ;;
  up)
    command -v psql >/dev/null 2>&1 || stop '"'"'psql is not here: use the whole image of PostgreSQL'"'"'
    ask() { # DATABASE; statements that hold passwords come on standard input, and reach no log
      PGPASSWORD=${POSTGRES_PASSWORD:-} psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
        --host="$1" --port="$BENCHD_PORT" --username="$admin" --dbname="$2"
    }
    database=${POSTGRES_DB:-$admin}
    {
      printf '"'"'SET log_min_error_statement = panic; SET log_statement = none;\n'"'"'
      printf "SELECT '"'"'CREATE ROLE benchd LOGIN'"'"' WHERE NOT EXISTS"
      printf " (SELECT FROM pg_roles WHERE rolname = '"'"'benchd'"'"') \\\\gexec\n"
      if [ -n "${BENCHD_TICKET:-}" ]; then
        printf '"'"'ALTER ROLE benchd PASSWORD '"'"'; text "$BENCHD_TICKET"; printf '"'"';\n'"'"'
      fi
      printf '"'"'GRANT pg_monitor TO benchd;\n'"'"'
      for each in benchd "$database"; do
        printf "SELECT '"'"'CREATE DATABASE '"'"' || quote_ident(d) FROM (VALUES ("; text "$each"
        printf '"'"')) t(d) WHERE d NOT IN (SELECT datname FROM pg_database) \\gexec\n'"'"'
      done
      printf '"'"'ALTER DATABASE benchd OWNER TO benchd;\n'"'"'
    } | ask "$BENCHD_BIND" postgres || stop '"'"'users and databases could not be made; see above'"'"'
    [ ! -e "$BENCHD_DATA/prepared" ] || exit 0
    [ -e "$BENCHD_JOB/init.sql" ] || exit 0
    ask "$BENCHD_BIND" "$database" <"$BENCHD_JOB/init.sql" >/dev/null ||
      stop '"'"'init_script failed; what the server says is above'"'"'
    : >"$BENCHD_DATA/prepared"
    ;;
esac
' >"$JOB"/postgresql.sh || benchd_stop 'postgresql.sh cannot be written'
benchd_local() {
    BENCHD_DATA=$(mktemp -d "${TMPDIR:-/tmp}/benchd-$ID.XXXXXXXX") ||
        benchd_stop "no directory can be made in ${TMPDIR:-/tmp} of $BENCHD_HOST: is it full?"
    export BENCHD_DATA
}
benchd_local

benchd_leave() {
    rm -rf -- "$BENCHD_DATA"
}
benchd_ports=''
benchd_answers() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null; }
benchd_taken() {
    case " $benchd_ports " in *" $1 "*) return 0 ;; esac
    benchd_answers 127.0.0.1 "$1" || benchd_answers "$BENCHD_HOST_IP" "$1"
}
benchd_take() {
    local round
    benchd_port=$1
    if [ "$1" != auto ]; then
        ! benchd_taken "$1" || benchd_stop "port $1 is taken on $BENCHD_HOST: something else" \
            "answers there. Write 'ports: [auto]' in the recipe and benchd picks a free one"
    else
        for ((round = 0; round < 100; round++)); do
            benchd_port=$((20000 + RANDOM % 12001))
            benchd_taken "$benchd_port" || break
            benchd_port=''
        done
        [ -n "$benchd_port" ] || benchd_stop "no free port found on $BENCHD_HOST in 100 rounds"
    fi
    benchd_ports="$benchd_ports $benchd_port"
}
benchd_publish() {
    printf '{"slurm_id":"%s","generation":%d,"host":"%s","ports":[%s]%s}\n' \
        "$ID" "$GENERATION" "$BENCHD_HOST" "$1" \
        "${BENCHD_IMAGE_DIGEST:+,\"image\":\"$BENCHD_IMAGE_DIGEST\"}" >"$JOB/.endpoint.json.$ID"
    mv -fT "$JOB/.endpoint.json.$ID" "$JOB/endpoint.json" ||
        benchd_stop "endpoint.json cannot be written in $JOB: is the file system full?"
}
benchd_take auto
export BENCHD_PORT_0=$benchd_port
export BENCHD_PORT=$BENCHD_PORT_0
export BENCHD_RESULT_DIR=$JOB/result
mkdir -p "$BENCHD_RESULT_DIR" || benchd_stop "$BENCHD_RESULT_DIR cannot be made"

benchd_node() {
    local line cpu='' memory='' kernel='' place
    while IFS= read -r line; do
        case $line in 'model name'*) cpu=${line#*: } && break ;; esac
    done </proc/cpuinfo
    read -r _ memory _ </proc/meminfo
    read -r kernel </proc/sys/kernel/osrelease
    place=${SLURM_JOB_PARTITION:-},${SLURM_JOB_QOS:-},${SLURM_JOB_ACCOUNT:-}
    printf '{"node":"%s","cpu":"%s","cores":%d,"mem_kib":%d,"kernel":"%s","given":%d,"in":"%s"}\n' \
        "$BENCHD_HOST" "${cpu//[!A-Za-z0-9 ()@.,_+-]/}" "$(nproc --all)" "$memory" \
        "${kernel//[!A-Za-z0-9._+~-]/}" "${SLURM_CPUS_ON_NODE:-0}" "${place//[!A-Za-z0-9._+,-]/}"
}
benchd_node 2>/dev/null >"$BENCHD_RESULT_DIR/benchd-node.json"

benchd_failed() {
    benchd_say "$2 ended with status $1, so the job ends"
    exit "$1"
}
benchd_guard() {
    local status
    ("$@") {benchd_pipe}>&-
    status=$?
    [ "$status" != 0 ] || exit 0
    sleep 1
    trap '' TERM
    printf '%d\n' "$status" >&"$benchd_pipe"
    kill -s TERM 0
    trap - TERM
    sleep 10
    kill -s KILL 0
}
benchd_beside() {
    local name=$1 status
    shift
    ("$@") {benchd_pipe}>&- >"$JOB/beside-$name.log" 2>&1
    status=$?
    sleep 1
    benchd_say "$name, which runs beside the program, ended with status $status;" \
        "the job goes on, see $JOB/beside-$name.log"
}
benchd_settle() {
    local round others
    kill -s TERM -- "-$benchd_pid" 2>/dev/null || return 0
    for ((round = 0; round < 50; round++)); do
        others=$(ps -u "$UID" -o pgid=,stat= 2>/dev/null)
        [[ " $others" =~ [[:space:]]${benchd_pid}[[:space:]]+[^Z[:space:]] ]] || return 0
        sleep 0.1
    done
    kill -s KILL -- "-$benchd_pid" 2>/dev/null
}

benchd_await() {
    until benchd_answers "$BENCHD_HOST_IP" "$1" || benchd_answers 127.0.0.1 "$1"; do
        sleep 0.5
    done
}
benchd_up() {
    : >"$JOB/up" || benchd_stop "$JOB/up cannot be written: is the file system full?"
}
rm -f "$JOB/up"

benchd_ask() {
    local file=$BENCHD_RESULT_DIR/benchd-$1
    ("$2") {benchd_pipe}>&- </dev/null 2>/dev/null | head -c 4096 >"$file.part"
    if [ -s "$file.part" ]; then mv -fT "$file.part" "$file"; else rm -f "$file.part"; fi
}
benchd_gpus() {
    exec timeout --foreground -k 1 5 nvidia-smi --format=csv,noheader,nounits \
        --query-gpu=name,memory.total,driver_version,uuid
}


benchd_payload() {
    benchd_secrets POSTGRES_PASSWORD
    (
        exec -- sh "$JOB/postgresql.sh" init postgres
    ) {benchd_pipe}>&- || benchd_failed "$?" 'before: sh'
    benchd_once_up() {
        benchd_await "$BENCHD_PORT"
        (
            exec -- sh "$JOB/postgresql.sh" up postgres
        ) {benchd_pipe}>&- || benchd_failed "$?" 'once up: sh'
        benchd_up
        benchd_publish "$BENCHD_PORT_0"
    }
    (benchd_guard benchd_once_up &)
    benchd_version() {
        exec timeout --foreground -k 1 5 postgres --version
    }
    (benchd_ask version.txt benchd_version &)
    exec {benchd_pipe}>&-
    exec -- sh "$JOB/postgresql.sh" serve postgres -p "$BENCHD_PORT" -c "listen_addresses=$BENCHD_BIND" -c unix_socket_directories= -c shared_buffers=4GB -c max_connections=100 -c work_mem=4MB -c fsync=on -c synchronous_commit=on
}
benchd_run benchd_payload
benchd_settle
exit "$benchd_status"
