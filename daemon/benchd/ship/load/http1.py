"""HTTP/1.1 from the client's side, no more than a stream of answers needs.

Times are taken in ``data_received`` before anything is parsed, so that they do not contain the
client's own work.
"""

import asyncio
import ssl
import time
from typing import Callable, Dict, List, Optional, Union

from .target import Target

# Status line and headers larger than this are not an answer to us.
_MAX_HEAD = 256 * 1024


class BadFrame(Exception):
    """What came is not HTTP, or not what was announced."""


class Response:
    """An answer as it comes in: ``feed`` bytes, get pieces of the body."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Dict[str, str] = {}
        self.complete = False
        self.keep_alive = False
        self.until_close = False
        self._buffer = b""
        self._step: Callable[[], Optional[bytes]] = self._head
        self._left = 0

    def feed(self, data: bytes) -> List[bytes]:
        """Return the pieces of the body in ``data``; raise ``BadFrame``."""
        pieces: List[bytes] = []
        if not self._buffer and self._step == self._chunk_size:
            data = self._whole_chunks(data, pieces)
            if not data:
                return pieces
        self._buffer += data
        while not self.complete:
            piece = self._step()
            if piece is None:
                break
            if piece:
                pieces.append(piece)
        if self.complete and self._buffer:
            self.keep_alive = False  # what came beyond it would pass for the next answer
        return pieces

    def _whole_chunks(self, data: bytes, pieces: List[bytes]) -> bytes:
        """Take the plain chunks that are there as a whole, as most are; return the rest."""
        at = 0
        while True:
            end = data.find(b"\r\n", at, at + 18)
            try:
                size = int(data[at:end], 16) if end > at else 0
            except ValueError:
                size = 0  # an extension, or nonsense: for those who look closer
            after = end + 2 + size
            if size <= 0 or data[after : after + 2] != b"\r\n":
                return data[at:] if at else data
            pieces.append(data[end + 2 : after])
            at = after + 2

    def _line(self) -> Optional[bytes]:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise BadFrame("a line longer than %d bytes" % _MAX_HEAD)
            return None
        line, self._buffer = self._buffer[:end].rstrip(b"\r"), self._buffer[end + 1 :]
        return line

    def _head(self) -> Optional[bytes]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if self._buffer and not b"HTTP/1.".startswith(self._buffer[:7]):
                raise BadFrame("not HTTP: %r" % self._buffer[:60])
            if len(self._buffer) > _MAX_HEAD:
                raise BadFrame("headers larger than %d bytes" % _MAX_HEAD)
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        words = lines[0].split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
            raise BadFrame("not an HTTP status line: %r" % lines[0][:60])
        self.status = int(words[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if 100 <= self.status < 200:
            return b""  # an interim answer: the real one follows
        self._choose_body(words[0] == "HTTP/1.1")
        return b""

    def _choose_body(self, modern: bool) -> None:
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection if modern else "keep-alive" in connection
        length = self.headers.get("content-length")
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._step = self._chunk_size
        elif self.status in (204, 304) or length == "0":
            self.complete = True
        elif length is not None:
            if not length.isdigit():
                raise BadFrame("Content-Length is no number: %r" % length[:40])
            self._left = int(length)
            self._step = self._counted
        else:
            self.keep_alive = False
            self.until_close = True
            self._step = self._rest

    def _take(self, most: int) -> Optional[bytes]:
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece or None

    def _counted(self) -> Optional[bytes]:
        piece = self._take(self._left)
        self._left -= len(piece or b"")
        self.complete = not self._left
        return piece

    def _rest(self) -> Optional[bytes]:
        return self._take(len(self._buffer))

    def _chunk_size(self) -> Optional[bytes]:
        line = self._line()
        if line is None:
            return None
        try:
            self._left = int(line.split(b";")[0], 16)
        except ValueError:
            raise BadFrame("not the size of a chunk: %r" % line[:40]) from None
        self._step = self._chunk if self._left else self._trailer
        return b""

    def _chunk(self) -> Optional[bytes]:
        piece = self._take(self._left)
        self._left -= len(piece or b"")
        if not self._left:
            self._step = self._chunk_end
        return piece

    def _chunk_end(self) -> Optional[bytes]:
        line = self._line()
        if line:
            raise BadFrame("a chunk is longer than announced: %r" % line[:40])
        if line is not None:
            self._step = self._chunk_size
        return line

    def _trailer(self) -> Optional[bytes]:
        line = self._line()
        if line == b"":
            self.complete = True
        return b"" if line is not None else None


class Exchange:
    """One request and its answer. Subclasses get the body with the time at which it came."""

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.done = done
        self.response = Response()
        self.first_byte: Optional[float] = None

    def body(self, now: float, piece: bytes) -> None:
        """Take a piece of the body."""

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Take note that nothing more comes; ``how`` is None after a complete answer."""

    def feed(self, now: float, data: bytes) -> None:
        """Take bytes from the connection."""
        if self.first_byte is None:
            self.first_byte = now
        try:
            for piece in self.response.feed(data):
                self.body(now, piece)
        except BadFrame as error:
            self.finish(now, "bad_frame", str(error))
            return
        if self.response.complete:
            self.finish(now, None, "")

    def finish(self, now: float, how: Optional[str], detail: str) -> None:
        """End the exchange, once."""
        if not self.done.done():
            self.ended(now, how, detail)
            self.done.set_result(None)


