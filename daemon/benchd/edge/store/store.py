"""The store: runs, jobs, their history and their results, each change one durable transaction.

Every move of a job is a compare-and-set on (token, rev, state): it returns the new record, or
raises ``Stale`` when somebody else moved the row first. In the same transaction it leaves a row in
``transitions`` with its evidence and the columns it changed, so that the history of a job adds up
to its row (``fold``). Only the tally of probes is written without such a row.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from benchd.core.model import (
    Binding,
    Event,
    Evidence,
    Job,
    JobState,
    Run,
    RunOutcome,
    Transition,
)
from benchd.edge.store import place, rows
from benchd.edge.store import statements as sql
from benchd.edge.store.connection import Connect, Parameters, Statements, connect
from benchd.edge.store.database import Database
from benchd.edge.store.migrate import inspect, migrate, scripts
from benchd.edge.store.moves import NO_EVIDENCE, Move, perform
from benchd.edge.store.world import Memory, Snapshot
from benchd.errors import StoreBroken, StoreError, UserError

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BASE32 = _LETTERS + "234567"
# Characters of the instance id: 26 * 32^5 = 872 million, against two installations that share a
# user account on one cluster.
_INSTANCE_LENGTH = 6
# Candidates shown when a prefix is not unique.
_CANDIDATES = 5


class Store:
    """One SQLite file; ``async with`` opens and closes it. Its directory is the state directory."""

    instance: str  # names this installation in every token; set by open()

    def __init__(
        self,
        path: Path,
        *,
        on_commit: Callable[[float], None] | None = None,
        on_writable: Callable[[bool], None] | None = None,
        on_broken: Callable[[StoreBroken], None] | None = None,
        mountinfo: Path = place.MOUNTINFO,
        connect: Connect = connect,
    ) -> None:
        """``on_commit`` gets each commit's seconds, ``on_writable`` each change of the flag.

        ``on_broken`` is told once, when the disk fails: nothing is read or written after it.
        """
        self._path = path
        self._mountinfo = mountinfo
        self._world = Memory()
        self._db = Database(
            path,
            on_commit=on_commit,
            on_writable=on_writable,
            on_broken=on_broken,
            connect=connect,
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Check the place and the file, migrate, and learn the instance id."""
        await asyncio.to_thread(place.prepare, self._path, self._mountinfo)
        await asyncio.to_thread(inspect, self._path)
        await self._db.open(lambda connection: migrate(connection, self._path, scripts()))
        try:
            self.instance = await self._instance()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Wait for what is being written, close the file, and end its threads."""
        await self._db.close()

    @property
    def writable(self) -> bool:
        """False after a write found the disk full, until one succeeds again."""
        return self._db.writable

    async def ping(self, now: float) -> None:
        """Prove that the writer answers and the disk takes a write; StoreFull while it does not.

        For the watchdog; it is also what notices that there is room again while nothing else is
        written.
        """
        await self.set_meta("pinged_at", repr(now))

    # --- runs and jobs come into being --------------------------------------------------------

    async def create_run(self, run: Run, jobs: Iterable[Job]) -> bool:
        """Store an accepted recipe with all its jobs; False, and no change, if it is known."""
        values = [rows.job_values(replace(job, rev=0)) for job in jobs]

        def body(tx: Statements) -> bool:
            if not tx.rows(sql.ADD_RUN, rows.run_values(run)):
                return False
            tx.many(sql.ADD_JOB, values)
            tx.many(sql.ADD_SCRIPT, values)
            return True

        return await self._db.write(body)

    async def add_job(self, job: Job) -> bool:
        """Store another attempt of a job; False, and no change, if that attempt exists."""
        values = rows.job_values(replace(job, rev=0))
        return await self._db.write(lambda tx: _added(tx, values))

    # --- jobs move ----------------------------------------------------------------------------

    async def intend(self, job: Job, bindings: Sequence[Binding], now: float) -> Job:
        """Announce the next try before anything is sent; a try that is announced stays as it is.

        Bindings are stored with the try they are for: its ``targets.json`` says the same.
        """
        if job.attempted_at is not None:
            return job
        bound = tuple(bindings) or job.bindings
        new = replace(job, tries=job.tries + 1, attempted_at=now, bindings=bound)
        return await self._move(Move(old=job, new=new, trigger="intended", at=now))

    async def apply(self, old: Job, new: Job, event: Event, now: float) -> Job:
        """Store what an event made of a job; an event that changed nothing leaves no trace."""
        trigger = event.trigger.value
        return await self._move(
            Move(old=old, new=new, trigger=trigger, at=now, evidence=event.evidence)
        )

    async def save_health(
        self, old: Job, new: Job, now: float, evidence: Evidence = NO_EVIDENCE
    ) -> Job:
        """Store what a probe made of a service; a mere tally leaves no row in its history."""
        words = (old.readiness.value, new.readiness.value)
        return await self._move(
            Move(old=old, new=new, trigger="probed", at=now, evidence=evidence, words=words)
        )

    async def add_result(self, token: str, document: str, valid: bool, now: float) -> bool:
        """Store a result (JSON text) and mark its job collected; False if it has one already."""
        values = {
            "token": token,
            "now": now,
            "valid": int(valid),
            "sha256": hashlib.sha256(document.encode("utf-8", "backslashreplace")).hexdigest(),
            "document": rows.clean(document),
        }

        def body(tx: Statements) -> bool:
            found = tx.rows(sql.JOB, {"token": token})
            if not found:
                message = f"no job {token}: its result cannot be stored"
                raise StoreError(message)
            if not tx.rows(sql.ADD_RESULT, values):
                return False
            job = rows.job_of(found[0])
            collected = replace(job, collected_at=now)
            perform(tx, Move(old=job, new=collected, trigger="collected", at=now))
            return True

        return await self._db.write(body)

    async def _move(self, move: Move) -> Job:
        if not rows.changes(move.old, move.new):
            return move.old
        return await self._db.write(lambda tx: perform(tx, move))

    # --- runs move ----------------------------------------------------------------------------

    async def request_cancel_run(self, run_id: str, now: float) -> bool:
        """Note that this run should end; False if that is noted, or it is over."""
        return await self._changed(sql.CANCEL_RUN, {"id": run_id, "now": now})

    async def finish_run(
        self, run_id: str, outcome: RunOutcome, why: str | None, now: float
    ) -> bool:
        """Close a run; False if it is closed."""
        values = {"id": run_id, "outcome": outcome.value, "why": rows.encode(why), "now": now}
        return await self._changed(sql.FINISH_RUN, values)

    async def reopen_run(self, run_id: str, jobs: Iterable[Job], now: float) -> None:
        """Add attempts on a user's word, and open the run again if it was closed or to be ended.

        An attempt that exists already, because the user asked twice, stays as it is.
        """
        values = [rows.job_values(replace(job, rev=0)) for job in jobs]

        def body(tx: Statements) -> None:
            tx.rows(sql.REOPEN_RUN, {"id": run_id, "now": now})
            for row in values:
                _added(tx, row)

        await self._db.write(body)

    async def mark_run_dir(self, run_id: str, now: float) -> bool:
        """Note that the run's directory on the cluster was made; False if that is noted."""
        return await self._changed(sql.MARK_RUN_DIR, {"id": run_id, "now": now})

    async def forget_run_dir(self, run_id: str) -> bool:
        """Note that the directory of a closed run is removed on purpose; False if it is open."""
        return await self._changed(sql.FORGET_RUN_DIR, {"id": run_id})

    async def _changed(self, statement: str, values: Parameters) -> bool:
        return await self._db.write(lambda tx: bool(tx.rows(statement, values)))

    # --- reads --------------------------------------------------------------------------------

    async def world(self) -> Snapshot:
        """Return unfinished runs, their jobs, other jobs that are not over, and valid results.

        Jobs come without their scripts, runs without their recipes.
        """
        return await self._db.look(self._world.look)

    async def run(self, run_id: str) -> Run | None:
        """Return one run."""
        found = await self._db.read(sql.RUN, {"id": run_id})
        return rows.run_of(found[0]) if found else None

    async def runs(self, limit: int = 100) -> tuple[Run, ...]:
        """Return the newest runs first."""
        found = await self._db.read(sql.RUNS, {"limit": limit})
        return tuple(rows.run_of(row) for row in found)

    async def job(self, token: str) -> Job | None:
        """Return one job, with its script."""
        found = await self._db.read(sql.JOB, {"token": token})
        return rows.job_of(found[0]) if found else None

    async def jobs(self, run: str | None = None, state: JobState | None = None) -> tuple[Job, ...]:
        """Return jobs in the order of their creation, without their scripts."""
        statement = sql.JOBS if run is None else sql.JOBS_OF_RUN
        found = await self._db.read(statement, {"run": run, "state": state and state.value})
        return tuple(rows.job_of(row) for row in found)

    async def known(self, tokens: Iterable[str]) -> dict[str, JobState]:
        """Return the state of those tokens that are ours; what is missing was never stored here."""
        found = await self._db.read(sql.KNOWN, {"tokens": json.dumps(list(tokens))})
        return {row["token"]: JobState(row["state"]) for row in found}

    async def counts(self) -> tuple[tuple[str, str, str, int], ...]:
        """Return how many jobs there are by (cluster, role, state)."""
        found = await self._db.read(sql.COUNTS)
        return tuple((row["cluster"], row["role"], row["state"], row["jobs"]) for row in found)

    async def transitions(self, token: str) -> tuple[Transition, ...]:
        """Return one job's history, oldest first."""
        found = await self._db.read(sql.TRANSITIONS, {"token": token})
        return tuple(rows.transition_of(row) for row in found)

    async def fold(self, token: str) -> Job | None:
        """Return the job its history adds up to; equals ``durable(job)`` unless something is wrong.

        The script and the tally of probes, which have no history, are left out.
        """
        values = {"token": token}
        job, history = await self._db.look(
            lambda db: (db.rows(sql.ROW, values), db.rows(sql.TRANSITIONS, values))
        )
        if not job:
            return None
        return rows.folded(job[0], [(row["rev"], row["changes"]) for row in history])

    async def results(self, run_id: str | None = None) -> tuple[str, ...]:
        """Return result documents (JSON text), oldest first."""
        statement = sql.RESULTS if run_id is None else sql.RESULTS_OF_RUN
        found = await self._db.read(statement, {"run": run_id})
        return tuple(row["document"] for row in found)

    async def result(self, token: str) -> str | None:
        """Return the result document of one job."""
        found = await self._db.read(sql.RESULT, {"token": token})
        return next((row["document"] for row in found), None)

    async def resolve(self, prefix: str) -> tuple[Literal["run", "job"], str] | None:
        """Return what a unique prefix means: a run id or a token, with or without the instance.

        None if nothing begins so; UserError that lists the candidates if several do.
        """
        limit = _CANDIDATES + 1
        short = f"{self.instance}-{prefix}"  # a run id with or without more of the token behind it
        runs, full, tail = await self._db.look(
            lambda db: (
                db.rows(sql.RUNS_BY_PREFIX, {"prefix": prefix, "limit": limit}),
                db.rows(sql.JOBS_BY_PREFIX, {"prefix": prefix, "limit": limit}),
                db.rows(sql.JOBS_BY_PREFIX, {"prefix": short, "limit": limit}),
            )
        )
        if runs:
            return "run", _only(prefix, [row["id"] for row in runs])
        tokens = [row["token"] for row in (*full, *tail)] if prefix else []
        return ("job", _only(prefix, tokens)) if tokens else None

    # --- small things -------------------------------------------------------------------------

    async def meta(self, key: str) -> str | None:
        """Return a remembered word: the epoch of a cluster, whether it is paused."""
        found = await self._db.read(sql.META, {"key": key})
        return found[0]["value"] if found else None

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word under a key."""
        values = {"key": key, "value": rows.clean(value)}
        await self._db.write(lambda tx: tx.rows(sql.SET_META, values))

    async def note_command(self, uid: int, line: str, ok: bool, answer: str, now: float) -> None:
        """Append to the log of commands."""
        values = {
            "now": now,
            "uid": uid,
            "line": rows.clean(line),
            "ok": int(ok),
            "answer": rows.clean(answer),
        }

        await self._db.write(lambda tx: tx.rows(sql.ADD_COMMAND, values))

    async def _instance(self) -> str:
        known = await self.meta("instance")
        if known is None:
            known = secrets.choice(_LETTERS)
            known += "".join(secrets.choice(_BASE32) for _ in range(_INSTANCE_LENGTH - 1))
            await self.set_meta("instance", known)
        return known


def _added(tx: Statements, values: Parameters) -> bool:
    """Add an attempt with its script, unless it is there."""
    if not tx.rows(sql.ADD_RETRY, values):
        return False
    tx.rows(sql.ADD_SCRIPT, values)
    return True


def _only(prefix: str, candidates: Sequence[str]) -> str:
    """Return the one candidate that ``prefix`` can mean: the only one, or the exact one."""
    unique = tuple(dict.fromkeys(candidates))
    if prefix in unique:
        return prefix
    if len(unique) == 1:
        return unique[0]
    shown = ", ".join(unique[:_CANDIDATES])
    more = " ..." if len(unique) > _CANDIDATES else ""
    message = f"{prefix!r} is not unique: it may be {shown}{more}; give more characters"
    raise UserError(message)
