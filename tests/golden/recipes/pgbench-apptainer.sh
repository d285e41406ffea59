#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=4
#SBATCH --mem=2G
#SBATCH --time=00:20:00
# Job bq7x2m-k5wz3tqa2f-c-pgbench-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-c-pgbench-p0r0-0-a1 BENCHD_JOB=$JOB
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
# usage: pgbench.sh HOST PORT RESULT_DIR USER DATABASE LIMIT WARMUP SECONDS SCALE \
#   PGBENCH [OPTION ...]
# shellcheck disable=SC2016 # quotes are meant
set -u
umask 077
export PGHOST="$1" PGPORT="$2" PGUSER="$4" PGDATABASE="$5" PGCONNECT_TIMEOUT=10 PGAPPNAME=pgbench
dir=$3 limit=$6 warmup=$7 seconds=$8 scale=$9
shift 9
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
for place in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
  if [ -d "$place" ]; then PATH=$PATH:$place; fi
done
choose "$1" '"'"'use an image that has it (docker://postgres:16)'"'"' pgbench
shift
case $PGUSER in
  benchd) PGPASSWORD=${BENCHD_TICKET:-} ;;
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
look() { # FILE
  PGAPPNAME=benchd timeout 10 psql --no-psqlrc --quiet --no-align --tuples-only \
    --field-separator="$(printf '"'"'\t'"'"')" --command="
    SELECT '"'"'running'"'"', count(*) FROM pg_stat_activity WHERE application_name = '"'"'pgbench'"'"'
    UNION ALL SELECT '"'"'server_version_num'"'"', current_setting('"'"'server_version_num'"'"')::bigint
    UNION ALL SELECT s.name, s.value FROM pg_stat_database d CROSS JOIN LATERAL (VALUES
      ('"'"'xact_commit'"'"', xact_commit), ('"'"'xact_rollback'"'"', xact_rollback),
      ('"'"'blks_read'"'"', blks_read), ('"'"'blks_hit'"'"', blks_hit), ('"'"'tup_returned'"'"', tup_returned),
      ('"'"'tup_inserted'"'"', tup_inserted), ('"'"'tup_updated'"'"', tup_updated),
      ('"'"'tup_deleted'"'"', tup_deleted), ('"'"'deadlocks'"'"', deadlocks), ('"'"'temp_bytes'"'"', temp_bytes)
    ) AS s (name, value) WHERE d.datname = current_database()" >"$dir/$1" 2>/dev/null
}
note_status() { # FILE
  command -v psql >/dev/null 2>&1 || return 0
  for _ in 1 2 3 4 5; do
    look "$1"
    grep -q '"'"'^running.[1-9]'"'"' "$dir/$1" || break
    sleep 1
  done
  if grep -Eq '"'"'^server_version_num.(9|1[0-4])'"'"' "$dir/$1"; then sleep 1 && look "$1"; fi
}
counted() { # COLUMNS: microseconds that awk makes of a line -> "milliseconds count"
  # in place of its time stands failed or skipped where there was none
  cat "$logs".* | awk "\$3 ~ /^[0-9]+\$/ { us = $1; if (us < 1) us = 1
      step = 1; while (us / step >= 1000) step *= 10
      count[int(us / step + 0.5) * step]++ }
    END { for (us in count) printf \"%.6f %d\\n\", us / 1000, count[us] }" | sort -n
}

phase '"'"'filling the tables'"'"' init.txt "$chosen" --initialize --quiet --scale="$scale"
if [ "$warmup" -gt 0 ]; then
  phase '"'"'the warm-up'"'"' warmup.txt "$chosen" --no-vacuum --time="$warmup" "$@"
fi
note_status status-before.txt
date +%s.%N >"$dir/started.txt"
phase '"'"'the measurement'"'"' pgbench.txt "$chosen" --no-vacuum --time="$seconds" --progress=1 \
  --log --log-prefix="$logs" "$@"
date +%s.%N >"$dir/ended.txt"
note_status status-after.txt
case " $* " in
  *'"'"' --rate='"'"'*)
    counted '"'"'$3'"'"' >"$dir/latency-sched.txt"
    counted '"'"'$3 - $7'"'"' >"$dir/latency-service.txt"
    ;;
  *) counted '"'"'$3'"'"' >"$dir/latency-service.txt" ;;
esac
rm -f "$logs".*
phase '"'"'dropping the tables'"'"' init.txt "$chosen" --initialize --init-steps=d
rm -f "$dir/init.txt" "$dir/init.txt.err"
exit 0
' >"$JOB"/pgbench.sh || benchd_stop 'pgbench.sh cannot be written'
command -v apptainer >/dev/null || benchd_stop 'apptainer is not on this node: check runtime.module in the cluster'"'"'s configuration'
benchd_image="${HOME:?is not set on this node}"/containers/postgres-16.sif
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

[ -z "${BENCHD_IMAGE_DIGEST:-}" ] || cp "$benchd_image.benchd.json" "$BENCHD_RESULT_DIR/benchd-image.json"
benchd_enter() {
    local benchd_name
    for benchd_name in "${!BENCHD_@}" CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES SLURM_CPUS_PER_TASK SLURM_JOB_ID SLURM_RESTART_COUNT ${BENCHD_SECRETS:-}; do
        [ -z "${!benchd_name+x}" ] || export "APPTAINERENV_$benchd_name=${!benchd_name}"
    done
    export APPTAINER_NO_EVAL=1
}

benchd_only_here() {
    local program here=''
    for program; do [ -n "$here" ] || here=$(command -v "$program"); done
    [ -n "$here" ] || return 1
    (benchd_look) >/dev/null 2>&1 </dev/null
    [ "$?" -eq 66 ] || return 1
    rm -f "$BENCHD_RESULT_DIR/benchd-image.json"
    benchd_say "the image has no $1 and this node has $here: it runs on the node"
}
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
    benchd_look() {
        benchd_enter
        exec env APPTAINERENV_BENCHD_TOOL_IMAGE="${benchd_image:-}" apptainer exec --cleanenv --bind "$JOB" --pwd "$JOB" "$benchd_image" sh -c 'for each do command -v "$each" >/dev/null && exit; done; exit 66' sh pgbench
    }
    if benchd_only_here pgbench; then
        benchd_image=''
        exec {benchd_pipe}>&-
        exec env BENCHD_TOOL_IMAGE="${benchd_image:-}" sh "$JOB/pgbench.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" "$BENCHD_RESULT_DIR" benchd benchd 3600 20 120 100 auto --client=32 --jobs=4 --protocol=prepared --random-seed=0 --rate=500 --builtin=tpcb-like
    fi
    exec {benchd_pipe}>&-
    benchd_enter
    exec env APPTAINERENV_BENCHD_TOOL_IMAGE="${benchd_image:-}" apptainer exec --cleanenv --bind "$JOB" --pwd "$JOB" "$benchd_image" sh "$JOB/pgbench.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" "$BENCHD_RESULT_DIR" benchd benchd 3600 20 120 100 auto --client=32 --jobs=4 --protocol=prepared --random-seed=0 --rate=500 --builtin=tpcb-like
}
benchd_run benchd_payload
benchd_gather
exit "$benchd_status"
