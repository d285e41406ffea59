"""What the HTTP interface needs from the rest: reads from the store, and acts by the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypedDict

from benchd.core.model import Job, JobState, Run, Transition

Stream = Literal["out", "err"]


class ClusterStatus(TypedDict):
    """How one cluster is doing, for ``benchctl status`` and ``benchctl cluster list``."""

    name: str
    link: str  # up, down, idle (not needed yet), connecting, paused, local
    detail: str  # a sentence when something is wrong, with what to do; else empty
    paused: bool
    circuit_open: bool
    circuit: str  # closed, open (left alone), half-open (one try decides)
    unreachable_since: float | None  # the first failure; None while it answers
    next: str  # what happens next, in words; may be empty while all is well
    next_at: float | None  # and when
    last_poll_at: float | None
    next_poll_at: float | None
    poll_interval: float  # seconds between two polls, as it is now
    budget_tokens: float | None  # Slurm RPCs that could be sent now
    rpcs_used: float  # Slurm RPCs within a minute, those of sbatch apart
    rpcs_per_minute: float
    submits_used: float  # sbatch calls within a minute
    submits_per_minute: float
    logins: int | None  # SSH logins since the daemon started
    logins_today: int  # within 24 hours, across restarts
    logins_per_day: int | None  # None: there is nothing to log in to
    channels: int  # sessions open now
    channel_limit: int


class DaemonStatus(TypedDict):
    """What the daemon says about itself; counts come from the store."""

    version: str
    instance: str
    pid: int
    started_at: float
    state_dir: str
    inbox: str
    store_writable: bool
    draining: bool  # nothing new is submitted
    strays: Mapping[str, int]  # cluster -> jobs of our name that are in no book
    clusters: Sequence[ClusterStatus]


class Drained(TypedDict):
    """Whether the daemon drains, and what that concerns."""

    draining: bool
    waiting: int  # jobs that were never sent
    sent: int  # jobs that are seen to their end


class Stray(TypedDict):
    """A job of our name in Slurm that no book has as live."""

    cluster: str
    slurm_id: str
    token: str
    state: str
    nodes: str
    why: str  # not in the books, over in the books
    ended: bool


class Swept(TypedDict):
    """What ``reap`` found, and the clusters that it could not see: name -> why."""

    strays: Sequence[Stray]
    unseen: Mapping[str, str]


class Adopted(TypedDict):
    """Which rows were made again."""

    run: str
    jobs: Sequence[str]


class OldRun(TypedDict):
    """A run's directory on a cluster."""

    cluster: str
    run: str
    name: str
    kept: str  # why it stays; empty: nothing needs it any more
    removed: bool


class Control(Protocol):
    """What may be asked of the daemon.

    Every method records what is wanted and returns at once; the engine does the work. A wish that
    cannot be (an unknown cluster, retrying what has not failed) raises ``UserError`` with a
    sentence. ``target`` is always a full run id or token; the interface has resolved prefixes.
    """

    async def submit(
        self, name: str, data: bytes, uid: int, overrides: Mapping[str, str]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Take a recipe in, as the inbox does. Raises ``RecipeError``.

        Return the run ids, and what the author should know about how the recipe was understood.
        """

    async def cancel(self, target: str) -> Sequence[str]:
        """Ask for the end of a job, or of all jobs of a run; return the tokens concerned."""

    async def cancel_all(self) -> Sequence[str]:
        """Ask for the end of everything that is not over; return the tokens concerned."""

    async def retry(self, target: str) -> Sequence[str]:
        """Make a new attempt of a failed job, or of all failed jobs of a run; return new tokens."""

    def status(self) -> DaemonStatus:
        """Return what the daemon knows about itself and its links."""

    async def log(self, token: str, stream: Stream, offset: int, limit: int) -> bytes | None:
        """Return up to ``limit`` bytes of a job's output from ``offset``; empty at its end.

        None when there is no such file, neither on the cluster nor at home.
        """

    async def pause(self, cluster: str) -> None:
        """Send nothing to this cluster until it is resumed."""

    async def resume(self, cluster: str, take_over: bool) -> None:
        """Go on; with ``take_over`` also when the epoch says that another daemon was there."""

    async def waiting(self, token: str) -> str:
        """Return the sentence that says what benchd waits for now; empty for a job that is over."""

    def wake(self) -> None:
        """Let the engine look at the world now rather than at its next turn."""


class Keeping(Protocol):
    """What may be asked beside the main path. These look at the clusters before they answer."""

    async def drain(self, on: bool) -> Drained:
        """Submit nothing new from now on, or go on."""

    async def reap(self, cluster: str | None, *, dry_run: bool) -> Swept:
        """End jobs of our name that no book has as live; with ``dry_run`` only list them."""

    async def adopt(self, cluster: str, slurm_id: str) -> Adopted:
        """Take a job of ours that Slurm has, and no book, back into the books."""

    async def gc(self, older_than: float, *, dry_run: bool) -> Sequence[OldRun]:
        """Remove the directories on the clusters of runs whose results are home for long."""


class Reads(Protocol):
    """The part of the store that the interface reads."""

    async def run(self, run_id: str) -> Run | None:
        """Return one run."""

    async def runs(self, limit: int = 100) -> Sequence[Run]:
        """Return the newest runs first."""

    async def job(self, token: str) -> Job | None:
        """Return one job."""

    async def jobs(self, run: str | None = None, state: JobState | None = None) -> Sequence[Job]:
        """Return jobs in the order of their creation."""

    async def counts(self) -> Sequence[tuple[str, str, str, int]]:
        """Return how many jobs there are by (cluster, role, state)."""

    async def transitions(self, token: str) -> Sequence[Transition]:
        """Return one job's history, oldest first."""

    async def results(self, run_id: str | None = None) -> Sequence[str]:
        """Return result documents (JSON text), oldest first."""

    async def result(self, token: str) -> str | None:
        """Return the result document of one job."""

    async def note_command(self, uid: int, line: str, ok: bool, answer: str, now: float) -> None:
        """Append to the log of commands."""
