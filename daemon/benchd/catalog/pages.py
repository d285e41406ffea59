"""An HTTP answer, as far as a health check reads it: is it whole, and what does its body say."""

from __future__ import annotations

import re

# Bytes of an answer that are read when its body is looked at. A server lists its models, or its
# collections, in a few kilobytes; what is looked for must not hide behind a page without end.
PAGE = 256 * 1024
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:.*\bchunked\b", re.IGNORECASE | re.MULTILINE)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")


def body(data: bytes) -> bytes:
    """Return the body of an answer, as much of it as is there."""
    head, _, rest = data.partition(b"\r\n\r\n")
    return _unchunked(rest)[0] if _CHUNKED.search(head) else rest


def is_whole(data: bytes) -> bool:
    """Tell whether nothing more needs to be read of an answer to a GET."""
    if len(data) >= PAGE:
        return True
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return bool(head) and not b"HTTP/1.".startswith(head[:7])  # no HTTP: wait for nothing
    if _CHUNKED.search(head):
        return _unchunked(rest)[1]
    length = _LENGTH.search(head)
    return length is not None and len(rest) >= int(length[1])


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """Return what chunks carry, and whether the last one has come."""
    pieces: list[bytes] = []
    at = 0
    while match := _SIZE.match(data, at):
        size = int(match[1], 16)
        if not size:
            return b"".join(pieces), True
        pieces.append(data[match.end() : match.end() + size])
        at = match.end() + size + len(b"\r\n")
    return b"".join(pieces), False
