"""slurmctld and slurmdbd of a virtual cluster: the pure model, asked at moments, with troubles.

The model and the commands' texts are those of the embedded cluster. Time is not ticked through: the
next moment at which anything can change by itself is on the agenda.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from benchd.sim import call as sim_call
from benchd.sim.accounting import Accounting, Row
from benchd.sim.commands import COMMANDS
from benchd.sim.desk import NO_ACCOUNTING, NO_DATABASE
from benchd.sim.nouns import FINISHED, Config, Job, Launch, Node, Partition
from benchd.sim.outage import NO_CONTROLLER, TIMED_OUT, unreachable
from benchd.sim.slurmctld import Slurmctld
from simulation.bash import Answer, Bash
from simulation.process import Step

if TYPE_CHECKING:
    from simulation.site import Site

USER, UID = "sim", 1000
# RPCs that a call costs, as sdiag counts them on a real 22.05.
RPCS = {"squeue": 2, "sbatch": 1, "sacct": 1, "scancel": 1, "scontrol": 2, "sinfo": 2, "sdiag": 1}
# Seconds that a client needs to start, and an answer to travel.
CLIENT, RPC = 0.02, 0.01
# Seconds after which a command says that nobody listens at slurmctld's port.
CONNECT_FAILURE = 9.0
# Seconds after which sacct says the same of slurmdbd's.
NO_DATABASE_AFTER = 1.0
# Seconds for which a request may wait inside of slurmctld while others are served.
LINGERS = 600.0
# Seconds after which slurmctld has saved what it knows.
SAVED_AFTER = 5.0
# Between the columns of sacct.
_SEPARATOR = "\x1f"
# What a site's filter says to a job that it does not like now.
REFUSAL = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    " (job submit limit, user's size and/or time limits)\n"
)


@dataclass(slots=True)
class Asked:
    """One call of a command, from its start to its answer."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str
    script: bytes = b""
    answer: sim_call.Answer | None = None

    def read(self, _path: str | None) -> bytes:
        """Return the script that was read at the start."""
        return self.script


