"""Why Slurm holds a job back, as data: every reason, its class, what it means and what helps.

Reasons are the words of ``job_state_reason.c`` and the free text that Slurm puts in their place.
Adding one is adding a row. Texts may name what the job asked for: ``{time}`` becomes its time
limit after a space, or nothing where it did not ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from benchd.core.hostlist import shown_hosts
from benchd.core.slurm_limits import FAMILIES, OWNERS, WHATS
from benchd.fields import Resources


class ReasonClass(StrEnum):
    """What a reason means for a job that waits (ended: for a job that is over)."""

    WAIT = "wait"
    QUOTA = "quota"
    NEVER = "never"
    DEPENDENCY = "dependency"
    HELD = "held"
    INFRASTRUCTURE = "infrastructure"
    ENDED = "ended"
    UNKNOWN = "unknown"


# What benchd does about a job that waits for a reason of each class.
ACTIONS: Final[Mapping[ReasonClass, str]] = {
    ReasonClass.WAIT: "waits, at most for `limits.pending`",
    ReasonClass.QUOTA: "waits, and starts nothing new under the same partition, account and QOS",
    ReasonClass.NEVER: "cancels the job after two minutes: FAILED `HOPELESS`, with the fix",
    ReasonClass.DEPENDENCY: "waits; benchd's own jobs have no dependencies",
    ReasonClass.HELD: "waits and warns; after a failed launch given up, if another attempt follows",
    ReasonClass.INFRASTRUCTURE: "waits and warns; `limits.pending` ends the wait",
    ReasonClass.ENDED: "says it beside the failure",
    ReasonClass.UNKNOWN: "waits and asks again",
}

_W, _QUOTA, _NEVER = ReasonClass.WAIT, ReasonClass.QUOTA, ReasonClass.NEVER
_HOLD, _INFRA, _END = ReasonClass.HELD, ReasonClass.INFRASTRUCTURE, ReasonClass.ENDED

# Class -> what it means and what helps, where a reason has nothing of its own to say.
ADVICE: Final[Mapping[ReasonClass, tuple[str, str]]] = {
    _W: ("Slurm starts it when its turn comes", "nothing to do"),
    _QUOTA: (
        "a limit on all your jobs together is reached",
        "it starts when others of them end",
    ),
    _NEVER: ("it can never start as it is written", "change what it asks for"),
    ReasonClass.DEPENDENCY: ("it waits for another job to end", "nothing to do"),
    _HOLD: (
        "it is held and never starts by itself",
        "release it with `scontrol release` or cancel it",
    ),
    _INFRA: ("nodes or the partition it needs are not usable", "`sinfo -R` says why"),
    _END: ("this is why it ended", "see its logs"),
    ReasonClass.UNKNOWN: ("benchd does not know this reason", "it waits and asks again"),
}

_LESS_TIME = "ask for less `time`"
_OTHER = ", or use another partition (`sinfo -s`)"

# Word -> class, what it means, what helps. Empty texts are the class's own.
_REASONS: Final[Mapping[str, tuple[ReasonClass, str, str]]] = {
    "None": (_W, "Slurm has not looked at it yet", ""),
    "Priority": (_W, "jobs with a higher priority are in front of it", ""),
    "Resources": (_W, "it is next, as soon as enough nodes are free", ""),
    "Licenses": (_W, "it waits for licences{licenses} that other jobs use", ""),
    "Reservation": (_W, "it waits for the reservation{reservation} to begin", ""),
    "BeginTime": (
        _W, "its earliest start is not reached; after a requeue Slurm waits two minutes", "",
    ),
    "JobArrayTaskLimit": (_W, "as many tasks of the array run as may run at once", ""),
    "Prolog": (_W, "the site's prolog is still running", ""),
    "SchedDefer": (_W, "Slurm looks at new jobs later, in its own rhythm", ""),
    "BurstBufferStageIn": (_W, "its burst buffer is being filled", ""),
    "BurstBufferResources": (_W, "it waits for space in the burst buffer", ""),
    "Cleaning": (_W, "it is being requeued; the last run is still being cleaned up", ""),
    "Constraints": (_W, "no node that is free meets its constraint{constraint} now", ""),
    "FedJobLock": (_W, "the clusters of the federation are agreeing on who starts it", ""),
    "MpiPortsBusy": (_W, "all MPI ports of its nodes are in use", ""),
    "NvidiaImexChannels": (_W, "all IMEX channels are in use", ""),
    "MaxPoweredUpNodes": (_W, "as many nodes are powered up as the site allows", ""),
    "PowerNotAvail": (_W, "the site's power budget is used", ""),
    "PowerReserved": (_W, "the site's power is reserved", ""),
    "BlockFreeAction": (_W, "its block of nodes is being freed", ""),
    "AccountingPolicy": (_QUOTA, "a limit of your account or QOS is reached", ""),
    "AssociationJobLimit": (_QUOTA, "the account{account} may run no more jobs at once", ""),
    "AssociationResourceLimit": (_QUOTA, "the account{account} may use no more at once", ""),
    "AssocMaxJobsLimit": (_QUOTA, "your user may run no more jobs on the account{account}", ""),
    "AssocMaxSubmitJobLimit": (
        _QUOTA, "your user may queue no more jobs on the account{account}", "",
    ),
    "QOSJobLimit": (_QUOTA, "the QOS{qos} may run no more jobs at once", ""),
    "QOSResourceLimit": (_QUOTA, "the QOS{qos} may use no more at once", ""),
    "QOSUsageThreshold": (
        _QUOTA, "the account{account} has used more than the QOS{qos} is for",
        "it recovers with time",
    ),
    "PartitionTimeLimit": (
        _NEVER, "the time limit{time} exceeds what the partition{partition} allows",
        f"{_LESS_TIME} (`sinfo -o '%P %l'`){_OTHER}",
    ),
    "PartitionNodeLimit": (
        _NEVER, "the partition{partition} gives no job that number of nodes{nodes}",
        f"ask for fewer or more `nodes` (`scontrol show partition`){_OTHER}",
    ),
    "PartitionConfig": (
        _NEVER, "the partition{partition} has not the nodes, cores or memory it asks for",
        f"ask for less (`sinfo -Nl`){_OTHER}",
    ),
    "AssociationTimeLimit": (
        _NEVER, "the time limit{time} exceeds what the account{account} allows",
        _LESS_TIME,
    ),
    "AssocMaxWallDurationPerJobLimit": (
        _NEVER, "the time limit{time} exceeds what the account{account} allows for one job",
        f"{_LESS_TIME} (`sacctmgr show assoc user=$USER format=account,maxwall`)",
    ),
    "QOSTimeLimit": (_NEVER, "the time limit{time} exceeds what the QOS{qos} allows", _LESS_TIME),
    "QOSMaxWallDurationPerJobLimit": (
        _NEVER, "the time limit{time} exceeds what the QOS{qos} allows for one job",
        f"{_LESS_TIME} (`sacctmgr show qos format=name,maxwall`) or use another `qos`",
    ),
    "MaxMemPerLimit": (
        _NEVER, "the memory{mem}{mem_per_cpu} exceeds what the partition{partition} gives a job",
        f"ask for less `mem` or `mem_per_cpu`{_OTHER}",
    ),
    "BadConstraints": (
        _NEVER, "no node has what it asks for{constraint}{gpu}{nodelist}",
        "change `constraint`, `gres`, `nodelist` or the partition (`sinfo -o '%P %f %G %N'`)",
    ),
    "InvalidAccount": (
        _NEVER, "Slurm does not know the account{account} for you here",
        "set `account` to one of `sacctmgr show user $USER -s`",
    ),
    "InvalidQOS": (
        _NEVER, "Slurm does not know the QOS{qos} for your account",
        "set `qos` to one of `sacctmgr show qos`",
    ),
    "AccountNotAllowed": (
        _NEVER, "the partition{partition} does not take the account{account}",
        "use another `account` or `partition`",
    ),
    "QOSNotAllowed": (
        _NEVER, "the partition{partition} or the account{account} does not allow the QOS{qos}",
        "use another `qos` or `partition`",
    ),
    "DeadLine": (_NEVER, "its deadline cannot be met any more", "submit it again, in time"),
    "ReservationDeleted": (
        _NEVER, "the reservation{reservation} was deleted",
        "leave `reservation` out or name another (`scontrol show reservation`)",
    ),
    "ReservationInvalid": (
        _NEVER, "the reservation{reservation} does not exist any more",
        "leave `reservation` out or name another (`scontrol show reservation`)",
    ),
    "BlockMaxError": (_NEVER, "its block of nodes failed too often", "tell the site"),
    "DependencyNeverSatisfied": (
        _NEVER, "the job it depends on did not end as required",
        "submit it without the dependency",
    ),
    "Dependency": (ReasonClass.DEPENDENCY, "", ""),
    "JobHeldUser": (_HOLD, "it was held by its user", "`scontrol release` starts it"),
    "JobHeldAdmin": (_HOLD, "it was held by an administrator", "only they can release it"),
    "JobHoldMaxRequeue": (
        _HOLD, "it was requeued too often, so Slurm holds it",
        "see why it fails, then release it with `scontrol release` or cancel it",
    ),
    "PartitionDown": (_INFRA, "the partition{partition} is down", f"wait{_OTHER}"),
    "PartitionInactive": (_INFRA, "the partition{partition} starts no jobs now", f"wait{_OTHER}"),
    "NodeDown": (_INFRA, "a node it needs is down", "`sinfo -R` says why"),
    "FrontEndDown": (_INFRA, "the front end node is down", "tell the site"),
    "ReqNodeNotAvail": (
        _INFRA, "a node it needs{nodelist} is down, or reserved for maintenance or others", "",
    ),
    "SystemFailure": (_INFRA, "Slurm itself had a failure", "tell the site"),
    "BurstBufferOperation": (_INFRA, "the burst buffer had a failure", "tell the site"),
    "NonZeroExitCode": (_END, "its payload ended with another status than 0", ""),
    "RaisedSignal": (_END, "a signal ended its payload", ""),
    "TimeLimit": (_END, "it reached its time limit{time}", "ask for more `time`"),
    "OutOfMemory": (_END, "it used more memory than it asked for{mem}{mem_per_cpu}", "raise `mem`"),
    "InactiveLimit": (_END, "the site ends jobs that do nothing for so long", ""),
    "JobLaunchFailure": (
        _END, "it could not be launched on its node",
        "see whether the node sees `workdir`",
    ),
}  # fmt: skip

# Free text in place of a word: a regular expression on the text in lower case without anything
# but letters and digits, an example, class, what it means, what helps. The first match wins.
_TEXTS: Final = (
    (
        r"launchfailedrequeuedheld", "launch failed requeued held",
        _HOLD, "its launch failed on the node, so Slurm holds it", "",
    ),
    (
        r"launchfail\w*requeuedheld", "launch failure limit exceeded requeued held",
        _HOLD, "its launch failed too often, so Slurm holds it", "",
    ),
    (
        r"userenvretrievalfailed\w*", "user env retrieval failed requeued held",
        _HOLD, "its node could not load your environment, so Slurm holds it", "",
    ),
    (
        r"jobrequeuedin(held|specialexit)state", "job requeued in special exit state",
        _HOLD, "it was requeued and is held", "",
    ),
    (
        r"\w*reservation\w+wasdeleted", "Reservation maint-7 was deleted",
        _HOLD, "its reservation was deleted, so Slurm holds it", "",
    ),
    (
        r"reservation\w+isinvalid", "Reservation maint-7 is invalid",
        _NEVER, "the reservation{reservation} does not exist any more", "name another one",
    ),
    (
        r"reservation\w+hasended",
        "Reservation maint-7, which this job was running under, has ended",
        _END, "its reservation ended", "make the reservation longer, or the job shorter",
    ),
    (
        r"nodesrequiredforjobaredown\w*",
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
         "partitions"),
        _INFRA, "the nodes it needs are down, drained or reserved for others", "",
    ),
    (
        r"reqnodenotavail\w*", "ReqNodeNotAvail, UnavailableNodes:n[1-4]",
        _INFRA, "nodes it needs{hosts} are down, or reserved for maintenance or others", "",
    ),
    (
        r"jobisatorexceeds\w+minutesof\w*",
        "Job is at or exceeds QOS normal's group max TRES(cpu) minutes of 100 with 200",
        _NEVER, "a budget of minutes is spent", "ask for less `time`, or for more budget",
    ),
    (
        r"jobisatorexceeds\w*",
        "Job is at or exceeds QOS normal's group wall limit of 100 with 200",
        _QUOTA, "", "",
    ),
    (
        r"uid\d+notingrouppermitted\w*",
        "uid 1000 not in group permitted to use this partition (gpu). groups allowed: ml",
        _NEVER, "your groups may not use the partition{partition}", "use another `partition`",
    ),
    (
        r"unabletoloadjob\w+", "Unable to load job batch script",
        _INFRA, "Slurm has lost its copy of the job", "tell the site, and retry the job",
    ),
    (
        r"\w*stageoutinprogress", "burst_buffer/lua: Stage-out in progress",
        _W, "its burst buffer is being copied out", "",
    ),
    (
        r"\w*burstbuffer\w*", "Burst buffer pre_run error",
        _INFRA, "the burst buffer had a failure", "tell the site",
    ),
    (
        r"raisedsignal\d+\w*", "RaisedSignal:53(Real-time signal 19)",
        _END, "a signal ended its payload", "",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReasonVerdict:
    """What a reason means for this job, and what helps."""

    cls: ReasonClass
    meaning: str
    fix: str

    @property
    def advice(self) -> str:
        """Meaning and fix as one sentence."""
        return f"{self.meaning}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: an exact word of Slurm's, or an example of its free text."""

    word: str
    cls: ReasonClass
    meaning: str
    fix: str


