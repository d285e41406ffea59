"""Slurm's limits as reasons: the 160 words that are made of whose limit it is, and on what.

``AssocGrpCPURunMinutesLimit`` is one of eighteen that differ in owner and resource only. Words of
a family that are newer than this table are read by the family's expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Whose limit -> how people call it. What the job asked for is filled in.
OWNERS: Final[Mapping[str, str]] = {"assoc": "the account{account}", "qos": "the QOS{qos}"}

# On what, without case and "Limit" -> how people call it, and the keys of a recipe that ask for it.
WHATS: Final[Mapping[str, tuple[str, str]]] = {
    "cpu": ("cores", "`cpus_per_task`, `ntasks` or `nodes`"),
    "mem": ("memory", "`mem` or `mem_per_cpu`"),
    "memory": ("memory", "`mem` or `mem_per_cpu`"),
    "node": ("nodes", "`nodes`"),
    "gres": ("GPUs or other gres", "`gres` or `gpus`"),
    "license": ("licences", "`licenses`"),
    "bb": ("burst buffer space", "burst buffer space"),
    "billing": ("billing units", "cores, memory or GPUs"),
    "energy": ("energy", "`time` or `nodes`"),
    "wall": ("wall-clock time", "`time`"),
    "wallduration": ("wall-clock time", "`time`"),
    "jobs": ("running jobs", "fewer jobs"),
    "submitjob": ("queued jobs", "fewer jobs"),
    "submitjobs": ("queued jobs", "fewer jobs"),
    "unknown": ("a resource", "resources"),
}
_WHAT = r"(?P<what>cpu|memory|mem|node|gres|license|bb|billing|energy|wall|jobs|submitjobs?|\w+?)"


@dataclass(frozen=True, slots=True)
class Family:
    """Reasons that differ in owner and resource only. ``cls`` is the name of a ReasonClass."""

    pattern: re.Pattern[str]  # on the word in lower case, without anything but letters and digits
    words: tuple[str, ...]
    cls: str
    meaning: str
    fix: str


def _words(*patterns: str) -> tuple[str, ...]:
    """Return the words of patterns such as ``QOSMin: BB Node``, the blank filling ``{}``."""
    split = [pattern.partition(": ") for pattern in patterns]
    return tuple(stem.format(name) for stem, _, names in split for name in names.split())


_FEW = "BB Billing Energy GRES License Node Unknown"

# The first match wins: minutes that are spent do not come back while the job waits, *running*
# minutes do, as soon as other jobs end.
FAMILIES: Final = (
    Family(
        re.compile(rf"(?P<owner>assoc|qos)grp{_WHAT}runmin(?:ute)?s(?:limit)?"),
        _words(
            f"AssocGrp{{}}RunMinutes: Mem {_FEW}",
            f"QOSGrp{{}}RunMinutes: Memory {_FEW}",
            "{}GrpCPURunMinutesLimit: Assoc QOS",
        ),
        "quota",
        "running jobs have reserved all the minutes of {what} that {owner} allows at once",
        "it starts when some of them end; less `time` reserves less",
    ),
    Family(
        re.compile(rf"(?P<owner>assoc|qos)grp{_WHAT}min(?:ute)?s(?:limit)?"),
        _words(
            f"AssocGrp{{}}Minutes: Mem {_FEW}",
            f"QOSGrp{{}}Minutes: Memory {_FEW}",
            "{}GrpCPUMinutesLimit: Assoc QOS",
        ),
        "never",
        "{owner} has spent its budget of minutes of {what}, or too little of it is left",
        "ask for less `time`, for more budget, or use another `account` or `qos`",
    ),
    Family(
        re.compile(rf"(?P<owner>assoc|qos)grp{_WHAT}(?:limit)?"),
        _words(
            "AssocGrp{}: BB Billing Energy GRES License Unknown",
            "QOSGrp{}: BB Billing Energy GRES License Unknown",
            "AssocGrp{}Limit: Cpu Jobs Mem Node SubmitJobs Wall",
            "QOSGrp{}Limit: Cpu Jobs Mem Node SubmitJobs Wall",
        ),
        "quota",
        "{owner} has reached its limit of {what}",
        "it starts when other jobs there end; asking for less may help: {key}",
    ),
    Family(
        re.compile(rf"(?P<owner>assoc|qos)max{_WHAT}minutesperjob(?:limit)?"),
        _words(
            f"AssocMax{{}}MinutesPerJob: Mem {_FEW}",
            "QOSMax{}MinutesPerJob: Billing Energy GRES License Memory Node Unknown",
            "{}MaxCpuMinutesPerJobLimit: Assoc QOS",
        ),
        "never",
        "it asks for more minutes of {what} than {owner} allows for one job",
        "ask for less `time` or less {key}, or use another `account` or `qos`",
    ),
    Family(
        re.compile(rf"(?P<owner>assoc|qos)max{_WHAT}per(?:job|node)(?:limit)?"),
        _words(
            "AssocMax{}PerJob: BB Billing Energy GRES License Mem Unknown",
            "AssocMax{}PerNode: BB Billing Cpu Energy GRES Mem Unknown",
            "QOSMax{}PerJob: BB Billing Energy GRES License Memory Unknown",
            "QOSMax{}PerNode: BB Billing Cpu Energy GRES Memory Unknown",
            "AssocMax{}PerJobLimit: Cpu Node",
            "QOSMax{}PerJobLimit: Cpu Node",
        ),
        "never",
        "it asks for more {what} than {owner} allows for one job",
        "ask for less {key}, or use another `account` or `qos`",
    ),
    Family(
        re.compile(rf"(?P<owner>qos)min{_WHAT}(?:notsatisfied)?"),
        _words(f"QOSMin{{}}: Memory {_FEW}", "QOSMin{}: CpuNotSatisfied"),
        "never",
        "{owner} is for jobs that ask for more {what}",
        "use another `qos`, or ask for more {key}",
    ),
    Family(
        re.compile(rf"max{_WHAT}runminsper(?:user|account)(?:limit)?"),
        _words(
            f"Max{{}}RunMinsPerAccount: Cpu Memory {_FEW}",
            f"Max{{}}RunMinsPerUser: Cpu Memory {_FEW}",
        ),
        "quota",
        "your running jobs have reserved all the minutes of {what} that the QOS{qos} allows",
        "it starts when some of them end; less `time` reserves less",
    ),
    Family(
        re.compile(rf"(?P<owner>assoc|qos)?max{_WHAT}per(?:user|account)(?:limit)?"),
        _words(
            f"Max{{}}PerAccount: Cpu Jobs Memory SubmitJobs {_FEW}",
            "QOSMax{}PerUser: BB Billing Energy GRES License Memory Unknown",
            "QOSMax{}PerUserLimit: Cpu Jobs Node SubmitJob",
        ),
        "quota",
        "you have reached the limit of {what} that {owner} sets for one user or account",
        "it starts when some of your jobs end; asking for less may help: {key}",
    ),
)  # fmt: skip
