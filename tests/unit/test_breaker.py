"""The circuit breaker, on a clock that tests move."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.edge.breaker import LONGEST, Breaker, Circuit
from benchd.edge.shell import Resting
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics
from support.near import sample


class Line:
    """A breaker, its clock, and calls that end as they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.metrics = Metrics()
        self.breaker = Breaker("alpha", metrics=self.metrics, clock=lambda: self.now)

    def call(self, error: Exception | None = None, op: str = "poll", seconds: float = 0.0) -> bool:
        """Make one call; return whether it was let through."""
        try:
            with self.breaker.guard(op):
                self.now += seconds
                if error is not None:
                    raise error
        except Resting:
            return False
        except Unreachable:
            pass
        return True

    def open(self) -> None:
        """Let it open."""
        for _ in range(5):
            self.call(Unreachable("gone"))

    def pass_until_half_open(self) -> float:
        """Let time pass until a trial is possible; return how long that took."""
        wait = self.breaker.wait
        self.now += wait
        return wait

    @property
    def gauge(self) -> float:
        """What is exported."""
        return sample(self.metrics, "benchd_circuit_open", cluster="alpha")


def test_five_failures_in_two_minutes_open_the_circuit_for_one() -> None:
    """After the fifth failure nothing is tried for sixty seconds."""
    line = Line()
    for _ in range(5):
        assert line.call(Unreachable("gone"), seconds=20.0)
    assert (Circuit.OPEN, 1.0) == (line.breaker.state, line.gauge)
    line.now += 20.0
    with pytest.raises(Resting, match="left alone for 40 s") as caught:
        line.breaker.check("poll")
    assert (False, 40.0) == (caught.value.sent, caught.value.seconds)
    line.now += 40.0
    assert (Circuit.HALF_OPEN, 1.0) == (line.breaker.state, line.gauge)
    assert line.call()
    assert (Circuit.CLOSED, 0.0) == (line.breaker.state, line.gauge)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (31.0, Unreachable("gone")),
        (0.0, NeedsHuman("key")),
        (0.0, Resting("later", 9.0)),
        (0.0, None),
    ],
    ids=["far apart", "needs a human", "nothing was tried", "it answers"],
)
def test_what_does_not_open_it(seconds: float, error: Exception | None) -> None:
    """Failures far apart are bad luck; what was not tried, or was answered, is none."""
    line = Line()
    for _ in range(20):
        line.call(error, seconds=seconds)
    assert Circuit.CLOSED is line.breaker.state


def test_an_answer_forgives() -> None:
    """One answer clears the failures before it."""
    line = Line()
    for _ in range(4):
        line.call(Unreachable("gone"))
    line.call()
    line.call(Unreachable("gone"))
    assert Circuit.CLOSED is line.breaker.state


def test_calls_that_one_incident_takes_along_count_once() -> None:
    """Ten sessions on one connection that is cut are one failure."""
    line = Line()
    calls = [line.breaker.guard("fetch") for _ in range(10)]
    for call in calls:
        call.__enter__()
    line.now += 5.0
    cut = Unreachable("cut")
    for call in calls:
        call.__exit__(type(cut), cut, None)
    assert Circuit.CLOSED is line.breaker.state


def test_half_open_lets_exactly_one_through() -> None:
    """While the trial is under way all others are told to wait; its answer lets them in."""
    line = Line()
    line.open()
    line.pass_until_half_open()
    with line.breaker.guard("poll"):
        assert [False] * 3 == [line.call(op=op) for op in ("poll", "submit", "fetch")]
    assert [True] * 3 == [line.call(op=op) for op in ("poll", "submit", "fetch")]


@pytest.mark.parametrize(
    ("op", "seconds", "goes"),
    [("poll", 0, True), ("open", 0, True), ("submit", 0, False), ("submit", 15, True)],
)
def test_the_trial_is_the_next_poll_if_there_is_one(op: str, seconds: float, goes: bool) -> None:
    """For a quarter of a minute only a look may be the trial: it loses nothing."""
    line = Line()
    line.open()
    line.pass_until_half_open()
    line.now += seconds
    assert goes is line.call(op=op)


def test_what_can_be_no_trial_waits_until_it_is_closed() -> None:
    """A forwarded connection is asked for neither while it is open nor while it is half open."""
    line = Line()
    line.breaker.require_closed()
    line.open()
    for _ in range(2):
        with pytest.raises(Resting):
            line.breaker.require_closed()
        line.pass_until_half_open()


def test_a_trial_without_an_outcome_leaves_room_for_another() -> None:
    """A call that was given up, or that was not even tried, decides nothing."""
    line = Line()
    line.open()
    line.pass_until_half_open()
    with pytest.raises(KeyboardInterrupt), line.breaker.guard("poll"):
        raise KeyboardInterrupt
    line.call(Resting("the link rests", 3.0))
    assert Circuit.HALF_OPEN is line.breaker.state
    assert line.call()


def test_it_opens_for_longer_each_time() -> None:
    """A failed trial doubles the pause, up to a quarter of an hour; an answer ends that."""
    line = Line()
    line.open()
    waits = []
    for _ in range(6):
        waits.append(line.pass_until_half_open())
        line.call(Unreachable("gone"))
    line.pass_until_half_open()
    line.call()
    line.open()
    soon = line.breaker.wait
    line.pass_until_half_open()
    line.call()
    line.now += 601.0
    line.open()
    assert [60.0, 120.0, 240.0, 480.0, 900.0, 900.0] == waits
    assert (LONGEST, 60.0) == (soon, line.breaker.wait)


def test_a_human_may_close_it() -> None:
    """After a reset everything goes through."""
    line = Line()
    line.open()
    line.breaker.reset()
    assert line.call(op="submit")


steps = st.lists(
    st.tuples(
        st.floats(0, 300),  # seconds before
        st.sampled_from(["poll", "submit", "fetch"]),
        st.sampled_from(["start", "answer", "fail", "give up"]),
    ),
    max_size=60,
)


@given(steps)
def test_while_it_is_not_closed_at_most_one_call_is_under_way(
    story: list[tuple[float, str, str]],
) -> None:
    """Of the calls that were let through since it opened, never two run at the same time."""
    line = Line()
    running: list[tuple[ExitStack, bool]] = []  # a call, and whether it is a trial
    for seconds, op, what in story:
        line.now += seconds
        if what == "start":
            was = line.breaker.state
            stack = ExitStack()
            try:
                stack.enter_context(line.breaker.guard(op))
            except Resting:
                assert was is not Circuit.CLOSED
                continue
            assert was is not Circuit.OPEN
            running.append((stack, was is Circuit.HALF_OPEN))
            assert sum(trial for _, trial in running) <= 1
        elif running:
            call, _ = running.pop(0)
            error = {"answer": None, "fail": Unreachable("gone"), "give up": KeyboardInterrupt()}
            ended = error[what]
            call.__exit__(type(ended) if ended else None, ended, None)
