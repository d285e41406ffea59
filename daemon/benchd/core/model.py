"""The nouns: runs, jobs, what was observed, what happened, what to do next.

Frozen records; change is ``dataclasses.replace``. All times are seconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from benchd.core.spec import JobSpec, Limits, Role


class JobState(StrEnum):
    """The seven states, as users know them."""

    CREATED = "CREATED"
    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


LIVE = frozenset({JobState.SUBMITTED, JobState.PENDING, JobState.RUNNING})
TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


class Readiness(StrEnum):
    """The health dimension of a service; everything else stays UNKNOWN."""

    UNKNOWN = "UNKNOWN"
    STARTING = "STARTING"
    READY = "READY"
    UNREADY = "UNREADY"


class CancelWhy(StrEnum):
    """Why we asked for a job's end. The last four are a fault of the job (lifecycle row 10)."""

    ASKED = "ASKED"
    DONE = "DONE"
    SIBLING = "SIBLING"
    NOT_READY = "NOT_READY"
    UNHEALTHY = "UNHEALTHY"
    HOPELESS = "HOPELESS"
    LIMIT = "LIMIT"


FAULTS = frozenset({CancelWhy.NOT_READY, CancelWhy.UNHEALTHY, CancelWhy.HOPELESS, CancelWhy.LIMIT})


class SubState(StrEnum):
    """Detail inside PENDING and RUNNING; never a state of its own."""

    NONE = ""
    CONFIGURING = "configuring"
    HELD = "held"
    COMPLETING = "completing"
    SUSPENDED = "suspended"


class RunOutcome(StrEnum):
    """How a run ended."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service answers, as its job reported it in ``endpoint.json``."""

    host: str
    ports: tuple[int, ...]
    slurm_id: str
    generation: int
    image: str | None = None  # digest of the image file, where that is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The service job a client measures: fixed when it is submitted, kept for the verdict."""

    name: str
    token: str
    generation: int
    host: str
    ports: tuple[int, ...]
    nodes: str = ""  # what its job ran on, as Slurm writes it; for the client's placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What Slurm gave a job in its present or last span, and what is known of its use of it."""

    tres: str = ""  # trackable resources, ``billing=4,cpu=4,gres/gpu=1,mem=4G,node=1``
    energy_j: int | None = None  # joules of its nodes, where the site measures them
    elapsed_s: int | None = None  # as accounted: without the time it was suspended


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One accepted recipe."""

    id: str
    name: str
    cluster: str
    recipe: str
    recipe_path: str
    recipe_sha256: str
    recipe_mtime_ns: int
    created_at: float
    owner_uid: int = 0
    limits: Limits = field(default_factory=Limits)
    dir_made_at: float | None = None
    cancel_requested_at: float | None = None
    reopened_at: float | None = None  # by a retry after its end
    finished_at: float | None = None
    outcome: RunOutcome | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One Slurm batch job that benchd wants; one row of the store."""

    token: str
    run_id: str
    cluster: str
    role: Role
    name: str
    kind: str
    point: int = 0
    repeat: int = 0
    replica: int = 0
    attempt: int = 1
    spec: JobSpec
    script: str
    created_at: float
    state: JobState = JobState.CREATED
    rev: int = 0
    # What the cluster says
    slurm_id: str | None = None
    slurm_state: str | None = None  # Slurm's last word, verbatim
    substate: SubState = SubState.NONE
    reason: str | None = None
    reason_since: float | None = None  # when it was first seen, without another one in between
    exit_code: int | None = None
    signal: int | None = None
    nodes: str | None = None
    generation: int = 0  # Slurm's restart count
    used: Used | None = None
    # How it ended: our word (TIMEOUT, EXITED, LOST ...) and a sentence for the user
    why: str | None = None
    detail: str | None = None
    # Submission: try k of this row, and when it was announced; None = try k was not sent
    tries: int = 0
    attempted_at: float | None = None
    submit_failures: int = 0
    not_before: float = 0.0
    bindings: tuple[Binding, ...] = ()
    # What we want
    cancel_requested_at: float | None = None
    cancel_why: CancelWhy | None = None
    missing_since: float | None = None
    # Times
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    # The health of a service
    readiness: Readiness = Readiness.UNKNOWN
    readiness_since: float | None = None
    ready_at: float | None = None  # first READY of this generation
    probe_streak: int = 0  # +n good, -n bad verdicts in a row
    probe_failures: int = 0  # bad verdicts since STARTING, outside start_period
    next_probe_at: float | None = None
    looked_at: float | None = None  # when a look last said anything about it
    unseen: tuple[tuple[float, float], ...] = ()  # spans in which no look did, oldest first
    endpoint: Endpoint | None = None
    # When the result of a client came home
    collected_at: float | None = None

    @property
    def is_live(self) -> bool:
        """Slurm has it, or had it when last asked."""
        return self.state in LIVE

    @property
    def is_terminal(self) -> bool:
        """Nothing moves it any more."""
        return self.state in TERMINAL

    @property
    def is_attempted(self) -> bool:
        """A submission may have been sent."""
        return self.attempted_at is not None or self.tries > 0

    def log_context(self) -> dict[str, object]:
        """Return the keys every log line about this job carries."""
        return {
            "job": self.token,
            "run": self.run_id,
            "cluster": self.cluster,
            "role": str(self.role),
        }


