"""Closed loop: N users, each of whom sends the next request when the last one is answered.

In a closed loop a stalled server stops the arrivals too, so latencies are those of the service as
these users see it, and no ``*_sched`` metric is given.
"""

import asyncio
import time
from typing import Callable, List, Optional

from .sending import Phase, Sender
from .work import Sample, Workload

# After an error a user waits, first this long, then twice as long each time up to the second
# number: a server that answers errors at once must not be flooded.
_BACKOFF = 0.01
_LONGEST_BACKOFF = 0.25


class Meeting:
    """Lets users go on only when all of them are there: the query of several samples."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._there = 0
        self._open: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()

    async def wait(self) -> None:
        """Wait for the others."""
        self._there += 1
        self._go_on()
        if self._there:
            await asyncio.shield(self._open)

    def leave(self) -> None:
        """Do not come any more."""
        self.count -= 1
        self._go_on()

    def _go_on(self) -> None:
        if self._there >= self.count:
            self._there = 0
            self._open.set_result(None)
            self._open = asyncio.get_event_loop().create_future()


class Users(Sender):
    """The users and their connections."""

    def __init__(
        self,
        workload: Workload,
        count: int,
        on_sample: Callable[[Sample], None],
        think_time: float = 0.0,
        is_grouped: bool = False,
    ) -> None:
        """``is_grouped``: the users begin each request together."""
        Sender.__init__(self, workload, count, on_sample)
        self.think_time = think_time
        self.is_grouped = is_grouped
        self._tasks: "List[asyncio.Future[None]]" = []

    async def run(self, phase: Phase) -> None:
        """Run one phase to its end; a cancelled one leaves what it has."""
        meeting = Meeting(len(self.connections)) if self.is_grouped else None
        self._tasks = [
            asyncio.ensure_future(self._user(phase, user, meeting))
            for user in range(len(self.connections))
        ]
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _user(self, phase: Phase, user: int, meeting: Optional[Meeting]) -> None:
        pause = _BACKOFF
        lanes = self.workload.runs_lanes and not self.think_time and meeting is None
        try:
            while True:
                connection = self.connections[user].get(0) if lanes else None
                if connection is not None and connection.usable:
                    if await self.workload.lane(connection, phase, user, self):
                        return
                    await asyncio.sleep(pause)
                    continue
                if meeting is not None:
                    await meeting.wait()
                index = phase.next_index()
                if index is None:
                    return
                number = self.workload.numbering.of(index)
                sample = self.workload.sample(phase.name, number, user, time.monotonic())
                phase.samples.append(sample)
                await self.carry_out(phase, sample, user)
                if not sample.ok:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_BACKOFF)
                    continue
                pause = _BACKOFF
                if self.think_time:
                    await asyncio.sleep(self.think_time)
        finally:
            if meeting is not None:
                meeting.leave()
