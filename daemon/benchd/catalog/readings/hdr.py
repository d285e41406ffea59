"""HdrHistogram's second encoding ("HISTFA..."), as memtier writes it: what was counted, decoded."""

from __future__ import annotations

import base64
import binascii
import math
import struct
import zlib
from collections.abc import Iterator

# The first word, but for four bits that say how wide counts may be: packed, and inside of that.
_PACKED, _PLAIN, _WIDTH = 0x1C849304, 0x1C849303, 0xF0
_HEAD = struct.Struct(">IIIIQQd")
# Bytes of counts: a histogram of three digits up to an hour has about 50,000 of them.
_MOST = 1 << 20


def decode(text: str) -> dict[int, int]:
    """Return highest equivalent value -> count; nothing for what is no such histogram."""
    try:
        data = base64.b64decode(text, validate=True)
        cookie, length = struct.unpack_from(">II", data)
        if cookie & ~_WIDTH != _PACKED:
            return {}
        plain = zlib.decompressobj().decompress(data[8 : 8 + length], _MOST)
        inner, size, _, digits, lowest, _, _ = _HEAD.unpack_from(plain)
    except (binascii.Error, ValueError, struct.error, zlib.error):
        return {}
    if inner & ~_WIDTH != _PLAIN or not 1 <= digits <= 5 or not lowest:
        return {}
    counts = plain[_HEAD.size : _HEAD.size + size]
    return {_value(place, digits, lowest): count for place, count in _counts(counts)}


def _counts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the places that were counted: zigzag numbers of seven bits a byte; < 0 skips places."""
    place = number = shift = 0
    for byte in data:
        # the ninth byte has all of its eight bits
        number |= (byte if shift == 56 else byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 and shift < 63:
            continue
        count = (number >> 1) ^ -(number & 1)
        if count > 0:
            yield place, count
        place += -count if count < 0 else 1
        number = shift = 0


def _value(place: int, digits: int, lowest: int) -> int:
    """Return the highest value that is counted at a place."""
    half = math.ceil(math.log2(2 * 10**digits)) - 1
    bucket = (place >> half) - 1
    within = (place & ((1 << half) - 1)) + (1 << half)
    if bucket < 0:
        bucket, within = 0, within - (1 << half)
    unit = bucket + lowest.bit_length() - 1
    return int((within << unit) + (1 << unit) - 1)
