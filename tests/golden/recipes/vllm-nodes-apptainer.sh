#!/bin/bash
#SBATCH --no-requeue
#SBATCH --nodes=2
#SBATCH --cpus-per-task=16
#SBATCH --time=02:00:00
#SBATCH --partition=gpu
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
# Job bq7x2m-k5wz3tqa2f-s-vllm-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
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
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-s-vllm-p0r0-0-a1 BENCHD_JOB=$JOB
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
printf '%s' '# Waits until the server lists a model. Arguments: URL of the list, name of the model.
import json, os, sys, time
import urllib.error, urllib.request

url, name = sys.argv[1:]
request = urllib.request.Request(url)
if os.environ.get("VLLM_API_KEY"):
    request.add_header("Authorization", "Bearer " + os.environ["VLLM_API_KEY"])
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
deadline = time.monotonic() + 120
while True:
    try:
        with direct.open(request, timeout=10) as answer:
            names = [model.get("id") for model in json.load(answer)["data"]]
        problem = "it lists %s" % ", ".join(map(str, names))
        if name in names:
            break
    except (OSError, ValueError, KeyError) as error:
        problem = str(error)
    if time.monotonic() > deadline:
        sys.exit("benchd: the model %s is not at %s: %s" % (name, url, problem))
    time.sleep(0.5)
' >"$JOB"/listed.py || benchd_stop 'listed.py cannot be written'
printf '%s' '# Waits until all nodes have joined. Arguments: address of Ray'"'"'s head, nodes, file to say it in.
import os, socket, sys, time

