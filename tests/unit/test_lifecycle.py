"""The job state machine: every row of the table, and what it leaves in the record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.lifecycle import TABLE, IllegalMove, Rules, advance, match
from benchd.core.model import (
    LIVE,
    TERMINAL,
    CancelWhy,
    Event,
    Job,
    JobState,
    Readiness,
    SubState,
    Trigger,
)
from support.builders import CREATED_AT as T0
from support.builders import client, service

RULES = Rules(patience=600.0, refusals=3)
NOW = T0 + 100.0


def live(job: Job, state: JobState = JobState.RUNNING, **over: object) -> Job:
    """Return the job as Slurm has had it for a minute."""
    facts = {"slurm_id": "7", "tries": 1, "attempted_at": T0, "submitted_at": T0}
    return replace(job, state=state, **{**facts, **over})


def on(trigger: Trigger, **over: object) -> Event:
    """Return an event with the given fields."""
    return Event(trigger=trigger, **over)


def asked(why: CancelWhy) -> dict[str, object]:
    """Return the fields of a job whose end was asked for."""
    return {"cancel_requested_at": T0 + 50, "cancel_why": why}


@pytest.mark.parametrize(
    ("row", "job", "event", "state", "why"),
    [
        ("1", client(), on(Trigger.SUBMIT_ACCEPTED, slurm_id="7"), JobState.SUBMITTED, None),
        ("2", client(), on(Trigger.SUBMIT_REFUSED, final=True), JobState.FAILED, "REFUSED"),
        ("2", client(submit_failures=2), on(Trigger.SUBMIT_REFUSED), JobState.FAILED, "REFUSED"),
        ("3", client(), on(Trigger.SUBMIT_REFUSED), JobState.CREATED, None),
        (
            "3",
            client(submit_failures=20),
            on(Trigger.SUBMIT_REFUSED, reason="AssocMaxSubmitJobLimit"),
            JobState.CREATED,
            None,
        ),
        ("3a", client(attempted_at=T0), on(Trigger.TRY_EXPIRED), JobState.CREATED, None),
        ("4", live(client(), JobState.SUBMITTED), on(Trigger.SEEN_PENDING), JobState.PENDING, None),
        ("5", live(client()), on(Trigger.SEEN_PENDING), JobState.PENDING, None),
        ("6", live(client(), JobState.PENDING), on(Trigger.SEEN_RUNNING), JobState.RUNNING, None),
        ("7", live(client()), on(Trigger.SEEN_COMPLETED), JobState.COMPLETED, None),
        (
            "7",
            live(service(), **asked(CancelWhy.DONE)),
            on(Trigger.SEEN_COMPLETED),
            JobState.COMPLETED,
            None,
        ),
        ("8", live(service()), on(Trigger.SEEN_COMPLETED), JobState.FAILED, "EXITED"),
        (
            "9",
            live(service(), **asked(CancelWhy.DONE)),
            on(Trigger.SEEN_CANCELLED, by="0"),
            JobState.CANCELLED,
            "DONE",
        ),
        (
            "9",
            live(client(), **asked(CancelWhy.SIBLING)),
            on(Trigger.SEEN_FAILED, word="FAILED"),
            JobState.CANCELLED,
            "SIBLING",
        ),
        (
            "10",
            live(service(), **asked(CancelWhy.NOT_READY)),
            on(Trigger.SEEN_CANCELLED),
            JobState.FAILED,
            "NOT_READY",
        ),
        (
            "10",
            live(service(), **asked(CancelWhy.UNHEALTHY)),
            on(Trigger.SEEN_FAILED, word="FAILED"),
            JobState.FAILED,
            "UNHEALTHY",
        ),
        ("11", live(client()), on(Trigger.SEEN_CANCELLED), JobState.FAILED, "CANCELLED_BY_OTHER"),
        ("11a", live(client()), on(Trigger.SEEN_TWIN, slurm_id="8"), JobState.RUNNING, None),
        (
            "12",
            live(service()),
            on(Trigger.SEEN_FAILED, word="TIMEOUT"),
            JobState.FAILED,
            "TIMEOUT",
        ),
        (
            "12",
            live(client()),
            on(Trigger.SEEN_FAILED, word="FAILED", why="WORKDIR_NOT_VISIBLE"),
            JobState.FAILED,
            "WORKDIR_NOT_VISIBLE",
        ),
        (
            "13",
            live(client(), missing_since=T0 - 600),
            on(Trigger.NOT_SEEN),
            JobState.FAILED,
            "LOST",
        ),
        (
            "13",
            live(client(), missing_since=T0 - 600, **asked(CancelWhy.ASKED)),
            on(Trigger.NOT_SEEN),
            JobState.CANCELLED,
            "ASKED",
        ),
        ("14", live(client()), on(Trigger.NOT_SEEN), JobState.RUNNING, None),
        (
            "15",
            client(),
            on(Trigger.CANCEL_REQUESTED, cancel_why=CancelWhy.ASKED),
            JobState.CANCELLED,
            "ASKED",
        ),
        (
            "15",
            client(tries=1, attempted_at=T0, **asked(CancelWhy.SIBLING)),
            on(Trigger.PROVED_ABSENT),
            JobState.CANCELLED,
            "SIBLING",
        ),
        (
            "16",
            client(tries=1, attempted_at=T0),
            on(Trigger.CANCEL_REQUESTED),
            JobState.CREATED,
            None,
        ),
        ("16", live(client()), on(Trigger.CANCEL_REQUESTED), JobState.RUNNING, None),
    ],
)
def test_each_row_moves_as_the_table_says(
    row: str, job: Job, event: Event, state: JobState, why: str | None
) -> None:
    """The first matching row decides the state and the word for how it ended."""
    moved = advance(job, event, NOW, RULES)
    assert (row, state, why) == (match(job, event, NOW, RULES).number, moved.state, moved.why)


def test_a_time_limit_is_the_normal_end_of_a_service_without_clients() -> None:
    """Row 11b: an open-ended service that reaches its time limit is COMPLETED."""
    event = on(Trigger.SEEN_FAILED, word="TIMEOUT")
    rules = replace(RULES, open_ended=True)
    assert JobState.COMPLETED == advance(live(service()), event, NOW, rules).state
    assert JobState.FAILED == advance(live(client()), event, NOW, rules).state


def test_every_row_of_the_table_is_covered_by_these_tests() -> None:
    """A new row needs a test that names it."""
    covered = {"1", "2", "3", "3a", "4", "5", "6", "7", "8", "9", "10", "11", "11a", "11b", "12"}
    assert covered | {"13", "14", "15", "16"} == {row.number for row in TABLE}


@given(st.sampled_from(sorted(TERMINAL)), st.sampled_from(sorted(Trigger)))
def test_terminal_states_accept_nothing(state: JobState, trigger: Trigger) -> None:
    """Whatever is learned late about a job that is over is refused, and changes nothing."""
    with pytest.raises(IllegalMove):
        advance(live(client(), state), on(trigger, word="FAILED"), NOW, RULES)


@given(
    st.sampled_from([JobState.CREATED, *sorted(LIVE)]),
    st.sampled_from(sorted(Trigger)),
    st.sampled_from([None, *CancelWhy]),
    st.booleans(),
)
def test_a_move_keeps_the_invariants_of_the_schema(
    state: JobState, trigger: Trigger, why: CancelWhy | None, is_service: bool
) -> None:
    """Readiness exists only for running services, and every end has its time."""
    job = service() if is_service else client()
    job = live(job, state) if state in LIVE else replace(job, tries=1, attempted_at=T0)
    if why is not None:
        job = replace(job, cancel_requested_at=T0, cancel_why=why)
    event = on(trigger, slurm_id="7", word="FAILED")
    try:
        moved = advance(job, event, NOW, RULES)
    except IllegalMove:
        return
    running_service = is_service and moved.state is JobState.RUNNING
    assert moved.readiness is Readiness.UNKNOWN or running_service
    assert moved.is_terminal == (moved.ended_at is not None)
    assert moved.slurm_id is not None or not moved.is_live


def test_a_refusal_that_may_pass_backs_off_longer_each_time() -> None:
    """The pause doubles, and the try that was refused is settled."""
    once = advance(client(attempted_at=T0, tries=1), on(Trigger.SUBMIT_REFUSED), NOW, RULES)
    twice = advance(replace(once, attempted_at=NOW), on(Trigger.SUBMIT_REFUSED), NOW, RULES)
    assert (NOW + 15.0, NOW + 30.0) == (once.not_before, twice.not_before)
    assert (None, 1) == (once.attempted_at, once.tries)


def test_a_requeue_starts_a_new_generation_without_readiness() -> None:
    """Row 5: back in the queue nothing answers any more, and the old span does not count."""
    ready = live(service(), readiness=Readiness.READY, started_at=T0 + 5, ready_at=T0 + 9)
    queued = advance(ready, on(Trigger.SEEN_PENDING, generation=1, reason="BeginTime"), NOW, RULES)
    expected = (1, Readiness.UNKNOWN, None, None)
    assert expected == (queued.generation, queued.readiness, queued.started_at, queued.ready_at)


@pytest.mark.parametrize("between", [(Trigger.SEEN_PENDING,), ()])
def test_a_service_is_not_missed_while_it_waits_in_the_queue(between: tuple[Trigger, ...]) -> None:
    """The first look after a requeue comes after no gap; spans of before stay known."""
    spans = ((T0 - 90, T0 - 60),)
    job = live(service(), readiness=Readiness.READY, looked_at=T0, unseen=spans)
    for trigger in (*between, Trigger.SEEN_RUNNING):
        job = advance(job, on(trigger, generation=1), NOW, RULES)
    assert (None, spans) == (job.looked_at, job.unseen)


def test_a_requeued_job_waits_in_the_queue_from_now_on() -> None:
    """What it had waited and run before is no part of its time in the queue."""
    was = live(client(), submitted_at=T0)
    queued = advance(was, on(Trigger.SEEN_PENDING, generation=1), NOW, RULES)
    again = advance(queued, on(Trigger.SEEN_PENDING, generation=1), NOW + 60, RULES)
    assert (NOW, NOW) == (queued.submitted_at, again.submitted_at)


def test_a_service_that_goes_on_after_a_suspension_has_its_grace_anew() -> None:
    """Nobody looked at it meanwhile."""
    silent = live(service(), readiness=Readiness.UNREADY, readiness_since=T0, probe_streak=-9)
    asleep = advance(silent, on(Trigger.SEEN_RUNNING, substate=SubState.SUSPENDED), NOW, RULES)
    assert (-9, T0) == (asleep.probe_streak, asleep.readiness_since)
    woken = advance(asleep, on(Trigger.SEEN_RUNNING), NOW + 60, RULES)
    expected = (Readiness.UNREADY, 0, NOW + 60, SubState.NONE)
    assert expected == (woken.readiness, woken.probe_streak, woken.readiness_since, woken.substate)


def test_what_slurm_lost_before_it_started_has_a_word_of_its_own() -> None:
    """Its claim was free and is taken now: it cannot start any more."""
    gone = live(client(), JobState.PENDING, missing_since=NOW - 700)
    sealed = advance(gone, on(Trigger.NOT_SEEN, why="NEVER_STARTED"), NOW, RULES)
    lost = advance(gone, on(Trigger.NOT_SEEN), NOW, RULES)
    assert ("NEVER_STARTED", "LOST") == (sealed.why, lost.why)


def test_a_restart_that_no_poll_saw_is_noticed_by_slurms_count() -> None:
    """RUNNING with a higher restart count means the same as seeing it pending in between."""
    ready = live(service(), readiness=Readiness.READY, started_at=T0 + 5)
    again = advance(ready, on(Trigger.SEEN_RUNNING, generation=1, started_at=NOW), NOW, RULES)
    assert (1, Readiness.STARTING, NOW) == (again.generation, again.readiness, again.started_at)


@pytest.mark.parametrize(
    ("trigger", "state"),
    [
        (Trigger.SEEN_PENDING, JobState.SUBMITTED),
        (Trigger.SEEN_PENDING, JobState.PENDING),
        (Trigger.SEEN_COMPLETED, JobState.PENDING),
        (Trigger.SEEN_FAILED, JobState.RUNNING),
    ],
)
def test_a_run_that_no_poll_saw_is_counted(trigger: Trigger, state: JobState) -> None:
    """Whatever is seen of a job says which of its runs it is about."""
    seen = advance(live(client(), state), on(trigger, generation=1), NOW, RULES)
    assert 1 == seen.generation


def test_the_requeues_of_a_twin_are_not_those_of_the_holder() -> None:
    """Who follows another Slurm id counts that one's runs, from the first."""
    requeued = live(client(), JobState.PENDING, generation=2, slurm_id="41")
    followed = advance(requeued, on(Trigger.SEEN_TWIN, slurm_id="42"), NOW, RULES)
    running = advance(followed, on(Trigger.SEEN_RUNNING, slurm_id="42", generation=1), NOW, RULES)
    assert ("42", 0, 1) == (followed.slurm_id, followed.generation, running.generation)


