"""The loop: look at the world, decide, perform, feed back what was learned.

The loop keeps nothing that matters. It starts at most one task per effect key; what a task learned
becomes events, each written with its evidence in one transaction; then the world is looked at
again. A task that failed learned nothing, so nothing moves, and the same effect comes back after a
pause. Killing the process at any await is therefore a restart and not a repair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import structlog

from benchd.core.effects import (
    AddReplica,
    Collect,
    Effect,
    Finish,
    Look,
    Open,
    Poll,
    Probe,
    Retry,
    Submit,
    World,
)
from benchd.core.lifecycle import IllegalMove, Rules, advance
from benchd.core.model import Binding, Event, Job, ProbeAnswer, Readiness, Run, Verdict
from benchd.core.plan import decide, effect_key, next_wake
from benchd.edge.shell import LoginRefused, Paused, Resting, Stopping
from benchd.errors import NeedsHuman, NotYet, Stale, StoreFull, TakenOver, Unreachable
from benchd.metrics import Metrics
from benchd.pacing import Pacing

log = structlog.get_logger()

# Seconds before an effect that failed for a reason of our own (a bug) is tried again.
BUG_PAUSE = 60.0
# Seconds before something that is not there yet is looked for again.
NOT_YET_PAUSE = 10.0
# Seconds between two looks at a full disk.
FULL_PAUSE = 5.0
# What is not begun on a full disk: it asks the site for something that could not be kept.
HELD_WHILE_FULL = (Submit, Look, Collect, Retry, AddReplica, Finish)
# A turn is followed by a rest of so many times what it took, but no longer than this (seconds):
# a burst of news is looked at together, and one piece of news at once.
REST, LONGEST_REST = 4.0, 0.1
# No sleep is shorter (seconds) unless something happens: by a clock that was set back and goes at
# half speed, each would end halfway to what is due, the next one halfway from there, and so on.
SHORTEST_SLEEP = 0.05
# The loop turns at least this often (seconds), so that the watchdog sees it alive.
LONGEST_SLEEP = 15.0
# Seconds that effects in flight get to end when the daemon stops. With the 2 s in which links hang
# up and what closing the store takes, a daemon whose login nodes hang ends in less than 10.
STOP_GRACE = 5.0


class Records(Protocol):
    """What the engine needs of the store."""

    @property
    def writable(self) -> bool:
        """False while the disk is full."""

    async def world(self) -> tuple[tuple[Run, ...], tuple[Job, ...], Mapping[str, bool]]:
        """Return unfinished runs, their jobs and all live ones, and which results are valid."""

    async def job(self, token: str) -> Job | None:
        """Return one job."""

    async def intend(self, job: Job, bindings: tuple[Binding, ...], now: float) -> Job:
        """Write the mark that says: sbatch may have been sent for try k."""

    async def apply(self, old: Job, new: Job, event: Event, now: float) -> Job:
        """Write a move with its evidence; raise ``Stale`` if somebody else was first."""

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word, durably, before returning."""


class Performer(Protocol):
    """Carries out one effect; what it learns goes to ``Engine.learn``."""

    async def perform(self, effect: Effect) -> float | None:
        """Do it; return seconds to wait before the same effect may be wanted again, or None."""