address, nodes, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
deadline = time.monotonic() + 600
host, _, port = address.rpartition(":")
while True:
    try:
        socket.create_connection((host, int(port)), 5).close()
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit("benchd: Ray'"'"'s head does not answer at %s: %s" % (address, error))
        time.sleep(0.2)
with open(file + ".part", "w") as out:
    out.write(address + "\n")
os.rename(file + ".part", file)

import ray

ray.init(address=address, log_to_driver=False)
while True:
    there = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    if len(there) >= nodes:
        break
    if time.monotonic() > deadline:
        sys.exit("benchd: %d of %d nodes joined Ray: %s" % (len(there), nodes, ", ".join(there)))
    time.sleep(2)
print("benchd: %d nodes joined Ray: %s" % (len(there), ", ".join(there)), file=sys.stderr)
' >"$JOB"/ray-join.py || benchd_stop 'ray-join.py cannot be written'
printf '%s' '# Starts Ray'"'"'s head, waits until all nodes have joined, and runs the command in the arguments.
set -u
export BENCHD_RAY=$BENCHD_JOB:$BENCHD_SPAN-$BENCHD_NODE_INDEX
end_ray() {
    local process
    for process in /proc/[0-9]*; do
        if grep -qzxF "BENCHD_RAY=$BENCHD_RAY" "$process/environ" 2>/dev/null; then
            kill -s KILL "${process#/proc/}" 2>/dev/null
        fi
    done
}
file=$BENCHD_JOB/ray-address.$BENCHD_SPAN
port=$(python3 -c '"'"'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'"'"')
export VLLM_HOST_IP=$BENCHD_HOST_IP RAY_ADDRESS=$BENCHD_HOST_IP:$port
trap end_ray EXIT
trap '"'"'exit 143'"'"' TERM
ray start --head --node-ip-address="$BENCHD_HOST_IP" --port="$port" --include-dashboard=false \
    --disable-usage-stats --block &
head=$!
python3 "$BENCHD_JOB/ray-join.py" "$RAY_ADDRESS" "$BENCHD_NODES" "$file" &
join=$!
while kill -s 0 "$join" 2>/dev/null; do
    kill -s 0 "$head" 2>/dev/null || {
        echo "benchd: Ray'"'"'s head has ended; see the lines above" >&2
        exit 1
    }
    sleep 1
done
wait "$join" || exit 1
"$@" &
server=$!
trap '"'"'kill -s TERM "$server" 2>/dev/null'"'"' TERM
while kill -s 0 "$server" 2>/dev/null; do wait "$server"; done
wait "$server"
' >"$JOB"/ray-head.sh || benchd_stop 'ray-head.sh cannot be written'
printf '%s' '# Joins the Ray whose head is on the first node, and stays until it ends.
set -u
export BENCHD_RAY=$BENCHD_JOB:$BENCHD_SPAN-$BENCHD_NODE_INDEX
end_ray() {
    local process
    for process in /proc/[0-9]*; do
        if grep -qzxF "BENCHD_RAY=$BENCHD_RAY" "$process/environ" 2>/dev/null; then
            kill -s KILL "${process#/proc/}" 2>/dev/null
        fi
    done
}
file=$BENCHD_JOB/ray-address.$BENCHD_SPAN
waited=0
until [ -s "$file" ]; do
    [ "$waited" -lt 600 ] || { echo "benchd: $file did not appear: no head of Ray" >&2; exit 1; }
    waited=$((waited + 1))
    sleep 1
done
read -r address <"$file"
export VLLM_HOST_IP=$BENCHD_HOST_IP
trap end_ray EXIT
trap '"'"'exit 143'"'"' TERM
ray start --address="$address" --node-ip-address="$BENCHD_HOST_IP" --disable-usage-stats --block &
wait "$!"
' >"$JOB"/ray-worker.sh || benchd_stop 'ray-worker.sh cannot be written'
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
benchd_image="${HOME:?is not set on this node}"/containers/vllm-openai-v0.11.2.sif
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

benchd_srun() {
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


benchd_payload() {
    benchd_secrets HF_TOKEN
    export BENCHD_HF_HOME="${JOB%/*/*/*/*}"/models/huggingface
    mkdir -p "$BENCHD_HF_HOME" || benchd_stop "$BENCHD_HF_HOME cannot be made"
    export BENCHD_SPAN=$ID-$GENERATION
    benchd_worker() {
        benchd_enter
        exec env APPTAINERENV_HF_HOME="$BENCHD_HF_HOME" APPTAINERENV_VLLM_NO_USAGE_STATS=1 APPTAINERENV_HF_HUB_DISABLE_TELEMETRY=1 APPTAINERENV_VLLM_CACHE_ROOT="$BENCHD_DATA/vllm" APPTAINERENV_TRITON_CACHE_DIR="$BENCHD_DATA/triton" APPTAINERENV_OUTLINES_CACHE_DIR="$BENCHD_DATA/outlines" APPTAINERENV_TORCHINDUCTOR_CACHE_DIR="$BENCHD_DATA/inductor" apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --bind "$BENCHD_HF_HOME" --pwd "$JOB" --nv "$benchd_image" bash "$JOB/ray-worker.sh"
    }
    benchd_workers() {
        (benchd_srun 1 benchd_worker --relative=1 --nodes="$((BENCHD_NODES - 1))" \
            --ntasks="$((BENCHD_NODES - 1))") ||
            benchd_failed "$?" 'the other nodes: bash'
    }
    if [ "$BENCHD_NODES" -gt 1 ]; then (benchd_guard benchd_workers &); fi
    benchd_once_up() {
        benchd_await "$BENCHD_PORT"
        (
            benchd_enter
            exec env APPTAINERENV_HF_HOME="$BENCHD_HF_HOME" APPTAINERENV_VLLM_NO_USAGE_STATS=1 APPTAINERENV_HF_HUB_DISABLE_TELEMETRY=1 APPTAINERENV_VLLM_CACHE_ROOT="$BENCHD_DATA/vllm" APPTAINERENV_TRITON_CACHE_DIR="$BENCHD_DATA/triton" APPTAINERENV_OUTLINES_CACHE_DIR="$BENCHD_DATA/outlines" APPTAINERENV_TORCHINDUCTOR_CACHE_DIR="$BENCHD_DATA/inductor" apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --bind "$BENCHD_HF_HOME" --pwd "$JOB" --nv "$benchd_image" python3 "$JOB/listed.py" "http://$BENCHD_HOST_IP:$BENCHD_PORT/v1/models" meta-llama/Llama-3.1-70B-Instruct
        ) {benchd_pipe}>&- || benchd_failed "$?" 'once up: python3'
        benchd_up
        benchd_publish "$BENCHD_PORT_0"
    }
    (benchd_guard benchd_once_up &)
    benchd_version() {
        benchd_enter
        exec timeout --foreground -k 1 5 env APPTAINERENV_HF_HOME="$BENCHD_HF_HOME" APPTAINERENV_VLLM_NO_USAGE_STATS=1 APPTAINERENV_HF_HUB_DISABLE_TELEMETRY=1 APPTAINERENV_VLLM_CACHE_ROOT="$BENCHD_DATA/vllm" APPTAINERENV_TRITON_CACHE_DIR="$BENCHD_DATA/triton" APPTAINERENV_OUTLINES_CACHE_DIR="$BENCHD_DATA/outlines" APPTAINERENV_TORCHINDUCTOR_CACHE_DIR="$BENCHD_DATA/inductor" apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --bind "$BENCHD_HF_HOME" --pwd "$JOB" --nv "$benchd_image" python3 -c 'import vllm; print(vllm.__version__)'
    }
    (benchd_ask version.txt benchd_version &)
    (benchd_ask gpus.csv benchd_gpus &)
    exec {benchd_pipe}>&-
    benchd_enter
    exec env APPTAINERENV_HF_HOME="$BENCHD_HF_HOME" APPTAINERENV_VLLM_NO_USAGE_STATS=1 APPTAINERENV_HF_HUB_DISABLE_TELEMETRY=1 APPTAINERENV_VLLM_CACHE_ROOT="$BENCHD_DATA/vllm" APPTAINERENV_TRITON_CACHE_DIR="$BENCHD_DATA/triton" APPTAINERENV_OUTLINES_CACHE_DIR="$BENCHD_DATA/outlines" APPTAINERENV_TORCHINDUCTOR_CACHE_DIR="$BENCHD_DATA/inductor" apptainer exec --cleanenv --bind "$JOB" --bind "$BENCHD_DATA" --bind "$BENCHD_HF_HOME" --pwd "$JOB" --nv "$benchd_image" bash "$JOB/ray-head.sh" vllm serve meta-llama/Llama-3.1-70B-Instruct --host "$BENCHD_BIND" --port "$BENCHD_PORT" --tensor-parallel-size 4 --pipeline-parallel-size 2 --distributed-executor-backend ray --max-model-len 8192
}
benchd_run benchd_payload
benchd_settle
exit "$benchd_status"
