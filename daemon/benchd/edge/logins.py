"""How often a login node is knocked at: rarely, never in step with others, and not for ever.

Sites block accounts that log in every few seconds, and count over days. So there is a floor between
two logins, a back-off with full jitter, and ceilings that a restart of the daemon does not forget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from benchd.edge.login import Pace

TEN_MINUTES, DAY = 600.0, 86400.0  # seconds
# Failures in a row after which what is left of the day's logins is spread over the day: a node
# that is gone for a night is then found back within an hour, instead of not at all that day.
_STUBBORN = 3


@dataclass(frozen=True, slots=True)
class Wait:
    """How long no login may be tried. ``why``: which ceiling says so; empty for a mere pause."""

    seconds: float
    why: str = ""


class Logins:
    """When the next login to one node may be tried."""

    def __init__(
        self, pace: Pace, *, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._pace = pace
        self._clock = clock
        self._jitter = jitter
        self._tried: deque[float] = deque(maxlen=pace.per_day)
        self._failures = 0  # in a row
        self._not_before = clock()
        self._is_allowed = False  # whatever the ceilings say: a human asked

    @property
    def today(self) -> int:
        """How many were tried within 24 hours."""
        return self._within(DAY)

    @property
    def ceiling(self) -> int:
        """How many may be tried within 24 hours."""
        return self._pace.per_day

    def wait(self) -> Wait | None:
        """Return how long no login may be tried; None when one may be tried now."""
        if self._is_allowed:
            return None
        now, pace = self._clock(), self._pace
        waits = [Wait(self._not_before - now)]
        if self._tried:
            waits.append(Wait(self._tried[-1] + pace.floor - now))
        if len(self._tried) >= pace.per_ten_minutes:
            full = self._tried[-pace.per_ten_minutes] + TEN_MINUTES - now
            waits.append(Wait(full, f"{pace.per_ten_minutes} logins in 10 minutes are the limit"))
        if len(self._tried) >= pace.per_day:
            full = self._tried[-pace.per_day] + DAY - now
            waits.append(Wait(full, f"{pace.per_day} logins in 24 hours are the limit"))
        half = pace.per_day // 2
        if self._failures >= _STUBBORN and self.today >= max(1, half):
            spread = self._tried[-1] + DAY / max(1, pace.per_day - half) - now
            waits.append(Wait(spread, f"{self.today} of {pace.per_day} logins a day are used"))
        longest = max(waits, key=lambda wait: wait.seconds)
        return longest if longest.seconds > 0 else None

    def tried(self) -> None:
        """Count a login that is about to be tried."""
        self._tried.append(self._clock())
        self._is_allowed = False

    def failed(self) -> float:
        """Note that it did not work, or that it did not last; return the pause (seconds)."""
        self._failures += 1
        most = min(self._pace.ceiling, self._pace.first * 2.0 ** min(self._failures - 1, 32))
        self._not_before = self._clock() + self._jitter() * most
        wait = self.wait()
        return wait.seconds if wait else 0.0

    def held(self) -> None:
        """Note that the connection held: what comes now is a new trouble."""
        self._failures = 0

    def allow(self) -> None:
        """Let the next login be tried at once, whatever the ceilings say."""
        self._failures = 0
        self._not_before = self._clock()
        self._is_allowed = True

    def _within(self, seconds: float) -> int:
        since = self._clock() - seconds
        return sum(at > since for at in self._tried)

    # --- across a restart -------------------------------------------------------------------------

    def written(self, wall: float) -> str:
        """Return the logins of the last 24 hours as times of day, oldest first."""
        now = self._clock()
        return " ".join(f"{wall - (now - at):.0f}" for at in self._tried if now - at < DAY)

    def read(self, text: str, wall: float) -> None:
        """Remember what ``written`` returned; what lies in the future was just now."""
        now = self._clock()
        ages = [max(0.0, wall - int(word)) for word in text.split() if word.isdigit()]
        self._tried.extend(sorted(now - age for age in ages if age < DAY))
