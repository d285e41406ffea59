"""Open loop: requests are sent when the schedule says so, whatever became of those before.

A stalled server does not stop the arrivals, so the wait that it causes is in every ``*_sched``
metric. Nothing here ever holds an arrival back: what does not fit under ``max_in_flight`` is
dropped, and counted as that.

Where more is due than this process can send, it sends as fast as it can: a few, then the answers
that have come, then a few more. What is due and not begun is a number in the schedule, nothing
else, so it takes no memory; and what is too late to tell anything is dropped.
"""

import asyncio
import time
from typing import Callable, List, Optional, Set

from .quality import TOO_LATE
from .sending import Phase, Sender
from .work import Sample, Workload

# Arrivals that are begun one after another, at most, before answers are read again.
_AT_ONCE = 8
# Seconds after which an arrival is too late: a pause of the machine is made up for, but who is that
# far behind cannot keep the rate, and would send long after the measurement's time.
_TOO_LATE = 5.0


class Arrivals(Sender):
    """Sends on time; as many slots as there are requests in flight."""

    keeps_schedule = True

    def __init__(
        self, workload: Workload, most: Optional[int], on_sample: Callable[[Sample], None]
    ) -> None:
        """``most``: requests in flight of this process; what comes beyond them is dropped."""
        Sender.__init__(self, workload, 0, on_sample)
        self.most = most
        self.busiest = 0  # requests in flight at once, so far
        self._free: List[int] = []
        self._tasks: "Set[asyncio.Future[None]]" = set()
        self._waiting: "Optional[asyncio.Future[None]]" = None
        self._bug: Optional[BaseException] = None

    async def open_ahead(self, count: int) -> None:
        """Open connections for so many requests in flight."""
        while len(self.connections) < count:
            self._free.insert(0, len(self.connections))
            self.connections.append({})
        await Sender.open_ahead(self, count)

    async def run(self, phase: Phase) -> None:
        """Send everything that is planned, and wait for the last answer."""
        try:
            await self._send_all(phase)
            while self._tasks and self._bug is None:
                self._waiting = asyncio.get_event_loop().create_future()
                await self._waiting
            if self._bug is not None:
                raise self._bug
        finally:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _send_all(self, phase: Phase) -> None:
        """Sleep to absolute moments: a late wake-up delays one request, never those after it."""
        plan = phase.plan or ()
        # Of those that are all due at once (offline), none is late.
        patience = _TOO_LATE if plan and plan[-1] > plan[0] else float("inf")
        for index, offset in enumerate(plan):
            due = phase.started + offset
            pause = due - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            elif index % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if phase.gone or self._bug is not None:
                return
            if -pause > patience:
                self._drop(phase, index, due, TOO_LATE)
                continue
            self._arrive(phase, index, due)

    def _drop(self, phase: Phase, index: int, due: float, why: str) -> None:
        phase.issued += 1
        sample = self.workload.sample(phase.name, self.workload.numbering.of(index), 0, due)
        sample.status, sample.error = "dropped", why
        phase.samples.append(sample)
        self.on_sample(sample)

    def _arrive(self, phase: Phase, index: int, due: float) -> None:
        if self.most is not None and len(self._tasks) >= self.most:
            self._drop(phase, index, due, "%d requests were in flight" % len(self._tasks))
            return
        number = self.workload.numbering.of(index)
        phase.issued += 1
        if not self._free:
            self._free.append(len(self.connections))
            self.connections.append({})
        slot = self._free.pop()
        sample = self.workload.sample(phase.name, number, slot, due)
        phase.samples.append(sample)
        task = asyncio.ensure_future(self._carry_out(phase, sample, slot))
        self._tasks.add(task)
        self.busiest = max(self.busiest, len(self._tasks))
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._bug = self._bug or task.exception()
        waiting = self._waiting
        if waiting is not None and not waiting.done() and (self._bug or not self._tasks):
            waiting.set_result(None)

    async def _carry_out(self, phase: Phase, sample: Sample, slot: int) -> None:
        try:
            await self.carry_out(phase, sample, slot)
        finally:
            self._free.append(slot)
