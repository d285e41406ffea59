"""What open and closed loops have in common: phases, connections, and the sending of a request."""

import asyncio
import time
from array import array
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .work import Sample, Workload

# Seconds that opening a connection may take.
CONNECT_TIMEOUT = 10.0
# Refused connections in a row, over all users, after which the service counts as gone.
_GONE_AFTER = 20
# Connections that are opened ahead, at most, and seconds between two of them: a thousand at once
# would make the first requests late.
_AHEAD = 2000
_STAGGER = 0.001
# Seconds after its sending in which a request and the end of an idle connection can cross: the way
# to the server and back. What is lost later the server had begun, and that is an error.
_CROSSING = 0.25


class Stop(NamedTuple):
    """When a phase ends: after so many requests, after so many seconds, whichever is first."""

    requests: Optional[int]
    duration: Optional[float]


class Phase:
    """One phase (warm-up or measurement): what was issued and what came of it."""

    def __init__(self, name: str, stop: Stop, plan: "Optional[array[float]]" = None) -> None:
        """``plan``: the arrivals of an open loop, in seconds after the start."""
        self.name = name
        self.stop = stop
        self.plan = plan
        self.started = time.monotonic()
        self.samples: List[Sample] = []
        self.issued = 0
        self.gone = ""
        self.elsewhere: Optional[int] = None  # what other processes should have sent
        self.cpu_share: Optional[float] = None  # of the busiest process meanwhile
        self._refused = 0

    def next_index(self) -> Optional[int]:
        """Return the number of the next request of a closed loop, or None when it is over."""
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
        if self.elsewhere is not None:
            return self.elsewhere
        if self.plan is not None:
            return len(self.plan)
        return self.issued if self.stop.requests is None else max(self.issued, self._planned())

    def _planned(self) -> int:
        # With a duration the number of requests was only an upper limit.
        planned = self.stop.requests or 0
        return planned if self.stop.duration is None else self.issued


class Sender:
    """Sends requests, each from a user or slot whose connections live through all phases."""

    keeps_schedule = False  # whether a connection that has to be opened counts as waiting

    def __init__(self, workload: Workload, count: int, on_sample: Callable[[Sample], None]) -> None:
        self.workload = workload
        self.on_sample = on_sample
        self.connections: List[Dict[int, Any]] = [{} for _ in range(count)]
        self._in_flight = [0] * len(workload.targets)
        self._turn = 0

    def close(self) -> None:
        """Drop all connections."""
        for connections in self.connections:
            for connection in connections.values():
                connection.close()

    async def open_ahead(self, count: int) -> None:
        """Open connections before they are wanted, one after another; failures show later."""
        for user in range(min(count, _AHEAD, len(self.connections))):
            for place in range(len(self.workload.targets)):
                connection = self.connections[user].get(place)
                if connection is None or not connection.usable:
                    try:
                        await self._open(user, place)
                    except OSError:
                        return
                    await asyncio.sleep(_STAGGER)

    async def _open(self, user: int, place: int) -> Any:
        timeout = min(CONNECT_TIMEOUT, self.workload.timeout)
        connection = await self.workload.connect(self.workload.targets[place], timeout)
        self.connections[user][place] = connection
        return connection

    def _choose(self) -> int:
        """Return the target with the fewest requests in flight; of several, the next in turn."""
        count = len(self._in_flight)
        if count == 1:
            return 0
        chosen = min(
            range(count), key=lambda place: (self._in_flight[place], (place - self._turn) % count)
        )
        self._turn = chosen + 1
        return chosen

    async def carry_out(self, phase: Phase, sample: Sample, user: int) -> None:
        """Send a request wherever there is room, and note what came of it."""
        sample.target = self._choose()
        self._in_flight[sample.target] += 1
        try:
            await self._one(sample, user)
        finally:
            self._in_flight[sample.target] -= 1
            phase.note(sample)
            self.on_sample(sample)

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
        if first_sent is None or (sample.end or first_sent) - first_sent > _CROSSING:
            return
        sample.status, sample.error, sample.end = "cancelled", "", None
        sample.resent = True
        await self._try(sample, user)
        sample.sent = first_sent

    async def _try(self, sample: Sample, user: int) -> None:
        connection = self.connections[user].get(sample.target)
        if connection is None or not connection.usable:
            sample.conn_new = True
            try:
                connection = await self._open(user, sample.target)
            except OSError as error:
                sample.status, sample.error = "connect", str(error)[:300]
                sample.end = time.monotonic()
                return
            if not self.keeps_schedule:
                # The time of the connection is not part of the time of the request.
                sample.scheduled = time.monotonic()
        await self.workload.send(connection, sample)