def test_seeing_a_running_service_again_changes_nothing() -> None:
    """A poll without news writes no transition."""
    started = advance(
        live(service(), JobState.PENDING),
        on(Trigger.SEEN_RUNNING, word="RUNNING", nodes="n1", generation=0),
        NOW,
        RULES,
    )
    event = on(Trigger.SEEN_RUNNING, word="RUNNING", nodes="n1", generation=0)
    assert started == advance(started, event, NOW + 60, RULES)


def test_completing_is_a_detail_of_running() -> None:
    """A sub-state is recorded and is no move."""
    event = on(Trigger.SEEN_RUNNING, word="COMPLETING", substate=SubState.COMPLETING)
    moved = advance(live(client(), started_at=T0), event, NOW, RULES)
    assert (JobState.RUNNING, SubState.COMPLETING) == (moved.state, moved.substate)


def test_the_first_reason_to_cancel_is_kept() -> None:
    """A second wish does not rewrite why the job is ended."""
    job = live(service(), **asked(CancelWhy.NOT_READY))
    event = on(Trigger.CANCEL_REQUESTED, cancel_why=CancelWhy.DONE)
    assert job == advance(job, event, NOW, RULES)


def test_absence_is_timed_from_its_first_confirmation() -> None:
    """Row 14 sets missing_since once; being seen again clears it."""
    first = advance(live(client()), on(Trigger.NOT_SEEN), NOW, RULES)
    second = advance(first, on(Trigger.NOT_SEEN), NOW + 60, RULES)
    back = advance(second, on(Trigger.SEEN_RUNNING), NOW + 61, RULES)
    assert (NOW, NOW, None) == (first.missing_since, second.missing_since, back.missing_since)


def test_a_reason_is_as_old_as_its_first_sight() -> None:
    """The same reason keeps its time, another one begins anew, a requeue as well."""
    seen = on(Trigger.SEEN_PENDING, reason="BadConstraints")
    other = on(Trigger.SEEN_PENDING, reason="Priority")
    first = advance(live(client(), JobState.SUBMITTED), seen, NOW, RULES)
    again = advance(first, seen, NOW + 60, RULES)
    changed = advance(again, other, NOW + 90, RULES)
    requeued = advance(live(client(), reason="Priority", reason_since=T0), other, NOW + 95, RULES)
    times = [job.reason_since for job in (first, again, changed, requeued)]
    assert [NOW, NOW, NOW + 90, NOW + 95] == times
