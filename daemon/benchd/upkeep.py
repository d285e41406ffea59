"""What people ask for beside the main path: reap, adopt, drain, gc.

Each of them looks at the cluster anew and answers with what it did. None ends a job that the books
have as live, and none removes a directory that a job may still need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import structlog

from benchd.api.control import Adopted, Drained, OldRun, Stray, Swept
from benchd.core.model import TERMINAL, JobState, Observation, Run
from benchd.core.policy import span
from benchd.core.records import JobRecord, read_job, read_run
from benchd.core.spec import Role
from benchd.core.view import is_uncollected
from benchd.edge.leftovers import Leftovers, Papers, run_of
from benchd.edge.store import Store
from benchd.engine import Engine
from benchd.errors import NeedsHuman, Unreachable, UserError

log = structlog.get_logger()

# The word in the store that says: submit nothing new.
DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class _Found:
    """A job of ours on a cluster, with the papers that lie beside it."""

    row: Observation
    papers: Papers
    record: JobRecord


class Upkeep:
    """Keeps books and clusters in agreement where people have to decide."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        leftovers: Mapping[str, Leftovers],
        clock: Callable[[], float],
        moving: asyncio.Lock,
    ) -> None:
        """Take ``moving``: held while a run is opened again, or its directory is taken away."""
        self.store = store
        self.engine = engine
        self.leftovers = leftovers
        self.clock = clock
        self.moving = moving

    # --- drain ------------------------------------------------------------------------------------

    async def drain(self, on: bool) -> Drained:
        """Submit nothing new from now on, or again; survives a restart."""
        await self.store.set_meta(DRAINING, "1" if on else "")
        self.engine.draining = on
        self.engine.wake()
        _, jobs, _ = await self.store.world()
        waiting = sum(j.state is JobState.CREATED and j.attempted_at is None for j in jobs)
        open_jobs = sum(not j.is_terminal for j in jobs)
        log.info("daemon.draining" if on else "daemon.undrained", waiting=waiting)
        return Drained(draining=on, waiting=waiting, sent=open_jobs - waiting)

    # --- reap -------------------------------------------------------------------------------------

    async def reap(self, cluster: str | None, *, dry_run: bool) -> Swept:
        """End jobs of our name that no book has as live; with ``dry_run`` only list them."""
        strays: list[Stray] = []
        unseen: dict[str, str] = {}
        for name in self._chosen(cluster):
            try:
                strays += await self._reap(name, dry_run=dry_run)
            except (Unreachable, NeedsHuman, UserError) as error:
                if cluster is not None:
                    raise
                unseen[name] = str(error)
        return Swept(strays=strays, unseen=unseen)

    async def _reap(self, name: str, *, dry_run: bool) -> list[Stray]:
        rows = await self.leftovers[name].alive()
        known = await self.store.known([row.token for row in rows])
        idle = [row for row in rows if row.token not in known or known[row.token] in TERMINAL]
        if idle and not dry_run:
            await self.leftovers[name].end([row.slurm_id for row in idle])
            for row in idle:
                log.info("stray.ended", cluster=name, slurm_id=row.slurm_id, name=row.token)
        return [
            Stray(
                cluster=name,
                slurm_id=row.slurm_id,
                token=row.token,
                state=row.word,
                nodes=row.nodes,
                why="over in the books" if row.token in known else "not in the books",
                ended=not dry_run,
            )
            for row in idle
        ]

    # --- adopt ------------------------------------------------------------------------------------

    async def adopt(self, cluster: str, slurm_id: str) -> Adopted:
        """Take a job of ours that Slurm has, and no book, back into the books.

        Its row is made again as it was when its try was announced; settling that try, as after any
        crash, then finds the job. A client brings along the services that it measures.
        """
        self._chosen(cluster)
        alive = await self.leftovers[cluster].alive()
        row = next((each for each in alive if each.slurm_id == slurm_id), None)
        if row is None:
            raise UserError(
                f"Slurm on {cluster} has no live job {slurm_id} whose name begins with "
                f"{self.store.instance}-: see `benchctl reap {cluster} --dry-run`"
            )
        if await self.store.job(row.token) is not None:
            raise UserError(f"{row.token} is in the books: see `benchctl show {slurm_id}`")
        found = await self._with_services(cluster, row, alive)
        async with self.moving:
            for run_id in dict.fromkeys(each.record.run_id for each in found):
                await self._enter(cluster, run_id, [f for f in found if f.record.run_id == run_id])
        self.engine.wake()
        return Adopted(run=found[-1].record.run_id, jobs=[each.record.token for each in found])

    async def _with_services(
        self, cluster: str, row: Observation, alive: Sequence[Observation]
    ) -> list[_Found]:
        """Return the job, behind the services that it measures and that no book has either."""
        found = await self._found(cluster, row)
        first: list[_Found] = []
        for binding in found.record.bindings:
            if await self.store.job(binding.token) is not None:
                continue
            service = next((each for each in alive if each.token == binding.token), None)
            if service is None:
                raise UserError(
                    f"{row.token} measures {binding.token}, which is neither in the books nor in "
                    f"Slurm any more, so nobody can judge its numbers: end it with "
                    f"`benchctl reap {cluster}` and submit the recipe again"
                )
            first.append(await self._found(cluster, service))
        return [*first, found]

    async def _found(self, cluster: str, row: Observation) -> _Found:
        papers = await self.leftovers[cluster].papers(row.token, row.slurm_id)
        record = read_job(papers.job, papers.where)
        if (record.token, record.run_id) != (row.token, run_of(row.token)):
            raise UserError(f"{papers.where} is about {record.token}, not about {row.token}")
        if record.cluster != cluster:
            raise UserError(
                f"{row.token} was submitted to a cluster called {record.cluster}, which is now "
                f"called {cluster}: give it its old name in the configuration and ask again"
            )
        if papers.claim is not None and papers.claim != row.slurm_id:
            raise UserError(
                f"Slurm job {row.slurm_id} does no work: the claim of {row.token} is held by "
                f"{papers.claim}; it ends by itself, or by `benchctl reap {cluster}`"
            )
        return _Found(row, papers, record)

    async def _enter(self, cluster: str, run_id: str, found: Sequence[_Found]) -> None:
        """Write the rows of one run, and the run itself when no book has it."""
        jobs = [each.record.job(each.papers.script) for each in found]
        # The try that Slurm has; what came after it, if anything, was another one.
        jobs = [replace(job, tries=each.papers.k) for job, each in zip(jobs, found, strict=True)]
        run = await self.store.run(run_id)
        if run is None:
            await self.store.create_run(self._run_of(found[0]), jobs)
        elif run.finished_at is not None:
            await self.store.reopen_run(run_id, jobs, self.clock())
        else:
            for job in jobs:
                await self.store.add_job(job)
        for each in found:
            log.info(
                "job.adopted", cluster=cluster, slurm_id=each.row.slurm_id, job=each.record.token
            )

    def _run_of(self, found: _Found) -> Run:
        if found.papers.run is None:
            raise UserError(
                f"the run of {found.record.token} is not in the books, and there is no run.json "
                f"in its directory ({found.papers.where}): it cannot be adopted; end it with "
                f"`benchctl reap {found.record.cluster}` and submit the recipe again"
            )
        record = read_run(found.papers.run, "run.json")
        if record.id != found.record.run_id:
            raise UserError(f"run.json is about {record.id}, not about {found.record.run_id}")
        now = self.clock()
        return replace(record.run(dir_made_at=now), reopened_at=now)

    # --- gc ---------------------------------------------------------------------------------------

    async def gc(self, older_than: float, *, dry_run: bool) -> Sequence[OldRun]:
        """Remove the directories on the clusters of runs whose results are home for long."""
        found: list[OldRun] = []
        for name in self._chosen(None):
            try:
                found += await self._gc(name, older_than, dry_run=dry_run)
            except (Unreachable, NeedsHuman, UserError) as error:
                found.append(OldRun(cluster=name, run="", name="", kept=str(error), removed=False))
        return found

    async def _gc(self, name: str, older_than: float, *, dry_run: bool) -> list[OldRun]:
        left = self.leftovers[name]
        in_use = {run_of(row.token) for row in await left.alive()}
        found: list[OldRun] = []
        for run_id in await left.run_dirs():
            async with self.moving:
                run = await self.store.run(run_id)
                kept = await self._needed(name, run, older_than, in_use=run_id in in_use)
                if not kept and not dry_run and await self.store.forget_run_dir(run_id):
                    await left.put_aside(run_id)
            known = run.name if run is not None else ""
            removed = not kept and not dry_run
            found.append(OldRun(cluster=name, run=run_id, name=known, kept=kept, removed=removed))
        if not dry_run:
            await left.sweep()  # also what one that was cut short has put aside
        if any(each["removed"] for each in found):
            log.info("runs.removed", cluster=name, runs=sum(each["removed"] for each in found))
        return found

    async def _needed(
        self, cluster: str, run: Run | None, older_than: float, *, in_use: bool
    ) -> str:
        """Return why the directory of a run has to stay; empty when it has not."""
        if run is None or run.cluster != cluster:
            return "not in the books of this benchd"
        if run.finished_at is None:
            return "the run is not over"
        if in_use:
            return "Slurm still has a job of it: see `benchctl reap --dry-run`"
        if (age := self.clock() - run.finished_at) < older_than:
            return f"over for {span(ceil(age))} only"
        for job in await self.store.jobs(run=run.id):
            if not job.is_terminal or (job.role is Role.CLIENT and is_uncollected(job)):
                return f"the results of {job.token} are not home"
            if job.why == "LOST":
                return f"nobody knows whether {job.token} still runs"
        return ""

    # --- all --------------------------------------------------------------------------------------

    def _chosen(self, cluster: str | None) -> Sequence[str]:
        if cluster is not None and cluster not in self.leftovers:
            known = ", ".join(self.leftovers) or "none"
            raise UserError(f"no cluster {cluster!r}; there are: {known}")
        return list(self.leftovers) if cluster is None else [cluster]
