"""One virtual cluster: its file system, login node, slurmctld and slurmdbd, and compute nodes.

It goes on whatever becomes of the daemon. A new life of the daemon gets a new ``shell``; what the
old one had under way on the login node goes on unattended, or is hung up: that is drawn.
What truly happened is never forgotten here, so that it can be compared with what the daemon says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from benchd.config import ClusterSettings
from benchd.edge.shell import Shell
from simulation.agenda import Agenda
from simulation.faults import Faults


class NotUnderstood(AssertionError):
    """The daemon sent a command, or a job's script, that this simulation has no meaning for.

    The product has changed: teach the simulation the new words, and let the differential test
    show that bash agrees.
    """


@dataclass(frozen=True, slots=True)
class Queued:
    """An sbatch that slurmctld took: which job, which try, when."""

    token: str
    k: int
    slurm_id: int
    at: float


@dataclass(frozen=True, slots=True)
class Started:
    """A payload that was started, behind the fence."""

    token: str
    slurm_id: int
    generation: int
    at: float


@dataclass(frozen=True, slots=True)
class Twin:
    """A Slurm job that found the work taken by another."""

    token: str
    slurm_id: int
    at: float


class Site:
    """A virtual cluster."""

    def __init__(
        self,
        agenda: Agenda,
        rng: Random,
        *,
        name: str = "sim",
        faults: Faults | None = None,
        nodes: int = 4,
    ) -> None:
        self.agenda = agenda
        self.rng = rng
        self.name = name
        self.faults = faults or Faults()
        self.workdir = "/scratch/benchd"
        # --- true history ---
        self.accepted: list[Queued] = []
        self.starts: list[Started] = []
        self.twins: list[Twin] = []
        self.rpcs: list[tuple[float, str, float]] = []  # when, which command, what it costs
        self.logins: list[float] = []
        self.sessions = 0
        self.sessions_peak = 0
        self.struck: Counter[str] = Counter()  # how often which fault acted
        self.misunderstood: list[str] = []  # any entry makes the trial worthless: see NotUnderstood

    def settings(self, **over: Any) -> ClusterSettings:
        """Return the daemon's configuration of this cluster."""
        return ClusterSettings(local=True, workdir=self.workdir, **over)

    def shell(self) -> Shell:
        """Return the way in for a new life of the daemon; the old one's way is gone."""
        raise NotImplementedError
