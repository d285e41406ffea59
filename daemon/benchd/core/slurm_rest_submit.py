"""A batch script and its ``#SBATCH`` lines -> the request that submits it through slurmrestd.

slurmrestd does not read ``#SBATCH`` lines, so each of ours is said in its own words, or refused by
name: a resource that was asked for and not said would be a job that is not what was asked for.

Measured on real 22.05 (v0.0.38): ``argv`` ends the whole slurmrestd (a fault of its own), so the
script's arguments are set in its second line; ``requeue: false`` means true; two numbers as
``nodes`` are forgotten; ``exclusive: true`` is no value; signals for the batch shell are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from shlex import quote
from typing import Final

from benchd.core.placement import ANYWHERE, Placed
from benchd.core.restart import seconds_of
from benchd.core.slurm_rest import VERSIONS

Body = dict[str, object]
# A value of an ``#SBATCH`` line ("" where it has none) -> keys and values of the request.
Saying = Callable[[str], Body]

_PREFIX = "#SBATCH --"
_MEMORY = re.compile(r"(\d{1,9})([KMGT]?)B?", re.ASCII)
_MEGABYTES: Final[Mapping[str, float]] = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}
_SIGNAL = re.compile(r"(?:(?P<flag>[BR]):)?(?P<name>[A-Za-z0-9]+)(?:@(?P<delay>\d+))?", re.ASCII)
_WARNING_FLAGS = {"B": "BATCH_JOB", "R": "RESERVATION_JOB"}


def request(
    *, version: str, script: str, token: str, job_dir: str, k: int, placed: Placed = ANYWHERE
) -> Body:
    """Return the body of ``job/submit``; ``ValueError`` when the script asks for what has no word.

    ``placed`` is what is asked beside the script, which it overrides.
    The job is the one that ``sbatch --export=NONE`` makes of the same script.
    """
    sayings = _OLD if version == VERSIONS[0] else _NEW
    job: Body = {
        "name": token,
        "current_working_directory": job_dir,
        "standard_output": f"{job_dir}/%j.out",
        "standard_error": f"{job_dir}/%j.err",
    }
    asked = {**dict(options(script)), **placed.options()}
    for name, value in asked.items():
        if name not in sayings:
            raise ValueError(
                f"resources.{name.replace('-', '_')} cannot be said to slurmrestd {version}: leave "
                "it out, or reach this cluster without rest:"
            )
        for key, said in sayings[name](value).items():
            # gres and gpus_per_node have one key in common.
            both = isinstance(said, str) and key in job
            job[key] = f"{job[key]},{said}" if both else said
    if "nodes" in asked and not {"ntasks", "ntasks-per-node"} & set(asked):
        job["tasks"] = int(asked["nodes"])  # as sbatch counts: one a node
    environment = _environment(asked)
    if version == VERSIONS[0]:
        job |= {"environment": environment, "open_mode": "append"}
    else:
        pairs = [f"{name}={value}" for name, value in environment.items()]
        job |= {"environment": pairs, "open_mode": ["APPEND"]}
    return {"script": _with_arguments(script, job_dir, k), "job": job}


def options(script: str) -> Iterator[tuple[str, str]]:
    """Yield the ``#SBATCH`` lines of a script as sbatch finds them: before the first command."""
    for line in script.splitlines()[1:]:
        if line.strip() and not line.startswith("#"):
            return
        if line.startswith(_PREFIX):
            name, _, value = line.removeprefix(_PREFIX).partition("=")
            yield name, value


def _with_arguments(script: str, job_dir: str, k: int) -> str:
    first, newline, rest = script.partition("\n")
    return f"{first}{newline}set -- {quote(job_dir)} {k:d}\n{rest}"


# Resources that sbatch tells the job as well, and under which names.
_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "cpus-per-task": ("SLURM_CPUS_PER_TASK",),
    "ntasks": ("SLURM_NTASKS", "SLURM_NPROCS"),
    "ntasks-per-node": ("SLURM_NTASKS_PER_NODE",),
    "gpus": ("SLURM_GPUS",),
    "gpus-per-node": ("SLURM_GPUS_PER_NODE",),
    "gpus-per-task": ("SLURM_GPUS_PER_TASK",),
    "hint": ("SLURM_HINT",),
    "threads-per-core": ("SLURM_THREADS_PER_CORE",),
}


def _environment(asked: Mapping[str, str]) -> dict[str, str]:
    """Return what sbatch itself puts into a job's environment, beside the user's own on the node.

    The mask is that of the files beside the script.
    """
    environment = {
        "SLURM_GET_USER_ENV": "1",
        "SLURM_EXPORT_ENV": "NONE",
        "SLURM_UMASK": "0077",
    }
    for name, variables in _TOLD.items():
        if name in asked:
            environment |= dict.fromkeys(variables, asked[name])
    if asked.get("hint") == "nomultithread":
        environment["SLURM_THREADS_PER_CORE"] = "1"
    return environment


