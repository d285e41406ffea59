"""When a cluster is asked next: the interval, the floor, pressure, and back-off.

Kept in memory, rebuilt by asking. All times are seconds; ``now`` is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from benchd.config import PollSettings
from benchd.core.effects import ClusterView

# Growth of the interval while polls bring nothing new, and where it ends (seconds).
GROWTH = 1.5
LONGEST = 300.0
# How much rarer polls become with each answer that shows a controller under pressure; half of it
# is taken back with each that does not. The interval never exceeds so many seconds for it.
STRAIN = 2.0
LONGEST_STRAINED = 900.0
# First and longest pause after the cluster failed (seconds). One that is down for a minute costs a
# handful of attempts, one that is down for a night one every five minutes.
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
    jitter: Callable[[], float] = random.random  # from 0 to 1
    paused: str | None = None  # why, in a sentence; None when not paused
    taken_over: bool = False  # paused, for somebody else has written the workdir in our name
    last_poll_at: float | None = None  # when the last answered poll was answered
    last_poll_began: float = 0.0  # and when it was asked: what came later it may not show
    hurried_at: float = 0.0
    next_poll_at: float = 0.0
    is_open: bool = False
    failures: int = 0
    failing_since: float | None = None  # since when nothing is learned
    trouble: str = ""  # why, in a sentence
    quiet_until: float = 0.0  # nothing is sent to the cluster before this
    strain: float = 1.0  # how much rarer than usual polls are, because answers come slowly
    quiet_interval: float = field(init=False)  # what quiet alone makes of the interval
    _asked_at: float = 0.0  # when Slurm was last sent a poll
    _failed_at: float = 0.0
    _is_pressed: bool = False

    def __post_init__(self) -> None:
        self.quiet_interval = self.settings.interval

    @property
    def interval(self) -> float:
        """Seconds between two polls, as it is now."""
        strained = min(LONGEST_STRAINED, self.quiet_interval * self.strain)
        return max(self.quiet_interval, strained)

    @property
    def floor(self) -> float:
        """Seconds that must lie between two polls whatever is due."""
        return max(self.settings.floor, min(LONGEST_STRAINED, self.settings.floor * self.strain))

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
        base = self.settings.interval
        grown = min(self.quiet_interval * GROWTH, max(LONGEST, base))
        self.quiet_interval = base if changed or self.testbed else grown
        self._strain()
        self._asked_at = self.last_poll_began = began
        self.last_poll_at = now
        self.next_poll_at = now + max(self.floor, self._jittered(self.interval))
        if self.hurried_at >= began:  # something happened while it was under way
            self.soon(now)
        self.reached()

    def pressed(self) -> None:
        """Note an answer that shows a controller under pressure: slow, or limiting us."""
        self._is_pressed = True

    def _strain(self) -> None:
        """Make polls rarer or more frequent again, once for each poll."""
        if self.testbed:
            return
        worst = LONGEST_STRAINED / self.settings.floor
        grown = self.strain * STRAIN if self._is_pressed else self.strain / STRAIN
        self.strain = max(1.0, min(worst, grown))
        self._is_pressed = False

    def reached(self) -> None:
        """Note that the cluster answered."""
        self.failures = 0
        self.failing_since, self.trouble = None, ""
        self.quiet_until = 0.0

    def failed(self, began: float, now: float, *, why: str, asked: bool = False) -> None:
        """Note that nothing was learned; wait longer each time.

        What began before the last failure fell with it, and counts once. ``asked``: Slurm was sent
        a poll, so the floor holds for the next one.
        """
        if asked:
            self._strain()
            self._asked_at = began
            self.next_poll_at = max(self.next_poll_at, began + self.floor)
        self.trouble = why
        if self.failures and began < self._failed_at:
            return
        first = min(RETRY, self.settings.floor) if self.testbed else RETRY
        longest = 5.0 if self.testbed else RETRY_LONGEST
        pause = min(first * 2.0 ** min(self.failures, 16), longest)
        self.failures += 1
        self._failed_at = now
        self.failing_since = self.failing_since or began
        self.quiet_until = now + self._jittered(pause)

    def rests(self, now: float, seconds: float, *, why: str) -> None:
        """Note that nothing was tried and that nothing can be for so long."""
        self.failing_since = self.failing_since or now
        self.trouble = self.trouble or why
        self.quiet_until = max(self.quiet_until, now + seconds)

    def soon(self, now: float) -> None:
        """Something is about to change: ask again as early as the floor allows."""
        self.quiet_interval = self.settings.interval
        self.hurried_at = now
        last = max(self.last_poll_at or 0.0, self._asked_at)
        earliest = max(now + min(self.floor, SETTLING), last + self.floor)
        self.next_poll_at = min(self.next_poll_at or earliest, earliest)

    def _jittered(self, pause: float) -> float:
        return pause * (1 + JITTER * (2 * self.jitter() - 1))
