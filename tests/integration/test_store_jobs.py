"""The store on a real file: runs, jobs, moves, history, results, look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import (
    Binding,
    Evidence,
    Job,
    JobState,
    Readiness,
    RunOutcome,
    Transition,
    Trigger,
)
from benchd.edge.store import Store
from benchd.edge.store.rows import durable
from benchd.errors import Stale, StoreError, UserError
from support import builders, stored
from support.stored import NOW


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "state" / "benchd.sqlite3") as opened:
        yield opened


@pytest.mark.asyncio
async def test_one_drop_makes_one_run(store: Store) -> None:
    """Looking again at the same run or the same drop changes nothing and says so."""
    job = builders.job()
    first = await store.create_run(builders.run(), [job])
    again = await store.create_run(builders.run(), [builders.job(name="other")])
    same_drop = await store.create_run(builders.run(id="anotherid2"), [])

    assert (first, again, same_drop) == (True, False, False)
    assert await store.jobs() == stored.bare(job)


@pytest.mark.asyncio
async def test_the_same_drop_on_two_clusters_is_two_runs(store: Store) -> None:
    """A recipe for several clusters becomes one run on each of them."""
    on_alpha = await store.create_run(builders.run(), [])
    on_beta = await store.create_run(builders.run(id="bbbbbbbbbb", cluster="beta"), [])

    assert (on_alpha, on_beta) == (True, True)
    assert [run.cluster for run in await store.runs()] == ["beta", "alpha"]


@pytest.mark.asyncio
async def test_retry_is_a_new_row_once(store: Store) -> None:
    """Another attempt is stored beside the first, and only once."""
    await stored.added(store, builders.job())
    retry = builders.job(attempt=2, not_before=NOW + 30)

    assert [await store.add_job(retry), await store.add_job(retry)] == [True, False]
    assert await store.job(retry.token) == retry
    assert await store.fold(retry.token) == durable(retry)


@pytest.mark.asyncio
async def test_two_live_jobs_may_have_one_slurm_id(store: Store) -> None:
    """An id that Slurm gave again, though the first job of it is not known to be over, is kept."""
    first, second = builders.service(), builders.job(name="other")
    await stored.added(store, first, second)

    ids = [(await stored.submitted(store, job, "7")).slurm_id for job in (first, second)]

    assert ids == ["7", "7"]


@pytest.mark.asyncio
async def test_every_move_leaves_its_evidence(store: Store) -> None:
    """A move raises the revision and appends trigger, states, time and evidence."""
    job = builders.service()
    await stored.added(store, job)
    submitted = await stored.submitted(store, job)
    new = replace(submitted, state=JobState.PENDING, reason="Priority")

    moved = await store.apply(submitted, new, stored.event(Trigger.SEEN_PENDING, "7|PD"), NOW + 1)

    assert moved == replace(new, rev=3)
    assert await store.job(job.token) == moved
    assert await store.fold(job.token) == durable(moved)
    history = await store.transitions(job.token)
    assert [(t.trigger, t.old, t.new) for t in history] == [
        ("intended", "CREATED", "CREATED"),
        ("submit_accepted", "CREATED", "SUBMITTED"),
        ("seen_pending", "SUBMITTED", "PENDING"),
    ]
    assert history[-1] == Transition(
        token=job.token,
        at=NOW + 1,
        trigger="seen_pending",
        old="SUBMITTED",
        new="PENDING",
        evidence=Evidence(source="squeue", exit_status=0, raw="7|PD"),
    )


@pytest.mark.asyncio
async def test_an_event_that_changes_nothing_leaves_no_trace(store: Store) -> None:
    """Being told the same again writes no row and keeps the revision."""
    await stored.added(store, builders.job())
    job = await stored.submitted(store, builders.job())

    assert await store.apply(job, job, stored.event(Trigger.SEEN_PENDING), NOW) is job
    assert len(await store.transitions(job.token)) == 2


@pytest.mark.asyncio
async def test_who_comes_second_is_told(store: Store) -> None:
    """A move from a version that is no longer the stored one is refused and changes nothing."""
    await stored.added(store, builders.job())
    old = await stored.submitted(store, builders.job())
    won = await store.apply(
        old, replace(old, state=JobState.PENDING), stored.event(Trigger.SEEN_PENDING), NOW
    )

    with pytest.raises(Stale, match=f"{old.token} is no longer SUBMITTED at revision 2"):
        await store.apply(
            old, replace(old, state=JobState.RUNNING), stored.event(Trigger.SEEN_RUNNING), NOW
        )

    assert await store.job(old.token) == won
    assert len(await store.transitions(old.token)) == 3


@pytest.mark.asyncio
async def test_only_one_of_many_moves_at_once_wins(store: Store) -> None:
    """Of twenty simultaneous moves from the same version one succeeds."""
    await stored.added(store, builders.job())
    old = await stored.submitted(store, builders.job())
    new = replace(old, state=JobState.PENDING)

    moves = [store.apply(old, new, stored.event(Trigger.SEEN_PENDING), NOW) for _ in range(20)]
    answers = await asyncio.gather(*moves, return_exceptions=True)

    assert sum(isinstance(answer, Job) for answer in answers) == 1
    assert sum(isinstance(answer, Stale) for answer in answers) == 19


@pytest.mark.asyncio
async def test_a_try_is_announced_once(store: Store) -> None:
    """Intending counts the try and keeps its bindings; until it is settled it stays as it is."""
    job = builders.client()
    await stored.added(store, job)
    bindings = (Binding(name="redis", token="s", generation=0, host="c1", ports=(6379,)),)

    first = await store.intend(job, bindings, NOW)
    again = await store.intend(first, (), NOW + 5)

    assert (first.tries, first.attempted_at, first.bindings) == (1, NOW, bindings)
    assert again is first
    assert await store.job(job.token) == first


@pytest.mark.asyncio
async def test_a_settled_try_is_followed_by_the_next(store: Store) -> None:
    """After a try expired, intending announces try 2 with the bindings of now."""
    await stored.added(store, builders.client())
    first = await store.intend(builders.client(), (), NOW)
    event = stored.event(Trigger.TRY_EXPIRED)
    expired = await store.apply(first, replace(first, attempted_at=None), event, NOW + 1)
    bindings = (Binding(name="redis", token="s", generation=1, host="c2", ports=(6379,)),)

    second = await store.intend(expired, bindings, NOW + 2)

    assert (second.tries, second.attempted_at, second.bindings) == (2, NOW + 2, bindings)
    assert await store.fold(second.token) == durable(second)


@pytest.mark.asyncio
async def test_the_tally_of_probes_is_no_history(store: Store) -> None:
    """A probe that moves nothing is stored in place; one that does appends readiness words."""
    await stored.added(store, builders.service())
    job = await stored.running(store, builders.service())

    tallied = await store.save_health(job, replace(job, probe_streak=1, next_probe_at=NOW), NOW)
    ready = replace(tallied, readiness=Readiness.READY, ready_at=NOW, probe_streak=2)
    moved = await store.save_health(tallied, ready, NOW, Evidence(source="probe", raw="+PONG"))

    assert (tallied.rev, moved.rev) == (job.rev, job.rev + 1)
    assert await store.job(job.token) == moved
    assert await store.fold(job.token) == durable(moved)
    last = (await store.transitions(job.token))[-1]
    assert (last.trigger, last.old, last.new) == ("probed", "STARTING", "READY")
    assert last.evidence.raw == "+PONG"


@pytest.mark.asyncio
async def test_a_result_is_stored_once_and_marks_its_job(store: Store) -> None:
    """The first result stays, its job is collected, and the world knows whether it is valid."""
    await stored.added(store, builders.client())
    job = await stored.submitted(store, builders.client())
    done = replace(job, state=JobState.COMPLETED, ended_at=NOW)
    job = await store.apply(job, done, stored.event(Trigger.SEEN_COMPLETED), NOW)

    first = await store.add_result(job.token, '{"n": 1}', True, NOW + 3)
    second = await store.add_result(job.token, '{"n": 2}', False, NOW + 4)

    assert (first, second) == (True, False)
    assert await store.results() == await store.results(job.run_id) == ('{"n": 1}',)
    assert await store.results("another") == ()
    collected = replace(job, collected_at=NOW + 3, rev=job.rev + 1)
    assert await store.job(job.token) == collected
    assert await store.fold(job.token) == durable(collected)
    assert (await store.world()).valid == {job.token: True}


@pytest.mark.asyncio
async def test_the_result_of_nobody_is_refused(store: Store) -> None:
    """A result for a token that is not stored is an error that names it."""
    with pytest.raises(StoreError, match="no job ghost"):
        await store.add_result("ghost", "{}", True, NOW)


@pytest.mark.asyncio
async def test_the_world_is_what_is_not_over(store: Store) -> None:
    """The world has unfinished runs with all their jobs, and nothing of a closed run."""
    over = builders.job(name="over")
    await stored.added(store, over)
    await store.apply(
        over, replace(over, state=JobState.CANCELLED), stored.event(Trigger.CANCEL_REQUESTED), NOW
    )
    await store.finish_run(builders.RUN_ID, RunOutcome.CANCELLED, "asked", NOW)
    other = builders.run(id="other23456", recipe_path="other.yaml")
    ended = builders.job(run_id=other.id, name="ended")
    await store.create_run(other, [ended])
    cancelled = replace(ended, state=JobState.CANCELLED)
    cancelled = await store.apply(ended, cancelled, stored.event(Trigger.CANCEL_REQUESTED), NOW)

    world = await store.world()

    assert world.runs == (replace(other, recipe=""),)
    assert world.jobs == stored.bare(cancelled)
    assert world.valid == {}


@pytest.mark.asyncio
async def test_the_world_follows_every_change(store: Store) -> None:
    """Looking again shows moves and tallies of probes, and the very same record where none was."""
    await stored.added(store, builders.service(), builders.service(replica=1))
    job = await stored.running(store, builders.service())
    same = (await store.world()).jobs[1]

    tallied = await store.save_health(job, replace(job, probe_streak=1), NOW)
    after_tally = (await store.world()).jobs
    ready = await store.save_health(tallied, replace(job, readiness=Readiness.READY), NOW)
    after_move = (await store.world()).jobs

    assert after_tally == (*stored.bare(tallied), same)
    assert after_move == (*stored.bare(ready), same)
    assert after_move[1] is same


@pytest.mark.asyncio
async def test_known_tokens_have_a_state(store: Store) -> None:
    """Of a list of tokens, those that are ours are answered with their state."""
    await stored.added(store, builders.job())
    job = await stored.submitted(store, builders.job())

    assert await store.known([job.token, "stray'\"%"]) == {job.token: JobState.SUBMITTED}


@pytest.mark.asyncio
async def test_counts_and_filters(store: Store) -> None:
    """Jobs are counted by cluster, role and state, and listed by run and state."""
    await stored.added(store, builders.service(), builders.client(), builders.client(point=1))
    job = await stored.submitted(store, builders.client(point=1))

    assert set(await store.counts()) == {
        ("alpha", "service", "CREATED", 1),
        ("alpha", "client", "CREATED", 1),
        ("alpha", "client", "SUBMITTED", 1),
    }
    assert await store.jobs(run=builders.RUN_ID, state=JobState.SUBMITTED) == stored.bare(job)
    assert await store.jobs(run="another") == ()


@pytest.mark.asyncio
async def test_runs_are_marked_once(store: Store) -> None:
    """Directory, wish to cancel and end of a run are each noted once, and stay."""
    await stored.added(store)
    run = builders.run()

    first = [
        await store.mark_run_dir(run.id, 1.0),
        await store.request_cancel_run(run.id, 2.0),
        await store.finish_run(run.id, RunOutcome.INVALID, "no valid result", 3.0),
    ]
    second = [
        await store.mark_run_dir(run.id, 4.0),
        await store.request_cancel_run(run.id, 4.0),
        await store.finish_run(run.id, RunOutcome.PASSED, None, 4.0),
    ]

    assert (first, second) == ([True] * 3, [False] * 3)
    assert await store.run(run.id) == replace(
        run,
        dir_made_at=1.0,
        cancel_requested_at=2.0,
        finished_at=3.0,
        outcome=RunOutcome.INVALID,
        why="no valid result",
    )


@pytest.mark.asyncio
async def test_a_run_is_opened_again_once(store: Store) -> None:
    """Asked twice for another attempt, a closed run is open again and has one such attempt."""
    first = builders.job()
    await stored.added(store, first)
    gone = replace(first, state=JobState.CANCELLED)
    done = await store.apply(first, gone, stored.event(Trigger.CANCEL_REQUESTED), NOW)
    run, retry = builders.run(), builders.job(attempt=2)
    await store.request_cancel_run(run.id, 1.0)
    await store.finish_run(run.id, RunOutcome.CANCELLED, "asked", 2.0)

    await store.reopen_run(run.id, [retry], NOW)
    await store.reopen_run(run.id, [retry], NOW)

    assert await store.run(run.id) == replace(run, reopened_at=NOW)
    assert await store.jobs() == stored.bare(done, retry)


@pytest.mark.asyncio
async def test_a_run_with_an_open_job_is_not_closed(store: Store) -> None:
    """An attempt that was added while the report was written keeps the run open."""
    await stored.added(store, builders.job())

    assert not await store.finish_run(builders.run().id, RunOutcome.FAILED, "late", 2.0)
    assert await store.run(builders.run().id) == builders.run()


@pytest.mark.asyncio
async def test_prefixes_resolve_while_unique(store: Store) -> None:
    """A unique prefix is a run or a job, also without the instance; else candidates are named."""
    await store.create_run(
        builders.run(id="k5aaaaaaaa"),
        [builders.job(run_id="k5aaaaaaaa", name=name) for name in ("db", "db-2", "web")],
    )
    await store.create_run(builders.run(id="k5bbbbbbbb", recipe_path="b.yaml"), [])
    store.instance = builders.INSTANCE
    token = builders.job(run_id="k5aaaaaaaa", name="web").token

    assert await store.resolve("k5a") == ("run", "k5aaaaaaaa")
    assert await store.resolve(token) == ("job", token)
    assert await store.resolve(token[:-4]) == ("job", token)
    assert await store.resolve("k5aaaaaaaa-s-w") == ("job", token)
    assert await store.resolve("k5c") is None
    assert await store.resolve("%") is None
    with pytest.raises(UserError, match=r"'k5' is not unique.*k5aaaaaaaa, k5bbbbbbbb"):
        await store.resolve("k5")
    with pytest.raises(UserError, match=r"db-2-p0r0-0-a1"):
        await store.resolve("k5aaaaaaaa-s-db")


@pytest.mark.asyncio
async def test_words_are_remembered(store: Store) -> None:
    """A key keeps its last value; an unknown key has none."""
    await store.set_meta("epoch.alpha", "1")
    await store.set_meta("epoch.alpha", "2")

    assert await store.meta("epoch.alpha") == "2"
    assert await store.meta("epoch.beta") is None
