"""How many SSH sessions a login node has to bear at once, and who comes first.

sshd refuses sessions above its MaxSessions, and a stalled controller holds every sbatch for
minutes. So there is always room for looking and for ending, whatever is being sent meanwhile.
Forwarded connections are not sessions and do not count.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

# Seconds for which a refused session makes the budget smaller by one: sshd says no without saying
# how many it would bear, and other programs of the same user may hold sessions for a while.
SHRUNK = 3600.0


class Lane(Enum):
    """What a session is for."""

    URGENT = "urgent"  # looking at the queue, ending jobs: never behind anything else
    SUBMIT = "submit"  # held for minutes by a controller that stalls
    FILES = "files"  # whatever else
    LONG = "long"  # held for up to an hour: beside all others, and never two


_LANES = {
    "submit": Lane.SUBMIT,
    "make-image": Lane.LONG,
    **dict.fromkeys(("poll", "witness", "account", "find", "cancel", "seal", "open"), Lane.URGENT),
}


def lane_of(op: str) -> Lane:
    """Return the lane for what a command is for."""
    return _LANES.get(op, Lane.FILES)


@dataclass(slots=True)
class _Waiter:
    lane: Lane
    turn: asyncio.Future[None]


class Channels:
    """The sessions of one login node: at most ``limit`` at once, urgent ones first."""

    def __init__(
        self,
        budget: int,
        *,
        clock: Callable[[], float],
        show: Callable[[int, int], None] = lambda held, limit: None,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._show = show
        self._shrunk: deque[float] = deque()  # when each of the refusals is forgotten
        self._held: Counter[Lane] = Counter()
        self._waiting: list[_Waiter] = []
        self._show(0, budget)

    @property
    def limit(self) -> int:
        """How many may be open at once, now."""
        while self._shrunk and self._shrunk[0] <= self._clock():
            self._shrunk.popleft()
        return max(1, self._budget - len(self._shrunk))

    @property
    def held(self) -> int:
        """How many are open."""
        return self._held.total()

    @asynccontextmanager
    async def session(self, lane: Lane) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        await self._enter(lane)
        try:
            yield
        finally:
            self._leave(lane)

    def refused(self) -> None:
        """Note that the login node refused a session: one fewer for an hour.

        Sessions that were admitted under a larger limit say nothing about the one of now.
        """
        limit = self.limit
        if self.held <= limit and limit > 1:
            self._shrunk.append(self._clock() + SHRUNK)
        self._show(self.held, self.limit)

    async def _enter(self, lane: Lane) -> None:
        waiter = _Waiter(lane, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:  # it had been let in
                self._leave(lane)
            raise

    def _leave(self, lane: Lane) -> None:
        self._held[lane] -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in who may come in: urgent ones first, the others in the order of their coming."""
        for waiter in sorted(self._waiting, key=lambda w: w.lane is not Lane.URGENT):
            if self._has_room(waiter.lane):
                self._waiting.remove(waiter)
                self._held[waiter.lane] += 1
                if not waiter.turn.done():
                    waiter.turn.set_result(None)
        self._show(self.held, self.limit)

    def _has_room(self, lane: Lane) -> bool:
        """Tell whether one more fits: one place is kept for what is urgent, one for files."""
        limit = self.limit
        if self.held >= limit:
            return False
        if lane is Lane.LONG:
            return self._held[Lane.LONG] == 0
        others = self._held[Lane.SUBMIT] + self._held[Lane.FILES]
        if lane is not Lane.URGENT and others >= max(1, limit - 1 - self._held[Lane.LONG]):
            return False
        return lane is not Lane.SUBMIT or self._held[Lane.SUBMIT] < max(1, limit - 2)
