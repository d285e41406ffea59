"""Slurm's words as data: job states, pending reasons and sbatch's complaints, and what they mean.

Adding a word is adding a row. Where Slurm's behaviour surprised, the row says so; the words are
those of ``job_state_string()``, ``job_state_reason.c`` and ``slurm_errno.c``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from benchd.core.model import SubState


class Act(StrEnum):
    """What a state means for one of our jobs."""

    PENDING = "pending"
    RUNNING = "running"
    ALIVE = "alive"  # the previous state holds: no move
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REQUEUEABLE = "requeueable"  # Slurm may bring it back: alive if the job may be requeued


@dataclass(frozen=True, slots=True)
class StateRow:
    """One job state. ``compact`` is empty for words that only ``--json`` has."""

    word: str
    compact: str
    meaning: str
    act: Act
    substate: SubState = SubState.NONE
    flag: bool = False  # shown instead of the base state, which it hides


_P, _R, _A, _F, _Q = Act.PENDING, Act.RUNNING, Act.ALIVE, Act.FAILED, Act.REQUEUEABLE
_HELD, _BOOT = SubState.HELD, SubState.CONFIGURING

# Flags first, in the order in which Slurm looks for them; then the base states.
STATE_ROWS: Final = (
    StateRow(
        "COMPLETING",
        "CG",
        "its processes are being ended; how it ends is not known yet, and it may be requeued",
        _R,
        SubState.COMPLETING,
        flag=True,
    ),
    StateRow("STAGE_OUT", "SO", "its burst buffer is being copied out", _A, flag=True),
    StateRow("CONFIGURING", "CF", "it has nodes, which are booting", _P, _BOOT, flag=True),
    StateRow("POWER_UP_NODE", "", "its nodes are being powered up", _P, _BOOT, flag=True),
    StateRow("EXPEDITING", "", "it is being requeued ahead of others", _A, flag=True),
    StateRow("RESIZING", "RS", "its allocation is changing its size", _A, flag=True),
    StateRow("REQUEUED", "RQ", "it is being requeued and will be queued again", _A, flag=True),
    StateRow("REQUEUE_FED", "RF", "it is being requeued in a federation", _A, flag=True),
    StateRow("REQUEUE_HOLD", "RH", "it was requeued and is held", _P, _HELD, flag=True),
    StateRow(
        "SPECIAL_EXIT", "SE", "it was requeued in a special state: held", _P, _HELD, flag=True
    ),
    StateRow("LAUNCH_FAILED", "", "it could not be launched: requeued, held", _P, _HELD, flag=True),
    StateRow(
        "STOPPED",
        "ST",
        "it was stopped by SIGSTOP, with its CPUs",
        _R,
        SubState.SUSPENDED,
        flag=True,
    ),
    StateRow("REVOKED", "RV", "another cluster of the federation has it", _A, flag=True),
    StateRow("RESV_DEL_HOLD", "RD", "its reservation was deleted: held", _P, _HELD, flag=True),
    StateRow("SIGNALING", "SI", "a signal is being sent to it", _A, flag=True),
    StateRow("RECONFIG_FAIL", "", "its nodes could not be configured", _A, flag=True),
    StateRow("UPDATE_DB", "", "its record in the database is being updated", _A, flag=True),
    StateRow("PENDING", "PD", "it waits in the queue, perhaps again after a requeue", _P),
    StateRow("RUNNING", "R", "it has an allocation; its service may not answer yet", _R),
    StateRow("SUSPENDED", "S", "it is suspended and keeps its memory", _R, SubState.SUSPENDED),
    StateRow("COMPLETED", "CD", "it ended with exit status 0", Act.COMPLETED),
    StateRow("CANCELLED", "CA", "a user or an administrator cancelled it", Act.CANCELLED),
    StateRow("FAILED", "F", "it ended with another exit status than 0, or by a signal", _F),
    StateRow("TIMEOUT", "TO", "it reached its time limit", _F),
    StateRow("NODE_FAIL", "NF", "one of its nodes failed", _Q),
    StateRow("PREEMPTED", "PR", "another job took its nodes", _Q),
    StateRow("BOOT_FAIL", "BF", "its nodes could not be booted", _F),
    StateRow("DEADLINE", "DL", "its deadline cannot be met", _F),
    StateRow("OUT_OF_MEMORY", "OOM", "it used more memory than it asked for", _F),
)

STATES: Final[Mapping[str, StateRow]] = {
    name: row for row in STATE_ROWS for name in (row.word, row.compact) if name
}


class ReasonClass(StrEnum):
    """What a reason means for a job that waits (the last but one: for a job that ended)."""

    WAIT = "wait"
    QUOTA = "quota"
    NEVER = "never"
    DEPENDENCY = "dependency"
    HELD = "held"
    INFRASTRUCTURE = "infrastructure"
    ENDED = "ended"
    UNKNOWN = "unknown"


_W, _QUOTA, _NEVER = ReasonClass.WAIT, ReasonClass.QUOTA, ReasonClass.NEVER
_HOLD, _INFRA, _END = ReasonClass.HELD, ReasonClass.INFRASTRUCTURE, ReasonClass.ENDED

ADVICE: Final[Mapping[ReasonClass, str]] = {
    _W: "Slurm starts it when its turn comes; nothing to do",
    _QUOTA: "a limit on all your jobs together is reached; it starts when others of them end",
    _NEVER: "it can never start as it is written; change what it asks for",
    ReasonClass.DEPENDENCY: "it waits for another job to end",
    _HOLD: "it is held and never starts by itself; release it with `scontrol release` or cancel it",
    _INFRA: "nodes or partition it needs are not usable; `sinfo -R` says why",
    _END: "this is why it ended",
    ReasonClass.UNKNOWN: "benchd does not know this reason; it waits and asks again",
}

# Reasons by name. An empty advice is the class's own.
_REASONS: Final[Mapping[str, tuple[ReasonClass, str]]] = {
    "None": (_W, "Slurm has not looked at it yet"),
    "Priority": (_W, "jobs with a higher priority are in front of it"),
    "Resources": (_W, "it is next, as soon as enough nodes are free"),
    "Licenses": (_W, "it waits for a licence that other jobs are using"),
    "Reservation": (_W, "it waits for its reservation to begin"),
    "BeginTime": (_W, "its earliest start is not reached; after a requeue Slurm waits two minutes"),
    "JobArrayTaskLimit": (_W, "as many tasks of the array run as may run at once"),
    "Prolog": (_W, "the site's prolog is still running"),
    "SchedDefer": (_W, ""),
    "BurstBufferStageIn": (_W, "its burst buffer is being filled"),
    "BurstBufferResources": (_W, "it waits for space in the burst buffer"),
    "Cleaning": (_W, "it is being requeued; the last run is still being cleaned up"),
    "Constraints": (_W, "no node meets its constraint now"),
    "FedJobLock": (_W, ""),
    "MpiPortsBusy": (_W, ""),
    "NvidiaImexChannels": (_W, ""),
    "MaxPoweredUpNodes": (_W, "as many nodes are powered up as the site allows"),
    "PowerNotAvail": (_W, ""),
    "PowerReserved": (_W, ""),
    "BlockFreeAction": (_W, ""),
    "AccountingPolicy": (_QUOTA, ""),
    "AssociationJobLimit": (_QUOTA, ""),
    "AssociationResourceLimit": (_QUOTA, ""),
    "AssocMaxJobsLimit": (_QUOTA, "your account may run no more jobs at once"),
    "AssocMaxSubmitJobLimit": (_QUOTA, "your account may queue no more jobs at once"),
    "QOSJobLimit": (_QUOTA, ""),
    "QOSResourceLimit": (_QUOTA, ""),
    "QOSUsageThreshold": (_QUOTA, "your account has used more than this QOS allows; it recovers"),
    "PartitionTimeLimit": (
        _NEVER,
        "resources.time is over the partition's limit: see `sinfo -o '%P %l'`",
    ),
    "PartitionNodeLimit": (_NEVER, "it asks for more nodes than the partition gives to one job"),
    "PartitionConfig": (
        _NEVER,
        "the partition has not the nodes or CPUs it asks for: see `sinfo -Nl`",
    ),
    "AssociationTimeLimit": (_NEVER, "resources.time is over your account's limit"),
    "AssocMaxWallDurationPerJobLimit": (_NEVER, "resources.time is over your account's limit"),
    "QOSTimeLimit": (_NEVER, "resources.time is over the QOS's limit"),
    "QOSMaxWallDurationPerJobLimit": (_NEVER, "resources.time is over the QOS's limit"),
    "MaxMemPerLimit": (_NEVER, "resources.mem is over the partition's limit"),
    "BadConstraints": (
        _NEVER,
        "no node of the partition has what it asks for: see `sinfo -o '%P %f %G'`",
    ),
    "InvalidAccount": (
        _NEVER,
        "resources.account is not known to Slurm: see `sacctmgr show user $USER -s`",
    ),
    "InvalidQOS": (_NEVER, "resources.qos is not known to Slurm: see `sacctmgr show qos`"),
    "AccountNotAllowed": (_NEVER, "the partition does not take resources.account"),
    "QOSNotAllowed": (_NEVER, "the partition or account does not allow resources.qos"),
    "DeadLine": (_NEVER, "its deadline cannot be met any more"),
    "ReservationDeleted": (_NEVER, "resources.reservation was deleted"),
    "ReservationInvalid": (_NEVER, "resources.reservation does not exist any more"),
    "BlockMaxError": (_NEVER, ""),
    "DependencyNeverSatisfied": (_NEVER, "the job it depends on did not end as required"),
    "Dependency": (ReasonClass.DEPENDENCY, ""),
    "JobHeldUser": (_HOLD, "it was held by its user; `scontrol release` starts it"),
    "JobHeldAdmin": (_HOLD, "it was held by an administrator; only they can release it"),
    "JobHoldMaxRequeue": (_HOLD, "it was requeued too often, so Slurm holds it"),
    "PartitionDown": (_INFRA, "the partition is down; wait, or use another one"),
    "PartitionInactive": (_INFRA, "the partition starts no jobs now; wait, or use another one"),
    "NodeDown": (_INFRA, ""),
    "FrontEndDown": (_INFRA, ""),
    "ReqNodeNotAvail": (_INFRA, "a node it needs is down, or reserved for maintenance: `sinfo -R`"),
    "SystemFailure": (_INFRA, "Slurm itself had a failure; tell the site"),
    "BurstBufferOperation": (_INFRA, "the burst buffer had a failure; tell the site"),
    "NonZeroExitCode": (_END, "its payload ended with another status than 0; see its logs"),
    "RaisedSignal": (_END, "a signal ended its payload; see its logs"),
    "TimeLimit": (_END, "it reached resources.time; ask for more"),
    "OutOfMemory": (_END, "it used more memory than it asked for; raise resources.mem"),
    "InactiveLimit": (_END, "the site ends jobs that do nothing for so long"),
    "JobLaunchFailure": (_END, "it could not be launched on its node; is workdir seen from there?"),
}

# Families and free text, on the reason in lower case without anything but letters and digits. The
# first match wins: minutes that are spent never come back by themselves, *running* minutes do.
_FAMILIES: Final = (
    (r"launchfail\w*requeuedheld", _HOLD, "its launch failed, so Slurm holds it; see its node"),
    (
        r"userenvretrievalfailed\w*",
        _HOLD,
        "its node could not load your environment; Slurm holds it",
    ),
    (r"jobrequeuedin(held|specialexit)state", _HOLD, ""),
    (r"reservation\w+wasdeleted", _HOLD, "its reservation was deleted, so Slurm holds it"),
    (r"nodesrequiredforjobaredown\w*", _INFRA, ""),
    (r"reqnodenotavail\w*", _INFRA, "a node it needs is down, or reserved: `sinfo -R`"),
    (r"(assoc|qos)grp\w*runmin(ute)?s(limit)?", _QUOTA, ""),
    (r"(assoc|qos)grp\w*min(ute)?s(limit)?", _NEVER, "the account's or QOS's budget is spent"),
    (r"(assoc|qos)grp\w+", _QUOTA, "a limit shared by your whole account or QOS is reached"),
    (r"(assoc|qos)max\w+per(job|node)(limit)?", _NEVER, "it asks for more than one job may have"),
    (r"qosmin\w+", _NEVER, "it asks for less than this QOS is for; use another QOS"),
    (r"(assoc|qos)?max\w+per(user|account)(limit)?", _QUOTA, ""),
)

REASONS: Final[Mapping[str, tuple[ReasonClass, str]]] = {
    re.sub(r"[^a-z0-9]", "", name.lower()): (cls, advice or ADVICE[cls])
    for name, (cls, advice) in _REASONS.items()
}
REASON_NAMES: Final = tuple(_REASONS)
FAMILIES: Final = tuple(
    (re.compile(pattern), cls, advice or ADVICE[cls]) for pattern, cls, advice in _FAMILIES
)


class Complaint(StrEnum):
    """What a failed sbatch tells about the job."""

    AMBIGUOUS = "ambiguous"  # it may be in the queue all the same: look, never just repeat
    RETRY = "retry"  # surely not in the queue; the same script may be accepted later
    PERMANENT = "permanent"  # surely not in the queue, and never will be as it is


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One complaint of sbatch: a regular expression on its stderr, in any case, and what to do."""

    pattern: str
    complaint: Complaint
    fix: str


