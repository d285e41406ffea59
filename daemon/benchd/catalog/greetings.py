"""What database servers say first, in their own protocols, and whether that means they are up.

Nobody logs in: the first packet tells. MySQL and MariaDB speak as soon as they are connected to,
PostgreSQL once it knows who is there.
"""

from __future__ import annotations

import struct

from benchd.core.model import Verdict

_NAME = b"benchd"
# Protocol 3.0; the user need not exist: the question is only how far the server lets one come.
_HELLO = b"user\0" + _NAME + b"\0database\0postgres\0application_name\0" + _NAME + b"\0\0"
POSTGRES_HELLO = struct.pack("!II", 8 + len(_HELLO), 3 << 16) + _HELLO
# MySQL: a header of 4 bytes, then the protocol's version, or 255 and an error.
_MYSQL_HEADER = 4
_MYSQL_GREETING = 10
_MYSQL_ERROR = 0xFF
_MYSQL_FULL = 1040  # ER_CON_COUNT_ERROR: up, and all connections are in use
# PostgreSQL's SQLSTATEs that come before a login and mean that nobody can log in yet, or any more.
_POSTGRES_CLOSED = frozenset({"57P03", "57P01", "57P02"})
_POSTGRES_FULL = "53300"
_SILENT = "it closed the connection without a word"
_SHOWN = 200  # characters of an answer that are shown to the user


def _text(data: bytes) -> str:
    shown = data[:_SHOWN].decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else "?" for c in shown)


def mysql(data: bytes) -> tuple[Verdict, str]:
    """Judge the first packet of a MySQL or MariaDB server."""
    if not data:
        return Verdict.BAD, _SILENT
    body = data[_MYSQL_HEADER:]
    if not body or data[3] not in (0, 1):
        return Verdict.BAD, f"not MySQL: it said {_text(data)!r}"
    if body[0] == _MYSQL_GREETING:
        version = body[1:].partition(b"\0")[0].removeprefix(b"5.5.5-")  # MariaDB's, for old clients
        return Verdict.GOOD, f"MySQL protocol, version {_text(version)}"
    if body[0] != _MYSQL_ERROR or len(body) < 3:
        return Verdict.BAD, f"not MySQL: it said {_text(data)!r}"
    number = int.from_bytes(body[1:3], "little")
    said = f"{_text(body[3:])} (error {number})"
    if number == _MYSQL_FULL:
        return Verdict.GOOD, f"up, but all its connections are in use: {said}"
    return Verdict.BAD, f"it lets nobody in: {said}"


def postgres(data: bytes) -> tuple[Verdict, str]:
    """Judge the answer of a PostgreSQL server to the first packet of a login."""
    if not data:
        return Verdict.BAD, _SILENT
    if data[:1] == b"R":  # what it wants to be shown, or that it wants nothing
        return Verdict.GOOD, "PostgreSQL takes logins"
    if data[:1] != b"E" or len(data) < 6:
        return Verdict.BAD, f"not PostgreSQL: it said {_text(data)!r}"
    fields = {field[:1]: field[1:] for field in data[5:].split(b"\0")}
    state, said = _text(fields.get(b"C", b"")), _text(fields.get(b"M", b""))
    if state in _POSTGRES_CLOSED:
        return Verdict.BAD, f"it lets nobody in: {said} ({state})"
    if state == _POSTGRES_FULL:
        return Verdict.GOOD, f"up, but all its connections are in use: {said}"
    return Verdict.GOOD, f"up; it would not let benchd in: {said} ({state})"
