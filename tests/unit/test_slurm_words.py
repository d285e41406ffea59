"""Slurm's job states: every row, every spelling, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from benchd.core.model import Event, Observation, SubState, Trigger
from benchd.core.slurm import STATES, Act, event, read_state
from benchd.core.slurm_words import STATE_ROWS

# word, compact form, what it triggers, sub-state
STATE_TABLE = [
    ("PENDING", "PD", Trigger.SEEN_PENDING, SubState.NONE),
    ("CONFIGURING", "CF", Trigger.SEEN_PENDING, SubState.CONFIGURING),
    ("POWER_UP_NODE", "", Trigger.SEEN_PENDING, SubState.CONFIGURING),
    ("REQUEUE_HOLD", "RH", Trigger.SEEN_PENDING, SubState.HELD),
    ("SPECIAL_EXIT", "SE", Trigger.SEEN_PENDING, SubState.HELD),
    ("RESV_DEL_HOLD", "RD", Trigger.SEEN_PENDING, SubState.HELD),
    ("LAUNCH_FAILED", "", Trigger.SEEN_PENDING, SubState.HELD),
    ("RUNNING", "R", Trigger.SEEN_RUNNING, SubState.NONE),
    ("SUSPENDED", "S", Trigger.SEEN_RUNNING, SubState.SUSPENDED),
    ("STOPPED", "ST", Trigger.SEEN_RUNNING, SubState.SUSPENDED),
    ("COMPLETING", "CG", Trigger.SEEN_RUNNING, SubState.COMPLETING),
    ("STAGE_OUT", "SO", None, SubState.NONE),
    ("SIGNALING", "SI", None, SubState.NONE),
    ("RESIZING", "RS", None, SubState.NONE),
    ("EXPEDITING", "", None, SubState.NONE),
    ("UPDATE_DB", "", None, SubState.NONE),
    ("RECONFIG_FAIL", "", None, SubState.NONE),
    ("GETENV_FAILED", "", Trigger.SEEN_PENDING, SubState.HELD),
    ("REQUEUED_CRON", "RC", None, SubState.NONE),
    ("REQUEUED", "RQ", None, SubState.NONE),
    ("REQUEUE_FED", "RF", None, SubState.NONE),
    ("REVOKED", "RV", None, SubState.NONE),
    ("COMPLETED", "CD", Trigger.SEEN_COMPLETED, SubState.NONE),
    ("CANCELLED", "CA", Trigger.SEEN_CANCELLED, SubState.NONE),
    ("FAILED", "F", Trigger.SEEN_FAILED, SubState.NONE),
    ("TIMEOUT", "TO", Trigger.SEEN_FAILED, SubState.NONE),
    ("OUT_OF_MEMORY", "OOM", Trigger.SEEN_FAILED, SubState.NONE),
    ("BOOT_FAIL", "BF", Trigger.SEEN_FAILED, SubState.NONE),
    ("DEADLINE", "DL", Trigger.SEEN_FAILED, SubState.NONE),
    ("NODE_FAIL", "NF", Trigger.SEEN_FAILED, SubState.NONE),
    ("PREEMPTED", "PR", Trigger.SEEN_FAILED, SubState.NONE),
]


def seen(word: str, **over: object) -> Event | None:
    """Return what an observation of this word means."""
    return event(Observation(token="t", slurm_id="7", word=word, **over))  # type: ignore[arg-type] # test data


def test_no_state_is_missing_and_none_is_invented() -> None:
    """The table of states is the table of this test, in both spellings."""
    expected = {(word, compact) for word, compact, _, _ in STATE_TABLE}
    assert expected == {(row.word, row.compact) for row in STATE_ROWS}
    assert {name for pair in expected for name in pair if name} == set(STATES)
    assert all(row.meaning for row in STATE_ROWS)


@pytest.mark.parametrize(("word", "compact", "trigger", "substate"), STATE_TABLE)
def test_a_state_means_what_the_table_says(
    word: str, compact: str, trigger: Trigger | None, substate: SubState
) -> None:
    """Each word of Slurm's triggers its event with its sub-state, or nothing at all."""
    assert {word} == {read_state(text)[0] for text in (word, compact or word, word.lower())}
    said = seen(word)
    assert (trigger, substate if trigger else None) == (
        said and said.trigger,
        said and said.substate,
    )


