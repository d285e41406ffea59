"""The compute nodes: run what slurmctld launches, and lose it as nodes do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from benchd.sim.environment import expand
from benchd.sim.nouns import End, Job, Rejected
from benchd.sim.slurmctld import LAUNCH_FAILURE
from simulation.batch import Batch, Plan
from simulation.disk import Disk
from simulation.process import Process
from simulation.said_script import BOOK

if TYPE_CHECKING:
    from simulation.site import Site

# slurmctld's life, the job, which of its runs.
Key = tuple[int, int, int]
# Says what a job's program will do: its token, whether it is a service, and luck.
Planner = Callable[[str, bool, Random], Plan]


def plan(token: str, is_service: bool, rng: Random) -> Plan:
    """Plan what most programs do: services answer soon and stay, clients measure and end."""
    if is_service:
        return Plan(start_up=rng.uniform(1.0, 30.0), seconds=None)
    return Plan(start_up=0.1, seconds=rng.uniform(5.0, 120.0), files={"out.txt": b"42\n"})


class Nodes:
    """Everything that runs on compute nodes."""

    def __init__(self, site: Site, rng: Random, planner: Planner) -> None:
        self._site = site
        self.rng = rng
        self._planner = planner
        self._coming: set[Key] = set()  # launched, and not yet started
        self._running: dict[Key, Process] = {}
        self.listening: set[tuple[str, int]] = set()  # host and port
        self.dark: set[str] = set()  # nodes that answer nobody
        self.era = 0  # of slurmctld's memory

    # --- launching ------------------------------------------------------------------------------

    def launch(self, job: Job) -> None:
        """Start a job's script, a moment later."""
        rng, faults = self.rng, self._site.faults
        key = (self.era, job.id, job.restarts)
        batch = self._batch(job)
        self._coming.add(key)
        fails = bool(faults.launch_fails) and rng.random() < faults.launch_fails
        out = expand(job.request.output or "slurm-%j.out", job)
        self._site.agenda.after(
            rng.uniform(0.05, 2.0), partial(self._start, key, batch, job.request.chdir, out, fails)
        )
        self._draw_troubles(job, key)

    def _start(self, key: Key, batch: Batch, home: str, out: str, fails: bool) -> None:
        if key not in self._coming:
            return
        self._coming.discard(key)
        site = self._site
        try:
            if fails or not site.disk.is_dir(home):
                raise OSError
            for path in (out, out.removesuffix("out") + "err"):
                site.disk.write(path, b"", late=self.late(), append=True)
        except OSError:
            site.struck["launch_fails"] += 1
            self._tell(key, LAUNCH_FAILURE)
            return
        if batch.is_blind:
            site.struck["blind_node"] += 1
        process = Process(site.agenda, batch, partial(self._ended, key))
        self._running[key] = process
        process.start()

    def _batch(self, job: Job) -> Batch:
        site, rng, faults = self._site, self.rng, self._site.faults
        script = job.request.script.decode()
        steps = site.understand(BOOK, script)
        token, is_service = job.request.name, "benchd_publish" in script
        planned = self._planner(token, is_service, rng)
        if faults.payload_fails and rng.random() < faults.payload_fails:
            planned.status = rng.choice((1, 2, 137, 139))
            planned.seconds = rng.uniform(0.0, 60.0)
            site.struck["payload_fails"] += 1
        if faults.stubborn and rng.random() < faults.stubborn:
            planned.is_stubborn = True
            site.struck["stubborn"] += 1
        return Batch(
            world=self,
            id=str(job.id),
            generation=job.restarts,
            token=token,
            home=job.request.arguments[0],
            attempt=job.request.arguments[1],
            node=job.nodes[0],
            stack=list(steps),
            plan=planned,
            is_blind=bool(faults.blind_node) and rng.random() < faults.blind_node,
        )

    def _ended(self, key: Key, status: int) -> None:
        """Note that a script has ended; its node tells slurmctld a moment later."""
        self._running.pop(key, None)
        raw = -status if status < 0 else status << 8
        self._site.agenda.after(self.rng.uniform(0.1, 2.0), partial(self._tell, key, raw))

    def _tell(self, key: Key, raw: int) -> None:
        era, job_id, restarts = key
        job = self._site.slurm.model.jobs.get(job_id)
        # A lost node's job is counted as requeued before the node has cleaned up.
        if era == self.era and job is not None and job.restarts - restarts in (0, 1):
            self._site.slurm.ended(job_id, raw)

    # --- what scripts need of the world ---------------------------------------------------------

    @property
    def disk(self) -> Disk:
        """The shared file system."""
        return self._site.disk

    def now(self) -> float:
        """Return what time it is on the nodes."""
        return self._site.agenda.now

    def late(self) -> float:
        """Draw for how long the login node does not see the next change."""
        share = self._site.faults.attribute_cache
        if not share or self.rng.random() >= share:
            return 0.0
        self._site.struck["attribute_cache"] += 1
        return self.rng.uniform(0.5, 60.0)

    def started(self, batch: Batch) -> None:
        """Note that a payload starts."""
        self._site.note_started(batch.token, int(batch.id), batch.generation)

    def finished(self, batch: Batch, status: int | None) -> None:
        """Note how a payload ends."""
        self._site.note_ended(batch.token, batch.generation, status)

    def lost(self, batch: Batch) -> None:
        """Note a job that is a twin."""
        self._site.note_twin(batch.token, int(batch.id))

    def listen(self, batch: Batch, *, on: bool) -> None:
        """Have its ports answer, or answer no more."""
        places = {(batch.node, port) for port in batch.ports}
        if on:
            self.listening |= places
        else:
            self.listening -= places

    # --- ending ---------------------------------------------------------------------------------

    def end(self, order: End) -> None:
        """End a job's processes: SIGTERM, and SIGKILL when they take too long."""
        key = (self.era, order.job_id, order.restarts)
        process = self._running.get(key)
        if process is None:
            # Its script did not start yet, and never will.
            self._coming.discard(key)
            self._site.agenda.after(1.0, partial(self._tell, key, 15))
            return
        wait = self._site.slurm.config.kill_wait if order.grace else self._linger()
        self._site.agenda.after(wait, partial(self._kill, key, process))
        batch = process.runner
        if order.grace and isinstance(batch, Batch):
            batch.terminate(process)

    def _linger(self) -> float:
        """Draw for how long a lost node's processes go on: it may only be cut off."""
        if self.rng.random() >= self._site.faults.zombies:
            return 0.0
        self._site.struck["zombies"] += 1
        return self.rng.uniform(5.0, 600.0)

    def _kill(self, key: Key, process: Process) -> None:
        if self._running.get(key) is process:
            process.kill()
            self._ended(key, -9)

    def abort(self) -> None:
        """Kill all jobs, one after the other: nodes learn that slurmctld does not know them."""
        for key, process in self._running.items():
            self._site.agenda.after(self.rng.uniform(0.5, 60.0), partial(self._kill, key, process))
        self._coming.clear()
        self.era += 1

    # --- troubles -------------------------------------------------------------------------------

    def _draw_troubles(self, job: Job, key: Key) -> None:
        """Draw what happens to a job while it runs."""
        rng, faults = self.rng, self._site.faults
        hits = (
            (faults.requeue, self._requeue),
            (faults.preempt, self._preempt),
            (faults.node_failure, self._lose_node),
        )
        for chance, hit in hits:
            if chance and rng.random() < chance:
                after = rng.choice((rng.uniform(0.05, 4.0), rng.uniform(0.0, 180.0)))
                self._site.agenda.after(after, partial(self._strike, hit, key))

    def _strike(self, hit: Callable[[Job], None], key: Key) -> None:
        slurm = self._site.slurm
        era, job_id, restarts = key
        job = slurm.model.jobs.get(job_id)
        if self.era != era or job is None or job.restarts != restarts:
            return
        if job.base == "RUNNING" and not job.completing and job.requeue_word is None:
            hit(job)
            slurm.look()

    def _requeue(self, job: Job) -> None:
        slurm = self._site.slurm
        try:
            slurm.model.requeue(job.id, slurm.now())
        except Rejected:
            return
        self._site.struck["requeue"] += 1

    def _preempt(self, job: Job) -> None:
        slurm = self._site.slurm
        slurm.model.preempt(job.id, slurm.now())
        self._site.struck["preempt"] += 1

    def _lose_node(self, job: Job) -> None:
        slurm, name = self._site.slurm, job.nodes[0]
        self.dark.add(name)
        slurm.model.node_down(name, slurm.now())
        self._site.struck["node_failure"] += 1
        self._site.agenda.after(self.rng.uniform(30.0, 1200.0), partial(self._return, name))

    def _return(self, name: str) -> None:
        self.dark.discard(name)
        self._site.slurm.model.node_up(name)
        self._site.slurm.tick()
