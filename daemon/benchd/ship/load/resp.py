"""Redis' protocol (RESP2) from the client's side: as much of it as a load needs.

Times are taken in ``data_received`` before anything is parsed. Requests may be sent before those
before them are answered; answers come in their order.
"""

import asyncio
import time
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Union

from .target import Target

# An answer of more bytes than this is none that we asked for.
_MOST = 1 << 30


class Error(str):
    """An error reply."""

    __slots__ = ()


Reply = Union[None, int, bytes, Error, List[Any]]
_MORE = object()


def command(*words: Union[str, bytes, int]) -> bytes:
    """Return the bytes of one command."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode("utf-8")
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Replies:
    """Bytes to replies, wherever segments are cut."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._end = 0  # where in the data the reply that is not complete ends, at least
        self._parts: List[bytes] = []  # the beginning of it
        self._missing = 0

    @property
    def has_rest(self) -> bool:
        """Whether there is a beginning of a reply."""
        return bool(self._parts)

    def feed(self, data: bytes) -> List[Reply]:
        """Return the replies that are complete now; raise ``ValueError`` for what is none."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join(self._parts)
            self._parts = []
        self._data, self._at = data, 0
        found: List[Reply] = []
        while self._at < len(data):
            start = self._at
            reply = self._next()
            if reply is _MORE:
                self._parts, self._missing = [data[start:]], self._end - len(data)
                break
            found.append(reply)  # type: ignore[arg-type] # _MORE is the only other object
        self._data = b""
        return found

    def _next(self) -> object:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            self._end = len(self._data) + 1
            return _MORE
        kind = self._data[self._at : self._at + 1]
        line = self._data[self._at + 1 : end]
        self._at = end + 2
        if kind == b"+":
            return line
        if kind == b"-":
            return Error(line.decode("utf-8", "replace"))
        if kind not in (b":", b"$", b"*"):
            raise ValueError("not a reply of Redis: %r" % (kind + line)[:60])
        number = int(line)
        if kind == b":":
            return number
        if number < 0:
            return None
        if number > _MOST:
            raise ValueError("a reply of %d bytes" % number)
        return self._bulk(number) if kind == b"$" else self._array(number)

    def _bulk(self, size: int) -> object:
        end = self._at + size
        if len(self._data) < end + 2:
            self._end = end + 2
            return _MORE
        value = self._data[self._at : end]
        self._at = end + 2
        return value

    def _array(self, count: int) -> object:
        found = []
        for _ in range(count):
            one = self._next()
            if one is _MORE:
                return _MORE
            found.append(one)
        return found


class Batch:
    """Commands that were sent together, and what came back."""

    __slots__ = ("done", "end", "first", "problem", "replies", "sent", "wanted")

    def __init__(self, wanted: int, done: "Callable[[Batch], None]") -> None:
        self.wanted = wanted
        self.done = done
        self.replies: List[Reply] = []
        self.sent = 0.0
        self.first: Optional[float] = None
        self.end: Optional[float] = None
        self.problem = ""  # conn_lost, bad_frame, timeout
        # ``done`` is called once, when all answers are there or none will come any more.


class Connection(asyncio.Protocol):
    """One connection; batches on it are answered in their order."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.closed = False
        self.why = "the server closed the connection"
        self.replies = Replies()
        self.waiting: Deque[Batch] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio says: connected."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio says: bytes. The time is taken first."""
        self.took(time.monotonic(), data)

    def took(self, now: float, data: bytes) -> None:
        """Look at what was read at a moment."""
        if self.waiting and self.waiting[0].first is None:
            self.waiting[0].first = now  # of a long answer the end comes later
        try:
            replies = self.replies.feed(data)
        except ValueError as error:
            self.end_all(now, "bad_frame", str(error))
            return
        for reply in replies:
            if not self.waiting:
                self.end_all(now, "bad_frame", "an answer that nobody asked for")
                return
            batch = self.waiting[0]
            if batch.first is None:
                batch.first = now
            batch.replies.append(reply)
            if len(batch.replies) == batch.wanted:
                self.waiting.popleft()
                batch.end = now
                batch.done(batch)
        if self.replies.has_rest and not self.waiting:
            self.end_all(now, "bad_frame", "more than anybody asked for")

    def connection_lost(self, error: Optional[Exception]) -> None:
        """Asyncio says: gone."""
        self.end_all(time.monotonic(), "conn_lost", str(error) if error else self.why)

    def end_all(self, now: float, problem: str, why: str) -> None:
        """Close, and end every batch with a problem."""
        self.closed = True
        self.why = why
        if self.transport is not None:
            self.transport.abort()
        while self.waiting:
            batch = self.waiting.popleft()
            batch.end = now
            batch.problem = problem
            batch.done(batch)

    def send(self, data: bytes, batch: Batch) -> None:
        """Send a batch; its time is that of the handing over."""
        batch.sent = time.monotonic()
        if self.closed:
            batch.end, batch.problem = batch.sent, "conn_lost"
            batch.done(batch)
            return
        self.waiting.append(batch)
        self.transport.write(data)

    def expire(self, patience: float) -> None:
        """End everything when the oldest batch has waited for too long."""
        now = time.monotonic()
        if self.waiting and now - self.waiting[0].sent >= patience:
            self.end_all(now, "timeout", "no answer within %g s" % patience)

    @property
    def usable(self) -> bool:
        """Whether something may be sent."""
        return not self.closed and self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Close at once."""
        self.why = "closed by the load generator"
        if self.transport is not None:
            self.transport.abort()


async def connect(target: Target, patience: float) -> Connection:
    """Open a connection; raise ``OSError``, also when it takes too long."""
    loop = asyncio.get_event_loop()
    opening = loop.create_connection(Connection, target.host, target.port)
    try:
        _, connection = await asyncio.wait_for(opening, patience)
    except asyncio.TimeoutError:
        message = "no connection to %s within %g s" % (target.authority, patience)
        raise OSError(message) from None
    return connection


async def ask(connection: Connection, data: bytes, count: int, patience: float) -> List[Reply]:
    """Send so many commands and return their replies; raise ``OSError``."""
    loop = asyncio.get_event_loop()
    waiting: "asyncio.Future[None]" = loop.create_future()

    def done(_: Batch) -> None:
        if not waiting.done():
            waiting.set_result(None)

    batch = Batch(count, done)
    connection.send(data, batch)
    try:
        await asyncio.wait_for(waiting, patience)
    except asyncio.TimeoutError:
        connection.close()
        raise OSError("no answer within %g s" % patience) from None
    if batch.problem:
        raise OSError("%s: %s" % (batch.problem, connection.why))
    return batch.replies