class Ledger(Accounting):
    """slurmdbd's job table, which outlives slurmctld's memory and its numbers."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._eras: list[dict[tuple[int, int], list[tuple[float, Row]]]] = []

    def new_era(self, now: float) -> None:
        """Close what is open: slurmctld came up without its memory and says so."""
        for versions in self._versions.values():
            row = versions[-1][1]
            if row.end is None:
                versions.append((now, replace(row, state="CANCELLED", end=now)))
        self._eras.append(self._versions)
        self._versions = {}

    def forget(self, job_id: int) -> None:
        """Never have heard of a job."""
        for key in [key for key in self._versions if key[0] == job_id]:
            del self._versions[key]

    def rows(self, now: float, *, lag: float = 0.0, duplicates: bool = False) -> list[Row]:
        """Return what the database says now, of all eras."""
        current, found = self._versions, []
        for era in (*self._eras, current):
            self._versions = era
            found += super().rows(now, lag=lag, duplicates=duplicates)
        self._versions = current
        return found


class Slurm:
    """The controller, and what its commands say on the login node."""

    def __init__(self, site: Site, rng: Random, *, nodes: int) -> None:
        self._site = site
        self._rng = rng
        faults = site.faults
        self.config = Config(
            min_job_age=faults.min_job_age,
            accounting_lag=faults.accounting_lag,
            kill_wait=30.0,
            requeue_delay=rng.choice((2.0, 120.0)),
            node_watts=300.0,
        )
        names = [f"n{i + 1}" for i in range(nodes)]
        self.model = Slurmctld(
            self.config,
            [Node(name=name, cpus=64, memory_mb=256_000) for name in names],
            [Partition(name="debug", nodes=tuple(names), default=True, default_minutes=60)],
            first_id=rng.choice((1, 1000)),
        )
        self.first_id = self.model.next_id
        self.model.accounting = Ledger(self.config)
        self.stalled_until = 0.0
        self.down_until = 0.0
        self.sacct_down_until = 0.0
        self._planned = 0.0  # the next look at the clock, if it lies ahead

    def now(self) -> float:
        """Return the time by slurmctld's clock."""
        return self._site.agenda.now + self._site.faults.slurm_skew

    # --- the commands ---------------------------------------------------------------------------

    def steps(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], cwd: str
    ) -> tuple[Step, ...]:
        """Return the steps of one of Slurm's commands on the login node."""
        asked = Asked(name, argv, environment, cwd)
        if name == "sacct":
            return ((self._start, asked), (self._account, asked))
        return ((self._start, asked), (self._reach, asked), (self._answer, asked))

    def _start(self, sh: Bash, asked: Asked) -> float:
        """Start the client; sbatch reads its script before it speaks to anybody."""
        if asked.name == "sbatch":
            path = next((word for word in asked.argv if not word.startswith("-")), "")
            found = self._site.disk.file(path, cached=True)
            asked.script = found.data if found else b""
        faults = self._site.faults
        if faults.rate_limited and self._rng.random() < faults.rate_limited:
            self._site.struck["rate_limited"] += 1
            return sh.nap(self._rng.uniform(5.0, 200.0))  # the client sleeps, then asks again
        return sh.nap(CLIENT)

    def _reach(self, sh: Bash, asked: Asked) -> float:
        """Send the request to slurmctld, however that is."""
        if sh.timed_out:
            return 0.0
        site, rng, faults, name = self._site, self._rng, self._site.faults, asked.name
        now = site.agenda.now
        if now < self.down_until:
            asked.answer = unreachable(name, asked.argv, NO_CONTROLLER, host=self.config.host)
            site.struck["downs"] += 1
            return sh.nap(CONNECT_FAILURE)
        if name != "sbatch" and faults.query_error and rng.random() < faults.query_error:
            asked.answer = unreachable(name, asked.argv, NO_CONTROLLER, host=self.config.host)
            site.struck["query_error"] += 1
            return sh.nap(RPC)
        if name == "sbatch" and faults.sbatch_refused and rng.random() < faults.sbatch_refused:
            site.struck["sbatch_refused"] += 1
            asked.answer = sim_call.Answer(1, "", REFUSAL)
            return sh.nap(RPC)
        if name == "sbatch" and faults.sbatch_stalls and rng.random() < faults.sbatch_stalls:
            site.struck["sbatch_stalls"] += 1
            self.stall(rng.choice((rng.uniform(2.0, 15.0), rng.uniform(10.0, 600.0))))
        self._count(asked)
        if name == "sbatch" and faults.sbatch_lingers and rng.random() < faults.sbatch_lingers:
            # A plugin of the site thinks about it, or locks keep it waiting.
            site.struck["sbatch_lingers"] += 1
            site.agenda.after(LINGERS * rng.random() ** 2, partial(self._serve_late, asked))
            return sh.nap(self.config.message_timeout)
        left = self.stalled_until - now
        if left <= 0:
            asked.answer = self._serve(asked)
            return sh.nap(RPC)
        return self._wait(sh, asked, left)

    def _wait(self, sh: Bash, asked: Asked, left: float) -> float:
        """Wait for a slurmctld that hangs; it finds the request in its socket later, or not."""
        patience = self.config.message_timeout
        if left <= patience or self._rng.random() >= self._site.faults.stall_drops:
            self._site.agenda.at(self.stalled_until, partial(self._serve_late, asked))
        else:
            self._site.struck["stall_drops"] += 1
        return sh.nap(min(left + RPC, patience))

    def _serve_late(self, asked: Asked) -> None:
        now = self._site.agenda.now
        if now < self.stalled_until:
            self._site.agenda.at(self.stalled_until, partial(self._serve_late, asked))
        elif now >= self.down_until:
            asked.answer = self._serve(asked, late=True)

    def _answer(self, sh: Bash, asked: Asked) -> float:
        """Give the answer to who asked, unless something happens to it."""
        if sh.timed_out:
            return 0.0
        found = asked.answer
        if found is None:
            self._site.struck["timed_out"] += 1
            found = unreachable(asked.name, asked.argv, TIMED_OUT, host=self.config.host)
        sh.answer = self._marred(asked.name, _words(found))
        return 0.0

    def _marred(self, name: str, answer: Answer) -> Answer:
        """Let something happen to the answer of an sbatch that queued a job."""
        faults, rng, site = self._site.faults, self._rng, self._site
        if name != "sbatch" or answer.status != 0:
            return answer
        if faults.sbatch_killed and rng.random() < faults.sbatch_killed:
            site.struck["sbatch_killed"] += 1
            return Answer(rng.choice((137, 143, 1)), b"", rng.choice((b"Killed\n", b"")))
        if faults.sbatch_garbage and rng.random() < faults.sbatch_garbage:
            site.struck["sbatch_garbage"] += 1
            noise = (b"", b"Welcome to our cluster!\n", b"\xff\xfe\n", b"id: %s" % answer.out)
            return Answer(0, rng.choice(noise), b"")
        return answer

    def _account(self, sh: Bash, asked: Asked) -> float:
        """Answer for slurmdbd."""
        if sh.timed_out:
            return 0.0
        site = self._site
        if site.faults.no_accounting:
            sh.answer = Answer(1, b"", NO_ACCOUNTING.encode())
        elif site.agenda.now < self.sacct_down_until:
            site.struck["sacct_downs"] += 1
            sh.answer = Answer(1, b"", NO_DATABASE.encode())
            return sh.nap(NO_DATABASE_AFTER)
        else:
            self._count(asked)
            found = self._serve(asked)
            sh.answer = Answer(found.status, _latest(found.out).encode(), found.err.encode())
        return sh.nap(RPC)

    def _count(self, asked: Asked) -> None:
        """Note what a request costs, when it is sent: a daemon that hangs serves them at once."""
        name, argv = asked.name, asked.argv
        count = sum(word.isdigit() for word in argv) if name == "scancel" else 0
        named = name == "scancel" and any(word.startswith("--name") for word in argv)
        cost = RPCS[name] * max(1, count) + (1 if named else 0)
        self._site.rpcs.append((self._site.agenda.now, name, float(cost)))

    def _serve(self, asked: Asked, *, late: bool = False) -> sim_call.Answer:
        """Do what was asked, now."""
        site, name, argv = self._site, asked.name, asked.argv
        if name != "sacct":
            self.model.tick(self.now())
        before = self.model.next_id
        call = sim_call.Call(
            model=self.model,
            argv=argv,
            clock=self,
            cwd=asked.cwd,
            environment=asked.environment,
            user=USER,
            uid=UID,
            script=asked.read,
            accounting=not site.faults.no_accounting,
        )
        answer = sim_call.answer(COMMANDS[name], call)
        if self.model.next_id > before:
            self._queued(self.model.jobs[before])
            if late:
                site.struck["queued_late"] += 1
        if name != "sacct":
            self.look()
        return answer

    def _queued(self, job: Job) -> None:
        if job.base in FINISHED:
            return  # refused: it is kept as FAILED
        self._site.note_queued(job)
        # It waits as in a real queue; what it says meanwhile is BeginTime.
        job.eligible = self.now() + self._site.draw_wait()
        chance = self._site.faults.amnesia
        if chance and self._rng.random() < chance:
            self._site.agenda.after(self._rng.uniform(0.0, SAVED_AFTER), self._fall)

    # --- time -----------------------------------------------------------------------------------

    def look(self) -> None:
        """Carry out what the model orders, and plan when to look at the clock again."""
        for order in self.model.take_orders():
            if isinstance(order, Launch):
                self._site.nodes.launch(self.model.jobs[order.job_id])
            else:
                self._site.nodes.end(order)
        self._plan()

    def tick(self) -> None:
        """Let the model see what time it is, unless slurmctld hangs or is down."""
        now = self._site.agenda.now
        awake = max(self.stalled_until, self.down_until)
        if now < awake:
            self._site.agenda.at(awake, self.tick)
            return
        self.model.tick(self.now())
        self.look()

    def _plan(self) -> None:
        """Put the next moment at which something changes by itself on the agenda."""
        moments = [m for job in self.model.jobs.values() if (m := self._moment(job)) is not None]
        if not moments:
            return
        agenda = self._site.agenda
        due = max(agenda.now + 0.001, min(moments) - self._site.faults.slurm_skew)
        if not agenda.now < self._planned <= due:
            self._planned = due
            agenda.at(due, self.tick)

    def _moment(self, job: Job) -> float | None:
        if job.base == "PENDING":
            # Who waits for nodes is looked at when one is freed.
            waits = job.eligible is not None and job.eligible > self.now()
            return job.eligible if waits else None
        if job.base == "RUNNING" and job.start is not None and job.minutes and not job.completing:
            return job.start + job.minutes * 60
        return None

    def ended(self, job_id: int, raw_exit: int) -> None:
        """Hear from a node that all processes of a job are gone, once slurmctld can hear."""
        now = self._site.agenda.now
        awake = max(self.stalled_until, self.down_until)
        if now < awake:
            self._site.agenda.at(awake, partial(self.ended, job_id, raw_exit))
            return
        self.model.ended(job_id, raw_exit, self.now())
        self.tick()

    # --- troubles -------------------------------------------------------------------------------

    def stall(self, seconds: float) -> None:
        """Have slurmctld hang."""
        self.stalled_until = max(self.stalled_until, self._site.agenda.now + seconds)

    def go_down(self, seconds: float) -> None:
        """Be down for so long."""
        self.down_until = max(self.down_until, self._site.agenda.now + seconds)

    def _fall(self) -> None:
        """Be down for a while; what was not saved before is forgotten, id and all."""
        if self._site.agenda.now < max(self.down_until, self.stalled_until):
            return
        model = self.model
        self.go_down(self._rng.uniform(5.0, 300.0))
        for job in list(model.jobs.values()):
            if job.base == "PENDING" and self.now() - job.submit < SAVED_AFTER and not job.restarts:
                self._site.struck["amnesia"] += 1
                del model.jobs[job.id]
                model.next_id = min(model.next_id, job.id)
                if isinstance(model.accounting, Ledger):
                    model.accounting.forget(job.id)

    def cold_start(self) -> None:
        """Start slurmctld without its memory: jobs are lost, and their numbers given again."""
        model = self.model
        for node in model.nodes.values():
            node.jobs.clear()
            node.cpus_taken = node.memory_taken = node.gpus_taken = 0
            node.owner = None
        model.jobs.clear()
        model.take_orders()
        model.next_id = self.first_id
        ledger = model.accounting
        if isinstance(ledger, Ledger):
            ledger.new_era(self.now())


def _words(answer: sim_call.Answer) -> Answer:
    return Answer(answer.status, answer.out.encode(), answer.err.encode())


def _latest(text: str) -> str:
    """Leave of rows with one job id only the one that was submitted last, as sacct without -D."""
    rows = [line.split(_SEPARATOR) for line in text.splitlines()]
    if len({row[0] for row in rows}) == len(rows):
        return text
    latest: dict[str, list[str]] = {}
    for row in rows:  # older eras come first
        latest.pop(row[0], None)
        latest[row[0]] = row
    return "".join(f"{_SEPARATOR.join(row)}\n" for row in latest.values())
