#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=00:15:00
# Job bq7x2m-k5wz3tqa2f-c-redis-bench-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-c-redis-bench-p0r0-0-a1 BENCHD_JOB=$JOB
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
# usage: redis-benchmark.sh HOST PORT RESULT_DIR SECONDS PROGRAM [OPTION ...]
set -u
host=$1 port=$2 dir=$3 limit=$4
shift 4
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
user=benchd ticket=${BENCHD_TICKET:-}
if [ -n "${REDIS_PASSWORD:-}" ]; then export REDISCLI_AUTH="$REDIS_PASSWORD"; fi

# With redis-cli where it is, else through bash, always within five seconds.
ping_target() {
  if command -v redis-cli >/dev/null 2>&1; then
    timeout 5 redis-cli -h "$host" -p "$port" PING 2>&1
  else
    # shellcheck disable=SC2016
    LC_ALL=C timeout 5 bash -c '"'"'exec 3<>"/dev/tcp/$1/$2" || exit
      if [ -n "${REDISCLI_AUTH:-}" ]; then
        printf "*2\r\n\$4\r\nAUTH\r\n\$%d\r\n%s\r\n" "${#REDISCLI_AUTH}" "$REDISCLI_AUTH" >&3
        IFS= read -r line <&3
        case $line in +OK*) ;; *) printf "%s\n" "${line%?}"; exit ;; esac
      fi
      printf "PING\r\n" >&3 && IFS= read -r line <&3 && printf "%s\n" "${line%?}"
    '"'"' ping "$host" "$port" 2>&1
  fi
}
note_info() { # FILE
  command -v redis-cli >/dev/null 2>&1 || return 0
  timeout 5 redis-cli -h "$host" -p "$port" INFO all >"$dir/$1" 2>/dev/null
}

answer=$(ping_target)
case $answer in
  PONG | +PONG) ;;
  *NOAUTH*)
    say "$host:$port wants a password: give the service secrets: {REDIS_PASSWORD: {generate: 24}}"
    exit 69 ;;
  *WRONGPASS*) say "$host:$port does not take the password in REDIS_PASSWORD"; exit 69 ;;
  *) say "no PONG from $host:$port within 5 s: ${answer:-no answer}"; exit 69 ;;
esac
if [ -n "${REDISCLI_AUTH:-}" ] && [ -z "$ticket" ]; then
  say "this tool can be told a password only where every user of the node reads it, so it"
  say "measures a Redis with a password only if that is a service of kind redis of benchd'"'"'s own"
  exit 69
fi
advice='"'"'use an image that has it (docker://redis:7-alpine)'"'"'
choose "$1" "$advice" redis-benchmark valkey-benchmark
shift
if [ -n "${REDISCLI_AUTH:-}" ]; then set -- --user "$user" -a "$ticket" "$@"; fi

note_info info-before.txt
date +%s.%N >"$dir/started.txt"
limited "$limit" "$chosen" "$@" >"$dir/redis-benchmark.csv" 2>"$dir/redis-benchmark.err"
status=$?
date +%s.%N >"$dir/ended.txt"
note_info info-after.txt
cat "$dir/redis-benchmark.err" >&2

if [ "$status" -eq 124 ]; then
  say "redis-benchmark was stopped after $limit s: raise parameters.timeout or lower requests"
fi
if [ "$status" -eq 0 ] && [ "$(wc -l <"$dir/redis-benchmark.csv")" -lt 2 ]; then
  say "redis-benchmark ended well but measured nothing"
  exit 65
fi
exit "$status"
' >"$JOB"/redis-benchmark.sh || benchd_stop 'redis-benchmark.sh cannot be written'
command -v apptainer >/dev/null || benchd_stop 'apptainer is not on this node: check runtime.module in the cluster'"'"'s configuration'
benchd_image="${HOME:?is not set on this node}"/containers/redis-7-alpine.sif
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
        exec env APPTAINERENV_BENCHD_TOOL_IMAGE="${benchd_image:-}" apptainer exec --cleanenv --bind "$JOB" --pwd "$JOB" "$benchd_image" sh -c 'for each do command -v "$each" >/dev/null && exit; done; exit 66' sh redis-benchmark valkey-benchmark
    }
    if benchd_only_here redis-benchmark valkey-benchmark; then
        benchd_image=''
        exec {benchd_pipe}>&-
        exec env BENCHD_TOOL_IMAGE="${benchd_image:-}" sh "$JOB/redis-benchmark.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" "$BENCHD_RESULT_DIR" 600 auto -h "$BENCHD_TARGET_HOST" -p "$BENCHD_TARGET_PORT" --csv -n 2000000 -c 50 -d 256 -P 16 -r 1000000 -t set,get
    fi
    exec {benchd_pipe}>&-
    benchd_enter
    exec env APPTAINERENV_BENCHD_TOOL_IMAGE="${benchd_image:-}" apptainer exec --cleanenv --bind "$JOB" --pwd "$JOB" "$benchd_image" sh "$JOB/redis-benchmark.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" "$BENCHD_RESULT_DIR" 600 auto -h "$BENCHD_TARGET_HOST" -p "$BENCHD_TARGET_PORT" --csv -n 2000000 -c 50 -d 256 -P 16 -r 1000000 -t set,get
}
benchd_run benchd_payload
benchd_gather
exit "$benchd_status"
