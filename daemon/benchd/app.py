"""Builds everything, starts the root tasks, stops them: the one place that knows all parts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

import structlog

from benchd import __version__
from benchd.access import access_of, uids_of
from benchd.api.server import Interface
from benchd.api.views import orphaned
from benchd.catalog import CATALOG, Catalog
from benchd.clock import Level
from benchd.closing import Closing
from benchd.config import ClusterSettings, Settings
from benchd.core.expand import Render, next_attempt, next_replica, renderer
from benchd.core.model import Job
from benchd.edge import notify, pack
from benchd.edge.archive import Archive
from benchd.edge.cluster import Cluster
from benchd.edge.inbox import Inbox
from benchd.edge.keyring import Keyring
from benchd.edge.leftovers import Leftovers
from benchd.edge.link import Link
from benchd.edge.local import LocalShell
from benchd.edge.lock import Lock
from benchd.edge.remote import Gate
from benchd.edge.shell import Shell
from benchd.edge.store import Backups, Store
from benchd.engine import Engine
from benchd.errors import StoreBroken, StoreError, StoreFull, UserError
from benchd.forgetting import Forgetting
from benchd.gauges import Gauges
from benchd.intake import Intake
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from benchd.perform import Performing
from benchd.places import database_in, socket_of, state_dir_of
from benchd.site import Site
from benchd.steering import Steering
from benchd.upkeep import DRAINING, Upkeep

log = structlog.get_logger()

# Share of the scan interval after which a new file is looked at for the second time.
SETTLED = 0.5
# Seconds between two measurements of the loop's lag and of the gauges drawn from the store.
PULSE = 1.0
GAUGES = 5.0
# Seconds between two looks whether a copy of the database is due; the first is not at the start,
# which has enough to do.
BACKUP_LOOK = 600.0


class Daemon:
    """The running daemon: ``async with`` opens all parts; ``run`` works until stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
        catalog: Catalog = CATALOG,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.clock = Level(clock)
        self.state_dir = state_dir_of(settings)
        self.metrics = metrics or Metrics()
        self.sites: dict[str, Site] = {}
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._broken: StoreBroken | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    # --- building ---------------------------------------------------------------------------------

    async def _open(self, stack: AsyncExitStack) -> None:
        self.measure = asyncio.get_running_loop().time
        self.began_at = self.clock()
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = stack.enter_context(Lock(self.state_dir / "benchd.lock"))
        self.store = await stack.enter_async_context(self._store())
        self.archive = Archive(self.state_dir / "runs")
        self.access = access_of(self.settings.access, os.getuid(), uids_of())
        self.keyring = Keyring(self.state_dir / "secrets", is_out=self._is_out)
        self.ship = {name: pack.build(name).file_name for name in pack.SHIPPED}
        self.shelf = pack.Shelf(self.state_dir / "ship")
        self.shelf.fill()
        stack.push_async_callback(self._log_out)
        for name, settings in self.settings.clusters.items():
            self.sites[name] = await self._site(name, settings)
        self._wire()
        self.engine.draining = bool(await self.store.meta(DRAINING))
        await self._listen(stack)

    async def _listen(self, stack: AsyncExitStack) -> None:
        self.interface = Interface(
            control=self.steering,
            keeping=self.upkeep,
            reads=self.store,
            registry=self.metrics.registry,
            clock=self.clock,
            path=socket_of(self.settings),
            http=self.settings.http,
            access=self.access,
            catalog=self.catalog,
        )
        await stack.enter_async_context(self.interface)

    def _store(self) -> Store:
        self.metrics.store_writable.set(1)
        return Store(
            database_in(self.state_dir),
            on_commit=self.metrics.store_commit_seconds.observe,
            on_writable=self._on_writable,
            on_broken=self._on_broken,
        )

    def _on_writable(self, ok: bool) -> None:
        self.metrics.store_writable.set(1 if ok else 0)
        if ok:
            log.info("store.writable")
            self.engine.wake()
        else:
            log.error("store.full", state_dir=str(self.state_dir))

    def _on_broken(self, error: StoreBroken) -> None:
        """Stop: what is not written down must not happen."""
        log.critical("store.broken", error=str(error))
        self._broken = error
        self.stop()

    def _shell(self, name: str, settings: ClusterSettings) -> Shell:
        if settings.ssh is not None:
            return Link(name, settings, metrics=self.metrics, clock=self.measure)
        return LocalShell(name, metrics=self.metrics, channels=settings.budget.channels)

    async def _site(self, name: str, settings: ClusterSettings) -> Site:
        pacing = Pacing(name, settings.poll, max_jobs=settings.max_jobs, testbed=settings.testbed)
        pacing.paused = await self.store.meta(f"paused:{name}") or None
        shell = self._shell(name, settings)
        if isinstance(shell, Link):
            await shell.remember(self.store, self.clock)
        cluster = Cluster(
            name,
            shell=shell,
            settings=settings,
            instance=self.store.instance,
            metrics=self.metrics,
            clock=self.clock,
            packed=self.shelf.find,
            measure=self.measure,
            pressed=pacing.pressed,
            epochs=self.store,
            gate=Gate(lambda: pacing.paused, lambda error: self.engine.pause(pacing, error)),
        )
        self._draw_site(pacing)
        return Site(name=name, shell=shell, cluster=cluster, pacing=pacing)

    async def _log_out(self) -> None:
        """Leave all clusters at once: one that says no good-bye keeps no other waiting."""
        await asyncio.gather(*(site.shell.close() for site in self.sites.values()))

    def _draw_site(self, pacing: Pacing) -> None:
        """Let the gauges of a cluster's rhythm be computed whenever they are read."""
        m, name, started = self.metrics, pacing.name, self.clock()
        age = m.poll_age_seconds.labels(name)  # of a cluster that never answered: since we asked
        age.set_function(lambda: self.clock() - (pacing.last_poll_at or started))
        m.poll_interval_seconds.labels(name).set_function(lambda: pacing.interval)
        m.cluster_paused.labels(name).set_function(lambda: float(pacing.paused is not None))

    def _wire(self) -> None:
        pacings = {name: site.pacing for name, site in self.sites.items()}
        self.engine = Engine(
            store=self.store,
            pacings=pacings,
            metrics=self.metrics,
            clock=self.clock,
            heartbeat=notify.watchdog,
        )
        closing = Closing(
            store=self.store,
            archive=self.archive,
            catalog=self.catalog,
            metrics=self.metrics,
            clock=self.clock,
            facts=lambda name: self.sites[name].facts,
        )
        self.engine.performer = performing = Performing(
            engine=self.engine,
            store=self.store,
            clusters={name: site.cluster for name, site in self.sites.items()},
            pacings=pacings,
            closing=closing,
            next_attempt=self.next_attempt,
            next_replica=self.next_replica,
            secrets_of=self.keyring.of,
            patience={name: c.patience for name, c in self.settings.clusters.items()},
            metrics=self.metrics,
            clock=self.clock,
        )
        self.intake = Intake(
            inbox=Inbox(self.state_dir / "inbox"),
            store=self.store,
            settings=self.settings,
            catalog=self.catalog,
            ship=self.ship,
            archive=self.archive,
            keyring=self.keyring,
            access=self.access,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.forgetting = Forgetting(
            keyring=self.keyring,
            store=self.store,
            clusters={name: site.cluster for name, site in self.sites.items()},
        )
        self.steering = Steering(
            store=self.store,
            engine=self.engine,
            performing=performing,
            intake=self.intake,
            sites=self.sites,
            clock=self.clock,
            state_dir=self.state_dir,
            next_attempt=self.next_attempt,
        )
        self.upkeep = self._keeping()
        self.gauges = Gauges(store=self.store, metrics=self.metrics, sites=self.sites)

    def _keeping(self) -> Upkeep:
        left = {
            name: Leftovers(
                site.cluster.remote,
                place=site.cluster.open,
                instance=self.store.instance,
                slurm=site.cluster.slurm,
            )
            for name, site in self.sites.items()
        }
        return Upkeep(
            store=self.store,
            engine=self.engine,
            leftovers=left,
            clock=self.clock,
            moving=self.steering.moving,
        )

    async def _is_out(self, job: Job) -> bool:
        """Tell whether Slurm has a job with the secrets of this one, or may, from an earlier life.

        What this process is about to send does not count: all attempts of a run may be announced
        before the first of them is sent.
        """
        return any(
            other.attempted_at is not None
            and (other.slurm_id is not None or other.attempted_at < self.began_at)
            for other in await self.store.jobs(run=job.run_id)
            if other.name == job.name and not other.is_terminal
        )

    def next_attempt(self, job: Job, now: float) -> Job:
        """Return the row of another attempt, its script rendered for its new token."""
        return next_attempt(job, now, self._renderer(job))

    def next_replica(self, job: Job, replica: int, now: float) -> Job:
        """Return the row of one more replica of a service."""
        return next_replica(job, replica, now, self._renderer(job))

    def _renderer(self, job: Job) -> Render:
        if job.cluster not in self.settings.clusters:
            raise UserError(f"cluster {job.cluster!r} is not in the configuration any more")
        runtime = self.settings.clusters[job.cluster].runtime
        return renderer(catalog=self.catalog, runtime=runtime, ship=self.ship)

    # --- running ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until ``stop``; ``StoreBroken`` when the disk failed."""
        try:
            await self._work()
        except* StoreBroken:  # by whichever task found it first
            self.stop()
        if self._broken is not None:
            raise self._broken

    async def _work(self) -> None:
        """Run the root tasks. Any that ends early ends the daemon."""
        await self.intake.scan()  # so that the inbox is there when we say that we are ready
        log.info("daemon.started", version=__version__, state_dir=str(self.state_dir))
        with suppress(StoreFull):  # even a look needs room
            for cluster, jobs in orphaned(await self.store.counts(), self.sites).items():
                log.warning("cluster.not_configured", cluster=cluster, live_jobs=jobs)
        notify.ready()
        async with asyncio.TaskGroup() as roots:
            engine = roots.create_task(self.engine.run(), name="engine")
            helpers = [
                roots.create_task(self._watch_inbox(), name="inbox"),
                roots.create_task(self._measure_lag(), name="lag"),
                roots.create_task(self._draw_gauges(), name="gauges"),
                roots.create_task(self._take_backups(), name="backups"),
                roots.create_task(self._take_secrets_back(), name="secrets"),
            ]
            await self._stopping.wait()
            notify.stopping()
            for task in helpers:
                task.cancel()
            self.engine.stop()
            await engine
        log.info("daemon.stopped")

    def stop(self) -> None:
        """End ``run``; nothing more is sent anywhere, Slurm jobs are left alone."""
        for site in self.sites.values():
            site.shell.retire()
        self._stopping.set()

    async def _watch_inbox(self) -> None:
        while True:
            if await self.intake.scan():
                self.engine.wake()
            # A new file is looked at again sooner: two looks that agree make it complete.
            share = SETTLED if self.intake.inbox.is_moving else 1.0
            await asyncio.sleep(self.settings.scan_interval * share)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(PULSE)
            self.metrics.event_loop_lag_seconds.set(max(0.0, loop.time() - before - PULSE))

    async def _draw_gauges(self) -> None:
        while True:
            if not self.store.writable:  # a full disk is left without a restart
                with suppress(StoreFull):
                    await self.store.ping(self.clock())
            with suppress(StoreFull):  # even a look needs room
                await self.gauges.draw()
            await asyncio.sleep(GAUGES)

    async def _take_backups(self) -> None:
        settings = self.settings.backup
        while settings is not None:
            backups = Backups(database_in(self.state_dir), keep=settings.keep)
            taken_at = backups.last(self.clock()) or 0.0
            self.metrics.store_backup_timestamp_seconds.set(taken_at)
            await asyncio.sleep(BACKUP_LOOK)
            try:
                taken = await asyncio.to_thread(backups.keep_up, self.clock(), settings.interval)
            except StoreError as error:
                log.warning("backup.failed", error=str(error))
            else:
                if taken is not None:
                    log.info("backup.taken", file=str(taken))

    async def _take_secrets_back(self) -> None:
        while True:
            try:
                await self.forgetting.turn()
            except (OSError, StoreError) as error:  # the keyring remembers what is still owed
                log.warning("secrets.not_removed", error=str(error))
            await asyncio.sleep(GAUGES)


async def serve(settings: Settings, catalog: Catalog = CATALOG) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    async with Daemon(settings, catalog=catalog) as daemon:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop)
        await daemon.run()
