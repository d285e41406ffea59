"""Closed loop: N users, each of whom sends the next request when the last one is answered.

In a closed loop a stalled server stops the arrivals too, so latencies are those of the service as
these users see it, and no ``*_sched`` metric is given.
"""

import asyncio
import time
from typing import Callable, List, NamedTuple, Optional, Tuple

from . import http1
from .llm import Sample, Workload

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
        self.short = 0
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

    def note(self, sample: Sample, short: bool) -> None:
        """Count an answer."""
        self.short += int(short)
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
        on_sample: Callable[[Sample, List[float]], None],
    ) -> None:
        self.workload = workload
        self.on_sample = on_sample
        self.connections: List[Optional[http1.Connection]] = [None] * count
        self._tasks: "List[asyncio.Future[None]]" = []

    async def run(self, phase: Phase, tokens: int) -> None:
        """Run one phase to its end; a cancelled one leaves what it has."""
        self._tasks = [
            asyncio.ensure_future(self._user(phase, user, tokens))
            for user in range(len(self.connections))
        ]
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Drop all connections."""
        for connection in self.connections:
            if connection is not None:
                connection.close()

    async def _user(self, phase: Phase, user: int, tokens: int) -> None:
        pause = _BACKOFF
        while True:
            index = phase.next_index()
            if index is None:
                return
            sample = Sample(phase.name, index, user, time.monotonic())
            phase.samples.append(sample)
            gaps: List[float] = []
            short = False
            try:
                gaps, short = await self._one(sample, user, tokens)
            finally:
                phase.note(sample, short)
                self.on_sample(sample, gaps)
            if sample.ok:
                pause = _BACKOFF
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_BACKOFF)

    async def _one(self, sample: Sample, user: int, tokens: int) -> Tuple[List[float], bool]:
        """Send one request; once more if the server had closed the connection it went to.

        A server may close an idle connection while a request is on its way to it (RFC 9112, 9.5;
        some do after every stream although they promise to keep it). Then a connection that was
        used before dies without the first byte of an answer, and nothing was begun. The time of
        such a request runs from its first sending.
        """
        answer = await self._try(sample, user, tokens)
        unanswered = sample.status == "conn_lost" and sample.first_byte is None
        if not unanswered or sample.conn_new:
            return answer
        first_sent = sample.sent
        sample.status, sample.error, sample.end = "cancelled", "", None
        sample.resent = True
        answer = await self._try(sample, user, tokens)
        sample.sent = first_sent
        return answer

    async def _try(self, sample: Sample, user: int, tokens: int) -> Tuple[List[float], bool]:
        connection = self.connections[user]
        if connection is None or not connection.usable:
            sample.conn_new = True
            try:
                timeout = min(_CONNECT_TIMEOUT, self.workload.options.timeout)
                connection = await http1.connect(self.workload.target, timeout)
            except OSError as error:
                sample.status, sample.error = "connect", str(error)[:300]
                sample.end = time.monotonic()
                return [], False
            self.connections[user] = connection
            # The time of the connection is not part of the time to the first token.
            sample.scheduled = time.monotonic()
        return await self.workload.send(connection, sample, tokens)
