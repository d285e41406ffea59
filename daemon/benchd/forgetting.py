"""Taking secrets back: off the cluster when a job is over, off this machine when its run is.

A job's script removes its own as soon as it has read them. What is left over is that of a job which
never started, or whose node died. What remains to be done stands in the keyring itself, so neither
a crash nor a cluster that is away for weeks lets it be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from benchd.core.model import Job, Run
from benchd.edge.keyring import Keyring
from benchd.errors import Unreachable

log = structlog.get_logger()


class Books(Protocol):
    """What is needed of the store."""

    async def run(self, run_id: str) -> Run | None:
        """Return one run."""

    async def jobs(self, run: str | None = None) -> Sequence[Job]:
        """Return the jobs of a run."""


class Sweeper(Protocol):
    """What is needed of a cluster."""

    async def forget(self, jobs: Sequence[Job]) -> None:
        """Remove what is left of the secrets of these jobs."""


class Forgetting:
    """Removes the secrets of what is over."""

    def __init__(self, *, keyring: Keyring, store: Books, clusters: Mapping[str, Sweeper]) -> None:
        self.keyring = keyring
        self.store = store
        self.clusters = clusters
        self._swept: set[str] = set()  # tokens; after a restart they are swept once more

    async def turn(self) -> None:
        """Remove what can be removed now; the rest waits for the next turn."""
        for run_id in sorted(self.keyring.runs):
            run = await self.store.run(run_id)
            if run is None:  # being accepted now, or never recorded
                if await self.keyring.is_orphan(run_id):
                    await self.keyring.drop(run_id)
                continue
            jobs = await self.store.jobs(run=run_id)
            if not await self._sweep(run, jobs) or run.finished_at is None:
                continue
            await self.keyring.drop(run_id)
            self._swept -= {job.token for job in jobs}
            log.info("secrets.forgotten", run=run_id, cluster=run.cluster)

    async def _sweep(self, run: Run, jobs: Sequence[Job]) -> bool:
        """Clean the directories of ended jobs; return whether nothing is left for a later turn."""
        sent = [job for job in jobs if job.is_attempted and job.token not in self._swept]
        over = [job for job in sent if job.is_terminal]
        cluster = self.clusters.get(run.cluster)
        if over and cluster is not None:  # else nobody can reach it any more
            try:
                await cluster.forget(over)
            except Unreachable as error:
                log.debug("secrets.wait", run=run.id, why=str(error))
                return False
            self._swept |= {job.token for job in over}
        return len(sent) == len(over)
