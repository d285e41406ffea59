"""What ``decide`` sees and what it wants: the world, and the effects the engine carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchd.core.model import Binding, CancelWhy, Job, Run, RunOutcome


@dataclass(frozen=True, slots=True)
class Open:
    """Reach this cluster for the first time: log in, find the workdir, make it ours."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Submit (or settle the submission of) this job."""

    token: str
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """See whether this image is there; if not, make it on the login node or announce its job."""

    token: str


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask Slurm about all our jobs on this cluster."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Look whether this service answers."""

    token: str


@dataclass(frozen=True, slots=True)
class Collect:
    """Bring this job's results home."""

    token: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Record that this job should end, if not recorded yet, and tell Slurm."""

    token: str
    why: CancelWhy
    detail: str = field(default="", compare=False)  # the same in words, with value and limit


@dataclass(frozen=True, slots=True)
class Retry:
    """Make attempt + 1 of this job: a new row."""

    token: str


@dataclass(frozen=True, slots=True)
class AddReplica:
    """Make one more replica of this service: a new row."""

    token: str
    replica: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell a running job that watches others where they are: the file it reads, as it should be."""

    token: str
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the report and close the run."""

    run_id: str
    outcome: RunOutcome
    why: str | None = None


Effect = (
    Open | Submit | Look | Poll | Probe | Collect | Cancel | Retry | AddReplica | Publish | Finish
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """What decide() needs to know about a cluster's link; lives in memory, rebuilt by asking."""

    name: str
    last_poll_at: float | None = None  # last *answered* poll
    next_poll_at: float = 0.0
    is_open: bool = True  # its workdir was reached since the daemon started
    paused: bool = False
    max_jobs: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything decide() sees: unfinished runs, all their jobs, every live job, and the links."""

    runs: tuple[Run, ...]
    jobs: tuple[Job, ...]
    valid: Mapping[str, bool]  # token -> its collected result is valid
    clusters: Mapping[str, ClusterView]
    # token -> since when its health checks have been slower than its scale allows
    slow: Mapping[str, float] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)  # token -> what it was told last
    draining: bool = False  # nothing new is submitted; what was sent is seen to its end
