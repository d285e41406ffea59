#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --partition=cpu
# Job bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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

export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1 BENCHD_JOB=$JOB
export BENCHD_DATA=$JOB/data
mkdir -p "$BENCHD_DATA" || benchd_stop "$BENCHD_DATA cannot be made: is the file system full?"

command -v singularity >/dev/null || benchd_stop 'singularity is not on this node: set runtime.module in the cluster'"'"'s configuration'
command -v singularity >/dev/null || benchd_stop 'singularity is not on this node: set runtime.module in the cluster'"'"'s configuration'
benchd_image="${JOB%/*/*/*/*}"/images/redis-7-alpine-8fb3e052.sif
benchd_anew='' benchd_by=bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1 benchd_mark=$ID
benchd_origin='{"schema": "benchd.image/1", "source": "docker://redis:7-alpine", "commands": "", "runtime": "singularity", '
benchd_make() {
    singularity pull "$benchd_part" docker://redis:7-alpine
}
benchd_is_dead() { local host pid user _ limit=300; if [ -e "$1/owner" ]; then read -r host pid user _ <"$1/owner" 2>/dev/null; set -- "$1/owner"; else host='' limit=1800; fi; if [ "${host:-}" = "$(uname -n)" ] && [ "${user:-}" = "$UID" ] && [ ! -d "/proc/${pid:-0}" ]; then return 0; fi; [ "$(($(date +%s) - $(stat -c %Y "$1" 2>/dev/null || date +%s)))" -gt "$limit" ]; }
benchd_stamp() { if [ -d "$1" ]; then echo '"size": 0, "mtime": 0'; else stat -Lc '"size": %s, "mtime": %Y' "$1"; fi; }
benchd_bring() {
    benchd_lock=$benchd_image.lock benchd_part=$benchd_image.part-$benchd_mark
    benchd_missed=0 benchd_toucher='' benchd_maker=$BASHPID
    mkdir -p "$(dirname "$benchd_image")" || return 1
    until mkdir "$benchd_lock" 2>/dev/null; do
        if [ -z "$benchd_anew" ] && [ -e "$benchd_image" ]; then return 0; fi
        if [ ! -d "$benchd_lock" ]; then
            benchd_missed=$((benchd_missed + 1))
            if [ "$benchd_missed" -ge 5 ]; then
                benchd_say "no directory can be made beside $benchd_image: may you write there?"
                return 1
            fi
        elif benchd_is_dead "$benchd_lock"; then
            benchd_say "whoever held $benchd_lock is gone: $(cat "$benchd_lock/owner" 2>/dev/null)"
            mv -T "$benchd_lock" "$benchd_lock.dead-$benchd_mark" 2>/dev/null
            rm -rf "$benchd_lock.dead-$benchd_mark"
            continue
        fi
        sleep 5
    done
    trap 'benchd_tidy' EXIT
    trap 'exit 143' TERM
    printf '%s %s %s %s\n' "$(uname -n)" "$benchd_maker" "$UID" "$benchd_by" >"$benchd_lock/owner"
    benchd_touch </dev/null >/dev/null 2>&1 &
    benchd_toucher=$!
    if [ -z "$benchd_anew" ] && [ -e "$benchd_image" ]; then return 0; fi
    benchd_make || return "$?"
    if [ ! -e "$benchd_part" ]; then
        benchd_say "the commands that make $benchd_image ended well and made nothing"
        return 1
    fi
    benchd_note || benchd_say "what $benchd_image was made from cannot be written beside it"
    if [ -d "$benchd_image" ]; then mv -T "$benchd_image" "$benchd_part.old" || return 1; fi
    mv -T "$benchd_part" "$benchd_image"
}
# shellcheck disable=SC2317,SC2329 # a trap calls it
benchd_tidy() {
    [ -z "$benchd_toucher" ] || kill "$benchd_toucher" 2>/dev/null
    rm -rf "$benchd_part" "$benchd_part.old" "$benchd_image.benchd.json-$benchd_mark"
    rm -rf "$benchd_lock"
}
benchd_touch() {
    local nothing
    exec {nothing}<> <(:)
    until read -r -t 30 -u "$nothing" || [ ! -d "/proc/$benchd_maker" ]; do
        touch -c "$benchd_lock/owner" || return
    done
}
benchd_sum() {
    if [ -d "$1" ]; then
        (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum
    else
        sha256sum <"$1"
    fi | cut -c1-64
}
benchd_note() {
    printf '%s"digest": "sha256:%s", %s, "made_at": "%s", "by": "%s"}\n' \
        "$benchd_origin" "$(benchd_sum "$benchd_part")" "$(benchd_stamp "$benchd_part")" \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$benchd_by" \
        >"$benchd_image.benchd.json-$benchd_mark" &&
        mv -fT "$benchd_image.benchd.json-$benchd_mark" "$benchd_image.benchd.json"
}
benchd_inside() {
    exec {benchd_pipe}>&-
    benchd_bring
}
if [ ! -e "$benchd_image" ]; then
    benchd_run benchd_inside
    if [ ! -e "$benchd_image" ]; then
        benchd_say "the image $benchd_image could not be made on $BENCHD_HOST; see the lines above"
        exit "$((benchd_status ? benchd_status : 1))"
    fi
    benchd_pid=''
fi
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
benchd_publish "$BENCHD_PORT_0"
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
        [ -z "${!benchd_name+x}" ] || export "SINGULARITYENV_$benchd_name=${!benchd_name}"
    done
    export SINGULARITY_NO_EVAL=1
}

benchd_payload() {
    exec {benchd_pipe}>&-
    benchd_enter
    exec env SINGULARITYENV_REDIS_PERSISTENCE=none singularity exec --cleanenv --bind "$JOB" --pwd "$JOB" "$benchd_image" redis-server --port "$BENCHD_PORT" --bind "$BENCHD_HOST_IP"
}
benchd_run benchd_payload
exit "$benchd_status"
