"""What the books cost: durable moves, a turn of the engine, coming back to many live jobs.

Nothing here needs a Slurm: ``python tests/bench/books.py`` prints these lines alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 0)]

# ruff: noqa: E402 - the tests' support is importable only from here on
from figures import Figure

from benchd import log
from benchd.config import PollSettings
from benchd.core.model import Event, Job, JobState, Trigger
from benchd.edge.store import Store
from benchd.engine import Engine
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from benchd.sim import EmbeddedCluster
from support import builders, crowd
from support.inside import daemon_on

MOVES = 500  # durable moves in one round of one writer
WRITERS = 100
LIVE = 5_000  # live jobs of a very busy benchd
RETURNED = 1_000  # live jobs that a daemon comes back to
ROUNDS = 5
RARELY = {"interval": 600, "floor": 300}  # one poll is all there is


def figures() -> list[Figure]:
    """Measure everything."""
    log.configure("critical")
    return [*moves(), turn(), recovery()]


def _in(story: Callable[[Path], Coroutine[Any, Any, float]], rounds: int = ROUNDS) -> float:
    """Return the median of some rounds, each in a directory of its own."""

    def one() -> float:
        with tempfile.TemporaryDirectory() as home:
            return asyncio.run(story(Path(home)))

    return statistics.median(one() for _ in range(rounds))


def moves() -> list[Figure]:
    """Time one durable move with its evidence, alone and among a hundred, against bare SQLite."""
    alone = 1000 * _in(lambda home: _moves(home, 1))
    crowded = 1000 * _in(lambda home: _moves(home, WRITERS))
    bare = 1000 * statistics.median(_bare() for _ in range(ROUNDS))
    what = "sqlite3 alone, commit by commit,"
    return [
        Figure("a durable move with its evidence", alone, "ms", 5.0, bare, what),
        Figure(f"the same among {WRITERS} writers", crowded, "ms", 1.0, bare, what),
    ]


async def _moves(home: Path, writers: int) -> float:
    """Return the seconds of one move while so many are under way."""
    each = MOVES // writers * (10 if writers > 1 else 1)
    async with Store(home / "state" / "benchd.sqlite3") as store:
        jobs = [builders.job(replica=n) for n in range(writers)]
        await store.create_run(builders.run(), jobs)

        async def move(job: Job) -> None:
            for number in range(each):
                event = Event(trigger=Trigger.SUBMIT_REFUSED)
                new = replace(job, submit_failures=number + 1, detail=f"refusal {number}")
                job = await store.apply(job, new, event, builders.CREATED_AT)

        began = time.perf_counter()
        await asyncio.gather(*(move(job) for job in jobs))
        return (time.perf_counter() - began) / (each * writers)


def _bare() -> float:
    """Return the seconds of one commit of two small rows, with nothing around it."""
    home = tempfile.TemporaryDirectory()
    with home, closing(sqlite3.connect(Path(home.name) / "bare", isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, rev INTEGER, text TEXT)")
        raw.execute("INSERT INTO rows VALUES (1, 0, '')")
        began = time.perf_counter()
        for number in range(MOVES):
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("UPDATE rows SET rev = ? WHERE id = 1", (number,))
            raw.execute("INSERT INTO rows (rev, text) VALUES (?, 'refusal')", (number,))
            raw.execute("COMMIT")
        return (time.perf_counter() - began) / MOVES


def turn() -> Figure:
    """Time the CPU of a turn with many live jobs, of which one moved since the last."""
    value, base = _in(_turn, 1), min(_loop() for _ in range(ROUNDS))
    what = f"a turn with {LIVE} live jobs, CPU"
    return Figure(what, value, "s", 0.03, base, "a bare loop over them 50 times,")


async def _turn(home: Path) -> float:
    async with Store(home / "state" / "benchd.sqlite3") as store:
        jobs: list[Job] = []
        for run, some in crowd.runs_of(LIVE, per_run=100, cluster="alpha", instance="bench"):
            await store.create_run(replace(run, created_at=time.time()), some)
            jobs += some
        ids = {job.token: str(number) for number, job in enumerate(jobs)}
        await crowd.book(store, jobs, ids, time.time())
        pacing = Pacing("alpha", PollSettings(), max_jobs=2 * LIVE)
        pacing.is_open = True
        pacing.answered(time.time(), time.time(), changed=True)
        engine = Engine(store=store, pacings={"alpha": pacing}, metrics=Metrics(), clock=time.time)
        await engine.turn()  # the first one reads everything
        spent = []
        for number in range(15):
            job = await store.job(jobs[number].token)
            assert job is not None
            new, event = replace(job, state=JobState.PENDING), Event(trigger=Trigger.SEEN_PENDING)
            await store.apply(job, new, event, time.time())
            began = time.process_time()
            await engine.turn()
            spent.append(time.process_time() - began)
    return statistics.median(spent)


def _loop() -> float:
    """Return the CPU of going through a list of that many things, and no more: this machine."""
    things, began = list(range(LIVE)), time.process_time()
    for _ in range(50):
        for _thing in things:
            pass
    return time.process_time() - began


def recovery() -> Figure:
    """Time from the start of a daemon until every job it had is where Slurm has it."""
    value = _in(_recovery, 3)
    return Figure(f"start -> {RETURNED} live jobs reconciled", value, "s", 3.0)


async def _recovery(home: Path) -> float:
    async with EmbeddedCluster(home / "sim") as cluster:
        await crowd.gather(cluster, home, RETURNED)
        began = time.perf_counter()
        async with daemon_on(cluster, home, poll=RARELY) as inside:
            while any(state == "SUBMITTED" for *_, state, _ in await inside.daemon.store.counts()):
                await inside.turn()
            return time.perf_counter() - began


if __name__ == "__main__":
    print(*figures(), sep="\n")
