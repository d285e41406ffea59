"""Slurm's job states as data, and what each means for one of our jobs.

Adding a word is adding a row. Where Slurm's behaviour surprised, the row says so; the words are
those of ``job_state_string()`` and of ``--json``.
"""

from __future__ import annotations

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
    StateRow("REQUEUED_CRON", "RC", "it is a scrontab entry's next run", _A, flag=True),
    StateRow("REQUEUED", "RQ", "it is being requeued and will be queued again", _A, flag=True),
    StateRow("REQUEUE_FED", "RF", "it is being requeued in a federation", _A, flag=True),
    StateRow("REQUEUE_HOLD", "RH", "it was requeued and is held", _P, _HELD, flag=True),
    StateRow(
        "SPECIAL_EXIT", "SE", "it was requeued in a special state: held", _P, _HELD, flag=True
    ),
    StateRow("LAUNCH_FAILED", "", "it could not be launched: requeued, held", _P, _HELD, flag=True),
    StateRow(
        "GETENV_FAILED", "", "its node could not load the environment: held", _P, _HELD, flag=True
    ),
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
