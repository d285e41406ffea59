"""The little of HTTP/1.1 that a server needs: read a request, write an answer or chunks."""

import asyncio
import json
from typing import Any, Dict, NamedTuple, Optional

# Largest request line and headers, and largest body: a prompt of a million tokens fits.
MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
# Seconds a client may take to send its body or to read what is waiting for it.
PATIENCE = 30.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Payload Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Bad(Exception):
    """A request that cannot be read; the connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        Exception.__init__(self, message)
        self.status = status
        self.message = message


class Request(NamedTuple):
    """One request, read completely."""

    method: str
    path: str
    query: str
    headers: Dict[str, str]
    body: bytes
    keep_alive: bool


async def read_request(reader: asyncio.StreamReader) -> Optional[Request]:
    """Return the next request, or None when the client has gone; raise ``Bad``."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise Bad(431, "the headers are larger than %d bytes" % MAX_HEAD) from None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Bad(400, "not an HTTP/1 request line: %r" % lines[0][:100])
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    body = await _body(reader, headers)
    path, _, query = words[1].partition("?")
    wants_close = "close" in headers.get("connection", "").lower()
    keep_alive = words[2] == "HTTP/1.1" and not wants_close
    return Request(words[0], path, query, headers, body, keep_alive)


async def _body(reader: asyncio.StreamReader, headers: Dict[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise Bad(411, "send the body with a Content-Length, not in chunks")
    said = headers.get("content-length", "0")
    if not (said.isdigit() and len(said) < 16):
        raise Bad(400, "Content-Length is no number: %r" % said[:40])
    length = int(said)
    if length > MAX_BODY:
        raise Bad(413, "the body has %d bytes, at most %d are taken" % (length, MAX_BODY))
    try:
        return await asyncio.wait_for(reader.readexactly(length), PATIENCE)
    except asyncio.TimeoutError:
        raise Bad(408, "the body did not come within %d s" % PATIENCE) from None
    except asyncio.IncompleteReadError as error:
        said_got = (length, len(error.partial))
        raise Bad(400, "the body ended early: %d bytes said, %d came" % said_got) from None


def head(status: int, headers: Dict[str, str]) -> bytes:
    """Return status line and headers."""
    lines = ["HTTP/1.1 %d %s" % (status, _REASONS.get(status, "Unknown")), "Server: sim-llm"]
    lines += ["%s: %s" % pair for pair in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def whole(status: int, body: bytes, headers: Dict[str, str]) -> bytes:
    """Return a complete answer."""
    all_headers = dict({"Content-Type": "application/json"}, **headers)
    all_headers["Content-Length"] = str(len(body))
    return head(status, all_headers) + body


def answer(status: int, value: Any, headers: Dict[str, str]) -> bytes:
    """Return a complete answer of JSON."""
    return whole(status, json.dumps(value).encode("utf-8"), headers)


def chunk(data: bytes) -> bytes:
    """Return one piece of a chunked body; an empty one would end it."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"


async def drain(writer: asyncio.StreamWriter) -> None:
    """Wait until the client reads again when too much is waiting for it; raise ``OSError``."""
    if writer.transport.get_write_buffer_size() < MAX_HEAD:
        return
    try:
        await asyncio.wait_for(writer.drain(), PATIENCE)
    except asyncio.TimeoutError:
        writer.transport.abort()
        raise ConnectionError("the client stopped reading") from None
