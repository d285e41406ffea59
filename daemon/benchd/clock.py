"""The time of day, as a daemon needs it: it never goes back.

Machines are suspended, and their time is set. What is due at a moment (polls, probes, pauses) goes
by ``Level``: when the time jumps ahead everything is due once, when it is set back nothing waits
for it to come round again. What is rationed (calls, logins) goes by the event loop's own time,
which only ever passes: no jump buys more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# How fast we go, as a share of real time, until a clock that was set back has caught up with us.
_CRAWL = 0.5


class Level:
    """Seconds since the epoch without steps back. ``measure`` (the loop's time) only ever grows."""

    def __init__(
        self, wall: Callable[[], float], measure: Callable[[], float] | None = None
    ) -> None:
        self._wall = wall
        self._measure = measure
        self._from = 0.0  # the last time that was the wall's,
        self._measured: float | None = None  # and what was measured then

    def __call__(self) -> float:
        """Return the time."""
        if self._measure is None:
            self._measure = asyncio.get_running_loop().time
        wall, measured = self._wall(), self._measure()
        if self._measured is not None:
            # In one sum: of many small ones, each too small for this number of digits, none counts.
            crawled = self._from + max(0.0, measured - self._measured) * _CRAWL
            if crawled > wall:
                return crawled
        self._from, self._measured = wall, measured
        return wall
