"""Bytes as text, or a sentence about what they are instead: a picture, an archive, a program."""

from __future__ import annotations

import re

# What YAML calls printable, except the byte order mark, which is dropped at the start of a file.
UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)

# What files that are dropped by accident begin with, and what these files are called.
_BEGINNINGS = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "an ELF program, or an image of one"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"hsqs", "a squashfs image"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
)
# Names that also begin an innocent text; with these, what follows must be no text either.
_SAYABLE = frozenset({b"GIF8", b"BZh", b"hsqs"})
# A .sif image starts with the line that would run it.
_SIF = (b"SIF_MAGIC", "a container image")
_HEAD = 64  # bytes; all these beginnings are within
_SAMPLE = 512  # bytes that are looked at for what has no such beginning; a tar header is as long
_SHARE = 4  # one byte in so many that no text has: more than a slip of the keyboard

# Bytes that no text has in any encoding which keeps ASCII: what is left of the control characters
# without those of old printers and terminals (tab, line feeds, escape).
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


class NotText(Exception):
    """The bytes cannot be read; line and column count from 1, 0 when there is no place."""

    def __init__(self, line: int, column: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.column = column
        self.what = what


def decode(data: bytes, limit: int) -> str:
    """Return the text of at most ``limit`` bytes, or raise ``NotText``."""
    if (kind := _kind(data)) is not None:
        raise NotText(0, 0, f"this is not text (it looks like {kind})")
    if len(data) > limit:
        raise NotText(0, 0, f"{len(data)} bytes; at most {limit // 1024} KiB are read")
    sample = data[:_SAMPLE]
    if len(_BINARY.findall(sample)) * _SHARE > len(sample):
        raise NotText(0, 0, "this is not text")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if _BINARY.search(data):
            raise NotText(0, 0, "this is not text") from None
        before = data[: error.start].decode("utf-8")
        what = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 text"
        raise NotText(*_position(before), what) from None
    text = text.removeprefix("\ufeff")
    if found := UNPRINTABLE.search(text):
        what = f"control character {found.group()!a}; this is not a plain text file"
        raise NotText(*_position(text[: found.start()]), what)
    return text


def _kind(data: bytes) -> str | None:
    """Return what a file that is no text looks like by its first bytes."""
    head = data[:_HEAD]
    if _SIF[0] in head:
        return _SIF[1]
    for start, kind in _BEGINNINGS:
        if head.startswith(start) and (start not in _SAYABLE or _BINARY.search(head)):
            return kind
    return None


def _position(before: str) -> tuple[int, int]:
    """Return line and column of what follows this text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
