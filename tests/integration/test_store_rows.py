"""The store on a real file: what is written comes back, and what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Job,
    JobState,
    Readiness,
    Run,
    RunOutcome,
    Trigger,
    Used,
)
from benchd.core.spec import Limits
from benchd.edge.store import Store
from benchd.edge.store.rows import durable
from benchd.errors import StoreError
from support import builders, stored
from support.stored import NOW


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "state" / "benchd.sqlite3") as opened:
        yield opened


FULL_RUN = builders.run(
    owner_uid=1000,
    limits=Limits(pending=3600.0),
    dir_made_at=1.5,
    cancel_requested_at=2.5,
    finished_at=3.5,
    outcome=RunOutcome.FAILED,
    why="the service never answered",
)
FULL_JOB = builders.service(
    environment={"REDIS_PERSISTENCE": "none"},
    parameters={"clients": 50, "ratio": 1.0, "fast": True, "tests": "set,get"},
    state=JobState.RUNNING,
    slurm_id="4242",
    slurm_state="RUNNING",
    reason="Ünïcode",
    exit_code=1,
    signal=9,
    nodes="c[1-2]",
    generation=2,
    why="TIMEOUT",
    detail="two\nlines",
    tries=3,
    attempted_at=4.25,
    submit_failures=1,
    not_before=5.5,
    bindings=(Binding(name="db", token="t", generation=1, host="c1", ports=(1, 2)),),
    cancel_requested_at=6.5,
    cancel_why=CancelWhy.LIMIT,
    missing_since=7.5,
    submitted_at=8.5,
    started_at=9.5,
    readiness=Readiness.READY,
    readiness_since=11.5,
    ready_at=12.5,
    probe_streak=-2,
    probe_failures=4,
    next_probe_at=13.5,
    looked_at=8.25,
    unseen=((1.5, 2.0), (3.0, 4.75)),
    used=Used(tres="cpu=4,gres/gpu=2", energy_j=2**40, elapsed_s=7),
    endpoint=Endpoint(host="c1", ports=(6379,), slurm_id="4242", generation=2),
)


@pytest.mark.asyncio
async def test_records_come_back_as_they_went_in(store: Store) -> None:
    """A run and a job with every field set are the same after a round through the file."""
    await store.create_run(FULL_RUN, [FULL_JOB])

    assert await store.run(FULL_RUN.id) == FULL_RUN
    assert await store.job(FULL_JOB.token) == FULL_JOB
    assert await store.fold(FULL_JOB.token) == durable(FULL_JOB)


@pytest.mark.asyncio
@pytest.mark.parametrize(("table", "record"), [("runs", Run), ("jobs", Job)])
async def test_columns_are_the_fields_of_the_records(
    store: Store, table: str, record: type[Run | Job]
) -> None:
    """Each field of Run and Job has its column, but for the script, and only ``born`` is added."""
    found = await store._db.read(f"SELECT name FROM pragma_table_info('{table}')")

    names = {field.name for field in fields(record)} - {"script"}
    assert {row["name"] for row in found} - {"born"} == names


@pytest.mark.asyncio
async def test_a_run_is_all_or_nothing(store: Store) -> None:
    """When one job of a run cannot be stored, neither the run nor its other jobs are."""
    twice = builders.job()

    with pytest.raises(StoreError, match="invariant of the store"):
        await store.create_run(builders.run(), [twice, twice])

    assert await store.runs() == ()
    assert await store.jobs() == ()


@pytest.mark.asyncio
async def test_odd_text_is_stored_spelled_out(store: Store) -> None:
    """Lone surrogates, NUL and quotes neither break a transaction nor change what is beside."""
    await stored.added(store, builders.job())
    job = await store.intend(builders.job(), (), NOW)
    odd = "\udcff'\";--\x00\x1b[31m"
    new = replace(job, reason=odd)

    await store.apply(job, new, stored.event(Trigger.SUBMIT_REFUSED, odd), NOW)

    found = await store.job(job.token)
    assert found is not None
    assert found.reason == "\\udcff'\";--\x00\x1b[31m"
    assert await store.fold(job.token) == durable(found)
    assert (await store.transitions(job.token))[-1].evidence.raw == found.reason


@pytest.mark.asyncio
async def test_a_flood_of_evidence_is_cut(store: Store) -> None:
    """Raw evidence beyond the limit is cut, and says how much is missing."""
    await stored.added(store, builders.job())
    job = builders.job()

    await store.apply(
        job, replace(job, detail="x"), stored.event(Trigger.SUBMIT_REFUSED, "y" * 20_000), NOW
    )

    raw = (await store.transitions(job.token))[-1].evidence.raw
    assert raw.endswith("y ... [3616 characters cut]")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wrong",
    [
        {"state": JobState.RUNNING, "tries": 1},  # live without an id
        {"slurm_id": "7"},  # an id that was never announced
        {"attempted_at": NOW},  # announced, but not counted
        {"cancel_requested_at": NOW},  # cancelled for no reason
        {"readiness": Readiness.READY},  # ready, but not running
        {"collected_at": NOW},  # collected before the end
        {"script": "#!/bin/sh\n"},  # another script
    ],
)
async def test_invariants_hold_in_the_file(store: Store, wrong: dict[str, object]) -> None:
    """What can never be is refused by the database itself, and nothing is written."""
    job = builders.service()
    await stored.added(store, job)

    with pytest.raises(StoreError, match="invariant of the store"):
        await store.apply(job, replace(job, **wrong), stored.event(Trigger.SEEN_RUNNING), NOW)

    assert await store.job(job.token) == job
    assert await store.transitions(job.token) == ()


@pytest.mark.asyncio
async def test_a_terminal_state_is_never_left(store: Store) -> None:
    """The database refuses to move a job that is over."""
    job = builders.job()
    await stored.added(store, job)
    over = replace(job, state=JobState.CANCELLED)
    over = await store.apply(job, over, stored.event(Trigger.CANCEL_REQUESTED), NOW)

    with pytest.raises(StoreError, match="a terminal state is never left"):
        await store.apply(
            over, replace(over, state=JobState.CREATED), stored.event(Trigger.NOT_SEEN), 1
        )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transitions SET trigger = 'x'",
        "DELETE FROM transitions",
        "UPDATE results SET valid = 1",
        "DELETE FROM results",
        "UPDATE commands SET uid = 0",
        "DELETE FROM commands",
        "DELETE FROM jobs",
        "UPDATE scripts SET script = 'x'",
        "DELETE FROM scripts",
        "UPDATE jobs SET rev = rev + 2",
    ],
)
async def test_history_cannot_be_rewritten(store: Store, statement: str) -> None:
    """History, results and the log of commands can only be appended to."""
    job = builders.client()
    await stored.added(store, job)
    over = replace(job, state=JobState.CANCELLED)
    await store.apply(job, over, stored.event(Trigger.CANCEL_REQUESTED), NOW)
    await store.add_result(job.token, json.dumps({}), False, NOW)
    await store.note_command(1000, "cancel x", True, "done", NOW)

    with pytest.raises(StoreError, match="invariant of the store"):
        await store._db.write(lambda tx: tx.rows(statement))
