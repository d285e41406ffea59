"""When a cluster is asked next."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchd.config import PollSettings
from benchd.pacing import JITTER, LONGEST, LONGEST_STRAINED, Pacing

NOW = 1000.0


def pacing(jitter: float = 0.5, *, testbed: bool = False) -> Pacing:
    """Return the rhythm of a cluster with the default settings."""
    settings = PollSettings(interval=60.0, floor=30.0)
    return Pacing("alpha", settings, testbed=testbed, jitter=lambda: jitter)


def test_polls_without_news_become_rarer_and_news_bring_the_interval_back() -> None:
    """Times one and a half each, to five minutes; back to a minute when something moved."""
    rhythm = pacing()
    intervals = []
    for _ in range(6):
        rhythm.answered(NOW - 1, NOW, changed=False)
        intervals.append(rhythm.interval)
    rhythm.answered(NOW - 1, NOW, changed=True)
    assert [90.0, 135.0, 202.5, 300.0, 300.0, 300.0, 60.0] == [*intervals, rhythm.interval]
    assert NOW + 60.0 == rhythm.next_poll_at


def test_pressure_doubles_the_interval_up_to_a_quarter_of_an_hour_and_ease_halves_it() -> None:
    """One slow answer or ten between two polls count the same; what is due waits as well."""
    rhythm = pacing()
    intervals = []
    for pressed in (True, True, True, True, True, False, False, False, False, False):
        for _ in range(10 if pressed else 0):
            rhythm.pressed()
        rhythm.answered(NOW - 1, NOW, changed=True)
        intervals.append(rhythm.interval)
    assert [120, 240, 480, 900, 900, 900, 450, 225, 112.5, 60] == intervals


def test_pressure_holds_also_for_what_is_due() -> None:
    """Under pressure two polls are further apart even when something is about to change."""
    rhythm = pacing()
    rhythm.pressed()
    rhythm.answered(NOW, NOW, changed=True)
    rhythm.soon(NOW + 1)
    assert NOW + 60.0 == rhythm.next_poll_at


def test_a_poll_that_failed_under_pressure_counts_too() -> None:
    """A controller that limits us by failing is asked half as often."""
    rhythm = pacing()
    rhythm.pressed()
    rhythm.failed(NOW, NOW + 1, why="limited", asked=True)
    assert (120.0, NOW + 60.0) == (rhythm.interval, rhythm.next_poll_at)


def test_on_a_testbed_pressure_changes_nothing() -> None:
    """Nobody is disturbed there, so nobody waits."""
    rhythm = pacing(testbed=True)
    rhythm.pressed()
    rhythm.answered(NOW, NOW, changed=False)
    assert 60.0 == rhythm.interval


def test_an_urgent_poll_still_respects_the_floor() -> None:
    """Whatever is due, two polls are at least thirty seconds apart."""
    rhythm = pacing()
    rhythm.answered(NOW - 1, NOW, changed=True)
    rhythm.soon(NOW + 1)
    early = rhythm.next_poll_at
    rhythm.soon(NOW + 200)
    assert (NOW + 30.0, NOW + 30.0) == (early, rhythm.next_poll_at)
    rhythm.next_poll_at = NOW + 500
    rhythm.soon(NOW + 200)
    assert NOW + 205.0 == rhythm.next_poll_at


def test_failures_leave_the_cluster_alone_for_longer_each_time() -> None:
    """Pauses double to five minutes and end with the first answer."""
    rhythm = pacing()
    pauses = []
    for i in range(8):
        rhythm.failed(NOW + i, NOW + i, why="gone")
        pauses.append(rhythm.quiet_until - (NOW + i))
    told = (rhythm.failing_since, rhythm.trouble)
    rhythm.reached()
    assert [5, 10, 20, 40, 80, 160, 300, 300] == pauses
    assert (NOW, "gone") == told
    assert (0, 0.0, None, "") == (
        rhythm.failures,
        rhythm.quiet_until,
        rhythm.failing_since,
        rhythm.trouble,
    )


def test_what_one_cut_takes_along_is_one_failure() -> None:
    """Ten effects under way when the link is cut cost one pause, not ten doubled ones."""
    rhythm = pacing()
    for i in range(10):
        rhythm.failed(NOW, NOW + 1 + i / 100, why="cut")
    assert (1, NOW + 1 + 5.0) == (rhythm.failures, rhythm.quiet_until)


def test_who_is_told_to_wait_waits_so_long_and_no_longer() -> None:
    """A link that says when it may be used next is not knocked at before, nor much later."""
    rhythm = pacing()
    rhythm.rests(NOW, 40.0, why="next login in 40 s")
    rhythm.rests(NOW + 1, 3.0, why="something else")
    assert (NOW + 40.0, NOW, "next login in 40 s", 0) == (
        rhythm.quiet_until,
        rhythm.failing_since,
        rhythm.trouble,
        rhythm.failures,
    )


def test_what_happened_during_a_poll_is_asked_about_soon() -> None:
    """A submission that was accepted while the poll was under way is not in its answer."""
    rhythm = pacing()
    rhythm.soon(NOW)
    rhythm.answered(NOW - 1, NOW + 1, changed=False)
    assert NOW + 1 + 30.0 == rhythm.next_poll_at


happenings = st.lists(
    st.tuples(
        st.sampled_from(["quiet", "news", "pressed", "soon", "failed", "refused"]),
        st.floats(0, 1),  # jitter
        st.floats(0, 20),  # seconds that a poll takes
        st.floats(0, 400),  # seconds until the next happening, if it is no poll
    ),
    max_size=60,
)


@given(happenings)
def test_the_interval_keeps_its_bounds_whatever_happens(
    story: list[tuple[str, float, float, float]],
) -> None:
    """Polls are never closer than the floor, nor further apart than the longest pause allows."""
    drawn = [0.5]
    rhythm = pacing()
    rhythm.jitter = lambda: drawn[0]
    now, asked = NOW, []
    for what, jitter, seconds, pause in story:
        drawn[0] = jitter
        if what in {"pressed", "soon"}:
            rhythm.pressed() if what == "pressed" else rhythm.soon(now)
            now += pause
            continue
        due = rhythm.view().next_poll_at
        assert due - now <= LONGEST_STRAINED * (1 + JITTER)
        now = max(now, due)
        began, now = now, now + seconds
        if what in {"failed", "refused"}:
            rhythm.failed(began, now, why="gone", asked=what == "failed")
        else:
            rhythm.answered(began, now, changed=what == "news")
        if what != "refused":
            asked.append(began)
        assert 60.0 <= rhythm.interval <= max(LONGEST, LONGEST_STRAINED)
    assert all(b - a >= 30.0 - 1e-6 for a, b in pairwise(asked))
