"""What may be asked of the daemon over its socket: commands record a wish and wake the engine.

Nothing here talks to a cluster except reading a log; so every command answers at once, also while
a link is down.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchd import __version__
from benchd.api.control import DaemonStatus, Stream
from benchd.core.effects import World
from benchd.core.images import awaited
from benchd.core.model import TERMINAL, CancelWhy, Event, Evidence, Job, Run, Trigger
from benchd.core.policy import own_services
from benchd.core.spec import Role
from benchd.core.view import ended_well, index
from benchd.core.waiting import waiting_for
from benchd.edge.archive import Archive
from benchd.edge.parcels import LOG_TAIL
from benchd.edge.store import Store
from benchd.engine import Engine
from benchd.errors import UserError
from benchd.intake import Intake
from benchd.perform import Performing
from benchd.site import Site


class Steering:
    """Implements the ``Control`` of the HTTP interface."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        performing: Performing,
        intake: Intake,
        sites: Mapping[str, Site],
        clock: Callable[[], float],
        state_dir: Path,
        next_attempt: Callable[[Job, float], Job],
    ) -> None:
        self.store = store
        self.engine = engine
        self.performing = performing
        self.intake = intake
        self.sites = sites
        self.clock = clock
        self.state_dir = state_dir
        self.archive = Archive(state_dir / "runs")
        self.next_attempt = next_attempt
        self.moving = asyncio.Lock()  # held while a run is opened again; see ``Upkeep``
        self.started_at = clock()

    async def submit(
        self, name: str, data: bytes, uid: int, overrides: Mapping[str, str]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Take a recipe in, as the inbox does."""
        taken = await self.intake.submit(name, data, uid, overrides)
        self.engine.wake()
        return taken

    async def cancel(self, target: str) -> Sequence[str]:
        """Record that a run or a job should end."""
        run = await self.store.run(target)
        if run is not None:
            jobs = [j for j in await self.store.jobs(run=run.id) if j.state not in TERMINAL]
            await self.store.request_cancel_run(run.id, self.clock())
        else:
            job = await self._job(target)
            jobs = [] if job.is_terminal else [job]
            for each in jobs:
                await self._ask(each)
        self.engine.wake()
        return [job.token for job in jobs]

    async def _ask(self, job: Job) -> None:
        wish = Event(
            trigger=Trigger.CANCEL_REQUESTED,
            cancel_why=CancelWhy.ASKED,
            evidence=Evidence(source="benchctl cancel", at=self.clock()),
        )
        await self.performing.learn(job, wish)

    async def cancel_all(self) -> Sequence[str]:
        """Record that everything should end."""
        runs, jobs, _ = await self.store.world()
        for run in runs:
            await self.store.request_cancel_run(run.id, self.clock())
        self.engine.wake()
        return [job.token for job in jobs if not job.is_terminal]

    async def retry(self, target: str) -> Sequence[str]:
        """Add attempts for a failed job, or for all of a run, and open the run again."""
        run = await self.store.run(target)
        job = None if run is not None else await self._job(target)
        if run is None and job is not None:
            run = await self.store.run(job.run_id)
        if run is None:
            raise UserError(f"nothing is called {target!r}; see `benchctl runs`")
        wanted = await self._to_retry(run, job)
        if not wanted:
            what = "only what failed or has no valid result can be tried again"
            raise UserError(f"{target}: nothing to retry; {what}")
        for each in wanted:
            await self.intake.keyring.check(each)
        new = [self.next_attempt(each, self.clock()) for each in wanted]
        async with self.moving:
            await self.store.reopen_run(run.id, new, self.clock())
        for each in new:
            await self.performing.closing.keep_script(each)
        self.engine.wake()
        return [each.token for each in new]

    async def _to_retry(self, run: Run, job: Job | None) -> list[Job]:
        """Return the ended rows to follow: the failed ones, the services and images they need."""
        jobs = tuple(await self.store.jobs(run=run.id))
        world = World(runs=(run,), jobs=jobs, valid={}, clusters={})
        arranged = index(world, self.clock())
        latest = arranged.slots[run.id]
        valid = await self._valid(run.id)
        failed = [
            j
            for j in latest
            if j.is_terminal
            and not (ended_well(j) and valid.get(j.token, True))
            and (job is None or j.token == job.token)
        ]
        needed = {
            service.token: service
            for client in failed
            if client.role is Role.CLIENT
            for service in own_services(client, arranged)
            if service.is_terminal or service.cancel_requested_at is not None
        }
        wanted = {j.token: j for j in [*needed.values(), *failed]}
        makers = [m for j in wanted.values() if (m := awaited(j, arranged)) and m.is_terminal]
        return list({j.token: j for j in [*makers, *wanted.values()]}.values())

    async def _valid(self, run_id: str) -> dict[str, bool]:
        """Return token -> its result is valid, of a run that may be over."""
        documents = [json.loads(text) for text in await self.store.results(run_id)]
        return {each["job"]: bool(each["validity"]["valid"]) for each in documents}

    async def _job(self, token: str) -> Job:
        job = await self.store.job(token)
        if job is None:
            raise UserError(f"nothing is called {token!r}; see `benchctl jobs`")
        return job

    def status(self) -> DaemonStatus:
        """Return what the daemon knows about itself and its links."""
        return DaemonStatus(
            version=__version__,
            instance=self.store.instance,
            pid=os.getpid(),
            started_at=self.started_at,
            state_dir=str(self.state_dir),
            inbox=str(self.state_dir / "inbox"),
            store_writable=self.store.writable,
            draining=self.engine.draining,
            strays={name: len(ids) for name, ids in self.performing.strays.items() if ids},
            clusters=[site.status(self.clock()) for site in self.sites.values()],
        )

    async def log(self, token: str, stream: Stream, offset: int, limit: int) -> bytes | None:
        """Return a piece of a job's output: of the copy at home once that is there, and whole."""
        job = await self._job(token)
        kept = await asyncio.to_thread(self.archive.output, job, stream)
        if not job.is_terminal or kept is None or len(kept) >= LOG_TAIL:
            there = await self._site(job.cluster).cluster.log(job, stream, offset, limit)
            if there is not None or kept is None:
                return there
        return kept[offset:][:limit]

    async def pause(self, cluster: str) -> None:
        """Send nothing to this cluster until it is resumed; survives a restart."""
        site = self._site(cluster)
        site.pacing.paused = f"paused by hand; `benchctl cluster resume {cluster}` goes on"
        site.pacing.taken_over = False
        await self.store.set_meta(f"paused:{cluster}", site.pacing.paused)
        self.engine.wake()

    async def resume(self, cluster: str, take_over: bool) -> None:
        """Go on, also after an authentication failure or another daemon's epoch."""
        site = self._site(cluster)
        if site.pacing.taken_over and not take_over:
            raise UserError(f"{site.pacing.paused}")
        await self.store.set_meta(f"paused:{cluster}", "")
        if take_over:
            site.cluster.take_over()
            site.pacing.is_open = False
        site.resume()
        self.engine.wake()

    def _site(self, name: str) -> Site:
        if name not in self.sites:
            raise UserError(f"no cluster {name!r}; there are: {', '.join(self.sites) or 'none'}")
        return self.sites[name]

    async def waiting(self, token: str) -> str:
        """Return what benchd waits for now, in a sentence."""
        job = await self._job(token)
        site = self.sites.get(job.cluster)
        world = await self.engine.look()
        if job.is_terminal and all(run.id != job.run_id for run in world.runs):
            rows = tuple(await self.store.jobs(run=job.run_id))  # of a run that is over
            world = replace(world, runs=(), jobs=rows)
            return waiting_for(job, world, self.clock())
        said = waiting_for(job, world, self.clock())
        if site is None or job.is_terminal:
            return said
        if site.pacing.paused:
            return f"cluster {job.cluster} is paused: {site.pacing.paused}"
        trouble = site.trouble()
        return f"cluster {job.cluster} cannot be reached: {trouble}" if trouble else said

    def wake(self) -> None:
        """Let the engine look now."""
        self.engine.wake()
