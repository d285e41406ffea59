"""The controller: a stateful model of slurmctld. No I/O; ``now`` is an argument.

Jobs queue first in, first out per partition. ``tick`` moves everything that time moves; whatever
has to happen in the real world (run this script, end those processes) is collected as orders,
which the cluster takes with ``take_orders`` and carries out. ``ended`` tells the model that the
processes of a job are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from benchd.sim.accounting import Accounting
from benchd.sim.admission import UNAVAILABLE, admit, impossible, over_limits
from benchd.sim.nouns import (
    FINISHED,
    Config,
    End,
    Job,
    Launch,
    Node,
    Order,
    Partition,
    Rejected,
    Request,
)
from benchd.sim.placement import place

NO_SUCH_JOB = "Invalid job id specified"
# What 22.05 keeps for a job whose script could not be started: "signal 53, core dumped", 15 above.
LAUNCH_FAILURE = 53 | 0x80 | 15 << 8
STEPD_WHY = {
    "CANCELLED": "",
    "TIMEOUT": " DUE TO TIME LIMIT",
    "REQUEUED": " DUE TO JOB REQUEUE",
    "PREEMPTED": " DUE TO PREEMPTION",
    "NODE_FAIL": " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
}


class Slurmctld:
    """Partitions, nodes, the queue, and what is remembered of finished jobs."""

    def __init__(
        self,
        config: Config,
        nodes: Iterable[Node],
        partitions: Iterable[Partition],
        *,
        first_id: int = 1,
    ) -> None:
        self.config = config
        self.nodes = {node.name: node for node in nodes}
        self.partitions = {partition.name: partition for partition in partitions}
        self.jobs: dict[int, Job] = {}
        self.accounting = Accounting(config)
        self.min_job_age = config.min_job_age
        self.accounting_lag = config.accounting_lag
        self.counts = {"submitted": 0, "started": 0, "completed": 0, "canceled": 0, "failed": 0}
        self.next_id = first_id
        self._orders: list[Order] = []

    # --- what users ask ---

    def submit(self, request: Request, *, user: str, uid: int, now: float) -> Job:
        """Queue a job, or raise Rejected. What can never fit is kept as FAILED, as Slurm does."""
        partition = admit(request, self.nodes, self.partitions)
        minutes = self._minutes(request, partition)
        job = Job(
            id=self._take_id(),
            request=request,
            user=user,
            uid=uid,
            partition=partition.name,
            minutes=minutes,
            asked_nodes=self._nodes_for(request),
            submit=now,
            eligible=None if request.hold else now,
            priority=0 if request.hold else 1,
            reason="JobHeldUser" if request.hold else "None",
        )
        self.jobs[job.id] = job
        self.counts["submitted"] += 1
        wrong = self._refusal(job, partition)
        if wrong is not None:
            job.base, job.reason, job.raw_exit = "FAILED", "BadConstraints", 1
            job.start = job.end = now
            self.accounting.record(job, now)
            raise wrong
        self.accounting.record(job, now)
        return job

    def would_start(self, request: Request, now: float) -> tuple[int, tuple[str, ...], str, int]:
        """Answer --test-only: the id it takes, nodes, partition and CPUs. Or raise Rejected."""
        partition = admit(request, self.nodes, self.partitions)
        wrong = impossible(request, self.nodes)
        if wrong is not None:
            raise Rejected(wrong.text)
        nodes = [self.nodes[name] for name in partition.nodes]
        grants = place(request, nodes, mem_per_cpu=self.config.mem_per_cpu_mb, empty=True)
        if grants is None:
            raise Rejected(UNAVAILABLE)
        cpus = sum(grant.cpus for grant in grants.values())
        return self._take_id(), tuple(grants), partition.name, cpus

    def _minutes(self, request: Request, partition: Partition) -> int | None:
        if request.minutes is not None:
            return request.minutes or None  # 0: no limit
        return partition.default_minutes or partition.max_minutes

    def _nodes_for(self, request: Request) -> int:
        fitting = max(node.cpus for node in self.nodes.values()) // request.cpus_per_task
        return max(request.nodes, ceil(request.tasks / max(1, fitting)))

    def _refusal(self, job: Job, partition: Partition) -> Rejected | None:
        wrong = impossible(job.request, self.nodes)
        if wrong is None and self.config.enforce_limits:
            wrong = over_limits(job.request, partition, job.minutes, self.nodes, job.cpus)
        return wrong

    def job(self, job_id: int) -> Job:
        """Return a job that is still in memory, or raise Rejected."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise Rejected(NO_SUCH_JOB) from None

    def _unfinished(self, job_id: int) -> Job:
        job = self.job(job_id)
        if job.base in FINISHED:
            raise Rejected("Job has already finished")
        return job

    def cancel(self, job_id: int, *, uid: int, now: float) -> None:
        """Cancel a job; one that is over already is left alone."""
        job = self.job(job_id)
        if job.base in FINISHED:
            raise Rejected("Job/step already completing or completed")
        job.cancelled_by = uid
        self.counts["canceled"] += 1
        if job.requeue_word is not None:  # on its way back to the queue: it shall not arrive
            self.accounting.record(job, now, word=job.requeue_word)
            job.requeue_word = None
            job.base, job.end = "CANCELLED", now
        elif job.base == "PENDING":
            job.base = "CANCELLED"
            job.start = job.end = now
            job.grants = {}
        else:
            self.end(job_id, "CANCELLED", now=now)
            return
        self.accounting.record(job, now)

    def hold(self, job_id: int, *, by_admin: bool) -> None:
        """Keep a pending job from starting; a running one is left alone."""
        job = self._unfinished(job_id)
        if job.base == "PENDING":
            job.priority = 0
            job.reason = "JobHeldAdmin" if by_admin else "JobHeldUser"

    def release(self, job_id: int, now: float) -> None:
        """Undo a hold."""
        job = self._unfinished(job_id)
        if job.base != "PENDING":
            return
        job.priority, job.reason = 1, "None"
        if job.eligible is None:
            job.eligible = now
        self.accounting.record(job, now)

    def requeue(self, job_id: int, now: float) -> None:
        """Put a running or finished job back into the queue, under the same id."""
        job = self.job(job_id)
        if job.base == "PENDING":
            raise Rejected("Job is pending execution")
        if not job.request.requeue:
            raise Rejected("Requested operation is presently disabled")
        self._requeue(job, "REQUEUED", now)

    # --- what happens to jobs and nodes ---

    def end(self, job_id: int, base: str, *, now: float, reason: str | None = None) -> None:
        """End a running job with this base state: CANCELLED, TIMEOUT, OUT_OF_MEMORY ..."""
        job = self.job(job_id)
        job.base, job.end = base, now
        job.configuring_until = None
        job.reason = reason or job.reason
        if job.has_processes:
            job.completing = True
            self._orders.append(End(job.id, job.restarts, STEPD_WHY.get(base, "")))
        else:
            self._free(job)
        self.accounting.record(job, now)

    def preempt(self, job_id: int, now: float) -> None:
        """Take the nodes away from a running job: requeued if it may be, else PREEMPTED."""
        job = self.job(job_id)
        if job.request.requeue:
            self._requeue(job, "PREEMPTED", now)
        else:
            self.end(job_id, "PREEMPTED", now=now)

    def node_down(self, name: str, now: float) -> None:
        """Lose a node and what ran on it."""
        node = self.nodes[name]
        node.down = "injected"
        for job_id in sorted(node.jobs):
            job = self.jobs[job_id]
            if job.base != "RUNNING":
                continue
            self._orders.append(End(job.id, job.restarts, STEPD_WHY["NODE_FAIL"], grace=False))
            job.completing, job.configuring_until = False, None
            if job.request.requeue:
                self._back_to_queue(job, "NODE_FAIL", now)
                continue
            job.base, job.end, job.reason = "NODE_FAIL", now, "NodeDown"
            self._free(job)
            self.accounting.record(job, now)

    def node_up(self, name: str) -> None:
        """Bring a node back."""
        self.nodes[name].down = None

    def launched(self, job_id: int) -> None:
        """Note that the script runs now."""
        if job_id in self.jobs:
            self.jobs[job_id].has_processes = True

    def ended(self, job_id: int, raw_exit: int, now: float) -> None:
        """Note that every process of the job is gone, and how its script ended."""
        job = self.jobs.get(job_id)
        if job is None or not job.has_processes:
            return
        job.has_processes = False
        if job.requeue_word is not None:
            self._back_to_queue(job, job.requeue_word, now)
            return
        if job.base not in FINISHED and job.base != "RUNNING":
            return  # a lost node's leftovers: the job is back in the queue already
        if job.base == "RUNNING":
            job.end, job.raw_exit = now, raw_exit
            self._judge(job)
        elif job.base != "NODE_FAIL":
            job.raw_exit = raw_exit
        job.completing = False
        self._free(job)
        self.accounting.record(job, now)

    def _judge(self, job: Job) -> None:
        """Set state and reason from how the script ended."""
        if job.raw_exit == 0:
            job.base, job.reason = "COMPLETED", "None"
        elif job.raw_exit & 0x7F:
            job.base, job.reason = "FAILED", "JobLaunchFailure"  # 22.05 says so for any signal
        else:
            job.base, job.reason = "FAILED", "NonZeroExitCode"
        self.counts["completed" if job.base == "COMPLETED" else "failed"] += 1

    # --- what time does ---

    def tick(self, now: float) -> None:
        """Let the time be ``now``: limits, booting nodes, the schedule, forgetting."""
        for job in list(self.jobs.values()):
            self._age(job, now)
        self._schedule(now)

    def take_orders(self) -> list[Order]:
        """Return what has to be done in the real world, once."""
        orders, self._orders = self._orders, []
        return orders

    @property
    def is_idle(self) -> bool:
        """Nothing is queued or running."""
        return all(job.is_finished for job in self.jobs.values())

    def _age(self, job: Job, now: float) -> None:
        if job.is_finished:
            if job.end is not None and now - job.end >= self.min_job_age:
                del self.jobs[job.id]
        elif job.configuring_until is not None and now >= job.configuring_until:
            job.configuring_until = None
            self._launch(job)
        elif (
            job.base == "RUNNING"
            and job.requeue_word is None
            and job.minutes is not None
            and job.start is not None
            and now >= job.start + job.minutes * 60
        ):
            self.end(job.id, "TIMEOUT", now=now, reason="TimeLimit")

    def _schedule(self, now: float) -> None:
        blocked: set[str] = set()
        queue = [job for job in self.jobs.values() if job.base == "PENDING" and job.priority > 0]
        for job in sorted(queue, key=lambda job: (-job.priority, job.submit, job.id)):
            job.expected = None
            reason = self._start_or_reason(job, blocked, now)
            if reason is None:
                continue
            if reason == "Resources":
                ends = [
                    other.start + other.minutes * 60
                    for other in self.jobs.values()
                    if other.base == "RUNNING" and other.start is not None and other.minutes
                ]
                job.expected = min(ends, default=None)
                blocked.add(job.partition)
            if reason == "BeginTime":
                job.expected = job.eligible
            job.reason = reason

    def _start_or_reason(self, job: Job, blocked: set[str], now: float) -> str | None:
        partition = self.partitions[job.partition]
        if job.eligible is not None and job.eligible > now:
            return "BeginTime"
        if not partition.up:
            return "PartitionDown"
        if partition.max_minutes is not None and (job.minutes or 10**9) > partition.max_minutes:
            return "PartitionTimeLimit"
        nodes = [self.nodes[name] for name in partition.nodes]
        per_cpu = self.config.mem_per_cpu_mb
        if place(job.request, nodes, mem_per_cpu=per_cpu, empty=True) is None:
            fits = job.cpus <= sum(node.cpus for node in nodes)
            return "PartitionNodeLimit" if fits else "PartitionConfig"
        alive = [node for node in nodes if node.down is None]
        if place(job.request, alive, mem_per_cpu=per_cpu, empty=True) is None:
            names = ",".join(node.name for node in nodes if node.down is not None)
            return f"ReqNodeNotAvail, UnavailableNodes:{names}"
        if job.partition in blocked:
            return "Priority"
        if job.has_processes:
            return "Cleaning"
        grants = place(job.request, nodes, mem_per_cpu=per_cpu)
        if grants is None:
            return "Resources"
        for name, grant in grants.items():
            node = self.nodes[name]
            node.cpus_taken += grant.cpus
            node.memory_taken += grant.memory_mb
            node.gpus_taken += grant.gpus
            node.jobs.add(job.id)
            node.owner = job.id if job.request.exclusive else None
        job.grants = dict(grants)
        job.base, job.reason, job.start, job.end = "RUNNING", "None", now, None
        job.raw_exit, job.expected = 0, None
        self.counts["started"] += 1
        self.accounting.record(job, now)
        if self.config.boot_seconds > 0:
            job.configuring_until = now + self.config.boot_seconds
        else:
            self._launch(job)
        return None

    def _launch(self, job: Job) -> None:
        job.has_processes = True
        self._orders.append(Launch(job.id, job.restarts))

    def _requeue(self, job: Job, word: str, now: float) -> None:
        if job.base in FINISHED or not job.has_processes:
            self._back_to_queue(job, word, now)
            return
        job.requeue_word, job.completing, job.configuring_until = word, True, None
        self._orders.append(End(job.id, job.restarts, STEPD_WHY[word]))

    def _back_to_queue(self, job: Job, word: str, now: float) -> None:
        self._free(job)
        job.end = now
        job.restarts += 1
        self.accounting.record(job, now, word=word)
        job.requeue_word, job.completing, job.configuring_until = None, False, None
        job.base, job.reason = "PENDING", "BeginTime"
        job.grants, job.start, job.end = {}, None, None
        job.submit, job.eligible = now, now + self.config.requeue_delay
        job.expected = job.eligible

    def _free(self, job: Job) -> None:
        for name, grant in job.grants.items():
            node = self.nodes[name]
            if job.id not in node.jobs:
                continue
            node.jobs.discard(job.id)
            node.cpus_taken -= grant.cpus
            node.memory_taken -= grant.memory_mb
            node.gpus_taken -= grant.gpus
            if node.owner == job.id:
                node.owner = None

    def _take_id(self) -> int:
        job_id, self.next_id = self.next_id, self.next_id + 1
        return job_id
