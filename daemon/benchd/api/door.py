"""The door of the HTTP interface: how many may come in, and how long they may hesitate.

aiohttp has no time-out for a request whose header never ends, and no limit on connections. Both are
needed: clients that send a byte each half second must not keep ``benchctl`` out, however many they
are. So when the house is full, whoever has stood idle longest gives way to the next; and no other
user gets more than a few places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

HEADER_PATIENCE = 5.0  # seconds from connecting to a complete header; ours needs a millisecond
HESITATION = 1.0  # seconds without a request after which a place may be given away
KEEPALIVE = 15.0  # seconds between two requests on one connection: a Prometheus scrape interval
_BUSY_BODY = (
    b'{"schema": "benchd.error/1", "error": '
    b'{"what": "too many connections", "fix": "ask again in some seconds"}}\n'
)
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BUSY_BODY), _BUSY_BODY)
)


class Door:
    """Counts connections, and closes those that do not state a request in time."""

    def __init__(
        self,
        *,
        limit: int,
        each: int | None = None,
        who: Callable[[asyncio.Transport], int | None] = lambda _transport: None,
    ) -> None:
        """``each``: places of one user; ``who`` tells the user, or None for those without limit."""
        self._limit = limit
        self._each = limit if each is None else each
        self._who = who
        self._timers: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._waiting: dict[asyncio.BaseTransport, float] = {}  # since when, the longest first
        self._users: dict[asyncio.BaseTransport, int] = {}

    def protocols(
        self, inner: Callable[[], asyncio.Protocol] | None
    ) -> Callable[[], asyncio.Protocol]:
        """Return a factory for the protocol of one new connection, around aiohttp's own."""
        if inner is None:
            raise RuntimeError("the runner is not set up")
        return lambda: _Visit(self, inner())

    @property
    def visitors(self) -> int:
        """How many connections are open."""
        return len(self._timers)

    def arrived(self, transport: asyncio.Transport) -> bool:
        """Let a connection in, unless the house is full."""
        user = self._who(transport)
        if user is not None and sum(u == user for u in self._users.values()) >= self._each:
            return False
        if len(self._timers) >= self._limit and not self._gives_way():
            return False
        if user is not None:
            self._users[transport] = user
        self._waiting[transport] = asyncio.get_running_loop().time()
        self._arm(transport, HEADER_PATIENCE)
        return True

    def _gives_way(self) -> bool:
        """Show out the one that has stood idle longest, if that is long enough."""
        longest = next(iter(self._waiting), None)
        now = asyncio.get_running_loop().time()
        if longest is None or now - self._waiting[longest] < HESITATION:
            return False
        self.gone(longest)
        cast("asyncio.Transport", longest).abort()
        return True

    def gone(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection."""
        self._waiting.pop(transport, None)
        self._users.pop(transport, None)
        timer = self._timers.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def begins(self, transport: asyncio.BaseTransport | None) -> None:
        """Note a complete request header: from here on the request's own deadline counts."""
        if transport in self._timers:
            self._timers[transport].cancel()
            self._waiting.pop(transport, None)

    def ends(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that the answer is ready: wait for another request, but not for ever."""
        if transport in self._timers:
            self._timers[transport].cancel()
            self._waiting[transport] = asyncio.get_running_loop().time()
            self._arm(cast("asyncio.Transport", transport), KEEPALIVE)

    def _arm(self, transport: asyncio.Transport, delay: float) -> None:
        self._timers[transport] = asyncio.get_running_loop().call_later(delay, transport.abort)


class _Visit(asyncio.Protocol):
    """One connection: everything is passed on to aiohttp's protocol, once it was let in."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        if not self._door.arrived(stream):
            stream.write(BUSY)
            stream.close()
            return
        self._transport = stream
        self._inner.connection_made(stream)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._door.gone(self._transport)
            self._inner.connection_lost(exc)
