"""After which ends a job is tried again, how soon, and what is done differently."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.model import Job, JobState
from benchd.core.restart import (
    AVOIDED_AT_MOST,
    CAUSES,
    PAUSE_MAX,
    avoided,
    is_retried,
    larger_memory,
    longer_time,
    next_spec,
    pause_before_next,
    seconds_of,
    why_not_again,
)
from benchd.core.spec import RestartPolicy
from benchd.fields import Resources
from support.builders import client, service

THRICE = RestartPolicy(max_attempts=3)
FACTORS = st.floats(1, 64)


def failed(why: str, restart: RestartPolicy = THRICE, **over: object) -> Job:
    """Return a client that ended so."""
    return client(state=JobState.FAILED, why=why, restart=restart, **over)


@pytest.mark.parametrize("why", ["NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "NEVER_STARTED"])
def test_what_was_no_fault_of_the_job_is_tried_again(why: str) -> None:
    """A node that failed, did not boot or could not launch it says nothing about the job."""
    assert is_retried(failed(why))


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("HOPELESS", "can never start"),
        ("REFUSED", "refuse it again"),
        ("CANCELLED_BY_OTHER", "on purpose"),
        ("LIMIT", "limit"),
        ("LOST", "nobody can tell"),
        ("DEADLINE", "deadline"),
        ("WORKDIR_NOT_VISIBLE", "workdir"),
        ("SOMETHING_NEW", "after SOMETHING_NEW"),
        ("OUT_OF_MEMORY", "restart.more_memory is not set"),
        ("TIMEOUT", "restart.more_time is not set"),
    ],
)
def test_what_would_end_the_same_way_is_not_tried_again(why: str, reason: str) -> None:
    """However many attempts the recipe allows; and the reason is said."""
    assert reason in str(why_not_again(failed(why)))


def test_what_did_not_fail_is_not_tried_again() -> None:
    """A cancelled job was ended on purpose, a completed one is done."""
    ends = [replace(failed("NODE_FAIL"), state=s) for s in JobState if s is not JobState.FAILED]
    assert not any(is_retried(job) for job in ends)


@pytest.mark.parametrize(
    ("restart", "reason"),
    [
        (RestartPolicy(policy="never", max_attempts=3), "restart.policy is never"),
        (RestartPolicy(max_attempts=1), "restart.max_attempts is 1"),
        (RestartPolicy(max_attempts=3, on=("exit", "health")), "restart.on does not name node"),
    ],
)
def test_the_recipe_has_the_last_word(restart: RestartPolicy, reason: str) -> None:
    """A policy that forbids it is named with its value."""
    assert reason in str(why_not_again(failed("NODE_FAIL", restart)))


@pytest.mark.parametrize(
    ("why", "on"), [("EXITED", "exit"), ("UNHEALTHY", "health"), ("PREEMPTED", "preempted")]
)
def test_each_cause_can_be_chosen(why: str, on: str) -> None:
    """``on`` names what is tried again, and nothing else is."""
    only = RestartPolicy.model_validate({"max_attempts": 3, "on": (on,)})
    assert (True, False) == (is_retried(failed(why, only)), is_retried(failed("NODE_FAIL", only)))


def test_the_next_attempt_avoids_the_node_that_failed() -> None:
    """Nodes that failed before stay avoided; the newest come last."""
    job = failed("NODE_FAIL", nodes="n[3-4]", avoid=("n1", "n3"))
    assert ("n1", "n3", "n4") == next_spec(job).avoid


@pytest.mark.parametrize(
    ("nodes", "resources"),
    [
        ("n[1-9]", Resources()),  # one of nine: nobody knows which
        ("n3", Resources(nodelist="n3")),
        ("n3;rm -rf /", Resources()),
        (None, Resources()),
    ],
)
def test_no_node_is_avoided_that_is_needed_or_not_known(
    nodes: str | None, resources: Resources
) -> None:
    """Excluding what must be used, or everything, would make the job impossible."""
    assert ("n1",) == avoided(failed("NODE_FAIL", nodes=nodes, resources=resources, avoid=("n1",)))


@given(st.lists(st.integers(1, 99), max_size=40))
def test_the_list_of_avoided_nodes_stays_short(numbers: list[int]) -> None:
    """The node that failed longest ago is forgotten first, and none stands there twice."""
    job = failed("NODE_FAIL")
    for number in numbers:
        job = replace(job, nodes=f"n{number}")
        job = replace(job, spec=next_spec(job))
    newest = list(dict.fromkeys(f"n{number}" for number in reversed(numbers)))
    assert newest[:AVOIDED_AT_MOST][::-1] == list(job.spec.avoid)


@pytest.mark.parametrize("why", ["REFUSED", "HOPELESS"])
@pytest.mark.parametrize(("attempt", "again"), [(2, True), (3, True), (4, False)])
def test_what_slurm_has_no_other_node_for_is_tried_again_on_any(
    why: str, attempt: int, *, again: bool
) -> None:
    """The nodes that it avoided were all there are; that attempt never ran, so one more is due."""
    job = failed(why, attempt=attempt, avoid=("n1", "n2"))
    assert (again, ()) == (is_retried(job), next_spec(job).avoid)
    assert (pause_before_next(job) > 0) is again


def test_a_refusal_that_avoided_nodes_do_not_explain_is_not_tried_again() -> None:
    """A limit of the user's is no question of nodes, and the recipe's policy has the last word."""
    quota = failed("REFUSED", avoid=("n1",), reason="QOSMaxSubmitJobPerUserLimit")
    never = failed("REFUSED", RestartPolicy(policy="never", max_attempts=3), avoid=("n1",))
    assert not is_retried(quota)
    assert "restart.policy is never" == why_not_again(never)


def test_an_exit_changes_nothing() -> None:
    """The program failed, not its node: it is tried again as it was."""
    job = failed("FAILED", nodes="n3")
    assert job.spec == next_spec(job)


def test_more_memory_and_time_are_asked_for_only_if_the_recipe_says_so() -> None:
    """Each after its own end, and each attempt more than the one before."""
    more = RestartPolicy(max_attempts=3, more_memory=2, more_time=1.5)
    asked = Resources(mem="3G", time="01:00:00")
    starved = next_spec(failed("OUT_OF_MEMORY", more, resources=asked))
    assert ("6G", "01:00:00") == (starved.resources.mem, starved.resources.time)
    again = client(spec=starved, restart=more, state=JobState.FAILED, why="TIMEOUT")
    assert ("6G", "01:30:00") == (next_spec(again).resources.mem, next_spec(again).resources.time)


@pytest.mark.parametrize(
    ("why", "resources"),
    [
        ("OUT_OF_MEMORY", Resources()),
        ("OUT_OF_MEMORY", Resources(mem="0")),
        ("TIMEOUT", Resources()),
    ],
)
def test_nothing_cannot_be_multiplied(why: str, resources: Resources) -> None:
    """Where no amount was asked for there is none to raise, which is said."""
    more = RestartPolicy(max_attempts=3, more_memory=2, more_time=2)
    assert "nothing to multiply" in str(why_not_again(failed(why, more, resources=resources)))


def test_the_same_again_must_be_asked_for() -> None:
    """A factor of 1 says that the same time is worth another attempt."""
    assert is_retried(failed("TIMEOUT", RestartPolicy(max_attempts=2, more_time=1)))


def test_pauses_double_up_to_ten_minutes() -> None:
    """A service that dies at once is no storm of submissions."""
    job = failed("EXITED", RestartPolicy(max_attempts=100))
    pauses = [pause_before_next(replace(job, attempt=n)) for n in (1, 2, 3, 7, 99)]
    assert [10.0, 20.0, 40.0, PAUSE_MAX, PAUSE_MAX] == pauses
    assert 0.0 == pause_before_next(replace(job, state=JobState.CANCELLED))


@pytest.mark.parametrize(
    ("amount", "factor", "expected"),
    [
        ("4G", 2, "8G"),
        ("3G", 1.5, "4608M"),
        ("512", 1.5, "768M"),
        ("1K", 1.5, "2K"),
        ("100GB", 1.25, "125G"),
        ("0", 2, "0"),
        ("999999999T", 2, "999999999T"),
    ],
)
def test_memory_grows_in_units_that_slurm_takes(amount: str, factor: float, expected: str) -> None:
    """Whole numbers only; where one does not do, of the next smaller unit."""
    assert expected == larger_memory(amount, factor)


@pytest.mark.parametrize(
    ("text", "factor", "expected"),
    [
        ("60", 1.5, "01:30:00"),
        ("30:30", 1, "00:31:00"),
        ("01:00:00", 2, "02:00:00"),
        ("1-0", 1.5, "1-12:00:00"),
        ("2-12:30", 2, "5-01:00:00"),
        ("0", 2, "0"),
        ("999-23:59:59", 64, "999-00:00:00"),
    ],
)
def test_time_grows_in_whole_minutes(text: str, factor: float, expected: str) -> None:
    """In the form that Slurm takes, days before a dash."""
    assert expected == longer_time(text, factor)


@given(st.from_regex(r"\A[1-9]\d{0,8}([KMGT]B?)?\Z"), FACTORS)
def test_more_memory_is_never_less_and_always_valid(amount: str, factor: float) -> None:
    """Whatever the amount and the factor, but for the largest number that can be written."""
    grown = Resources(mem=larger_memory(amount, factor)).mem or ""
    assert _kilobytes(grown) >= min(_kilobytes(amount) * factor * 0.999999, _kilobytes(amount))
    assert _kilobytes(grown) >= _kilobytes(amount)


@given(st.from_regex(r"\A(\d{1,6}|\d{1,4}(:\d{2}){1,2}|\d{1,2}-\d{1,2}(:\d{2}){0,2})\Z"), FACTORS)
def test_more_time_is_never_less_and_always_valid(text: str, factor: float) -> None:
    """Whatever the form and the factor, but for the longest time that can be written."""
    grown = Resources(time=longer_time(text, factor)).time or ""
    assert seconds_of(grown) >= min(seconds_of(text) * factor * 0.999999, 999 * 86400)


@given(st.sampled_from([*CAUSES, "REFUSED", "LOST", None]), st.integers(1, 200), st.booleans())
def test_attempts_are_bounded(why: str | None, attempt: int, is_service: bool) -> None:
    """Nothing is tried again by its own policy beyond max_attempts, whatever it ended from."""
    policy = RestartPolicy(max_attempts=5, more_memory=2, more_time=2)
    make = service if is_service else client
    job = make(state=JobState.FAILED, why=why, attempt=attempt, restart=policy)
    assert not (is_retried(job) and attempt >= 5)


def _kilobytes(amount: str) -> int:
    digits = amount.rstrip("KMGTB")
    unit = amount[len(digits) :].rstrip("B") or "M"
    return int(digits) * 1024 ** "KMGT".index(unit)