class Engine:
    """Keeps the clusters as the recipes want them."""

    def __init__(
        self,
        *,
        store: Records,
        pacings: Mapping[str, Pacing],
        metrics: Metrics,
        clock: Callable[[], float],
        heartbeat: Callable[[], object] = lambda: None,
    ) -> None:
        self.store = store
        self.pacings = pacings
        self.metrics = metrics
        self.clock = clock
        self.heartbeat = heartbeat
        self.performer: Performer | None = None
        self.draining = False  # submit nothing new; see ``World``
        self.slow: dict[str, float] = {}  # see ``World``
        self.published: dict[str, str] = {}  # the same
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._stopping = False

    # --- the loop -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn until ``stop`` is called; then let what is in flight end."""
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                self._woken.clear()  # before the world is read: what comes later must wake us
                began = loop.time()
                wake_at = await self.turn()
                ended = loop.time()
                self.heartbeat()
                await self._sleep(wake_at)
                rested = ended + min(REST * (ended - began), LONGEST_REST)
                await asyncio.sleep(max(rested - loop.time(), 0.0))
        finally:
            await self._settle()

    async def turn(self) -> float:
        """Look once, start what is wanted; return when to look again."""
        now = self.clock()
        try:
            world = await self.look()
        except StoreFull:  # even a look needs room, for the index of the log
            return now + FULL_PAUSE
        clusters = {job.token: job.cluster for job in world.jobs}
        for effect in decide(world, now):
            await self._start(effect, cluster_of(effect, clusters), now)
        self._not_before = {k: t for k, t in self._not_before.items() if t > now}
        quiet = (pacing.quiet_until for pacing in self.pacings.values())
        pauses = [t for t in (*self._not_before.values(), *quiet) if t > now]
        return min([next_wake(world, now), *pauses])

    async def look(self) -> World:
        """Return everything ``decide`` sees."""
        runs, jobs, valid = await self.store.world()
        views = {name: pacing.view() for name, pacing in self.pacings.items()}
        live = {job.token for job in jobs if job.is_live}
        self.published = {job: text for job, text in self.published.items() if job in live}
        return World(
            runs=runs,
            jobs=jobs,
            valid=valid,
            clusters=views,
            slow=dict(self.slow),
            published=dict(self.published),
            draining=self.draining,
        )

    def wake(self) -> None:
        """Look at the world now rather than at the next turn."""
        self._woken.set()

    def stop(self) -> None:
        """Start nothing new, and end ``run`` soon."""
        self._stopping = True
        self._woken.set()

    async def _sleep(self, until: float) -> None:
        pause = min(max(until - self.clock(), SHORTEST_SLEEP), LONGEST_SLEEP)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._woken.wait()

    async def _settle(self) -> None:
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- one effect -----------------------------------------------------------------------------

    async def _start(self, effect: Effect, cluster: str | None, now: float) -> None:
        key = effect_key(effect)
        performer = self.performer
        if performer is None or key in self._tasks or self._not_before.get(_kind(effect), 0) > now:
            return
        pacing = self.pacings.get(cluster) if cluster is not None else None
        if pacing is not None and pacing.quiet_until > now:
            return
        if isinstance(effect, HELD_WHILE_FULL) and not self.store.writable:
            return  # whoever finds that there is room again wakes us
        if isinstance(effect, Submit) and not await self._intend(effect, now):
            return
        task = asyncio.create_task(self._carry_out(performer, effect, cluster), name=_kind(effect))
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    async def _intend(self, effect: Submit, now: float) -> bool:
        """Write the mark before the task starts: the next decision must see the service taken."""
        try:
            job = await self.store.job(effect.token)
            if job is None or job.is_terminal:
                return False
            await self.store.intend(job, effect.bindings, now)
        except (Stale, StoreFull):
            return False
        return True

    def _ended(self, key: str) -> None:
        self._tasks.pop(key, None)
        self._woken.set()

    async def _carry_out(self, performer: Performer, effect: Effect, cluster: str | None) -> None:
        pause, began = None, self.clock()
        pacing = self.pacings.get(cluster) if cluster is not None else None
        try:
            pause = await performer.perform(effect)
            # A probe swallows the trouble of the link, and what only waits has not asked: no proof.
            if pacing is not None and pause is None and not isinstance(effect, Probe):
                pacing.reached()
        except NeedsHuman as error:
            if pacing is not None:
                await self.pause(pacing, error)
        except NotYet as error:  # the cluster is well: only this has to wait
            pause = 1.0 if pacing is not None and pacing.testbed else NOT_YET_PAUSE
            log.info("effect.waits", cluster=cluster, why=str(error))
        except Unreachable as error:  # nothing was learned, so nothing moves
            if pacing is not None and isinstance(error, Resting):
                pacing.rests(self.clock(), error.seconds, why=str(error))
            elif pacing is not None:
                asked = isinstance(effect, Poll) and error.sent
                pacing.failed(began, self.clock(), why=str(error), asked=asked)
            if not isinstance(error, Stopping):
                log.warning("cluster.unreachable", cluster=cluster, error=str(error))
        except StoreFull:  # nothing was kept, so nothing moves
            pause = FULL_PAUSE
        except Exception:  # one broken effect must not take the others along
            pause = BUG_PAUSE
            log.exception("effect.failed", effect=_kind(effect))
        if pause is not None:
            self._not_before[_kind(effect)] = self.clock() + pause
        else:
            self._not_before.pop(_kind(effect), None)

    async def pause(self, pacing: Pacing, error: NeedsHuman) -> None:
        """Leave a cluster alone until a human resumes it; a refused login outlasts a restart."""
        if isinstance(error, Paused) or (pacing.paused or "").startswith(str(error)):
            return  # it is, or was until a moment ago: whoever resumed it is not overruled
        since = datetime.fromtimestamp(self.clock(), UTC)
        pacing.paused = f"{error} (paused since {since:%Y-%m-%d %H:%M} UTC)"
        pacing.taken_over = isinstance(error, TakenOver)
        log.error("cluster.paused", cluster=pacing.name, error=str(error))
        if isinstance(error, LoginRefused):
            with suppress(StoreFull):  # then a restart costs one more login, but no second
                await self.store.set_meta(f"paused:{pacing.name}", pacing.paused)

    # --- feeding back ---------------------------------------------------------------------------

    async def learn(
        self, token: str, event: Event, rules: Rules, seen: Job | None = None
    ) -> Job | None:
        """Apply what was learned about a job to its row as it is now; return the row.

        Losing the race for the row is normal (another task learned something first): read again
        and try again. An event that the row no longer accepts is dropped and counted. ``seen`` is
        the row as it was a moment ago: where it says that nothing is new, it is not read again.
        """
        while True:
            job, seen = seen or await self.store.job(token), None
            if job is None or job.is_terminal:
                return job
            now = self.clock()
            try:
                new = advance(job, event, now, rules)
            except IllegalMove as error:
                self.metrics.events_dropped.labels(trigger=str(event.trigger)).inc()
                log.debug("event.dropped", error=str(error), **job.log_context())
                return job
            if new == job:
                return job
            with suppress(Stale):
                saved = await self.store.apply(job, new, event, now)
                self.announce(job, saved, event)
                return saved

    def timed(self, job: Job, answer: ProbeAnswer) -> None:
        """Remember since when a service that is scaled by its latency is too slow."""
        limit = job.spec.scale.scale_latency if job.spec.scale is not None else None
        if limit is None or answer.verdict is Verdict.NONE:
            return
        if answer.seconds > limit:
            self.slow.setdefault(job.token, self.clock())
        else:
            self.slow.pop(job.token, None)

    def announce(self, old: Job, new: Job, event: Event) -> None:
        """Log and count one move: the only place that does."""
        self._woken.set()
        if new.state is old.state:
            return
        labels = {"cluster": new.cluster, "role": str(new.role)}
        self.metrics.transitions.labels(**labels, to=str(new.state), why=new.why or "").inc()
        if new.started_at is not None and new.submitted_at is not None and old.started_at is None:
            waited = max(0.0, new.started_at - new.submitted_at)
            self.metrics.queue_wait_seconds.labels(cluster=new.cluster).observe(waited)
        name = "job." + new.state.lower()
        log.info(
            name,
            **new.log_context(),
            slurm_id=new.slurm_id,
            why=new.why,
            reason=event.reason or None,
            detail=new.detail,
        )

    def announce_health(self, old: Job, new: Job, detail: str) -> None:
        """Log and count one move of readiness."""
        self._woken.set()
        if new.readiness is old.readiness:
            return
        if new.readiness is Readiness.READY and new.started_at is not None:
            seconds = max(0.0, self.clock() - new.started_at)
            ready = self.metrics.time_to_ready_seconds
            ready.labels(cluster=new.cluster, kind=new.kind).observe(seconds)
        name = "service." + new.readiness.lower()
        log.info(name, **new.log_context(), detail=detail)


def _kind(effect: Effect) -> str:
    """Return the name of an effect's task, and the key of its pauses."""
    return f"{type(effect).__name__.lower()} {effect_key(effect)}"


def cluster_of(effect: Effect, clusters: Mapping[str, str]) -> str | None:
    """Return the cluster an effect talks to, given token -> cluster; None for work at home."""
    if isinstance(effect, Poll | Open):
        return effect.cluster
    if isinstance(effect, Finish | Retry | AddReplica):
        return None
    return clusters[effect.token]