def _key(reason: str) -> str:
    """Return a reason without brackets, blanks, underscores and case."""
    return re.sub(r"[^a-z0-9]", "", reason.lower()) or "none"


def _exact() -> dict[str, Reason]:
    """Return every word that Slurm has, by its key."""
    rows = {word: Reason(word, *row) for word, row in _REASONS.items()}
    for family in FAMILIES:
        cls = ReasonClass(family.cls)
        rows |= {word: Reason(word, cls, family.meaning, family.fix) for word in family.words}
    return {_key(word): row for word, row in rows.items()}


REASONS: Final[Mapping[str, Reason]] = _exact()
TEXTS: Final = tuple(
    (re.compile(pattern), Reason(example, cls, meaning, fix))
    for pattern, example, cls, meaning, fix in _TEXTS
)
_LAUNCH = re.compile(r"launchfail\w*requeuedheld|userenvretrievalfailed\w*")
# Slurm lists after this what nodes it would have needed.
_UNAVAILABLE = re.compile(r"UnavailableNodes:(?P<hosts>\S+)")
_GPU = ("gres", "gpus", "gpus_per_node", "gpus_per_task")
# Readings kept: planning asks on every turn for every job that waits, and most say the same.
_KEPT = 4096


@lru_cache(maxsize=_KEPT)
def reason_class(reason: str, asked: Resources | None = None) -> ReasonVerdict:
    """Class one of Slurm's reasons, however it is written: brackets, underscores, free text.

    Never raises; a reason that nobody knows is UNKNOWN, which means to wait. With ``asked`` the
    sentences name what the job asked for.
    """
    key = _key(reason)
    row = REASONS.get(key) or _family(key) or _text(key)
    if row is None:
        return ReasonVerdict(ReasonClass.UNKNOWN, *ADVICE[ReasonClass.UNKNOWN])
    meaning, fix = row.meaning or ADVICE[row.cls][0], row.fix or ADVICE[row.cls][1]
    values = _values(key, reason, asked)
    return ReasonVerdict(row.cls, meaning.format_map(values).strip(), fix.format_map(values))