# --- in the words of v0.0.38 ----------------------------------------------------------------------


def _text(key: str) -> Saying:
    return lambda value: {key: value}


def _count(key: str) -> Saying:
    return lambda value: {key: int(value)}


def _exactly(said: Body) -> Saying:
    return lambda _: said


def _old_signal(value: str) -> Body:
    if value.startswith("B:"):
        raise ValueError(
            f"resources.signal: {value} is for the batch shell alone, and slurmrestd v0.0.38 has "
            "no word for that: write it without B:"
        )
    return {"signal": value}


def _hint(value: str) -> Body:
    if value != "nomultithread":  # the others change what sbatch itself computes
        raise ValueError(
            f"resources.hint: {value} cannot be said to slurmrestd; only nomultithread can"
        )
    return {"threads_per_core": 1}


_SAME: Final[dict[str, Saying]] = {
    "nodes": _text("nodes"),  # as text in all versions
    "ntasks": _count("tasks"),
    "ntasks-per-node": _count("tasks_per_node"),
    "cpus-per-task": _count("cpus_per_task"),
    "threads-per-core": _count("threads_per_core"),
    "partition": _text("partition"),
    "qos": _text("qos"),
    "account": _text("account"),
    "constraint": _text("constraints"),
    "reservation": _text("reservation"),
    "licenses": _text("licenses"),
    "hint": _hint,
    "hold": _exactly({"hold": True}),
    "requeue": _exactly({"requeue": True}),
}
_OLD: Final[Mapping[str, Saying]] = _SAME | {
    "mem": _text("memory_per_node"),
    "mem-per-cpu": _text("memory_per_cpu"),
    "time": _text("time_limit"),
    "gres": _text("gres"),
    "gpus": _text("gpus"),
    "gpus-per-node": _text("gpus_per_node"),
    "gpus-per-task": _text("gpus_per_task"),
    "exclusive": _exactly({"exclusive": "exclusive"}),
    "nodelist": _text("nodelist"),
    "exclude": _text("exclude_nodes"),
    "signal": _old_signal,
    "no-requeue": _exactly({"no_requeue": True}),
}


# --- in the words of v0.0.39 and later ------------------------------------------------------------


def _set(number: int) -> Body:
    return {"set": True, "infinite": False, "number": number}


def _megabytes(key: str) -> Saying:
    def say(value: str) -> Body:
        match = _MEMORY.fullmatch(value)
        if match is None:
            raise ValueError(f"resources.{key}: {value!r} is no amount of memory")
        # Rounded up, as Slurm does.
        return {key: _set(-int(-int(match[1]) * _MEGABYTES[match[2]] // 1))}

    return say


def _minutes(value: str) -> Body:
    seconds = seconds_of(value)
    if not seconds:  # 0 is no limit
        return {"time_limit": {"set": False, "infinite": True, "number": 0}}
    return {"time_limit": _set(-(-seconds // 60))}


def _tres(key: str, prefix: str) -> Saying:
    """Say generic resources; ``prefix``: what the resource key itself already means."""
    return lambda value: {key: ",".join(f"gres/{prefix}{item}" for item in value.split(","))}


def _gpus_per_task(value: str) -> Body:
    kind, _, count = value.rpartition(":")
    gpus = f"gres/gpu:{kind}" if kind else "gres/gpu"
    return {"tres_per_task": f"{gpus}={count}", "tres_bind": f"gres/gpu:per_task:{count}"}


def _new_signal(value: str) -> Body:
    match = _SIGNAL.fullmatch(value)
    if match is None:
        raise ValueError(f"resources.signal: {value!r} is no signal such as TERM@60")
    said: Body = {"kill_warning_signal": match["name"]}
    if match["delay"]:
        said["kill_warning_delay"] = _set(int(match["delay"]))
    if match["flag"]:
        said["kill_warning_flags"] = [_WARNING_FLAGS[match["flag"]]]
    return said


_NEW: Final[Mapping[str, Saying]] = _SAME | {
    "mem": _megabytes("memory_per_node"),
    "mem-per-cpu": _megabytes("memory_per_cpu"),
    "time": _minutes,
    "gres": _tres("tres_per_node", ""),
    "gpus": _tres("tres_per_job", "gpu:"),
    "gpus-per-node": _tres("tres_per_node", "gpu:"),
    "gpus-per-task": _gpus_per_task,
    "exclusive": _exactly({"shared": ["none"]}),
    "nodelist": _text("required_nodes"),
    "exclude": _text("excluded_nodes"),
    "signal": _new_signal,
    "no-requeue": _exactly({"requeue": False}),
}
