"""Where the embedded cluster's time comes from: the wall, or a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class TimeSource(Protocol):
    """Anything that knows what time it is, in seconds since the epoch."""

    def now(self) -> float:
        """Return the time."""
        ...


class WallClock:
    """The real time: for the demo and ``benchd sim``."""

    def now(self) -> float:
        """Return the time."""
        return time.time()


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once, then tell whoever listens."""
        self._now += seconds
        for listener in self._listeners:
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every advance."""
        self._listeners.append(listener)