class Connection(asyncio.Protocol):
    """One TCP connection that carries one exchange at a time."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.transport: Optional[asyncio.Transport] = None
        self.exchange: Optional[Exchange] = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio says: connected. TCP_NODELAY is its default."""
        self.transport = transport  # type: ignore[assignment] # always a Transport here

    def data_received(self, data: bytes) -> None:
        """Asyncio says: bytes. The time is taken first."""
        now = time.monotonic()
        if self.exchange is None or self.exchange.done.done():
            self.close()  # nobody asked: the answers would be attributed to the wrong request
        else:
            self.exchange.feed(now, data)

    def connection_lost(self, error: Optional[Exception]) -> None:
        """Asyncio says: gone."""
        now = time.monotonic()
        self.closed = True
        if self.exchange is not None:
            if self.exchange.response.until_close and error is None:
                self.exchange.finish(now, None, "")
            else:
                why = str(error) if error else "the server closed the connection"
                self.exchange.finish(now, "conn_lost", why)

    def send(self, data: bytes, exchange: Exchange) -> float:
        """Send a request; return when."""
        self.exchange = exchange
        now = time.monotonic()
        if self.closed or self.transport is None:
            exchange.finish(now, "conn_lost", "the connection was closed before it was used")
        else:
            self.transport.write(data)
        return now

    @property
    def usable(self) -> bool:
        """Whether another exchange may follow."""
        if self.closed or self.transport is None or self.transport.is_closing():
            return False
        last = self.exchange
        return last is None or (last.response.complete and last.response.keep_alive)

    def close(self) -> None:
        """Close at once, without waiting for anything."""
        if self.transport is not None:
            self.transport.abort()


async def connect(target: Target, patience: float) -> Connection:
    """Open a connection; raise ``OSError``, also when it takes too long."""
    loop = asyncio.get_event_loop()
    tls: Union[ssl.SSLContext, None] = ssl.create_default_context() if target.tls else None
    opening = loop.create_connection(lambda: Connection(target), target.host, target.port, ssl=tls)
    try:
        _, connection = await asyncio.wait_for(opening, patience)
    except asyncio.TimeoutError:
        message = "no connection to %s within %g s" % (target.authority, patience)
        raise OSError(message) from None
    return connection


async def answered(
    connection: Connection, exchange: Exchange, sent: float, patience: float
) -> None:
    """Wait for the end of an exchange, for so many seconds after its sending at most."""
    loop = asyncio.get_event_loop()
    watch = loop.call_at(
        sent + patience,
        lambda: exchange.finish(loop.time(), "timeout", "no end within %g s" % patience),
    )
    try:
        await exchange.done
    finally:
        watch.cancel()
        if not connection.usable:
            connection.close()


def request(
    target: Target,
    method: str,
    path: str,
    body: bytes = b"",
    request_id: str = "",
    headers: Optional[Dict[str, str]] = None,
) -> bytes:
    """Return the bytes of a request; ``headers`` replace those of the same name."""
    sent = {
        "Host": target.authority,
        "User-Agent": "benchd-load",
        "Accept": "*/*",
        "Content-Length": "%d" % len(body),
    }
    if body:
        sent["Content-Type"] = "application/json"
    if request_id:
        sent["X-Request-Id"] = request_id
    sent.update(headers or {})
    lines = ["%s %s%s HTTP/1.1" % (method, target.base, path)]
    lines += ["%s: %s" % header for header in sent.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body
