"""A tar archive, made by hand: the standard library takes ten times as long for three files."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.disk import Dir, File

_BLOCK = 512
_RECORD = 20 * _BLOCK  # GNU tar fills up to this


def tarball(members: Iterable[tuple[str, File | Dir]]) -> bytes:
    """Return an archive of these files and directories, as ``tar -cf -`` writes it."""
    parts: list[bytes] = []
    for name, entry in members:
        if isinstance(entry, Dir):
            parts.append(_header(f"{name}/", 0o700, 0, entry.mtime, b"5"))
            continue
        parts.append(_header(name, 0o600, len(entry.data), entry.mtime, b"0"))
        parts.append(entry.data)
        parts.append(b"\0" * (-len(entry.data) % _BLOCK))
    parts.append(b"\0" * (2 * _BLOCK))
    whole = b"".join(parts)
    return whole + b"\0" * (-len(whole) % _RECORD)


def _header(name: str, mode: int, size: int, mtime: float, kind: bytes) -> bytes:
    head = b"%-8s" % b""  # the checksum is made with spaces in its place
    before = b"".join(
        [
            name.encode().ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"0001750\0",
            b"0001750\0",
            b"%011o\0" % size,
            b"%011o\0" % int(mtime),
        ]
    )
    after = (kind + b"\0" * 100 + b"ustar  \0" + b"sim".ljust(32, b"\0") * 2).ljust(356, b"\0")
    return before + b"%06o\0 " % sum(before + head + after) + after