def is_launch_failure(reason: str) -> bool:
    """Tell whether Slurm holds a requeued job because a node could not launch it."""
    return _LAUNCH.fullmatch(_key(reason)) is not None


def known_reasons() -> tuple[Reason, ...]:
    """Return every word and text as a row for people, with nothing filled in."""
    rows = [*REASONS.values(), *(row for _, row in TEXTS)]
    blank = [reason_class(row.word) for row in rows]
    return tuple(
        Reason(row.word, said.cls, said.meaning, said.fix)
        for row, said in zip(rows, blank, strict=True)
    )


def _family(key: str) -> Reason | None:
    """Return the reading of a word that belongs to a family but is newer than this table."""
    for family in FAMILIES:
        if family.pattern.fullmatch(key):
            return Reason(key, ReasonClass(family.cls), family.meaning, family.fix)
    return None


def _text(key: str) -> Reason | None:
    return next((row for pattern, row in TEXTS if pattern.fullmatch(key)), None)


class _Values(dict[str, str]):
    """What a text may name; what the job did not ask for is left out."""

    def __missing__(self, key: str) -> str:
        return ""


def _values(key: str, reason: str, asked: Resources | None) -> _Values:
    said = asked.model_dump(exclude_none=True) if asked is not None else {}
    values = _Values({name: f" {value}" for name, value in said.items()})
    values["gpu"] = "".join(values[name] for name in _GPU)
    nodes = _UNAVAILABLE.search(reason)
    if nodes is not None and (hosts := shown_hosts(nodes["hosts"])):
        values["hosts"] = f" ({hosts})"
    for family in FAMILIES:
        match = family.pattern.fullmatch(key)
        if match is not None:
            parts = match.groupdict()
            values["owner"] = OWNERS[parts.get("owner") or "qos"].format_map(values)
            values["what"], values["key"] = WHATS.get(parts["what"], WHATS["unknown"])
            break
    return values
