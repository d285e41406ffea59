#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=02:00:00
# Job bq7x2m-k5wz3tqa2f-s-mysql-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-s-mysql-p0r0-0-a1 BENCHD_JOB=$JOB
benchd_modules() {
    set +u
    # shellcheck disable=SC1090,SC1091 # the site's file, not ours
    type module >/dev/null 2>&1 || . /etc/profile >/dev/null
    type module >/dev/null 2>&1 ||
        benchd_stop "no 'module' command on $BENCHD_HOST, but runtime.module is set"
    module load "$@" || benchd_stop "module load $* failed: see 'module avail' on the cluster"
    set -u
}
benchd_modules Apptainer/1.2.4-GCCcore-12.3.0
printf '%s' '#!/bin/sh
# usage: mysql.sh ACT SERVER DATA SOCKET [OPTION ...]
# init: make the database, and what the server reads first; serve; up: what follows once it answers
# shellcheck disable=SC2016 # quotes are meant
set -u
umask 077
act=$1 server=$2 data=$3 socket=$4
shift 4
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec
first=$BENCHD_DATA/first.sql

say() { printf '"'"'benchd: %s\n'"'"' "$*" >&2; }
stop() { say "$@"; exit 1; }
pick() {
  for name in "$@"; do
    if command -v "$name" >/dev/null 2>&1; then printf '"'"'%s\n'"'"' "$name"; return 0; fi
  done
  return 1
}
# What follows is SQL on standard output; printf is part of the shell, so ps never shows it.
text() { printf "'"'"'"; printf '"'"'%s'"'"' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'"'"'/'"'"''"'"'/g"; printf "'"'"'"; }
name() { printf '"'"'`'"'"'; printf '"'"'%s'"'"' "$1" | sed '"'"'s/`/``/g'"'"'; printf '"'"'`'"'"'; }
user() { # NAME HOST PASSWORD
  for verb in '"'"'CREATE USER IF NOT EXISTS'"'"' '"'"'ALTER USER'"'"'; do
    printf '"'"'%s '"'"' "$verb"; text "$1"; printf '"'"'@'"'"'; text "$2"
    printf '"'"' IDENTIFIED BY '"'"'; text "$3"; printf '"'"';\n'"'"'
  done
}
may() { # RIGHTS WHAT NAME HOST
  printf '"'"'GRANT %s ON %s TO '"'"' "$1" "$2"; text "$3"; printf '"'"'@'"'"'; text "$4"; printf '"'"';\n'"'"'
}
is_yes() { case ${1:-} in yes | true | 1 | on | YES | TRUE | ON) return 0 ;; esac; return 1; }

if [ "$server" = auto ]; then
  server=$(pick mariadbd mysqld) ||
    stop '"'"'neither mariadbd nor mysqld is here: use an image (docker://mariadb:11, docker://mysql:8.4)'"'"'
elif ! command -v "$server" >/dev/null 2>&1; then
  stop "$server is not here: leave command out, and benchd takes mariadbd or mysqld"
fi
case $("$server" --no-defaults --version 2>/dev/null) in
  *MariaDB*) flavour=mariadb ;;
  *) flavour=mysql ;;
esac
case " $* " in *'"'"' --user'"'"'*) as='"'"''"'"' ;; *) as="--user=$(id -un 2>/dev/null || id -u)" ;; esac
[ "$(id -u)" = 0 ] || as='"'"''"'"'

root=${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}}
database=${MYSQL_DATABASE:-${MARIADB_DATABASE:-}}
login=${MYSQL_USER:-${MARIADB_USER:-}}
password=${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}}
elsewhere=${MYSQL_ROOT_HOST:-${MARIADB_ROOT_HOST:-}}

first_words() {
  if [ "$flavour" = mariadb ]; then
    # what mariadb-install-db makes besides, and all without a password
    printf "DELETE FROM mysql.global_priv WHERE User IN ('"'"'root'"'"', '"'"''"'"') AND Host <> '"'"'localhost'"'"';\n"
    printf '"'"'FLUSH PRIVILEGES;\n'"'"'
  fi
  printf '"'"'CREATE DATABASE IF NOT EXISTS `benchd`;\n'"'"'
  if [ -n "${BENCHD_TICKET:-}" ]; then
    user benchd % "$BENCHD_TICKET"
    may '"'"'ALL PRIVILEGES'"'"' '"'"'`benchd`.*'"'"' benchd %
    may '"'"'ALL PRIVILEGES'"'"' '"'"'`benchd_slap`.*'"'"' benchd %
    may '"'"'PROCESS, REPLICATION CLIENT'"'"' '"'"'*.*'"'"' benchd %
    may '"'"'SELECT'"'"' '"'"'`performance_schema`.*'"'"' benchd %
  elif is_yes "${MYSQL_ALLOW_EMPTY_PASSWORD:-${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-}}"; then
    user benchd % '"'"''"'"'
    may '"'"'ALL PRIVILEGES'"'"' '"'"'`benchd`.*'"'"' benchd %
    may '"'"'ALL PRIVILEGES'"'"' '"'"'`benchd_slap`.*'"'"' benchd %
    may '"'"'PROCESS, REPLICATION CLIENT'"'"' '"'"'*.*'"'"' benchd %
  fi
  if [ -n "$database" ]; then
    printf '"'"'CREATE DATABASE IF NOT EXISTS '"'"'; name "$database"; printf '"'"';\n'"'"'
  fi
  if [ -n "$login" ] && [ "$login" != root ]; then
    user "$login" % "$password"
    if [ -n "$database" ]; then may '"'"'ALL PRIVILEGES'"'"' "$(name "$database").*" "$login" %; fi
  fi
  if [ -n "$elsewhere" ] && [ "$elsewhere" != localhost ]; then
    user root "$elsewhere" "$root"
    may '"'"'ALL PRIVILEGES'"'"' '"'"'*.*'"'"' root "$elsewhere"
  fi
  printf "ALTER USER '"'"'root'"'"'@'"'"'localhost'"'"' IDENTIFIED BY "; text "$root"; printf '"'"';\n'"'"'
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
        stop '"'"'mariadb-install-db is not here: use the whole image of MariaDB'"'"'
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
      stop '"'"'init_script needs the program mariadb or mysql, and neither is here'"'"'
    }
    cd "$data" || exit 1
    ask() {
      MYSQL_PWD=$root "$client" --no-defaults --protocol=socket --socket="$socket" --user=root \
        --connect-timeout=30 "$@"
    }
    ask --execute='"'"'SELECT 1'"'"' >/dev/null ||
      stop "root cannot log in: the first words to the server did not arrive; see its own above"
    if [ -e "$BENCHD_DATA/prepared" ] || [ ! -e "$BENCHD_JOB/init.sql" ]; then exit 0; fi
    if [ -n "$database" ]; then set -- "$database"; fi
    ask "$@" <"$BENCHD_JOB/init.sql" ||
      stop '"'"'init_script failed; what the server says is above'"'"'
    : >"$BENCHD_DATA/prepared"
    ;;
