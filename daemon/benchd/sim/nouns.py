"""The nouns of the Slurm model: requests, jobs, nodes, partitions, and how Slurm says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchd.sim.text import size

# Slurm's base states and their short forms.
COMPACT = {
    "PENDING": "PD",
    "RUNNING": "R",
    "SUSPENDED": "S",
    "COMPLETED": "CD",
    "CANCELLED": "CA",
    "FAILED": "F",
    "TIMEOUT": "TO",
    "NODE_FAIL": "NF",
    "PREEMPTED": "PR",
    "BOOT_FAIL": "BF",
    "DEADLINE": "DL",
    "OUT_OF_MEMORY": "OOM",
    "COMPLETING": "CG",
    "CONFIGURING": "CF",
    "RESIZING": "RS",
    "RESV_DEL_HOLD": "RD",
    "REQUEUED": "RQ",
    "REQUEUE_FED": "RF",
    "REQUEUE_HOLD": "RH",
    "REVOKED": "RV",
    "SIGNALING": "SI",
    "SPECIAL_EXIT": "SE",
    "STAGE_OUT": "SO",
    "STOPPED": "ST",
}
FINISHED = frozenset(
    {
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
    }
)


class Rejected(Exception):
    """slurmctld said no: ``text`` is its error, ``context`` what the client prints before it."""

    def __init__(self, text: str, *context: str) -> None:
        super().__init__(text)
        self.text = text
        self.context = context


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The part of slurm.conf that the model honours. Times are in seconds."""

    cluster_name: str = "sim"
    version: str = "22.05.8"
    host: str = "localhost"
    min_job_age: float = 300.0  # Slurm's default
    kill_wait: float = 2.0  # Slurm's default is 30; a test installation does not wait that long
    message_timeout: float = 10.0  # Slurm's default
    requeue_delay: float = 2.0  # Slurm waits two minutes; a demo does not have them
    boot_seconds: float = 0.0  # how long a job stays CONFIGURING
    mem_per_cpu_mb: int = 100  # DefMemPerCPU
    enforce_limits: bool = False  # EnforcePartLimits=ALL: refuse at once what can never start
    accounting_lag: float = 0.0  # how far slurmdbd is behind
    node_watts: float = 0.0  # what each node of a job draws; 0: nobody measures energy


@dataclass(slots=True, kw_only=True)
class Node:
    """One compute node and what is taken of it."""

    name: str
    cpus: int
    memory_mb: int
    gpus: int = 0
    gpu_type: str = "a100"
    down: str | None = None
    cpus_taken: int = 0
    memory_taken: int = 0
    gpus_taken: int = 0
    jobs: set[int] = field(default_factory=set)
    owner: int | None = None  # the job that has the node for itself

    def state(self, *, completing: bool = False) -> str:
        """Return sinfo's word for it."""
        if self.down is not None:
            return "down"
        if completing:
            return "completing"
        if not self.jobs:
            return "idle"
        return "allocated" if self.owner or self.cpus_taken >= self.cpus else "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A queue."""

    name: str
    nodes: tuple[str, ...]
    default: bool = False
    max_minutes: int | None = None
    default_minutes: int | None = None  # None: as long as the partition allows
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What sbatch was asked for, validated as far as the client can."""

    name: str
    script: bytes
    arguments: tuple[str, ...] = ()
    command: str = ""
    chdir: str
    submit_dir: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    comment: str | None = None
    nodes: int = 1
    tasks: int = 1
    tasks_per_node: int | None = None
    cpus_per_task: int = 1
    memory_mb: int | None = None  # per node
    memory_per_cpu_mb: int | None = None
    gpus_per_node: int = 0
    gpus: int = 0  # in total
    gpu_type: str | None = None
    minutes: int | None = None
    exclusive: bool = False
    nodelist: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    constraint: str | None = None
    reservation: str | None = None
    licenses: str | None = None
    hold: bool = False
    requeue: bool = True
    output: str | None = None
    error: str | None = None
    append: bool = False
    export_none: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a job has of one node."""

    cpus: int
    memory_mb: int
    gpus: int
    first_gpu: int = 0


@dataclass(slots=True, kw_only=True)
class Job:
    """One job as slurmctld knows it."""

    id: int
    request: Request
    user: str
    uid: int
    partition: str
    minutes: int | None
    asked_nodes: int = 1
    submit: float
    eligible: float | None
    priority: int = 1
    base: str = "PENDING"
    completing: bool = False
    configuring_until: float | None = None
    reason: str = "None"
    restarts: int = 0
    raw_exit: int = 0  # as wait(2) gives it
    start: float | None = None
    end: float | None = None
    expected: float | None = None  # the scheduler's guess, while pending
    grants: dict[str, Grant] = field(default_factory=dict)
    requeue_word: str | None = None  # being requeued; what accounting calls the span that ends
    has_processes: bool = False
    cancelled_by: int | None = None

    @property
    def word(self) -> str:
        """The one state squeue shows."""
        if self.completing:
            return "COMPLETING"
        return "CONFIGURING" if self.configuring_until is not None else self.base

    @property
    def is_finished(self) -> bool:
        """Over, and nothing of it is left."""
        return self.base in FINISHED and not self.completing

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes it has or had."""
        return tuple(self.grants)

    @property
    def node_count(self) -> int:
        """Nodes it has, or asks for."""
        return len(self.grants) or self.asked_nodes

    @property
    def cpus(self) -> int:
        """CPUs it has, or asks for."""
        if self.grants:
            return sum(grant.cpus for grant in self.grants.values())
        tasks = max(self.request.tasks, self.request.nodes * (self.request.tasks_per_node or 1))
        return tasks * self.request.cpus_per_task

    def resources(self, config: Config) -> dict[str, str]:
        """Return the trackable resources that it has or had, or asks for, as Slurm names them."""
        request, grants = self.request, self.grants.values()
        if grants:
            memory, gpus = sum(g.memory_mb for g in grants), sum(g.gpus for g in grants)
        else:
            each = request.memory_per_cpu_mb or config.mem_per_cpu_mb
            memory = (request.memory_mb or 0) * self.node_count or each * self.cpus
            gpus = request.gpus or request.gpus_per_node * self.node_count
        found = {"cpu": str(self.cpus), "mem": size(memory)}
        if config.node_watts and grants and self.start is not None and self.end is not None:
            joules = config.node_watts * len(self.grants) * int(self.end - self.start)
            found["energy"] = str(int(joules))
        found |= {"node": str(self.node_count), "billing": str(self.cpus)}
        return found | ({"gres/gpu": str(gpus)} if gpus else {})


# --- what the model wants done in the real world ---


@dataclass(frozen=True, slots=True)
class Launch:
    """Run the job's script."""

    job_id: int
    restarts: int


@dataclass(frozen=True, slots=True)
class End:
    """End the job's processes; ``grace`` False: with SIGKILL at once."""

    job_id: int
    restarts: int
    why: str  # what the slurmstepd says about it in the job's output
    grace: bool = True


Order = Launch | End