@pytest.mark.parametrize("word", ["?", "HIBERNATING", "", "CANCELLED?"])
def test_an_unknown_state_is_no_news(word: str) -> None:
    """A word that benchd does not know moves nothing."""
    assert seen(word) is None


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED"])
def test_a_job_that_slurm_may_bring_back_is_held_open(word: str) -> None:
    """A failed node or a preemption ends a job only when Slurm may not requeue it."""
    obs = Observation(token="t", slurm_id="7", word=word)
    assert event(obs, requeue=True) is None
    ended = event(obs, requeue=False)
    assert ended is not None
    assert (Trigger.SEEN_FAILED, word) == (ended.trigger, ended.word)


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED"])
@pytest.mark.parametrize(
    ("ago", "over", "ends"),
    [
        (0.0, {}, False),
        (299.0, {}, False),
        (-20.0, {}, False),
        (300.0, {}, True),
        (-3600.0, {}, True),
        (None, {}, True),
        (20.0, {"patience": 10.0}, True),
        (0.0, {"wanted": True}, True),
        (0.0, {"requeue": False}, True),
    ],
)
def test_a_job_that_slurm_does_not_bring_back_has_ended(
    word: str, ago: float | None, over: dict[str, Any], ends: bool
) -> None:
    """A lost or preempted job is over when Slurm did not requeue it for minutes, or should not."""
    ended_at = None if ago is None else 5000.0 - ago
    obs = Observation(token="t", slurm_id="7", word=word, ended_at=ended_at)
    said = event(obs, **{"requeue": True, "now": 5000.0, **over})
    assert (Trigger.SEEN_FAILED if ends else None) == (said and said.trigger)


def test_requeue_does_not_hold_other_ends_open() -> None:
    """A time-out of a job that may be requeued is an end all the same."""
    obs = Observation(token="t", slurm_id="7", word="TIMEOUT")
    assert event(obs, requeue=True) == event(obs, requeue=False)


def test_an_event_carries_what_was_seen() -> None:
    """Id, word, reason, nodes, count, exit, actor and times are handed on."""
    obs = Observation(
        token="t",
        slurm_id="7",
        word="CANCELLED",
        reason="TimeLimit",
        nodes="n1",
        generation=2,
        exit_code=0,
        signal=15,
        by="1000",
        started_at=1.0,
        ended_at=2.0,
    )
    assert event(obs) == Event(
        trigger=Trigger.SEEN_CANCELLED,
        slurm_id="7",
        word="CANCELLED",
        reason="TimeLimit",
        nodes="n1",
        generation=2,
        exit_code=0,
        signal=15,
        by="1000",
        started_at=1.0,
        ended_at=2.0,
    )


def test_a_completing_job_does_not_tell_its_generation() -> None:
    """Slurm raises the restart count before the old life is over, so it is not believed then."""
    ending = seen("COMPLETING", generation=1)
    running = seen("RUNNING", generation=1)
    assert ending is not None
    assert running is not None
    assert (None, 1) == (ending.generation, running.generation)


@pytest.mark.parametrize("reason", ["JobHeldUser", "(launch_failed_requeued_held)"])
def test_a_held_job_is_pending_and_held(reason: str) -> None:
    """A reason that says held makes the sub-state held."""
    said = seen("PENDING", reason=reason)
    assert said is not None
    assert (Trigger.SEEN_PENDING, SubState.HELD) == (said.trigger, said.substate)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CANCELLED by 1000", ("CANCELLED", "1000")),
        ("CANCELLED+", ("CANCELLED", None)),
        ("OUT_OF_ME+", ("OUT_OF_MEMORY", None)),
        ("RE+", ("RE", None)),
        ("PENDING,REQUEUED", ("REQUEUED", None)),
        ("RUNNING,COMPLETING", ("COMPLETING", None)),
        ("PENDING,LAUNCH_FAILED", ("LAUNCH_FAILED", None)),
        ("PENDING,RECONFIG_FAIL", ("RECONFIG_FAIL", None)),
        ("COMPLETED,COMPLETING,UPDATE_DB", ("COMPLETING", None)),
        ("RUNNING,POWER_UP_NODE,CONFIGURING", ("CONFIGURING", None)),
        ("  running ", ("RUNNING", None)),
        ("HIBERNATING", ("HIBERNATING", None)),
        ("", ("", None)),
    ],
)
def test_a_state_is_read_in_every_form(text: str, expected: tuple[str, str | None]) -> None:
    """Cut words, several words at once, actors and unknown words are read without a fuss."""
    assert expected == read_state(text)


def test_acts_are_all_used() -> None:
    """No kind of meaning is without a state."""
    assert set(Act) == {row.act for row in STATE_ROWS}
