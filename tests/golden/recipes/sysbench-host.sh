#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=00:30:00
# Job bq7x2m-k5wz3tqa2f-c-sysbench-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-c-sysbench-p0r0-0-a1 BENCHD_JOB=$JOB
printf '%s' '#!/bin/sh
# usage: sysbench.sh HOST PORT RESULT_DIR USER DATABASE LIMIT WARMUP SECONDS RATE \
#   SYSBENCH WORKLOAD [OPTION ...]
set -u
umask 077
host=$1 port=$2 dir=$3 user=$4 database=$5 limit=$6 warmup=$7 seconds=$8 rate=$9
shift 9
workload=$2
config=$BENCHD_JOB/sysbench.conf
child='"'"''"'"'
stopped='"'"''"'"'
harder='"'"''"'"'
apart='"'"''"'"'
if timeout -k 1 5 true 2>/dev/null; then harder='"'"'-k 10'"'"'; fi
if command -v setsid >/dev/null 2>&1; then apart=setsid; fi
say() { printf '"'"'benchd: %s\n'"'"' "$*" >&2; }
# shellcheck disable=SC2317,SC2329 # the traps call it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT
insist() { # what has only just been started does not hear the first TERM, and some hear none
  sleep 1 && kill -TERM "$child" || return
  for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1 && kill -0 "$child" || return; done
  kill -KILL "-$child"
}
limited() { # SECONDS COMMAND ...: status 124 when its time was over
  [ -z "$stopped" ] || return 143
  began=$(date +%s) most=$1 status=143
  # shellcheck disable=SC2086 # none, or two words
  $apart timeout $harder "$@" &
  child=$!
  if [ -z "$stopped" ]; then
    wait "$child"
    status=$?
  fi
  if [ -n "$stopped" ]; then
    insist >/dev/null 2>&1 </dev/null &
    again=$!
    wait "$child"
    kill "$again" 2>/dev/null
    status=143
  elif [ "$status" -gt 128 ] && [ "$(($(date +%s) - began))" -ge "$most" ]; then
    status=124 # KILL was needed, or a timeout that says how the program ended
  fi
  kill -KILL "-$child" 2>/dev/null
  child='"'"''"'"'
  return "$status"
}
# Really run: what is there may still not work, for want of a module or on another processor.
answers() { # COMMAND ...: 127 when it is not here, 126 when it does not run
  command -v "$1" >/dev/null 2>&1 || return 127
  for ask in --version --help; do
    limited 300 "$@" "$ask" >"$dir/heard.txt" 2>&1 </dev/null
    answered=$?
    heard=$(cat "$dir/heard.txt")
    rm -f "$dir/heard.txt"
    if [ -n "$stopped" ]; then exit 143; fi
    [ "$answered" -eq 0 ] || continue
    where=$(command -v "$1")
    shift
    printf '"'"'%s\n'"'"' "$where${1:+ $*}" "${BENCHD_TOOL_IMAGE:-}" "$heard" | head -n 9 >"$dir/tool.txt"
    return 0
  done
  return 126
}
tool() { # ADVICE COMMAND ...: is it there, where, and what does it say of itself
  advice=$1
  shift
  answers "$@"
  case $? in
    0) return ;;
    127) say "$1 is not installed here; $advice"; exit 127 ;;
  esac
  say "$* is here and does not run; it says: $(printf '"'"'%s\n'"'"' "$heard" | grep . | tail -n 1)"
  say "$advice"
  exit 126
}
choose() { # PROGRAM ADVICE '"'"'COMMAND WORD ...'"'"' ...: $chosen $words is what runs: PROGRAM, or the
  # first of ours that works
  chosen=$1 advice=$2 words='"'"''"'"'
  shift 2
  if [ "$chosen" != auto ]; then
    tool "$advice" "$chosen"
    return
  fi
  for found in "$@"; do
    chosen=${found%% *} words=${found#"$chosen"}
    # shellcheck disable=SC2086 # words of ours
    if answers "$chosen" $words; then return; fi
  done
  tool "$advice" "$1"
}
note_status() { # FILE; host, port, user and password are known
  client=$(command -v mariadb || command -v mysql) || return 0
  MYSQL_PWD=$password timeout 10 "$client" --no-defaults --host="$host" --port="$port" \
    --user="$user" --batch --skip-column-names --execute="SELECT '"'"'version'"'"', VERSION();
      SHOW GLOBAL STATUS WHERE Variable_name IN ('"'"'Uptime'"'"', '"'"'Questions'"'"', '"'"'Com_select'"'"',
      '"'"'Com_insert'"'"', '"'"'Com_update'"'"', '"'"'Com_delete'"'"', '"'"'Com_commit'"'"', '"'"'Com_rollback'"'"',
      '"'"'Com_stmt_execute'"'"', '"'"'Slow_queries'"'"', '"'"'Aborted_clients'"'"', '"'"'Aborted_connects'"'"', '"'"'Bytes_sent'"'"',
      '"'"'Innodb_buffer_pool_reads'"'"', '"'"'Innodb_buffer_pool_read_requests'"'"', '"'"'Innodb_row_lock_time'"'"',
      '"'"'Innodb_row_lock_waits'"'"', '"'"'Innodb_deadlocks'"'"', '"'"'Innodb_data_fsyncs'"'"')" \
    >"$dir/$1" 2>/dev/null
}
trap '"'"'rm -f "$config"'"'"' EXIT
[ "$host" != localhost ] || host=127.0.0.1 # or it would look for a socket

case $user in
  benchd) password=${BENCHD_TICKET:-} ;;
  root) password=${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}} ;;
  *) password=${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}} ;;
