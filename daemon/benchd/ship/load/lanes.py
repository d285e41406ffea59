"""Closed loops as fast as one process can: each answer is followed by the next request at once.

There is no task, no transport and no future for a request. While a connection is a lane, its
socket is read and written here; all lanes are watched by one epoll, which the event loop watches
in its turn. What is not plainly the expected answer, the connection itself looks at.
"""

import asyncio
import os
import select
import time
from typing import Any, Dict, Optional, Union

from . import resp
from .sending import Phase, Sender

# Seconds for which lanes may keep everything else in the process waiting: signals, the files.
_SLICE = 0.001
# Seconds that are waited for the next answer before the event loop is: asking it costs more.
_PAUSE = 0.001
# Answers that are read before the first of them is looked at, so that all have their true times.
_AT_ONCE = 64
# Bytes that are read at once, of answers that fit into it and of others.
READ, READ_LONG = 65536, 1 << 20
# Seconds between two looks for requests that wait for too long, at most.
_LOOK = 1.0


class Lane:
    """One user's requests on one connection, from the first to the last of a phase."""

    def __init__(
        self,
        lanes: "Lanes",
        workload: Any,
        connection: resp.Connection,
        phase: Phase,
        user: int,
        sender: Sender,
    ) -> None:
        self.connection = connection
        self.number: int = connection.transport.get_extra_info("socket").fileno()
        self.over: "asyncio.Future[bool]" = asyncio.get_event_loop().create_future()
        self._lanes = lanes
        self._workload = workload
        self._phase = phase
        self._user = user
        self._on_sample = sender.on_sample
        self._sample: Any = None
        self._wanted: Optional[bytes] = None
        self._batch: Optional[resp.Batch] = None

    def follow(self) -> None:
        """Send the next request, if there is one."""
        workload, phase = self._workload, self._phase
        index = phase.next_index()
        if index is None:
            self._end(True)
            return
        number = workload.numbering.of(index)
        sample = workload.sample(phase.name, number, self._user, time.monotonic())
        self._sample = sample
        phase.samples.append(sample)
        data = workload.compose(sample)
        self._wanted = workload.plain_answer(sample)
        sample.sent = time.monotonic()
        try:
            written = os.write(self.number, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self.came(time.monotonic(), error)
            return
        if written < len(data):
            self._batch = self._expected()
            self.connection.transport.write(data[written:])

    def came(self, now: float, data: Union[bytes, OSError]) -> None:
        """Take what was read at a moment: bytes, none at the end, or what went wrong."""
        sample = self._sample
        if data == self._wanted and self._batch is None:
            sample.first_byte = sample.end = now
            sample.hits = sample.commands if sample.command == "get" else 0
            sample.status = "ok"
            self._ended()
            return
        self._batch = self._batch or self._expected()
        if data and isinstance(data, bytes):
            self.connection.took(now, data)
            if self.connection.closed and self._sample not in (None, sample):
                # The next request is on its way already, and its answer is not to be told apart.
                self._batch = self._expected()
                self.connection.end_all(now, "bad_frame", self.connection.why)
        else:
            why = str(data or "the server closed the connection")
            self.connection.end_all(now, "conn_lost", why)

    def _expected(self) -> resp.Batch:
        """Have the connection itself wait for the answer."""
        batch = resp.Batch(self._sample.commands, self._judge)
        batch.sent = self._sample.sent
        self.connection.waiting.append(batch)
        return batch

    def _judge(self, batch: resp.Batch) -> None:
        self._batch = None
        self._workload.judge(self._sample, batch, self.connection.why)
        self._ended()

    def _ended(self) -> None:
        sample, self._sample = self._sample, None
        self._phase.note(sample)
        self._on_sample(sample)
        if not sample.ok:
            self._end(False)
            return
        self.follow()

    def _end(self, is_well: bool) -> None:
        self._lanes.drop(self)
        if not self.over.done():
            self.over.set_result(is_well)

    def look(self, patience: float) -> None:
        """End what has waited for too long."""
        sample = self._sample
        if sample is not None and time.monotonic() - sample.sent >= patience:
            self._batch = self._batch or self._expected()
            self.connection.expire(patience)

    def leave(self) -> None:
        """Give the connection back; one that still owes an answer is of no use any more."""
        sample, self._sample = self._sample, None
        if sample is not None:
            self._lanes.drop(self)
            self.connection.waiting.clear()
            self.connection.close()
            self._on_sample(sample)
        elif self.connection.usable:
            self.connection.transport.resume_reading()


class Lanes:
    """All lanes of a process, read in turn."""

    def __init__(self, patience: float, size: int) -> None:
        """``patience``: seconds an answer may take; ``size``: bytes that are read at once."""
        self._loop = asyncio.get_event_loop()
        self._epoll = select.epoll()
        self._patience = patience
        self._size = size
        self._lanes: Dict[int, Lane] = {}
        self._loop.add_reader(self._epoll.fileno(), self._turn)
        self._watch = self._loop.call_later(0.0, self._look)

    async def run(self, lane: Lane) -> bool:
        """Run a lane to its end; return whether all was well."""
        lane.connection.transport.pause_reading()
        self._lanes[lane.number] = lane
        self._epoll.register(lane.number, select.EPOLLIN)
        try:
            lane.follow()
            return await lane.over
        finally:
            lane.leave()

    def drop(self, lane: Lane) -> None:
        """Watch a lane no more; at once, for the number of its socket is soon another's."""
        if self._lanes.pop(lane.number, None) is not None:
            self._epoll.unregister(lane.number)

    @property
    def is_empty(self) -> bool:
        """Whether nobody runs any more."""
        return not self._lanes

    def close(self) -> None:
        """Watch nothing any more."""
        self._watch.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        """Read what has come, and look at it then; for so long at most."""
        clock, read, size, poll = time.monotonic, os.read, self._size, self._epoll.poll
        until = clock() + _SLICE
        while True:
            came = []
            for number, _ in poll(_PAUSE, _AT_ONCE):
                data: Union[bytes, OSError]
                try:
                    data = read(number, size)
                except BlockingIOError:
                    continue
                except OSError as error:
                    data = error
                came.append((number, clock(), data))
            for number, now, data in came:
                lane = self._lanes.get(number)
                if lane is not None:
                    lane.came(now, data)
            if not came or clock() >= until:
                return

    def _look(self) -> None:
        for lane in list(self._lanes.values()):
            lane.look(self._patience)
        pause = min(_LOOK, self._patience / 4.0)
        self._watch = self._loop.call_later(pause, self._look)
