"""What a job finds: its environment, and the names of its output files. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchd.sim.nouns import Config, Job
from benchd.sim.text import node_list

NO_TASK = 4294967294  # what Slurm writes for %a of a job that is no array: NO_VAL


def expand(pattern: str, job: Job) -> str:
    """Expand %j and its like in the name of an output file; relative to the job's directory."""
    values: Mapping[str, object] = {
        "A": job.id,
        "J": job.id,
        "N": job.nodes[0],
        "a": NO_TASK,
        "j": job.id,
        "n": 0,
        "s": "batch",
        "t": 0,
        "u": job.user,
        "x": job.request.name,
    }

    def one(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        if match[2] not in values:
            return match[0]
        text = str(values[match[2]])
        return text.zfill(int(match[1] or 0)) if text.isdigit() else text

    name = re.sub(r"%(\d*)([A-Za-z%])", one, pattern)
    return name if name.startswith("/") else f"{job.request.chdir}/{name}"


def job_environment(
    job: Job, config: Config, login: Mapping[str, str], *, gid: int
) -> dict[str, str]:
    """Return the environment of the job's script.

    ``login``: what a fresh login of the user has; the start for ``--export=NONE``.
    """
    request = job.request
    if request.export_none:
        environment = dict(login)
        environment["SLURM_EXPORT_ENV"] = "NONE"
        environment["SLURM_GET_USER_ENV"] = "1"
    else:
        environment = {**request.environment, "PATH": login["PATH"]}
        for name in [name for name in environment if name.startswith(("BENCHD_SIM_", "SSH_"))]:
            del environment[name]
    nodes = node_list(job.nodes)
    first = job.grants[job.nodes[0]]
    per_node = ",".join(str(grant.cpus) for grant in job.grants.values())
    tasks = max(request.tasks, len(job.nodes) * (request.tasks_per_node or 1))
    environment |= {
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": job.nodes[0],
        "TMPDIR": environment.get("TMPDIR", "/tmp"),  # noqa: S108 - Slurm's own default
        "SLURMD_NODENAME": job.nodes[0],
        "SLURM_CLUSTER_NAME": config.cluster_name,
        "SLURM_CPUS_ON_NODE": str(first.cpus),
        "SLURM_GTIDS": "0",
        "SLURM_JOBID": str(job.id),
        "SLURM_JOB_ACCOUNT": request.account or job.user,
        "SLURM_JOB_CPUS_PER_NODE": per_node,
        "SLURM_JOB_GID": str(gid),
        "SLURM_JOB_ID": str(job.id),
        "SLURM_JOB_NAME": request.name,
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_JOB_NUM_NODES": str(len(job.nodes)),
        "SLURM_JOB_PARTITION": job.partition,
        "SLURM_JOB_QOS": request.qos or "normal",
        "SLURM_JOB_UID": str(job.uid),
        "SLURM_JOB_USER": job.user,
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": str(len(job.nodes)),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": nodes,
        "SLURM_NODE_ALIASES": "(null)",
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": request.submit_dir,
        "SLURM_SUBMIT_HOST": config.host,
        "SLURM_TASKS_PER_NODE": str(max(1, tasks // len(job.nodes))),
    }
    if request.cpus_per_task > 1:
        environment["SLURM_CPUS_PER_TASK"] = str(request.cpus_per_task)
    if tasks > 1:
        environment["SLURM_NTASKS"] = environment["SLURM_NPROCS"] = str(tasks)
    if job.restarts:
        environment["SLURM_RESTART_COUNT"] = str(job.restarts)
    if first.gpus:
        devices = ",".join(str(first.first_gpu + i) for i in range(first.gpus))
        environment["CUDA_VISIBLE_DEVICES"] = environment["SLURM_JOB_GPUS"] = devices
    return environment
