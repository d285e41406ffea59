"""The store against a model of it, over many moves that the lifecycle allows."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from benchd.core.lifecycle import TABLE, IllegalMove, Rules, advance
from benchd.core.model import CancelWhy, Event, Job, JobState, Readiness, Run, RunOutcome, Trigger
from benchd.edge.store import Snapshot, Store
from benchd.edge.store.connection import Statements
from benchd.edge.store.rows import durable
from benchd.errors import Stale
from support import builders

RULES = Rules(patience=5.0, refusals=3)
# Triggers that some row accepts, by state: drawn from these, a mistake is found soon.
LEGAL = {
    state: tuple(dict.fromkeys(row.trigger for row in TABLE if state in row.sources))
    for state in JobState
}


class Undone(Exception):
    """What a body raises after it has written."""


@dataclass
class Model:
    """What must be in the file."""

    runs: dict[str, Run] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    moves: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    past: dict[str, list[Job]] = field(default_factory=dict)  # versions that are no longer true
    valid: dict[str, bool] = field(default_factory=dict)

    def put(self, old: Job, new: Job, trigger: str, words: tuple[str, str] | None = None) -> None:
        """Take a move in; a mere tally is no move."""
        self.jobs[old.token] = new
        if new.rev > old.rev:
            before, after = words or (str(old.state), str(new.state))
            self.moves[old.token].append((trigger, before, after))
            self.past[old.token].append(old)

    def world(self) -> Snapshot:
        """Return what ``decide`` must see."""
        runs = {r.id: replace(r, recipe="") for r in self.runs.values() if r.finished_at is None}
        jobs = tuple(
            replace(j, script="")
            for j in self.jobs.values()
            if j.run_id in runs or not j.is_terminal
        )
        tokens = {job.token for job in jobs}
        valid = {token: ok for token, ok in self.valid.items() if token in tokens}
        return Snapshot(tuple(runs.values()), jobs, valid)


class StoreMachine(RuleBasedStateMachine):
    """Moves, looks, crashes; after each of them file and model say the same."""

    @initialize()
    def begin(self) -> None:
        """Begin with an empty file."""
        self.home = tempfile.TemporaryDirectory()
        self.path = Path(self.home.name) / "state" / "benchd.sqlite3"
        self.loop = asyncio.Runner()
        self.model = Model()
        self.now = builders.CREATED_AT
        self.ids = 0
        self._open()

    def _open(self) -> None:
        self.store = Store(self.path)
        self.loop.run(self.store.open())

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.loop.run(self.store.close())
        self.loop.close()
        self.home.cleanup()

    # --- what may happen ----------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def accept(self, count: int) -> None:
        """Accept a recipe: one run with a service and some clients."""
        number = len(self.model.runs)
        run = builders.run(id=f"run{number:07d}", recipe_path=f"{number}.yaml")
        jobs = [builders.service(run_id=run.id)]
        jobs += [builders.client(run_id=run.id, repeat=n) for n in range(count)]
        assert self.loop.run(self.store.create_run(run, jobs))
        self.model.runs[run.id] = run
        for job in jobs:
            self._add(job)

    def _add(self, job: Job) -> None:
        self.model.jobs[job.token] = job
        self.model.moves[job.token] = []
        self.model.past[job.token] = []

    def _drawn(self, data: st.DataObject, *states: JobState) -> Job:
        jobs = [j for j in self.model.jobs.values() if not states or j.state in states]
        return data.draw(st.sampled_from(jobs), label="job")

    @precondition(lambda self: self._has(JobState.CREATED))
    @rule(data=st.data())
    def intend(self, data: st.DataObject) -> None:
        """Announce the next try; one that is announced stays as it is."""
        job = self._drawn(data, JobState.CREATED)
        saved = self.loop.run(self.store.intend(job, (), self.now))
        if job.attempted_at is None:
            assert (saved.tries, saved.attempted_at) == (job.tries + 1, self.now)
            self.model.put(job, saved, "intended")
        else:
            assert saved is job

    @precondition(lambda self: self._has(*LEGAL_SOURCES))
    @rule(data=st.data(), count=st.integers(1, 5))
    def learn(self, data: st.DataObject, count: int) -> None:
        """Take in a few events that the table accepts in the job's state."""
        token = self._drawn(data, *LEGAL_SOURCES).token
        for _ in range(count):
            legal = LEGAL[self.model.jobs[token].state]
            if legal:
                self._learn(token, data.draw(st.sampled_from(legal), label="trigger"))

    def _learn(self, token: str, trigger: Trigger) -> None:
        job = self.model.jobs[token]
        if trigger is Trigger.SUBMIT_ACCEPTED and job.attempted_at is None:
            sent = self.loop.run(self.store.intend(job, (), self.now))
            self.model.put(job, sent, "intended")
            job = sent
        event = self._event(trigger)
        try:
            new = advance(job, event, self.now, RULES)
        except IllegalMove:  # a guard said no
            return
        saved = self.loop.run(self.store.apply(job, new, event, self.now))
        assert saved == replace(new, rev=job.rev + (new != job))
        self.model.put(job, saved, str(trigger))

    @precondition(lambda self: self._has(JobState.CREATED, role="service"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Bring a service to where it is looked at."""
        jobs = [j for j in self.model.jobs.values() if j.state is JobState.CREATED]
        job = data.draw(st.sampled_from([j for j in jobs if j.role == "service"]))
        self._learn(job.token, Trigger.SUBMIT_ACCEPTED)
        self._learn(job.token, Trigger.SEEN_RUNNING)

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """End what a run still has."""
        run = data.draw(st.sampled_from(list(self.model.runs)))
        for token in [t for t, job in self.model.jobs.items() if job.run_id == run]:
            for trigger in (Trigger.CANCEL_REQUESTED, Trigger.PROVED_ABSENT, Trigger.SEEN_FAILED):
                if trigger in LEGAL[self.model.jobs[token].state]:
                    self._learn(token, trigger)

    def _event(self, trigger: Trigger) -> Event:
        self.now += 1.0
        if trigger in (Trigger.SUBMIT_ACCEPTED, Trigger.SEEN_TWIN):
            self.ids += 1
            return Event(trigger=trigger, slurm_id=str(self.ids))
        why = CancelWhy.ASKED if trigger is Trigger.CANCEL_REQUESTED else None
        return Event(trigger=trigger, word="WORD", cancel_why=why, exit_code=1)

    @precondition(lambda self: self._has(JobState.RUNNING, role="service"))
    @rule(data=st.data(), readiness=st.sampled_from(list(Readiness)), streak=st.integers(-3, 3))
    def probe(self, data: st.DataObject, readiness: Readiness, streak: int) -> None:
        """Store a look at a service, which may be no more than a tally."""
        jobs = [j for j in self.model.jobs.values() if j.state is JobState.RUNNING]
        job = data.draw(st.sampled_from([j for j in jobs if j.role == "service"]))
        self.now += 1.0
        new = replace(job, readiness=readiness, probe_streak=streak, next_probe_at=self.now)
        saved = self.loop.run(self.store.save_health(job, new, self.now))
        self.model.put(job, saved, "probed", (str(job.readiness), str(readiness)))

    @precondition(lambda self: any(self.model.past.values()))
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """Move a row from a version that is no longer true: refused, and nothing changes."""
        old = data.draw(st.sampled_from([j for past in self.model.past.values() for j in past]))
        new, event = replace(old, detail="too late"), Event(trigger=Trigger.SEEN_PENDING)
        try:
            self.loop.run(self.store.apply(old, new, event, self.now))
        except Stale:
            return
        message = f"revision {old.rev} of {old.token} was moved though it is past"
        raise AssertionError(message)

    @precondition(lambda self: self._uncollected())
    @rule(data=st.data(), valid=st.booleans())
    def collect(self, data: st.DataObject, valid: bool) -> None:
        """Bring a result home, once."""
        job = data.draw(st.sampled_from(self._uncollected()))
        assert self.loop.run(self.store.add_result(job.token, "{}", valid, self.now))
        assert not self.loop.run(self.store.add_result(job.token, "[]", not valid, self.now))
        new = replace(job, collected_at=self.now, rev=job.rev + 1)
        self.model.put(job, new, "collected")
        self.model.valid[job.token] = valid

    @precondition(lambda self: self._over(finished=False))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Close a run whose jobs are all over."""
        run = data.draw(st.sampled_from(self._over(finished=False)))
        assert self.loop.run(self.store.finish_run(run.id, RunOutcome.FAILED, "w", self.now))
        self.model.runs[run.id] = replace(
            run, finished_at=self.now, outcome=RunOutcome.FAILED, why="w"
        )

    @precondition(lambda self: self._over(finished=True))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Open a closed run again, with another attempt of one of its jobs."""
        run = data.draw(st.sampled_from(self._over(finished=True)))
        jobs = [j for j in self.model.jobs.values() if j.run_id == run.id]
        new = builders.service(run_id=run.id, attempt=max(j.attempt for j in jobs) + 1)
        self.loop.run(self.store.reopen_run(run.id, [new], self.now))
        self.model.runs[run.id] = replace(
            run, finished_at=None, outcome=None, why=None, reopened_at=self.now
        )
        self._add(new)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), count=st.integers(2, 5))
    def crowd(self, data: st.DataObject, count: int) -> None:
        """Let several move one row at once: one wins, the others are told."""
        job = self._drawn(data)
        self.now += 1.0
        moves = [replace(job, detail=f"{self.now} {n}") for n in range(count)]
        event = Event(trigger=Trigger.CANCEL_REQUESTED)

        async def all_at_once() -> list[object]:
            tasks = [self.store.apply(job, new, event, self.now) for new in moves]
            return await asyncio.gather(*tasks, return_exceptions=True)

        answers = self.loop.run(all_at_once())
        (won,) = [answer for answer in answers if isinstance(answer, Job)]
        assert sum(isinstance(answer, Stale) for answer in answers) == count - 1
        self.model.put(job, won, str(event.trigger))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def change_the_mind(self, data: st.DataObject) -> None:
        """Raise after a write in the same body: nothing of it is there."""
        token = self._drawn(data).token

        def body(tx: Statements) -> None:
            tx.rows("UPDATE jobs SET detail = 'half' WHERE token = :token", {"token": token})
            raise Undone

        try:
            self.loop.run(self.store._db.write(body))
        except Undone:
            return
        raise AssertionError("the body's own error was lost")

    @rule()
    def crash(self) -> None:
        """Lose power inside a transaction: what is on the disk then is what goes on."""
        left = self.path.parent.with_name("left")

        def body(tx: Statements) -> None:
            tx.rows("INSERT INTO meta (key, value) VALUES ('half', 'written')")
            tx.rows("UPDATE jobs SET detail = 'never committed'")
            shutil.copytree(self.path.parent, left)
            raise Undone

        with suppress(Undone):
            self.loop.run(self.store._db.write(body))
        self.loop.run(self.store.close())
        shutil.rmtree(self.path.parent)
        left.rename(self.path.parent)
        self._open()
        assert self.loop.run(self.store.meta("half")) is None

    @rule()
    def restart(self) -> None:
        """Close and open."""
        self.loop.run(self.store.close())
        self._open()

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def the_file_says_what_the_model_says(self) -> None:
        """Every row, every history and the world are as the model has them."""
        if not hasattr(self, "store"):
            return
        self.loop.run(self._compare())

    async def _compare(self) -> None:
        store, model = self.store, self.model
        assert await store.world() == model.world()
        rows = {job.token: job for job in await store.jobs()}
        assert rows == {token: replace(job, script="") for token, job in model.jobs.items()}
        for token, job in rows.items():
            history = await store.transitions(token)
            assert [(t.trigger, t.old, t.new) for t in history] == model.moves[token]
            assert (job.rev, await store.fold(token)) == (len(history), durable(job))

    # --- what there is to draw from -----------------------------------------------------------

    def _has(self, *states: JobState, role: str | None = None) -> bool:
        return any(j.state in states and role in (None, j.role) for j in self.model.jobs.values())

    def _uncollected(self) -> list[Job]:
        return [j for j in self.model.jobs.values() if j.is_terminal and j.collected_at is None]

    def _over(self, *, finished: bool) -> list[Run]:
        open_runs = {j.run_id for j in self.model.jobs.values() if not j.is_terminal}
        return [
            run
            for run in self.model.runs.values()
            if (run.finished_at is not None) is finished and run.id not in open_runs
        ]


LEGAL_SOURCES = tuple(state for state, triggers in LEGAL.items() if triggers)

TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=15,
    stateful_step_count=50,
    deadline=None,  # the disk is not ours alone
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
