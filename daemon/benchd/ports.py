"""What carrying out effects needs of a cluster, of the store, and of what comes home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from benchd.core.effects import Finish
from benchd.core.image_looks import Found
from benchd.core.model import (
    Event,
    Evidence,
    Fetched,
    Job,
    JobState,
    PollAnswer,
    ProbeAnswer,
    Run,
    Submission,
)
from benchd.edge.submission import SubmitOrder


class MadeHere(Protocol):
    """How making an image on the login node ended, and the last that was said."""

    @property
    def status(self) -> int:
        """The exit status."""

    @property
    def said(self) -> str:
        """The end of its output."""


class ImagesPort(Protocol):
    """The image files of one cluster."""

    @property
    def may_make_here(self) -> bool:
        """Whether one may be made on the login node."""

    async def look(self, job: Job) -> Found:
        """Return what is where an image job is to put its image."""

    async def free(self, job: Job, owner: str) -> None:
        """Take away a lock that is nobody's any more."""

    async def make(self, job: Job) -> MadeHere:
        """Make the image on the login node."""

    async def stop(self, job: Job) -> None:
        """End whoever makes it there for this job."""


class ClusterPort(Protocol):
    """Six verbs for Slurm, in our words."""

    @property
    def images(self) -> ImagesPort:
        """Its image files."""

    async def open(self) -> object:
        """Log in, find the workdir, make it ours."""

    async def submit(self, order: SubmitOrder) -> Submission:
        """Send one try, or settle it."""

    async def poll(self, jobs: Sequence[Job]) -> PollAnswer:
        """Ask about all our jobs at once."""

    async def cancel(self, job: Job) -> Event | None:
        """Tell Slurm to end a job; for one that was never known, prove its absence."""

    async def seal(self, jobs: Sequence[Job]) -> frozenset[str]:
        """Take the claims of jobs that Slurm lost; return the tokens of those that never ran."""

    async def prune(self, slurm_ids: Sequence[str]) -> None:
        """End twins by their ids."""

    async def end_by_name(self, tokens: Sequence[str]) -> None:
        """End every job of these names."""

    async def probe(self, job: Job) -> ProbeAnswer:
        """Look whether a service answers."""

    async def put(self, job: Job, name: str, data: bytes) -> None:
        """Write a file in a job's directory, whole or not at all."""

    async def fetch(self, job: Job) -> Fetched:
        """Bring home what a job left."""


class Ledger(Protocol):
    """What is needed of the store beside what the engine uses."""

    async def world(self) -> tuple[tuple[Run, ...], tuple[Job, ...], Mapping[str, bool]]:
        """Return unfinished runs, their jobs and all live ones, and which results are valid."""

    async def run(self, run_id: str) -> Run | None:
        """Return one run."""

    async def job(self, token: str) -> Job | None:
        """Return one job."""

    async def known(self, tokens: Sequence[str]) -> Mapping[str, JobState]:
        """Return the states of those of the tokens that are in the books."""

    async def mark_run_dir(self, run_id: str, now: float) -> bool:
        """Note that the run's directory was made on the cluster."""

    async def add_job(self, job: Job) -> bool:
        """Add another attempt; False when it is there already."""

    async def save_health(self, old: Job, new: Job, now: float, evidence: Evidence) -> Job:
        """Write a look at a service; raise ``Stale`` if the row moved."""


class Closing(Protocol):
    """Turns what came home into results, and results into a report."""

    async def collect(self, run: Run, job: Job, fetched: Fetched) -> None:
        """Make and keep the result of a client."""

    async def keep_script(self, job: Job) -> None:
        """Keep the script of an attempt that was added."""

    async def keep(self, job: Job, fetched: Fetched) -> None:
        """Keep what a job left for people to read."""

    async def finish(self, run: Run, effect: Finish) -> None:
        """Write the report and close the run."""
