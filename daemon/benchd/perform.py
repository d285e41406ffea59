"""Carrying out effects: talk to a cluster, and tell the engine what was learned.

Each method does one thing the core asked for. It may be killed at any await: what was done remotely
is found again by the next poll or by the same submission command, and what was not is asked for
again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from benchd import imaging
from benchd.core.effects import (
    AddReplica,
    Cancel,
    Collect,
    Effect,
    Finish,
    Look,
    Open,
    Poll,
    Probe,
    Publish,
    Retry,
    Submit,
)
from benchd.core.lifecycle import Rules
from benchd.core.model import (
    TERMINAL,
    Accepted,
    Event,
    Evidence,
    Expired,
    Job,
    JobState,
    Observation,
    PollAnswer,
    Readiness,
    Trigger,
)
from benchd.core.news import NEVER_STARTED, chosen, events_of, submission_event
from benchd.core.placement import placed
from benchd.core.readiness import observe, told
from benchd.core.records import job_record, run_record
from benchd.core.restart import pause_before_next
from benchd.core.script import referred
from benchd.core.spec import Role
from benchd.edge import parcels
from benchd.edge.submission import SubmitOrder
from benchd.engine import Engine
from benchd.errors import Stale, StoreBroken, StoreError, StoreFull
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from benchd.ports import Closing, ClusterPort, Ledger
from benchd.publishing import publish

log = structlog.get_logger()

# Seconds before a submission whose outcome is unknown is looked at again, and before a job that was
# told to end is told again. Both are answered by polls in the meantime.
SETTLE_PAUSE = 10.0
CANCEL_PAUSE = 30.0
# The same on a test installation, where waiting helps nobody.
TESTBED_PAUSE = 1.0


class Performing:
    """The one that does what ``decide`` wants."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Ledger,
        clusters: Mapping[str, ClusterPort],
        pacings: Mapping[str, Pacing],
        closing: Closing,
        next_attempt: Callable[[Job, float], Job],
        next_replica: Callable[[Job, int, float], Job],
        secrets_of: Callable[[Job], Awaitable[Mapping[str, str]]],
        patience: Mapping[str, float],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.engine = engine
        self.store = store
        self.clusters = clusters
        self.pacings = pacings
        self.closing = closing
        self.next_attempt = next_attempt
        self.next_replica = next_replica
        self.secrets_of = secrets_of
        self.patience = patience
        self.metrics = metrics
        self.clock = clock
        self.strays: dict[str, frozenset[str]] = {}  # cluster -> Slurm ids that are in no book
        self._told: dict[str, float] = {}  # token -> when Slurm was told to end it; for pacing only

    async def perform(self, effect: Effect) -> float | None:
        """Do it; return seconds to wait before the same may be wanted again."""
        match effect:
            case Open():
                deed = self._open(effect)
            case Submit():
                deed = self._submit(effect)
            case Look():
                deed = imaging.look(effect, self)
            case Poll():
                deed = self._poll(effect)
            case Probe():
                deed = self._probe(effect)
            case Cancel():
                deed = self._cancel(effect)
            case Collect():
                deed = self._collect(effect)
            case Retry():
                deed = self._retry(effect)
            case AddReplica():
                deed = self._add_replica(effect)
            case Publish():
                deed = publish(effect, engine=self.engine, store=self.store, clusters=self.clusters)
            case Finish():
                deed = self._finish(effect)
        return await deed

    async def learn(
        self, job: Job, event: Event, *, seen: Job | None = None, patience: float | None = None
    ) -> Job | None:
        """Feed an event to the engine with the guards' settings for this job."""
        # Only a time limit is judged by whether the run measures anything (lifecycle row 11b).
        limited = job.role is Role.SERVICE and event.word == "TIMEOUT"
        open_ended = limited and not await self._is_measured(job)
        if patience is None:
            patience = self._patience(job.cluster)
        rules = Rules(patience=patience, open_ended=open_ended)
        return await self.engine.learn(job.token, event, rules, seen)

    def _patience(self, cluster: str) -> float:
        # A cluster may be gone from the configuration while its jobs are still in the books.
        return self.patience.get(cluster, Rules().patience)

    async def _is_measured(self, job: Job) -> bool:
        """Tell whether the service's own run has clients."""
        _, jobs, _ = await self.store.world()
        return any(j.run_id == job.run_id and j.role is Role.CLIENT for j in jobs)

    # --- submitting and ending --------------------------------------------------------------------

    async def _open(self, effect: Open) -> float | None:
        await self.clusters[effect.cluster].open()
        self.pacings[effect.cluster].is_open = True
        return None

    async def _submit(self, effect: Submit) -> float | None:
        job = await self.store.job(effect.token)
        if job is None or job.attempted_at is None:
            return None
        run = await self.store.run(job.run_id)
        if run is None:
            return None
        order = SubmitOrder(
            token=job.token,
            run_id=job.run_id,
            k=job.tries,
            attempted_at=job.attempted_at,
            script=job.script,
            targets=job.bindings,
            placed=placed(job),
            make_run_dir=run.dir_made_at is None,
            ship=referred(job.script),
            secrets=await self.secrets_of(job),
            job_record=job_record(job),
            run_record=run_record(run) if run.dir_made_at is None else "",
        )
        answer = await self.clusters[job.cluster].submit(order)
        if run.dir_made_at is None and isinstance(answer, Accepted | Expired):
            await self.store.mark_run_dir(run.id, self.clock())
        pacing = self.pacings[job.cluster]
        event = submission_event(answer)
        self.metrics.submissions.labels(
            cluster=job.cluster, outcome=type(answer).__name__.lower()
        ).inc()
        if event is None:
            return self._pause(pacing, SETTLE_PAUSE)
        pacing.soon(self.clock())
        await self.learn(job, event)
        return None

    async def _cancel(self, effect: Cancel) -> float | None:
        job = await self.store.job(effect.token)
        if job is None or job.is_terminal:
            return None
        if job.cancel_requested_at is None:
            wish = Event(
                trigger=Trigger.CANCEL_REQUESTED,
                cancel_why=effect.why,
                why=effect.detail or None,
                evidence=Evidence(source="benchd", raw=f"wants {effect.why}", at=self.clock()),
            )
            job = await self.learn(job, wish)
            if job is None or job.is_terminal:
                return None
        pacing = self.pacings.get(job.cluster)
        if pacing is None or pacing.paused is not None:
            return None
        if pacing.last_poll_began <= self._told.get(job.token, -1.0):
            return self._pause(pacing, CANCEL_PAUSE)  # told already; first see what came of it
        event = await self.clusters[job.cluster].cancel(job)
        self._told[job.token] = self.clock()
        if event is not None:
            await self.learn(job, event)
        pacing.soon(self.clock())
        return self._pause(pacing, CANCEL_PAUSE)

    async def _retry(self, effect: Retry) -> float | None:
        job = await self.store.job(effect.token)
        if job is not None:
            now, pause = self.clock(), pause_before_next(job)
            new = replace(self.next_attempt(job, now), not_before=now + pause if pause else 0.0)
            if await self.store.add_job(new):
                await self.closing.keep_script(new)
                said = {"after": job.why, "avoid": new.spec.avoid or None, "pause": pause}
                log.info("job.retried", attempt=new.attempt, **said, **new.log_context())
        return None

    async def _add_replica(self, effect: AddReplica) -> float | None:
        job = await self.store.job(effect.token)
        if job is not None:
            new = self.next_replica(job, effect.replica, self.clock())
            if await self.store.add_job(new):
                await self.closing.keep_script(new)
                log.info("replica.added", replica=new.replica, **new.log_context())
        return None

    # --- looking ----------------------------------------------------------------------------------

    async def _poll(self, effect: Poll) -> float | None:
        pacing, began = self.pacings[effect.cluster], self.clock()
        _, jobs, _ = await self.store.world()
        asked = [
            j for j in jobs if j.cluster == effect.cluster and j.is_attempted and not j.is_terminal
        ]
        answer = await self.clusters[effect.cluster].poll(asked)
        self._told = {j.token: self._told[j.token] for j in asked if j.token in self._told}
        sealed = await self._sealed(effect.cluster, asked, answer)
        moved: list[bool] = []
        # Services first: a client that fell with its service must not be judged before it is known.
        for role in (Role.IMAGE, Role.SERVICE, Role.CLIENT):
            news = [self._take_in(j, answer, sealed) for j in asked if j.role is role]
            moved += await asyncio.gather(*news)  # together: they share the commits of the store
        pacing.answered(began, self.clock(), changed=any(moved))
        await self._strays(effect.cluster, answer.strays)
        return None

    async def _strays(self, cluster: str, strays: Sequence[Observation]) -> None:
        """End what is over in the books and alive in Slurm; only report what is in no book."""
        known = await self.store.known([stray.token for stray in strays])
        over = sorted(token for token, state in known.items() if state in TERMINAL)
        seen = self.strays.get(cluster, frozenset())
        self.strays[cluster] = frozenset(s.slurm_id for s in strays if s.token not in known)
        self.metrics.strays.labels(cluster).set(len(self.strays[cluster]))
        for stray in strays:
            if stray.slurm_id in self.strays[cluster] - seen:
                log.warning("job.stray", cluster=cluster, slurm_id=stray.slurm_id, name=stray.token)
        if over:
            log.warning("job.over_but_alive", cluster=cluster, names=over)
            await self.clusters[cluster].end_by_name(over)

    async def _sealed(
        self, cluster: str, asked: Sequence[Job], answer: PollAnswer
    ) -> Mapping[str, bool]:
        """Take the claims of what is about to count as LOST: who had none may be tried again.

        Return of each job that was asked for its claim whether nobody had it.
        """
        patience, now = self._patience(cluster), self.clock()
        lost = [
            job
            for job in asked
            if job.token in answer.absent
            and job.is_live
            and job.cancel_why is None
            and job.missing_since is not None
            and now - job.missing_since > patience
        ]
        free = await self.clusters[cluster].seal(lost) if lost else frozenset()
        return {job.token: job.token in free for job in lost}

    async def _take_in(self, job: Job, answer: PollAnswer, sealed: Mapping[str, bool]) -> bool:
        """Apply what a poll said about one job, whatever it does to others."""
        try:
            return await self._learn_from_poll(job, answer, sealed)
        except StoreFull:  # the poll was answered all the same; the next one says it again
            return False
        except StoreBroken:
            raise
        except StoreError:  # one row that the books refuse must not cost the others their news
            log.exception("poll.row", **job.log_context())
            self.metrics.invariant_violations.labels(kind="row").inc()
            return False

    async def _learn_from_poll(
        self, job: Job, answer: PollAnswer, sealed: Mapping[str, bool]
    ) -> bool:
        """Apply what a poll said about one job; return whether anything moved."""
        rows = answer.seen.get(job.token, ())
        claim = answer.claims.get(job.token)
        if len(rows) > 1 and claim is not None:
            await self._prune(job, rows, claim)
        row = chosen(job, rows, claim)
        after: Job | None = job
        if row is not None:
            unclaimed = job.token in answer.unclaimed
            lag = parcels.TESTBED_GRACE if self.pacings[job.cluster].testbed else parcels.GRACE
            now = self.clock()
            for event in events_of(job, row, claim, now, unclaimed=unclaimed, lag=lag):
                after = await self.learn(job, event, seen=after)
        elif job.is_live and job.token in answer.absent:
            gone = Event(trigger=Trigger.NOT_SEEN, evidence=answer.absent[job.token])
            if sealed.get(job.token):
                raw = f"{gone.evidence.raw}; its claim was free and is sealed now"
                gone = replace(gone, why=NEVER_STARTED, evidence=replace(gone.evidence, raw=raw))
            # Sealing takes time: patience that ended meanwhile is for the next poll to judge.
            hasty = job.cancel_why is None and job.token not in sealed
            patience = math.inf if hasty else None
            after = await self.learn(job, gone, seen=job, patience=patience)
        return after is not None and after.rev != job.rev

    async def _prune(self, job: Job, rows: Sequence[Observation], claim: str) -> None:
        """Keep the holder of the claim and end its twins."""
        twins = [r.slurm_id for r in rows if r.slurm_id != claim and r.word in _WAITING]
        if twins and any(r.slurm_id == claim for r in rows):
            log.warning("job.twins", twins=twins, holder=claim, **job.log_context())
            self.metrics.invariant_violations.labels(kind="twin").inc()
            await self.clusters[job.cluster].prune(twins)

    async def _probe(self, effect: Probe) -> float | None:
        job = await self.store.job(effect.token)
        if job is None or job.state is not JobState.RUNNING:
            return None
        answer = await self.clusters[job.cluster].probe(job)
        labels = {"cluster": job.cluster, "verdict": str(answer.verdict)}
        self.metrics.probe_seconds.labels(**labels).observe(answer.seconds)
        self.engine.timed(job, answer)
        for _ in range(3):  # a poll may move the row in between; its news come first
            try:
                new = observe(job, answer, self.clock())
                said = told(job, new, answer)
                seen = Evidence(source="probe", raw=said, at=self.clock())
                saved = await self.store.save_health(job, new, self.clock(), seen)
            except Stale:
                fresh = await self.store.job(effect.token)
                if fresh is None or fresh.state is not JobState.RUNNING:
                    return None
                job = fresh
            else:
                self.engine.announce_health(job, saved, answer.detail)
                if Readiness.UNREADY is saved.readiness is not job.readiness:
                    self.pacings[job.cluster].soon(self.clock())  # has it ended, or been suspended?
                return None
        return None

    # --- results ----------------------------------------------------------------------------------

    async def _collect(self, effect: Collect) -> float | None:
        job = await self.store.job(effect.token)
        run = await self.store.run(job.run_id) if job is not None else None
        if job is None or run is None or job.collected_at is not None:
            return None
        fetched = await self.clusters[job.cluster].fetch(job)
        await self.closing.collect(run, job, fetched)
        return None

    async def _finish(self, effect: Finish) -> float | None:
        run = await self.store.run(effect.run_id)
        if run is not None and run.finished_at is None:
            await self.closing.finish(run, await imaging.with_last_words(effect, run, self))
        return None

    @staticmethod
    def _pause(pacing: Pacing, seconds: float) -> float:
        return min(seconds, TESTBED_PAUSE) if pacing.testbed else seconds


# Words of jobs that still wait or run: only those are worth a scancel.
_WAITING = frozenset({"PENDING", "RUNNING", "CONFIGURING", "SUSPENDED"})
