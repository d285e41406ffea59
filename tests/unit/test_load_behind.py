"""An open loop that is behind its schedule: it sends what it can, reads on, and says the rest."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest

from benchd.ship.load import work
from benchd.ship.load.opened import Arrivals
from benchd.ship.load.quality import TOO_LATE
from benchd.ship.load.sending import Phase, Stop
from benchd.ship.load.target import Target

COUNT = 4000


class Line:
    """A connection that is never lost."""

    usable = True

    def close(self) -> None:
        """Close nothing."""


class Echo(work.Workload):
    """Requests of one byte, which comes back when the event loop looks for what can be read."""

    def __init__(self) -> None:
        work.Workload.__init__(self, Target("nowhere", 1, "", False), 10.0, "run")
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.read, self.write = os.pipe()
        asyncio.get_running_loop().add_reader(self.read, self.come)

    async def connect(self, target: Target, patience: float) -> Any:
        """Return a connection."""
        return Line()

    async def send(self, connection: Any, sample: work.Sample) -> None:
        """Send one byte and wait for it."""
        sample.sent = time.monotonic()
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        os.write(self.write, b".")
        await answer
        sample.end, sample.status = time.monotonic(), "ok"

    def come(self) -> None:
        """Read whatever has come."""
        for _ in os.read(self.read, 65536):
            self.waiting.popleft().set_result(None)

    def close(self) -> None:
        """Close both ends."""
        asyncio.get_running_loop().remove_reader(self.read)
        os.close(self.read)
        os.close(self.write)


async def sent(plan: Sequence[float], behind: float, most: int | None) -> tuple[Any, Arrivals]:
    """Return how many requests had which end, of a plan that began so many seconds ago."""
    workload = Echo()
    arrivals = Arrivals(workload, most, lambda _: None)
    phase = Phase("measure", Stop(None, None), array("d", plan))
    phase.started = time.monotonic() - behind
    try:
        await arrivals.run(phase)
    finally:
        workload.close()
    assert [s.index for s in sorted(phase.samples, key=lambda s: s.index)] == [*range(len(plan))]
    return Counter((s.status, s.error) for s in phase.samples), arrivals


@pytest.mark.asyncio
@pytest.mark.parametrize("most", [None, 64])
async def test_answers_are_read_between_what_is_due(most: int | None) -> None:
    """Thousands that are late are sent a few at a time, and none takes the place of another."""
    plan = [n * 1e-6 for n in range(COUNT)]
    found, arrivals = await sent(plan, 1.0, most)
    assert found == {("ok", ""): COUNT}
    assert arrivals.busiest <= 64


@pytest.mark.asyncio
async def test_what_is_hopelessly_late_is_dropped() -> None:
    """Who is further behind than a pause of the machine explains does not send for minutes."""
    found, _ = await sent([n * 1e-6 for n in range(COUNT)], 6.0, None)
    assert found == {("dropped", TOO_LATE): COUNT}


@pytest.mark.asyncio
async def test_what_is_due_at_once_is_never_late() -> None:
    """An offline load has no schedule to be late for: all of it is sent, however long it takes."""
    found, arrivals = await sent([0.0] * COUNT, 6.0, None)
    assert found == {("ok", ""): COUNT}
    assert arrivals.busiest <= 64
