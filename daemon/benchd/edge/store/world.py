"""The world as it was read last, brought up to date by what changed since.

A turn of the engine looks at every job that is not over. Reading them all again each time would
cost most of a turn; moves, new jobs and results are numbered and never deleted, so only what is new
is read. Nothing here is needed for correctness: a store that was just opened begins with all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from benchd.core.model import Job, Run
from benchd.edge.store import rows
from benchd.edge.store import statements as sql
from benchd.edge.store.connection import Statements


class Snapshot(NamedTuple):
    """What ``decide`` needs of the store, all of the same moment.

    Jobs come without their scripts, runs without their recipes.
    """

    runs: tuple[Run, ...]  # unfinished, oldest first
    jobs: tuple[Job, ...]  # all of those runs, and every other one that is not over
    valid: dict[str, bool]  # token -> its collected result is valid


class Memory:
    """The world of the last look. ``look`` runs where one connection reads, so one at a time."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] | None = None  # None: nothing was read yet
        self._jobs: dict[str, Job] = {}  # in the order of their creation
        self._valid: dict[str, bool] = {}
        self._marks: dict[str, int] = {}  # the last job, transition and result that were read

    def look(self, db: Statements) -> Snapshot:
        """Return the world of this moment."""
        runs = {row["id"]: rows.run_of(row) for row in db.rows(sql.UNFINISHED_RUNS)}
        known = self._runs
        # A run that was opened again brings back jobs that are older than the marks.
        again = known is None or any(
            run.reopened_at is not None for run in runs.values() if run.id not in known
        )
        row = db.rows(sql.MARKS)[0]
        marks = {name: row[name] or 0 for name in row.keys()}  # noqa: SIM118 -- a Row goes through its values
        if again or not self._follow(db, runs, is_new=marks != self._marks):
            self._jobs = {row["token"]: rows.job_of(row) for row in db.rows(sql.WORLD_JOBS)}
            self._valid = {r["token"]: bool(r["valid"]) for r in db.rows(sql.WORLD_VALID)}
        elif known is not None and known.keys() - runs.keys():
            self._jobs = {t: job for t, job in self._jobs.items() if _belongs(job, runs)}
            self._valid = {t: valid for t, valid in self._valid.items() if t in self._jobs}
        self._marks, self._runs = marks, runs
        return Snapshot(tuple(runs.values()), tuple(self._jobs.values()), dict(self._valid))

    def _follow(self, db: Statements, runs: Mapping[str, Run], *, is_new: bool) -> bool:
        """Take in what is new, if anything is; False where that does not fit to what is known."""
        if is_new and not self._take_in(db, runs):
            return False
        for row in db.rows(sql.TALLIES):
            token, *tally = row
            job = self._jobs[token]
            if tally != [job.probe_streak, job.probe_failures, job.next_probe_at, job.looked_at]:
                streak, failures, due, looked_at = tally
                self._jobs[token] = replace(
                    job,
                    probe_streak=streak,
                    probe_failures=failures,
                    next_probe_at=due,
                    looked_at=looked_at,
                )
        return True

    def _take_in(self, db: Statements, runs: Mapping[str, Run]) -> bool:
        jobs, marks = self._jobs, self._marks
        new = {row["token"]: rows.job_of(row) for row in db.rows(sql.NEW_JOBS, marks)}
        for row in db.rows(sql.MOVED_JOBS, marks):
            job = rows.job_of(row)
            if not _belongs(job, runs):
                jobs.pop(job.token, None)
            elif job.token in jobs:
                jobs[job.token] = job
            elif job.token not in new:
                return False
        jobs |= {token: job for token, job in new.items() if _belongs(job, runs)}
        for row in db.rows(sql.NEW_VALID, marks):
            if row["token"] in jobs:
                self._valid[row["token"]] = bool(row["valid"])
        return True


def _belongs(job: Job, runs: Mapping[str, Run]) -> bool:
    return not job.is_terminal or job.run_id in runs
