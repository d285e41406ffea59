"""The parts of every batch script that do not depend on the job: bash, in the order they run.

Needs bash 4.2 and coreutils, which every Slurm node has. Variables of the script are lower case or
named in the script contract; what the payload may rely on begins with ``BENCHD_`` and is exported.
"""

from __future__ import annotations

# One atomic claim per job, carrying its owner; one span per generation: a controller that lost its
# state starts again, as the same generation, what it has started before. Exit status: 75 a twin,
# 76 such a second start (or what the first recorded), 78 no fence to be had.
# A link that is there but cannot be read yet is a lagging attribute cache: three looks, 1 s apart.
FENCE = r"""# shellcheck disable=SC2016,SC2317,SC2329 # quotes are meant; traps call
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
"""

# Records how the script ended, and runs a function in the background so that signals get through.
# `wait` can lose the status (bash 5.2 says -1) when a signal reaches us and the payload at once, as
# scancel's does; so the payload's parent, which does not use `wait`, tells it through a pipe. 1 s:
# the parent is gone by then, so what it said is there, unless it was killed itself. What is told
# first counts: whoever ends the job for a reason of its own says its status there before.
RECORD = r"""benchd_started=$(date +%s)
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
"""

# The name others reach this node by, and where to listen so that they do. A name that is a loopback
# address here is no use to them. A service listens on that one address where everybody who asks
# for the name is led to it, this node too; else (several addresses, a loopback address among them,
# or none at all) on all, because a connection to the wrong one would be refused.
HOST = r"""benchd_host() {
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
"""

# Data of this job alone. $JOB/data outlives it; a directory of the node's own is removed with it.
SHARED_DATA = r"""export BENCHD_DATA=$JOB/data
mkdir -p "$BENCHD_DATA" || benchd_stop "$BENCHD_DATA cannot be made: is the file system full?"
"""
LOCAL_DATA = r"""benchd_local() {
    BENCHD_DATA=$(mktemp -d "${TMPDIR:-/tmp}/benchd-$ID.XXXXXXXX") ||
        benchd_stop "no directory can be made in ${TMPDIR:-/tmp} of $BENCHD_HOST: is it full?"
    export BENCHD_DATA
}
benchd_local
"""

# A batch shell is no login shell: where `module` is missing, the site's profile defines it.
MODULES = r"""benchd_modules() {
    set +u
    # shellcheck disable=SC1090,SC1091 # the site's file, not ours
    type module >/dev/null 2>&1 || . /etc/profile >/dev/null
    type module >/dev/null 2>&1 ||
        benchd_stop "no 'module' command on $BENCHD_HOST, but runtime.module is set"
    module load "$@" || benchd_stop "module load $* failed: see 'module avail' on the cluster"
    set -u
}"""

# 20000-32000 is below what Linux hands out to outgoing connections (32768 and up). 100 rounds: a
# node where 100 random ports of 12001 are taken is broken. 2 s: a filtered port must not hang us.
PORTS = r"""benchd_ports=''
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
}"""

# What belongs to a payload and is not its program. 1 s: what dies because the whole job is told to
# end is not what ends it, and is told so itself within that time. 10 s: for the others to leave.
COMPANY = r"""benchd_failed() {
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
"""

# The service is found by others when it is more than a port that takes connections. 0.5 s between
# two looks; without an end, because the program's own end is the end of this too.
ONCE_UP = r"""benchd_await() {
    until benchd_answers "$BENCHD_HOST_IP" "$1" || benchd_answers 127.0.0.1 "$1"; do
        sleep 0.5
    done
}
benchd_up() {
    : >"$JOB/up" || benchd_stop "$JOB/up cannot be written: is the file system full?"
}
rm -f "$JOB/up"
"""

# srun starts a new bash on each node; it knows this script's functions and exported variables. A
# job was submitted with --export=NONE, which srun would take over; --overlap: the nodes are shared
# with the batch script itself.
NODES = r"""benchd_srun() {
    local first=$1 function=$2 known
    shift 2
    known=$(declare -f && declare -p JOB TRY ID GENERATION ${benchd_image+benchd_image})
    export BENCHD_HEAD_HOST=$BENCHD_HOST BENCHD_HEAD_IP=$BENCHD_HOST_IP
    exec srun --overlap --export=ALL --cpu-bind=none --input=none --kill-on-bad-exit=1 \
        --ntasks-per-node=1 "$@" bash -c "set -u
$known
benchd_at_node $first $function"
}
benchd_at_node() {
    export BENCHD_NODE_INDEX=$((SLURM_NODEID + $1))
    benchd_host
    if declare -F benchd_local >/dev/null; then benchd_local; fi
    trap benchd_leave EXIT
    trap : TERM INT USR1 USR2
    ("$2")
    exit "$?"
}
"""

RESULT = r"""export BENCHD_RESULT_DIR=$JOB/result
mkdir -p "$BENCHD_RESULT_DIR" || benchd_stop "$BENCHD_RESULT_DIR cannot be made"
"""

# What the numbers depend on: the node, and what a service says of itself. Read from /proc, because
# it must cost the job nothing; and no job fails for it. What has to be asked (a version, the GPUs)
# is asked beside the program while it starts, for 5 s at most.
NODE = r"""benchd_node() {
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
"""
ASK = r"""benchd_ask() {
    local file=$BENCHD_RESULT_DIR/benchd-$1
    ("$2") {benchd_pipe}>&- </dev/null 2>/dev/null | head -c 4096 >"$file.part"
    if [ -s "$file.part" ]; then mv -fT "$file.part" "$file"; else rm -f "$file.part"; fi
}
benchd_gpus() {
    exec timeout --foreground -k 1 5 nvidia-smi --format=csv,noheader,nounits \
        --query-gpu=name,memory.total,driver_version,uuid
}
"""

# A client brings home what its services wrote down about themselves: they are on the same disk.
GATHER = r"""benchd_gather() {
    local token run about
    sed -n 's/.*"token": *"\([a-z0-9-]*\)".*/\1/p' "$JOB/try-$TRY/targets.json" |
        while read -r token; do
            run=${token#*-} about=$BENCHD_RESULT_DIR/benchd-services/$token
            mkdir -p "$about" && cp "${JOB%/*/*/*}/${run%%-*}/jobs/$token/result"/benchd-* "$about"
        done 2>/dev/null
}
"""

# What the client measures is bound when it is submitted, so it comes with the try.
TARGETS = (
    r"""[ -r "$JOB/try-$TRY/targets.env" ] || benchd_stop "$JOB/try-$TRY/targets.env cannot be read"
set -a
# shellcheck disable=SC1090,SC1091 # written at submission
. "$JOB/try-$TRY/targets.env"
set +a
"""
    + RESULT
)

# Secrets live in the payload's environment and, from submission until then, in a file of 0600 in
# each try's directory: whoever has the claim is the only one that will ever read any of them.
FORGET = r"""benchd_forget() {
    local status=$?
    rm -f -- "$JOB"/try-*/secret.env
    return "$status"
}
trap 'benchd_forget; benchd_record' EXIT"""

# What Slurm may start again needs them again; then only benchd removes them, at the job's end.
REMEMBER = "benchd_forget() { :; }"

# A client's script is written before it is known what its services tell it.
SECRETS = r"""benchd_secrets() {
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
}"""
