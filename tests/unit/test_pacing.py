"""When a cluster is asked next."""

from __future__ import annotations

import pytest

from benchd.config import PollSettings
from benchd.pacing import JITTER, Pacing

NOW = 1000.0


def pacing() -> Pacing:
    """Return the rhythm of a cluster with the default settings."""
    return Pacing("alpha", PollSettings(interval=60.0, floor=30.0))


def test_polls_without_news_become_rarer_and_news_bring_the_interval_back() -> None:
    """Times one and a half each, to five minutes; back to a minute when something moved."""
    rhythm = pacing()
    intervals = []
    for _ in range(6):
        rhythm.answered(NOW - 1, NOW, changed=False)
        intervals.append(rhythm.interval)
    rhythm.answered(NOW - 1, NOW, changed=True)
    assert [90.0, 135.0, 202.5, 300.0, 300.0, 300.0, 60.0] == [*intervals, rhythm.interval]
    assert rhythm.next_poll_at == pytest.approx(NOW + 60.0, abs=60.0 * JITTER)


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
    for _ in range(8):
        rhythm.failed(NOW)
        pauses.append(rhythm.quiet_until - NOW)
    assert pauses == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300], rel=JITTER)
    rhythm.reached()
    assert (0, 0.0) == (rhythm.failures, rhythm.quiet_until)


def test_what_happened_during_a_poll_is_asked_about_soon() -> None:
    """A submission that was accepted while the poll was under way is not in its answer."""
    rhythm = pacing()
    rhythm.soon(NOW)
    rhythm.answered(NOW - 1, NOW + 1, changed=False)
    assert NOW + 1 + 30.0 == rhythm.next_poll_at