esac
' >"$JOB"/mysql.sh || benchd_stop 'mysql.sh cannot be written'
benchd_local() {
    BENCHD_DATA=$(mktemp -d "${TMPDIR:-/tmp}/benchd-$ID.XXXXXXXX") ||
        benchd_stop "no directory can be made in ${TMPDIR:-/tmp} of $BENCHD_HOST: is it full?"
    export BENCHD_DATA
}
benchd_local

benchd_leave() {
    rm -rf -- "$BENCHD_DATA"
}
command -v apptainer >/dev/null || benchd_stop 'apptainer is not on this node: check runtime.module in the cluster'"'"'s configuration'
benchd_image="${HOME:?is not set on this node}"/containers/mariadb-11.4.sif
[ -e "$benchd_image" ] || benchd_stop "$benchd_image was there and is gone: was the directory cleaned? benchctl retry makes it again"
benchd_stamp() { if [ -d "$1" ]; then echo '"size": 0, "mtime": 0'; else stat -Lc '"size": %s, "mtime": %Y' "$1"; fi; }
benchd_digest() {
    local said
    read -r said 2>/dev/null <"$benchd_image.benchd.json" || return 0
    case $said in
        *", $(benchd_stamp "$benchd_image"), "*) ;;
        *) return 0 ;;
    esac
    said=${said#*\"digest\": \"}
    if [[ ${said%%\"*} =~ ^sha256:[0-9a-f]{64}$ ]]; then
        export BENCHD_IMAGE_DIGEST=${said%%\"*}
    fi
}
benchd_digest
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

benchd_enter() {
    local benchd_name
    for benchd_name in "${!BENCHD_@}" CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES SLURM_CPUS_PER_TASK SLURM_JOB_ID SLURM_RESTART_COUNT ${BENCHD_SECRETS:-}; do
        [ -z "${!benchd_name+x}" ] || export "APPTAINERENV_$benchd_name=${!benchd_name}"
    done
    export APPTAINER_NO_EVAL=1
}
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
    benchd_secrets MYSQL_ROOT_PASSWORD
    (
        benchd_enter
        exec apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --pwd "$JOB" "$benchd_image" sh "$JOB/mysql.sh" init auto "$BENCHD_DATA/mysql" mysql.sock
    ) {benchd_pipe}>&- || benchd_failed "$?" 'before: sh'
    benchd_once_up() {
        benchd_await "$BENCHD_PORT"
        (
            benchd_enter
            exec apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --pwd "$JOB" "$benchd_image" sh "$JOB/mysql.sh" up auto "$BENCHD_DATA/mysql" mysql.sock
        ) {benchd_pipe}>&- || benchd_failed "$?" 'once up: sh'
        benchd_up
        benchd_publish "$BENCHD_PORT_0"
    }
    (benchd_guard benchd_once_up &)
    benchd_version() {
        benchd_enter
        exec timeout --foreground -k 1 5 apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --pwd "$JOB" "$benchd_image" sh -c 'mariadbd --version || mysqld --version'
    }
    (benchd_ask version.txt benchd_version &)
    exec {benchd_pipe}>&-
    benchd_enter
    exec apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --pwd "$JOB" "$benchd_image" sh "$JOB/mysql.sh" serve auto "$BENCHD_DATA/mysql" mysql.sock --port "$BENCHD_PORT" --bind-address "$BENCHD_BIND" --skip-name-resolve --max-connect-errors=4294967295 --innodb-buffer-pool-size=4G --max-connections=200 --innodb-flush-log-at-trx-commit=1
}
benchd_run benchd_payload
benchd_settle
benchd_after() {
    rm -f "$BENCHD_DATA/first.sql"
}
benchd_kept=$benchd_status
benchd_run benchd_after
benchd_status=$benchd_kept
exit "$benchd_status"
