"""When a cluster is asked next: the interval, the floor, and back-off.

Kept in memory, rebuilt by asking. All times are seconds; ``now`` is handed in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from benchd.config import PollSettings
from benchd.core.effects import ClusterView

# Growth of the interval while polls bring nothing new, and where it ends (seconds).
GROWTH = 1.5
LONGEST = 300.0
# First and longest pause after the link failed (seconds). A login node that is down for a minute
# costs a handful of attempts, one that is down for a night one every five minutes.
RETRY = 5.0
RETRY_LONGEST = 300.0
# Slurm starts jobs in passes, seconds after it accepted them: asking earlier shows nothing new.
SETTLING = 5.0
# Share by which a pause varies, so that daemons do not knock together.
JITTER = 0.1


@dataclass(slots=True)
class Pacing:
    """The rhythm of one cluster."""

    name: str
    settings: PollSettings
    max_jobs: int = 200
    testbed: bool = False
    paused: str | None = None  # why, in a sentence; None when not paused
    last_poll_at: float | None = None  # when the last answered poll was answered
    last_poll_began: float = 0.0  # and when it was asked: what came later it may not show
    hurried_at: float = 0.0
    next_poll_at: float = 0.0
    is_open: bool = False
    failures: int = 0
    quiet_until: float = 0.0  # nothing is sent to the cluster before this
    interval: float = field(init=False)

    def __post_init__(self) -> None:
        self.interval = self.settings.interval

    def view(self) -> ClusterView:
        """Return what ``decide`` needs to know."""
        return ClusterView(
            name=self.name,
            last_poll_at=self.last_poll_at,
            next_poll_at=max(self.next_poll_at, self.quiet_until),
            is_open=self.is_open,
            paused=self.paused is not None,
            max_jobs=self.max_jobs,
        )

    def answered(self, began: float, now: float, *, changed: bool) -> None:
        """Note an answered poll; without news the interval grows."""
        grown = self.interval * GROWTH
        longest = max(LONGEST, self.settings.interval)
        base = self.settings.interval
        self.interval = base if changed or self.testbed else min(grown, longest)
        self.last_poll_at, self.last_poll_began = now, began
        self.next_poll_at = now + _jittered(self.interval)
        if self.hurried_at >= began:  # something happened while it was under way
            self.soon(now)
        self.reached()

    def reached(self) -> None:
        """Note that the cluster answered at all."""
        self.failures = 0
        self.quiet_until = 0.0

    def failed(self, now: float) -> None:
        """Note that nothing was learned; wait longer each time."""
        first = min(RETRY, self.settings.floor) if self.testbed else RETRY
        longest = 5.0 if self.testbed else RETRY_LONGEST
        pause = min(first * 2**self.failures, longest)
        self.failures += 1
        self.quiet_until = now + _jittered(pause)

    def soon(self, now: float) -> None:
        """Something is about to change: ask again as early as the floor allows."""
        self.interval = self.settings.interval
        self.hurried_at = now
        floor = self.settings.floor
        earliest = max(now + min(floor, SETTLING), (self.last_poll_at or 0.0) + floor)
        self.next_poll_at = min(self.next_poll_at or earliest, earliest)


def _jittered(pause: float) -> float:
    return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret depends on it
