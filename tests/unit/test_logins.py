"""How often a login node is knocked at, on a clock that tests move."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.edge.login import SITE, Pace
from benchd.edge.logins import DAY, TEN_MINUTES, Logins

WALL = 1.7e9  # a time of day, seconds since the epoch


class Door:
    """A pace of logins, its clock, and what the jitter draws."""

    def __init__(self, pace: Pace = SITE, *, jitter: float = 1.0, now: float = 1000.0) -> None:
        self.now = now
        self.jitter = jitter
        self.logins = Logins(pace, clock=lambda: self.now, jitter=lambda: self.jitter)

    def knock(self, *, works: bool = False) -> float:
        """Wait as long as asked, then log in; return how long that was."""
        wait = self.logins.wait()
        seconds = wait.seconds if wait else 0.0
        self.now += seconds
        self.logins.tried()
        if not works:
            self.logins.failed()
        return seconds


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [
        (0.0, [0, 30, 30, 30, 30, 30, 450, 30]),
        (1.0, [0, 30, 30, 30, 30, 30, 450, 64, 128, 256, 300, 300]),
    ],
)
def test_pauses_grow_between_the_floor_and_five_minutes(jitter: float, waits: list[float]) -> None:
    """Full jitter from 1 to 300 s, 30 s at least, and six in ten minutes at most."""
    door = Door(jitter=jitter)
    assert waits == [door.knock() for _ in waits]


def test_the_floor_holds_also_after_a_login_that_worked() -> None:
    """A connection that is lost at once is not made again within thirty seconds."""
    door = Door(jitter=0.0)
    door.knock(works=True)
    door.now += 2.0
    door.logins.failed()
    wait = door.logins.wait()
    assert wait is not None
    assert 28.0 == wait.seconds


def test_a_connection_that_held_begins_anew() -> None:
    """After a connection of days the first pause is a second at most."""
    door = Door()
    for _ in range(5):
        door.knock()
    door.now += 5 * DAY
    door.logins.held()
    assert 1.0 == door.logins.failed()


def test_a_night_without_the_node_leaves_logins_for_the_morning() -> None:
    """Failures use up half of a day's logins at their pace, and the rest over the day."""
    door = Door()
    used = []
    while door.now < 1000.0 + DAY:
        door.knock()
        used.append(door.now)
    gaps = [b - a for a, b in pairwise(used)]
    assert (30, 2880.0) == (sum(gap <= 450 for gap in gaps) + 1, max(gaps))
    assert "of 60 logins a day are used" in (door.logins.wait() or pytest.fail("no wait")).why


def test_a_flapping_node_rests_at_the_ceiling_of_the_day() -> None:
    """Logins that work and do not last are sixty a day, and the sentence says so."""
    door = Door(jitter=0.0)
    for _ in range(60):
        door.knock(works=True)
        door.now += 400.0
        door.logins.held()
        door.logins.failed()
    wait = door.logins.wait()
    assert wait is not None
    assert ("60 logins in 24 hours are the limit", 60) == (wait.why, door.logins.today)
    assert DAY - 60 * 400.0 == wait.seconds


def test_a_human_may_let_one_more_through() -> None:
    """After a resume one login is tried at once; the next one waits again."""
    door = Door(jitter=0.0)
    for _ in range(6):
        door.knock()
    door.logins.allow()
    assert door.logins.wait() is None
    door.knock()
    wait = door.logins.wait()
    assert wait is not None
    assert "6 logins in 10 minutes are the limit" == wait.why


def test_a_restart_forgets_no_login() -> None:
    """What one daemon wrote down, the next one counts, by the time of day."""
    old, new = Door(jitter=0.0), Door(jitter=0.0, now=5.0)
    for _ in range(6):
        old.knock()
    new.logins.read(old.logins.written(WALL), WALL + 100.0)
    wait = new.logins.wait()
    assert wait is not None
    assert (6, "6 logins in 10 minutes are the limit", 350.0) == (
        new.logins.today,
        wait.why,
        wait.seconds,
    )


@pytest.mark.parametrize(
    ("step", "today"), [(-7 * DAY, 6), (-3600.0, 6), (3600.0, 6), (2 * DAY, 0)]
)
def test_a_clock_that_was_set_between_two_lives_does_not_lock_us_out(
    step: float, today: int
) -> None:
    """Logins that seem to lie in the future were just now; none counts for longer than a day."""
    old, new = Door(jitter=0.0), Door(jitter=0.0)
    for _ in range(6):
        old.knock()
    new.logins.read(old.logins.written(WALL), WALL + step)
    wait = new.logins.wait()
    assert today == new.logins.today
    assert (wait.seconds if wait else 0.0) <= TEN_MINUTES


def test_what_is_written_down_is_bounded() -> None:
    """However often, no more times are kept than the ceiling needs."""
    door = Door(jitter=0.0)
    for _ in range(500):
        door.logins.allow()
        door.knock()
    assert len(door.logins.written(WALL).split()) <= 60


paces = st.builds(
    Pace,
    floor=st.sampled_from([0.5, 30.0]),
    per_ten_minutes=st.integers(1, 10),
    per_day=st.integers(2, 60),
)
lives = st.lists(
    st.tuples(
        st.sampled_from(["fails", "works", "held", "restart"]),
        st.floats(0, 1),  # jitter
        st.floats(0, 3000),  # seconds in between
    ),
    min_size=5,
    max_size=120,
)


@given(paces, lives)
def test_logins_never_exceed_their_ceilings(
    pace: Pace, story: list[tuple[str, float, float]]
) -> None:
    """Whatever fails, holds or is restarted: floor, ten minutes and day are kept."""
    door = Door(pace)
    tried: list[float] = []
    for what, jitter, pause in story:
        if what == "restart":
            text = door.logins.written(WALL + door.now)
            fresh = Door(pace, now=door.now)
            fresh.logins.read(text, WALL + door.now)
            door = fresh
            continue
        door.jitter = jitter
        door.knock(works=what != "fails")
        tried.append(door.now)
        door.now += pause
        if what == "held":
            door.logins.held()
            door.logins.failed()
    rounding = 1.0  # times of day are written in whole seconds
    for i, at in enumerate(tried):
        within_ten = [t for t in tried[i:] if t < at + TEN_MINUTES - rounding]
        within_day = [t for t in tried[i:] if t < at + DAY - rounding]
        assert len(within_ten) <= pace.per_ten_minutes
        assert len(within_day) <= pace.per_day
        assert i == 0 or at - tried[i - 1] >= pace.floor - rounding
