"""Closed loop: N users, each of whom sends the next request when the last one is answered.

In a closed loop a stalled server stops the arrivals too, so latencies are those of the service as
these users see it, and no ``*_sched`` metric is given.
"""

import asyncio
import time
from typing import Callable, Dict, List, NamedTuple, Optional

from . import http1
from .work import Sample, Workload

# Seconds that opening a connection may take.
_CONNECT_TIMEOUT = 10.0
# Refused connections in a row, over all users, after which the service counts as gone.
_GONE_AFTER = 20
# After an error a user waits, first this long, then twice as long each time up to the second
# number: a server that answers errors at once must not be flooded.
_BACKOFF = 0.01
_LONGEST_BACKOFF = 0.25


class Stop(NamedTuple):
    """When a phase ends: after so many requests, after so many seconds, whichever is first."""

    requests: Optional[int]
    duration: Optional[float]


class Phase:
    """One phase (warm-up or measurement): what was issued and what came of it."""

    def __init__(self, name: str, stop: Stop) -> None:
        self.name = name
        self.stop = stop
        self.started = time.monotonic()
        self.samples: List[Sample] = []
        self.issued = 0
        self.gone = ""
        self._refused = 0

    def next_index(self) -> Optional[int]:
        """Return the number of the next request, or None when the phase is over."""
        if self.gone or self.issued == self.stop.requests:
            return None
        limit = self.stop.duration
        if limit is not None and time.monotonic() - self.started >= limit:
            return None
        self.issued += 1
        return self.issued - 1

    def note(self, sample: Sample) -> None:
        """Count an answer."""
        self._refused = self._refused + 1 if sample.status == "connect" else 0
        if self._refused >= _GONE_AFTER:
            self.gone = "%d connections in a row failed: %s" % (self._refused, sample.error)

    @property
    def scheduled(self) -> int:
        """Return how many requests there should have been."""
        return self.issued if self.stop.requests is None else max(self.issued, self._planned())

    def _planned(self) -> int:
        # With a duration the number of requests was only an upper limit.
        planned = self.stop.requests or 0
        return planned if self.stop.duration is None else self.issued


class Users:
    """The users and their connections, which live through all phases."""

    def __init__(
        self,
        workload: Workload,
        count: int,
        on_sample: Callable[[Sample], None],
    ) -> None:
        self.workload = workload
        self.on_sample = on_sample
        self.connections: List[Dict[int, http1.Connection]] = [{} for _ in range(count)]
        self._in_flight = [0] * len(workload.targets)
        self._turn = 0
        self._tasks: "List[asyncio.Future[None]]" = []

    async def run(self, phase: Phase) -> None:
        """Run one phase to its end; a cancelled one leaves what it has."""
        self._tasks = [
            asyncio.ensure_future(self._user(phase, user)) for user in range(len(self.connections))
        ]
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Drop all connections."""
        for connections in self.connections:
            for connection in connections.values():
                connection.close()

    def _choose(self) -> int:
        """Return the target with the fewest requests in flight; of several, the next in turn."""
        count = len(self._in_flight)
        chosen = min(
            range(count), key=lambda place: (self._in_flight[place], (place - self._turn) % count)
        )
        self._turn = chosen + 1
        return chosen

    async def _user(self, phase: Phase, user: int) -> None:
        pause = _BACKOFF
        while True:
            index = phase.next_index()
            if index is None:
                return
            sample = self.workload.sample(phase.name, index, user, time.monotonic())
            phase.samples.append(sample)
            sample.target = self._choose()
            self._in_flight[sample.target] += 1
            try:
                await self._one(sample, user)
            finally:
                self._in_flight[sample.target] -= 1
                phase.note(sample)
                self.on_sample(sample)
            if sample.ok:
                pause = _BACKOFF
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_BACKOFF)

    async def _one(self, sample: Sample, user: int) -> None:
        """Send one request; once more if the server had closed the connection it went to.

        A server may close an idle connection while a request is on its way to it (RFC 9112, 9.5;
        some do after every stream although they promise to keep it). Then a connection that was
        used before dies without the first byte of an answer, and nothing was begun. The time of
        such a request runs from its first sending.
        """
        await self._try(sample, user)
        unanswered = sample.status == "conn_lost" and sample.first_byte is None
        if not unanswered or sample.conn_new or not self.workload.repeatable:
            return
        first_sent = sample.sent
        sample.status, sample.error, sample.end = "cancelled", "", None
        sample.resent = True
        await self._try(sample, user)
        sample.sent = first_sent

    async def _try(self, sample: Sample, user: int) -> None:
        connection = self.connections[user].get(sample.target)
        if connection is None or not connection.usable:
            sample.conn_new = True
            try:
                timeout = min(_CONNECT_TIMEOUT, self.workload.timeout)
                connection = await http1.connect(self.workload.targets[sample.target], timeout)
            except OSError as error:
                sample.status, sample.error = "connect", str(error)[:300]
                sample.end = time.monotonic()
                return
            self.connections[user][sample.target] = connection
            # The time of the connection is not part of the time of the request.
            sample.scheduled = time.monotonic()
        await self.workload.send(connection, sample)
