"""How one vLLM spreads over the nodes of a job: Ray on each, and vLLM on the first.

Ray as of 2.60 (docs.ray.io, "Cluster Management CLI"), vLLM's part as of 0.27 (docs.vllm.ai,
"Parallelism and Scaling"). Ray's head is started by the same program that starts vLLM, in the same
container: what a container leaves behind when its program ends may lose its file system. Its port
is one that was free, since two such jobs may share a node, and travels through the job's directory.
"""

from __future__ import annotations

# Waits for Ray's head, says where it is, waits for the other nodes. 600 s: a container of 10 GB may
# take minutes to start on a node that has never seen it. 0.2 s, 2 s: nobody waits for these long.
_JOIN = """\
# Waits until all nodes have joined. Arguments: address of Ray's head, nodes, file to say it in.
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
            sys.exit("benchd: Ray's head does not answer at %s: %s" % (address, error))
        time.sleep(0.2)
with open(file + ".part", "w") as out:
    out.write(address + "\\n")
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
"""

# Ray's processes leave the process group of whoever started them, and `ray stop` would end those of
# all jobs of the user on the node: ours are known by a variable that they have inherited.
_END = """\
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
"""

_HEAD = f"""\
# Starts Ray's head, waits until all nodes have joined, and runs the command in the arguments.
set -u
{_END}\
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
export VLLM_HOST_IP=$BENCHD_HOST_IP RAY_ADDRESS=$BENCHD_HOST_IP:$port
trap end_ray EXIT
trap 'exit 143' TERM
ray start --head --node-ip-address="$BENCHD_HOST_IP" --port="$port" --include-dashboard=false \\
    --disable-usage-stats --block &
head=$!
python3 "$BENCHD_JOB/ray-join.py" "$RAY_ADDRESS" "$BENCHD_NODES" "$file" &
join=$!
while kill -s 0 "$join" 2>/dev/null; do
    kill -s 0 "$head" 2>/dev/null || {{
        echo "benchd: Ray's head has ended; see the lines above" >&2
        exit 1
    }}
    sleep 1
done
wait "$join" || exit 1
"$@" &
server=$!
trap 'kill -s TERM "$server" 2>/dev/null' TERM
while kill -s 0 "$server" 2>/dev/null; do wait "$server"; done
wait "$server"
"""

# 600 s: as long as the head waits for us.
_WORKER = f"""\
# Joins the Ray whose head is on the first node, and stays until it ends.
set -u
{_END}\
waited=0
until [ -s "$file" ]; do
    [ "$waited" -lt 600 ] || {{ echo "benchd: $file did not appear: no head of Ray" >&2; exit 1; }}
    waited=$((waited + 1))
    sleep 1
done
read -r address <"$file"
export VLLM_HOST_IP=$BENCHD_HOST_IP
trap end_ray EXIT
trap 'exit 143' TERM
ray start --address="$address" --node-ip-address="$BENCHD_HOST_IP" --disable-usage-stats --block &
wait "$!"
"""

FILES = {"ray-join.py": _JOIN, "ray-head.sh": _HEAD, "ray-worker.sh": _WORKER}
# A job that Slurm starts again must not find the address of the last time.
PREAMBLE = ("export BENCHD_SPAN=$ID-$GENERATION",)
