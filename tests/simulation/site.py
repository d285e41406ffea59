"""One virtual cluster: its file system, login node, slurmctld and slurmdbd, and compute nodes.

It goes on whatever becomes of the daemon. A new life of the daemon gets a new way in; what the old
one had under way on the login node goes on unattended, or is hung up: that is drawn. What truly
happened is never forgotten here, so that it can be compared with what the daemon says. All of it
can be copied (``pickle``) at any moment, but for what belongs to one life of the daemon.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random
from typing import Any

from benchd.config import ClusterSettings, SSHSettings
from benchd.edge.link import Link
from benchd.metrics import Metrics
from benchd.sim.nouns import Job
from simulation.agenda import Agenda
from simulation.bash import Answer, NotUnderstood, Phrasebook
from simulation.disk import Disk
from simulation.faults import Faults
from simulation.login import LoginNode
from simulation.nodes import Nodes, Planner, plan
from simulation.process import Step
from simulation.slurm import Slurm
from simulation.wires import VirtualDial, answer_of

# The home of the one user that matters.
HOME = "/home/sim"


@cache
def _metrics() -> Metrics:
    """Return numbers that nobody looks at; making them takes long."""
    return Metrics()


@dataclass(frozen=True, slots=True)
class Queued:
    """An sbatch that slurmctld took: which job, which try, when, and what it is to run."""

    token: str
    k: int
    slurm_id: int
    at: float
    script: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Started:
    """A payload that was started, behind the fence."""

    token: str
    slurm_id: int
    generation: int
    at: float


@dataclass(slots=True)
class Payload:
    """What became of a payload. ``status`` None: it did not come to its own end."""

    token: str
    generation: int
    started_at: float
    ended_at: float | None = None
    status: int | None = None


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
        planner: Planner = plan,
        waits: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        """Build it. ``waits``: seconds that jobs wait in the queue; every fifth ten times that."""
        self.agenda = agenda
        self.rng = rng
        self.name = name
        self.faults = faults or Faults()
        self.home = HOME
        self.workdir = "/scratch/benchd"
        self._waits = waits
        # --- true history ---
        self.accepted: list[Queued] = []
        self.starts: list[Started] = []
        self.payloads: list[Payload] = []
        self.twins: list[Twin] = []
        self.rpcs: list[tuple[float, str, float]] = []  # when, which command, what it costs
        self.logins: list[float] = []
        self.sessions_peak = 0  # at once, on one connection
        self.struck: Counter[str] = Counter()  # how often which fault acted
        self.misunderstood: list[str] = []  # any entry makes the trial worthless: see NotUnderstood
        # --- parts ---
        self.disk = Disk(self.file_time)
        self.disk.make_dirs(HOME)
        self.disk.make_dirs("/scratch")
        self.slurm = Slurm(self, rng, nodes=nodes)
        self.nodes = Nodes(self, rng, planner)
        self.login = LoginNode(self, rng)
        self._plan_troubles()

    # --- for the daemon -------------------------------------------------------------------------

    def settings(self, **over: Any) -> ClusterSettings:
        """Return the daemon's configuration of this cluster."""
        return ClusterSettings(
            ssh=SSHSettings(host=f"login.{self.name}"), workdir=self.workdir, **over
        )

    def shell(
        self, settings: ClusterSettings | None = None, metrics: Metrics | None = None
    ) -> Link:
        """Return the way in for a new life of the daemon; the old one's way is gone."""
        self.daemon_died()
        return Link(
            self.name,
            settings or self.settings(),
            metrics=metrics or _metrics(),
            jitter=self.rng.random,
            dial=VirtualDial(self),
        )

    def daemon_died(self) -> None:
        """Let everything go down that leads to the daemon."""
        self.login.daemon_died()

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    # --- time -----------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the true time."""
        return self.agenda.now

    def file_time(self) -> float:
        """Return the time by the file server's clock."""
        return self.agenda.now + self.faults.clock_skew

    # --- programs of the login node -------------------------------------------------------------

    def steps(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], cwd: str
    ) -> tuple[Step, ...]:
        """Return the steps of one of Slurm's commands."""
        return self.slurm.steps(name, argv, environment, cwd)

    def ask_service(self, host: str, port: int, sent: bytes) -> Answer:
        """Connect to a compute node from the login node and say something."""
        if host in self.nodes.dark or (host, port) not in self.nodes.listening:
            return Answer(1)
        return answer_of(sent)

    def understand(self, book: Phrasebook, text: str) -> tuple[Step, ...]:
        """Read a command or a script; what nobody understands is remembered and raised."""
        try:
            return book.read(text)
        except NotUnderstood as error:
            self.misunderstood.append(str(error))
            raise

    # --- history --------------------------------------------------------------------------------

    def note_queued(self, job: Job) -> None:
        """Remember an sbatch that was accepted."""
        arguments = job.request.arguments
        k = int(arguments[1]) if len(arguments) > 1 else 0
        script = job.request.script
        self.accepted.append(Queued(job.request.name, k, job.id, self.agenda.now, script))

    def note_started(self, token: str, slurm_id: int, generation: int) -> None:
        """Remember a payload that started."""
        self.starts.append(Started(token, slurm_id, generation, self.agenda.now))
        self.payloads.append(Payload(token, generation, self.agenda.now))

    def note_ended(self, token: str, generation: int, status: int | None) -> None:
        """Remember how a payload ended."""
        for payload in reversed(self.payloads):
            if (payload.token, payload.generation) == (token, generation):
                payload.ended_at, payload.status = self.agenda.now, status
                return

    def note_twin(self, token: str, slurm_id: int) -> None:
        """Remember a job that found the claim taken."""
        self.twins.append(Twin(token, slurm_id, self.agenda.now))

    def draw_wait(self) -> float:
        """Draw how long a job waits in the queue."""
        wait = self.rng.uniform(*self._waits)
        return wait if self.rng.random() < 0.8 else 10 * wait

    # --- troubles -------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let nothing go wrong from now on; what has gone wrong already comes to its end."""
        kept = {
            name: getattr(self.faults, name)
            for name in (
                *("no_accounting", "accounting_lag", "min_job_age", "clock_skew", "slurm_skew"),
                *("no_forwarding", "hangup"),
            )
        }
        self.faults = replace(Faults(), **kept)
        self.slurm.sacct_down_until = min(self.slurm.sacct_down_until, self.agenda.now)

    def _plan_troubles(self) -> None:
        for name in ("outages", "stalls", "downs", "cold_starts", "sacct_downs", "full_disk"):
            self._next_trouble(name)

    def _next_trouble(self, name: str) -> None:
        rate = getattr(self.faults, name)
        if rate:
            self.agenda.after(self.rng.expovariate(rate / 3600.0), partial(self._trouble, name))

    def _trouble(self, name: str) -> None:
        if not getattr(self.faults, name):
            return  # it is calm now
        rng = self.rng
        if name == "outages":
            self.login.go_down(rng.uniform(60.0, 1200.0), reboot=rng.random() < 0.5)
        elif name == "stalls":
            self.slurm.stall(rng.choice((rng.uniform(5.0, 30.0), rng.uniform(30.0, 600.0))))
        elif name == "downs":
            self.slurm.go_down(rng.uniform(60.0, 600.0))
        elif name == "cold_starts":
            self.nodes.abort()
            self.slurm.cold_start()
        elif name == "sacct_downs":
            self.slurm.sacct_down_until = self.agenda.now + rng.uniform(3600.0, 6 * 3600.0)
        else:
            self.disk.full = rng.choice(("blocks", "names"))
            self.agenda.after(rng.uniform(60.0, 600.0), self._free_disk)
        self.struck[name] += 1
        self._next_trouble(name)

    def _free_disk(self) -> None:
        self.disk.full = ""
