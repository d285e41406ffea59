"""Trying again: after which ends, how soon, and what is done differently. Pure.

A policy asks one question first: would the same job end the same way? After a failed node it is
sent elsewhere; after too little memory or time it is sent again only with more of it, if the recipe
says so; after what a human wanted, or what Slurm will never take, not at all. Each attempt waits
longer than the one before, so that a service that dies at once is no storm of submissions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum

from benchd.core.hostlist import expand
from benchd.core.model import Job, JobState
from benchd.core.spec import JobSpec, Role
from benchd.fields import Resources

# Seconds of the longest pause between two attempts.
PAUSE_MAX = 600.0
# Nodes that one job avoids at most; the one that failed longest ago is forgotten first. A job that
# ran on more of them cannot tell which one failed, and avoiding all would leave it nowhere to go.
AVOIDED_AT_MOST = 8
# What Slurm calls a node. It comes from a cluster and reaches an #SBATCH line.
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Cause(StrEnum):
    """Why an attempt failed, as far as trying again is concerned."""

    NODE = "node"
    EXIT = "exit"
    HEALTH = "health"
    PREEMPTED = "preempted"
    MEMORY = "memory"
    TIME = "time"


# Our words for an end -> its cause. What is not here is never tried again by itself.
CAUSES: Mapping[str, Cause] = {
    "NODE_FAIL": Cause.NODE,
    "BOOT_FAIL": Cause.NODE,
    "LAUNCH_FAILED": Cause.NODE,
    "NEVER_STARTED": Cause.NODE,
    "FAILED": Cause.EXIT,
    "EXITED": Cause.EXIT,
    "NOT_READY": Cause.HEALTH,
    "UNHEALTHY": Cause.HEALTH,
    "PREEMPTED": Cause.PREEMPTED,
    "OUT_OF_MEMORY": Cause.MEMORY,
    "TIMEOUT": Cause.TIME,
}
# Ends of a job that may have had nowhere to go but to the nodes that it avoided.
_NOWHERE = frozenset({"REFUSED", "HOPELESS"})
_NEVER: Mapping[str, str] = {
    "REFUSED": "Slurm would refuse it again",
    "CANCELLED_BY_OTHER": "somebody ended it on purpose",
    "HOPELESS": "it can never start as it is written",
    "LIMIT": "it reached a limit of the recipe",
    "LOST": "it had started, and nobody can tell whether it still runs",
    "WORKDIR_NOT_VISIBLE": "the compute nodes would not see the workdir again",
    "DEADLINE": "its deadline has passed",
}


def cause_of(job: Job) -> Cause | None:
    """Return why a failed row failed; None for what is never tried again by itself."""
    if job.state is not JobState.FAILED:
        return None
    return Cause.NODE if avoids_too_much(job) else CAUSES.get(job.why or "")


def avoids_too_much(job: Job) -> bool:
    """Tell whether a job may have found no node because of those that benchd made it avoid.

    Nobody knows how many nodes its partition has. A limit of the user's is no question of nodes.
    """
    refused_for_a_limit = job.why == "REFUSED" and job.reason is not None
    return bool(job.spec.avoid) and job.why in _NOWHERE and not refused_for_a_limit


def is_retried(job: Job) -> bool:
    """Tell whether this ended row is followed by another attempt, by its own policy."""
    return job.state is JobState.FAILED and why_not_again(job) is None


def why_not_again(job: Job) -> str | None:
    """Return why a failed row is not tried again by its own policy; None when it is."""
    policy, cause = job.spec.restart, cause_of(job)
    if cause is None and job.role is Role.IMAGE and job.why == "REFUSED":
        return "it would not go otherwise the next time"
    if cause is None:
        return _NEVER.get(job.why or "", f"benchd does not try again after {job.why}")
    if policy.policy == "never":
        return "restart.policy is never"
    # What found no node did not run, and what follows it avoids none: it is one more, not a storm.
    if job.attempt >= policy.max_attempts + avoids_too_much(job):
        return f"this was attempt {job.attempt}, and restart.max_attempts is {policy.max_attempts}"
    if cause is Cause.MEMORY:
        return _why_not_larger(job, "more_memory", "mem", policy.more_memory)
    if cause is Cause.TIME:
        return _why_not_larger(job, "more_time", "time", policy.more_time)
    return None if str(cause) in policy.on else f"restart.on does not name {cause}"


def _why_not_larger(job: Job, key: str, resource: str, factor: float | None) -> str | None:
    if factor is None:
        return f"the same {resource} would not do again, and restart.{key} is not set"
    if factor > 1 and next_spec(job).resources == job.spec.resources:
        return f"restart.{key} has nothing to multiply: resources.{resource} is not set"
    return None


def pause_before_next(job: Job) -> float:
    """Return the seconds between a failure and the next attempt: doubled each time."""
    if not is_retried(job):
        return 0.0  # it only follows its service, which has a pause of its own
    return min(job.spec.restart.back_off * 2.0 ** min(job.attempt - 1, 32), PAUSE_MAX)


def next_spec(job: Job) -> JobSpec:
    """Return what the next attempt asks for: the same, elsewhere, or more of what was missing."""
    spec, policy, cause = job.spec, job.spec.restart, cause_of(job)
    if cause is Cause.NODE:
        return spec.model_copy(update={"avoid": avoided(job)})
    if cause is Cause.MEMORY and policy.more_memory is not None:
        return _asking(spec, with_more_memory(spec.resources, policy.more_memory))
    if cause is Cause.TIME and policy.more_time is not None:
        return _asking(spec, with_more_time(spec.resources, policy.more_time))
    return spec


def _asking(spec: JobSpec, resources: Resources) -> JobSpec:
    return spec.model_copy(update={"resources": resources})


def avoided(job: Job) -> tuple[str, ...]:
    """Return the nodes that the attempt after a failed node avoids."""
    if avoids_too_much(job):
        return ()
    # What it must use cannot be excluded: that is a refusal.
    if job.spec.resources.nodelist is not None or job.spec.placement == "same-node":
        return job.spec.avoid
    failed = expand(job.nodes or "", AVOIDED_AT_MOST + 1)
    if len(failed) > AVOIDED_AT_MOST or not all(map(NODE_NAME.fullmatch, failed)):
        return job.spec.avoid
    earlier = [node for node in job.spec.avoid if node not in failed]
    return tuple([*earlier, *dict.fromkeys(failed)][-AVOIDED_AT_MOST:])


# --- more of it -----------------------------------------------------------------------------------

_MEMORY = re.compile(r"(\d{1,9})([KMGT]?)B?", re.ASCII)
_UNITS = "KMGT"
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
_DAY = 86400
# The longest time and the most of a unit that can still be written: see benchd.fields.
_DAYS_MAX = 999
_AMOUNT_MAX = 999_999_999


def with_more_memory(resources: Resources, factor: float) -> Resources:
    """Return resources with more memory; the same when none was asked for, or all of a node's."""
    for key in ("mem", "mem_per_cpu"):
        if (amount := getattr(resources, key)) is not None:
            return resources.model_copy(update={key: larger_memory(amount, factor)})
    return resources