esac
choose "$1" '"'"'use an image that has it (docker://severalnines/sysbench)'"'"' sysbench
shift 2
printf '"'"'mysql-host=%s\nmysql-port=%s\nmysql-user=%s\nmysql-password=%s\nmysql-db=%s\n'"'"' \
  "$host" "$port" "$user" "$password" "$database" >"$config" || exit 1

phase() { # NAME FILE ARGUMENT ...
  name=$1 file=$2
  shift 2
  limited "$limit" "$chosen" --config-file="$config" "$@" >"$dir/$file" 2>&1
  status=$?
  [ "$status" -ne 0 ] || return 0
  grep -E '"'"'FATAL|ERROR|error'"'"' "$dir/$file" | tail -n 3 >&2
  case $status in
    124) say "$name was stopped after $limit s: raise parameters.timeout, or do less" ;;
    143) say "$name was stopped" ;;
    *) say "$name failed with status $status" ;;
  esac
  exit "$status"
}

phase '"'"'reaching the database'"'"' cleanup.txt "$@" "$workload" cleanup
phase '"'"'filling the tables'"'"' prepare.txt "$@" "$workload" prepare
if [ "$rate" -gt 0 ]; then set -- "$@" "--rate=$rate"; fi
if [ "$warmup" -gt 0 ]; then
  phase '"'"'the warm-up'"'"' warmup.txt "$@" --time="$warmup" "$workload" run
fi
note_status status-before.txt
date +%s.%N >"$dir/started.txt"
export BENCHD_WORKLOAD="$workload" BENCHD_TOTALS="$dir/sysbench.json"
phase '"'"'the measurement'"'"' sysbench.txt "$@" --time="$seconds" --histogram=on --percentile=99 \
  --report-interval=1 "$BENCHD_JOB/measured.lua" run
date +%s.%N >"$dir/ended.txt"
note_status status-after.txt
phase '"'"'dropping the tables'"'"' cleanup.txt "$@" "$workload" cleanup
rm -f "$dir/cleanup.txt" "$dir/prepare.txt"
exit 0
' >"$JOB"/sysbench.sh || benchd_stop 'sysbench.sh cannot be written'
printf '%s' 'require(os.getenv("BENCHD_WORKLOAD"))

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
' >"$JOB"/measured.lua || benchd_stop 'measured.lua cannot be written'
[ -r "$JOB/try-$TRY/targets.env" ] || benchd_stop "$JOB/try-$TRY/targets.env cannot be read"
set -a
# shellcheck disable=SC1090,SC1091 # written at submission
. "$JOB/try-$TRY/targets.env"
set +a
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

benchd_gather() {
    local token run about
    sed -n 's/.*"token": *"\([a-z0-9-]*\)".*/\1/p' "$JOB/try-$TRY/targets.json" |
        while read -r token; do
            run=${token#*-} about=$BENCHD_RESULT_DIR/benchd-services/$token
            mkdir -p "$about" && cp "${JOB%/*/*/*}/${run%%-*}/jobs/$token/result"/benchd-* "$about"
        done 2>/dev/null
}


benchd_payload() {
    benchd_secrets ''
    exec {benchd_pipe}>&-
    exec env BENCHD_TOOL_IMAGE="${benchd_image:-}" sh "$JOB/sysbench.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" "$BENCHD_RESULT_DIR" benchd benchd 3600 30 120 0 auto oltp_read_write --threads=1 --tables=8 --table-size=100000 --rand-type=uniform
}
benchd_run benchd_payload
benchd_gather
exit "$benchd_status"
