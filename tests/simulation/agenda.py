"""Virtual time: what happens outside the daemon, in order. It survives the daemon's crashes."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

# Virtual time begins here: an ordinary day, so that times look like times.
START = 1_800_000_000.0


class Agenda:
    """What is due when. Ties are broken by who asked first, so one seed is one history.

    It is copied with all the rest of the virtual world (``pickle``): what is to be done is a method
    or a ``partial`` of one, no lambda.
    """

    def __init__(self, now: float = START) -> None:
        self.now = now  # true time, seconds since the epoch
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Have something done at a moment; one that is past already is now."""
        self._asked += 1
        heappush(self._due, (max(when, self.now), self._asked, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Have something done so many seconds from now."""
        self.at(self.now + seconds, do)

    @property
    def next_at(self) -> float | None:
        """When the next thing is due, if any is."""
        return self._due[0][0] if self._due else None

    def run_until(self, when: float) -> None:
        """Do what is due until then, in order; each at its own moment."""
        while self._due and self._due[0][0] <= when:
            self.now, _, do = heappop(self._due)
            do()
        self.now = max(self.now, when)
