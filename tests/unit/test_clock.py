"""A time of day that never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.clock import Level


class Machine:
    """A machine whose time can be set, and that can be suspended."""

    def __init__(self) -> None:
        self.wall = 1.7e9
        self.ran = 50.0  # seconds since it started, without those it was suspended
        self.level = Level(lambda: self.wall, lambda: self.ran)
        self.level()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.ran += seconds


def test_it_is_the_time_of_day() -> None:
    """As long as nobody sets the clock, it says what the clock says."""
    machine = Machine()
    machine.run(86400.0)
    assert machine.wall == machine.level()


@pytest.mark.parametrize("jump", [3600.0, 8 * 3600.0])
def test_a_jump_ahead_is_followed(jump: float) -> None:
    """After a suspension, or when the clock is set ahead, what is due by then is due."""
    machine = Machine()
    machine.wall += jump
    assert machine.wall == machine.level()


def test_a_step_back_neither_goes_back_nor_stalls() -> None:
    """Time goes on at half its speed until the clock has caught up."""
    machine = Machine()
    before = machine.level()
    machine.wall -= 3600.0
    at_once = machine.level()
    machine.run(60.0)
    later = machine.level()
    machine.run(7140.0)
    assert (before, before + 30.0, machine.wall) == (at_once, later, machine.level())


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(-10_000, 10_000)), max_size=40))
def test_it_never_goes_back_and_never_stands(story: list[tuple[float, float]]) -> None:
    """Whatever is set, in any time of running at least half of it passes."""
    machine = Machine()
    for seconds, step in story:
        before = machine.level()
        machine.run(seconds)
        machine.wall += step
        assert machine.level() - before >= seconds / 2 - 1e-6


def test_a_clock_that_was_set_back_goes_on_however_often_it_is_asked() -> None:
    """Looks that follow each other faster than its digits can tell do not make it stand still."""
    machine = Machine()
    before = machine.level()
    machine.wall -= 3600.0
    for _ in range(100_000):
        machine.run(2e-7)
        machine.level()
    assert 0.02 * 0.5 == pytest.approx(machine.level() - before, abs=1e-3)