_AMB, _RETRY, _PERM = Complaint.AMBIGUOUS, Complaint.RETRY, Complaint.PERMANENT
_LOOK = "benchd looks whether the job is in the queue before it tries again"
_PARTITION = "set resources.partition to one that `sinfo -s` lists"
_FITS = "no node has this much: lower resources, or choose another partition (`sinfo -Nl`)"
_SITE = "the site's policy; `sacctmgr show assoc user=$USER` shows your limits"

# Ambiguous rows are looked for first, then the first match wins.
ERRORS: Final = (
    ErrorRow(r"\(connect failure\)", _RETRY, "the Slurm controller is down; wait for the site"),
    ErrorRow(r"standby mode", _RETRY, "a backup controller is taking over; wait"),
    ErrorRow(r"rate limit exceeded", _RETRY, "lower budget.submits_per_minute for this cluster"),
    ErrorRow(r"socket timed out", _AMB, _LOOK),
    ErrorRow(r"unable to contact slurm controller(?! \(connect)", _AMB, _LOOK),
    ErrorRow(r"zero bytes were transmitted", _AMB, _LOOK),
    ErrorRow(r"unexpected message received", _AMB, _LOOK),
    ErrorRow(r"message (receive|send) failure", _AMB, _LOOK),
    ErrorRow(r"connection (timed out|failure|rejected|forced)|socket error", _AMB, _LOOK),
    ErrorRow(r"shutting down and closing", _AMB, _LOOK),
    # munge may fail on the way there or on the way back, and the text is the same
    ErrorRow(r"authentication error|munge", _AMB, _LOOK),
    ErrorRow(r"could not establish a configuration source|resolve_ctls|slurm\.conf", _RETRY,
             "sbatch finds no configuration on the login node: does `sinfo` work there?"),
    ErrorRow(r"(sbatch|slurm): (command )?not found", _RETRY,
             "sbatch is not on PATH of a non-interactive shell on the login node"),
    ErrorRow(r"maxjobcount limit|job queue full", _RETRY, "Slurm's job table is full; wait"),
    ErrorRow(r"submissions disabled|presently disabled", _RETRY, "the site takes no jobs; wait"),
    ErrorRow(r"violates accounting/qos policy", _RETRY, _SITE),
    ErrorRow(r"usage threshold", _RETRY, _SITE),
    ErrorRow(r"resource temporarily unavailable|temporarily unable", _RETRY, "wait"),
    ErrorRow(r"partition in down state|partition not available|configuration not available now",
             _RETRY, "the partition is down or drained: wait, or use another one (`sinfo -s`)"),
    ErrorRow(r"licenses currently unavailable|nodes? (are )?busy|ports are in use", _RETRY, "wait"),
    ErrorRow(r"required node not available", _RETRY, "the node is down or drained: `sinfo -R`"),
    ErrorRow(r"no space left|disk quota exceeded|i/o error writing script", _RETRY,
             "the disk is full, yours or the controller's"),
    ErrorRow(r"invalid partition|no partition specified", _PERM, _PARTITION),
    ErrorRow(r"group not permitted to use this partition", _PERM, _PARTITION),
    ErrorRow(r"requested nodes not in this partition", _PERM,
             "resources.nodelist and resources.partition do not go together"),
    ErrorRow(r"invalid account", _PERM,
             "set resources.account to one of `sacctmgr show user $USER -s`"),
    ErrorRow(r"invalid or unknown association", _PERM, _SITE),
    ErrorRow(r"invalid qos", _PERM, "set resources.qos to one of `sacctmgr show qos`"),
    ErrorRow(r"invalid wckey", _PERM, "ask the site for your wckey"),
    ErrorRow(r"\bgres\b|trackable resource|\btres\b", _PERM,
             "resources.gres or gpus names what no node has: see `sinfo -o '%P %G'`"),
    ErrorRow(r"time limit (specification )?is? ?invalid|invalid --time|invalid time", _PERM,
             "resources.time is malformed or over the limit: see `sinfo -o '%P %l'`"),
    ErrorRow(r"feature", _PERM, "resources.constraint names what no node has: `sinfo -o '%P %f'`"),
    ErrorRow(r"reservation (not usable|is in use)", _RETRY, "the reservation has not begun"),
    ErrorRow(r"reservation", _PERM, "resources.reservation is not one you may use: "
             "`scontrol show reservation`"),
    ErrorRow(r"invalid license", _PERM, "resources.licenses: see `scontrol show licenses`"),
    ErrorRow(r"invalid node name", _PERM, "resources.nodelist or exclude: see `sinfo -N`"),
    ErrorRow(r"node configuration is not available|can ?not be satisfied", _PERM, _FITS),
    ErrorRow(r"more processors requested|(node|cpu|task|core) count|memory required", _PERM, _FITS),
    ErrorRow(r"permission denied|invalid user id|not permitted", _PERM, _SITE),
    ErrorRow(r"job dependency problem|invalid job array", _PERM, "benchd uses neither"),
    ErrorRow(r"dos line breaks|not look like a batch script|batch script is empty|too long", _PERM,
             "the script is damaged; this is a fault of benchd, please report it"),
    ErrorRow(r"incompatible versions", _PERM, "sbatch and slurmctld differ; tell the site"),
    ErrorRow(r"unrecogni[sz]ed|invalid --|invalid [\w-]+ specification|invalid \S+ argument", _PERM,
             "one of the resources has a value that this Slurm does not know"),
    ErrorRow(r"not supported on this system|only batch jobs", _PERM, _SITE),
)  # fmt: skip
