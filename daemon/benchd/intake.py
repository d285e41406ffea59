"""From a dropped file to a recorded run: stable, validated, expanded, stored, and only then moved.

The order makes a crash harmless at any point: the run id follows from the drop itself, so looking
at the same file again finds the run that is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from benchd.access import NAMESPACE_FIX, UNNAMED, Access, Right
from benchd.catalog import Catalog
from benchd.config import ClusterSettings, Settings
from benchd.core import images, paths
from benchd.core.expand import expand
from benchd.core.model import Job, Run
from benchd.core.recipe import Understood, understand, with_overrides
from benchd.core.secrets import redacted
from benchd.core.spec import Recipe
from benchd.edge.archive import Archive
from benchd.edge.inbox import Drop, Inbox, run_id
from benchd.edge.keyring import Keyring, Values
from benchd.edge.scripts import Scripts
from benchd.errors import StoreError, UserError
from benchd.metrics import Metrics
from benchd.places import scripts_in

log = structlog.get_logger()

REMARKS_LOGGED = 20  # remarks on one dropped recipe; `benchd validate` tells all of them


class Register(Protocol):
    """What is needed of the store."""

    instance: str

    async def create_run(self, run: Run, jobs: tuple[Job, ...]) -> bool:
        """Record a run and all its jobs; False when this drop is recorded already."""


class Intake:
    """Takes recipes in."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        store: Register,
        settings: Settings,
        catalog: Catalog,
        ship: Mapping[str, str],
        archive: Archive,
        keyring: Keyring,
        access: Access,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.inbox = inbox
        self.store = store
        self.settings = settings
        self.catalog = catalog
        self.ship = ship
        self.archive = archive
        self.keyring = keyring
        self.access = access
        self.metrics = metrics
        self.clock = clock
        self.scripts = Scripts(scripts_in(settings))
        self._lock = asyncio.Lock()  # the inbox and a submission may offer the same file

    async def scan(self) -> int:
        """Take in every file that is complete; return how many runs came of it."""
        taken = 0
        for drop in await self.inbox.scan():
            try:
                taken += len(await self.take(drop))
            except UserError:
                continue  # said beside the file, where its owner looks
            except StoreError as error:
                log.warning("recipe.waits", file=drop.name, error=str(error))
                return taken  # the file stays where it is: nothing accepted is lost
        return taken

    async def submit(
        self, name: str, data: bytes, uid: int, overrides: Mapping[str, str]
    ) -> tuple[list[str], list[str]]:
        """Take in a recipe that was sent over the socket, as if it had been dropped.

        Return the runs, and what its author should know about how it was understood.
        """
        # A mistake is told at once, and nothing is spooled.
        understood = await self._understood(data, name, overrides)
        secrets = await self.keyring.resolve(understood.recipe, uid)
        # What is spooled says everything: a crash before the run is recorded loses no --set.
        drop = await self.inbox.spool(name, with_overrides(data, name, overrides), uid)
        runs = await self._record(drop, understood.recipe, secrets)
        return runs, [remark.render(name) for remark in understood.remarks]

    async def take(self, drop: Drop) -> list[str]:
        """Record the run of a drop and move the file; a bad one is rejected with its mistakes."""
        try:
            if drop.problem is not None:
                raise UserError(drop.problem)
            if drop.uid == self.access.shared:
                raise UserError(f"{UNNAMED}: {NAMESPACE_FIX}")
            if self.access.right_of(drop.uid) < Right.OPERATE:
                raise UserError(
                    f"this file belongs to uid {drop.uid}, who may not submit here: ask uid "
                    f"{self.access.owner}, whose benchd this is, for access.operate"
                )
            understood = await self._understood(drop.data, drop.name, {})
            secrets = await self.keyring.resolve(understood.recipe, drop.uid)
        except UserError as error:
            self.metrics.recipes.labels(outcome="rejected").inc()
            log.warning("recipe.rejected", file=drop.name, error=str(error))
            await self.inbox.reject(drop, str(error))
            raise
        for remark in understood.remarks[:REMARKS_LOGGED]:
            log.info("recipe.remark", file=drop.name, what=remark.render(drop.name))
        return await self._record(drop, understood.recipe, secrets)

    async def _understood(self, data: bytes, name: str, overrides: Mapping[str, str]) -> Understood:
        understood = await asyncio.to_thread(  # it may read scripts, from a home far away
            understand,
            data,
            name,
            self.catalog,
            overrides,
            clusters=self.settings.clusters,
            files=self.scripts,
        )
        _, cluster = self._cluster(understood.recipe)
        parts = [part for _, part in paths.parts(understood.recipe)]
        images.check(parts, cluster.runtime, cluster.workdir)
        return understood

    def _cluster(self, recipe: Recipe) -> tuple[str, ClusterSettings]:
        """Return where a recipe that was accepted is to run."""
        known = self.settings.clusters
        name = recipe.cluster or self.settings.default_cluster or next(iter(known))
        return name, known[name]

    async def _record(self, drop: Drop, recipe: Recipe, secrets: Values) -> list[str]:
        drop = _without_secrets(drop, recipe)
        name, cluster = self._cluster(recipe)
        identity = run_id(self.store.instance, drop, name)
        now = self.clock()
        run = Run(
            id=identity,
            name=recipe.name or "run",
            cluster=name,
            recipe=drop.data.decode(),
            recipe_path=drop.name,
            recipe_sha256=drop.sha256,
            recipe_mtime_ns=drop.mtime_ns,
            created_at=now,
            owner_uid=drop.uid,
            limits=recipe.limits,
        )
        jobs = await asyncio.to_thread(  # ten thousand scripts take most of a second
            expand,
            recipe,
            run_id=identity,
            instance=self.store.instance,
            cluster=name,
            defaults=cluster.defaults,
            runtime=cluster.runtime,
            workdir=cluster.workdir,
            catalog=self.catalog,
            ship=self.ship,
            now=now,
        )
        await self.keyring.keep(identity, secrets)
        async with self._lock:
            new = await self.store.create_run(run, jobs)
            if new:
                lost = await asyncio.to_thread(self.archive.keep_recipe, run, jobs)
                if lost:  # copies for people: the store has both
                    log.warning("archive.incomplete", run=identity, what=lost)
            await self.inbox.accept(drop, [identity])
        self.metrics.recipes.labels(outcome="accepted" if new else "duplicate").inc()
        if new:
            log.info("run.accepted", run=identity, name=run.name, cluster=name, jobs=len(jobs))
        return [identity]


def _without_secrets(drop: Drop, recipe: Recipe) -> Drop:
    """Return the drop with a text that may be stored; its identity says nothing of a password."""
    text = redacted(drop.data, recipe)
    if text == drop.data:
        return drop
    log.warning("recipe.secrets_moved", file=drop.name, what="values were taken out of the recipe")
    sha256 = hashlib.sha256(text).hexdigest()
    return replace(drop, data=text, sha256=sha256, is_rewritten=True)