class Trigger(StrEnum):
    """What was learned: the first column of the lifecycle table."""

    SUBMIT_ACCEPTED = "submit_accepted"
    SUBMIT_REFUSED = "submit_refused"
    TRY_EXPIRED = "try_expired"  # try k settled without a job: the next try may be made
    SEEN_PENDING = "seen_pending"
    SEEN_RUNNING = "seen_running"
    SEEN_COMPLETED = "seen_completed"
    SEEN_FAILED = "seen_failed"
    SEEN_CANCELLED = "seen_cancelled"
    SEEN_TWIN = "seen_twin"  # ended, but another Slurm id holds the claim
    NOT_SEEN = "not_seen"  # two witnesses answered and neither knows it
    CANCEL_REQUESTED = "cancel_requested"
    PROVED_ABSENT = "proved_absent"  # sealed, and no live job of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """On what a transition rests: the command, its exit status and the raw row or text."""

    source: str = ""
    exit_status: int | None = None
    raw: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One row of a job's history. Moves of readiness carry readiness words in old and new."""

    token: str
    at: float
    trigger: str
    old: str
    new: str
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that was learned about one job. Fields that the trigger does not use stay None."""

    trigger: Trigger
    evidence: Evidence = Evidence()
    slurm_id: str | None = None
    word: str | None = None  # Slurm's state word, verbatim
    substate: SubState = SubState.NONE
    reason: str | None = None
    nodes: str | None = None
    generation: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    by: str | None = None  # who cancelled, as Slurm says it
    started_at: float | None = None
    ended_at: float | None = None
    used: Used | None = None
    why: str | None = None  # submit_refused: the user's sentence; otherwise our word
    final: bool = False  # submit_refused: trying again cannot help
    cancel_why: CancelWhy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One row about one Slurm job, as squeue, sacct or exit.json told it."""

    token: str
    slurm_id: str
    word: str  # base state or flag, upper case, without "by 1000" and "+"
    reason: str = ""
    nodes: str = ""
    generation: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    by: str | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    used: Used | None = None
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAnswer:
    """What one poll of a cluster learned. A poll that failed raises ``Unreachable`` instead."""

    seen: Mapping[str, tuple[Observation, ...]]  # token -> rows (twins are seen, not collapsed)
    absent: Mapping[str, Evidence]  # token -> both witnesses answered and neither knows it
    claims: Mapping[str, str] = field(
        default_factory=dict
    )  # token -> Slurm id that holds the claim
    unclaimed: frozenset[str] = frozenset()  # directories that were read: nobody worked in them
    strays: tuple[Observation, ...] = ()  # our prefix, but not asked for


# --- answers of Cluster.submit ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Slurm has the job."""

    slurm_id: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Surely not submitted. ``final``: the same script can never be accepted.

    ``reason``: Slurm's word for the limit that the user's other jobs have used up, if that is why.
    """

    why: str
    final: bool
    evidence: Evidence
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may or may not have been submitted: no event; ask again for the same try."""

    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Try k is settled without a job and its quiet time is over: try k + 1 may be made."""

    evidence: Evidence


Submission = Accepted | Refused | Unknown | Expired


# --- answers of Cluster.probe -----------------------------------------------------------------


class Verdict(StrEnum):
    """What one look at a service said."""

    GOOD = "good"
    BAD = "bad"
    NONE = "none"  # our own trouble (link, forwarding): no verdict about the service


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """One health look. ``endpoint`` is what endpoint.json says now (None: not written yet)."""

    verdict: Verdict
    detail: str
    seconds: float
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a job left: relative name -> bytes (``exit.json``, ``out``, ``err``, ``result/..``)."""

    files: Mapping[str, bytes]
    truncated: bool = False
    gone: bool = False  # its directory is no longer in the workdir: nothing to wait for