def with_more_time(resources: Resources, factor: float) -> Resources:
    """Return resources with more time; the same when none was asked for."""
    if resources.time is None:
        return resources
    return resources.model_copy(update={"time": longer_time(resources.time, factor)})


def larger_memory(amount: str, factor: float) -> str:
    """Return ``4G`` times the factor, rounded up, in the largest unit that says it exactly."""
    match = _MEMORY.fullmatch(amount)
    if match is None or not int(match[1]):  # 0 means all the memory of the node
        return amount
    unit = _UNITS.index(match[2] or "M")
    number, power = int(match[1]) * factor, unit
    while number != int(number) and power > 0 and number * 1024 <= _AMOUNT_MAX:
        number, power = number * 1024, power - 1
    return f"{min(math.ceil(number), _AMOUNT_MAX)}{_UNITS[power]}"


def longer_time(text: str, factor: float) -> str:
    """Return a time limit times the factor, rounded up to minutes: ``02:00:00``, ``1-12:00:00``."""
    asked = seconds_of(text)
    if not asked:  # 0 means without limit
        return text
    minutes = math.ceil(asked * factor / 60)
    days, rest = divmod(minutes, _DAY // 60)
    if days > _DAYS_MAX:
        days, rest = _DAYS_MAX, 0
    clock = f"{rest // 60:02d}:{rest % 60:02d}:00"
    return f"{days}-{clock}" if days else clock


def seconds_of(text: str) -> int:
    """Return a time limit as Slurm reads it: minutes, mm:ss, hh:mm:ss or days-hh[:mm[:ss]]."""
    match = _TIME.fullmatch(text)
    if match is None:
        return 0
    days, first, second, third = (int(group or 0) for group in match.groups())
    if match[1] is not None:
        return days * _DAY + first * 3600 + second * 60 + third
    if match[4] is not None:
        return first * 3600 + second * 60 + third
    return first * 60 + second
