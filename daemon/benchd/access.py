"""Who may do what: the same for the socket and for a file in the inbox, by the uid alone.

In a user namespace (a container, ``PrivateUsers=`` of systemd) the kernel shows everybody who is
not mapped into it as one and the same uid, that of ``nobody``. Strangers share it, so it is no
identity.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from benchd.config import AccessSettings
from benchd.errors import UserError

ROOT = 0  # uid
ALL_UIDS = 2**32 - 1  # how many there are; the last number means "none"
_MAP = Path("/proc/self/uid_map")
_OVERFLOW = Path("/proc/sys/kernel/overflowuid")
# What a user is told who is refused because of it, and what to do about it.
UNNAMED = "the kernel does not tell this benchd who you are: it runs in a user namespace"
NAMESPACE_FIX = "run benchd outside of it (under systemd without PrivateUsers=)"


class Right(IntEnum):
    """What somebody may do; each includes the ones before."""

    NOTHING = 0
    READ = 1
    OPERATE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rights of every uid: the daemon's own user and root may do everything."""

    owner: int
    readers: frozenset[int] = frozenset()
    operators: frozenset[int] = frozenset()
    shared: int | None = None  # the uid that stands for many users, if there is one

    def is_trusted(self, uid: int) -> bool:
        """Tell whether this is the user benchd runs as, or root."""
        return uid in (ROOT, self.owner) and uid != self.shared

    def right_of(self, uid: int) -> Right:
        """Return what this user may do."""
        if uid == self.shared:
            return Right.NOTHING
        if self.is_trusted(uid) or uid in self.operators:
            return Right.OPERATE
        return Right.READ if uid in self.readers else Right.NOTHING


@dataclass(frozen=True, slots=True)
class Uids:
    """The uids that the kernel tells apart for this process."""

    mapped: tuple[range, ...] = (range(ALL_UIDS),)
    overflow: int = 65534  # as which it shows everybody else

    @property
    def shared(self) -> int | None:
        """The uid that stands for many users; None when everybody has one."""
        return self.overflow if sum(map(len, self.mapped)) < ALL_UIDS else None

    def __contains__(self, uid: int) -> bool:
        return uid != self.shared and any(uid in part for part in self.mapped)


def uids_of(uid_map: Path = _MAP, overflow: Path = _OVERFLOW) -> Uids:
    """Return the uids of the user namespace that this process is in."""
    try:
        lines = [line.split() for line in uid_map.read_text().splitlines()]
    except FileNotFoundError:  # a kernel without user namespaces
        return Uids()
    mapped = tuple(range(int(first), int(first) + int(count)) for first, _, count in lines)
    return Uids(mapped, int(overflow.read_text()))


def access_of(settings: AccessSettings, owner: int, uids: Uids) -> Access:
    """Return the rights that a configuration gives; ``UserError`` for whom nobody can recognise."""
    return Access(
        owner=owner,
        readers=_chosen("access.read", settings.read, uids),
        operators=_chosen("access.operate", settings.operate, uids),
        shared=uids.shared,
    )


def _chosen(key: str, names: Iterable[str], uids: Uids) -> frozenset[int]:
    found = {_uid(key, name) for name in names}
    for uid in sorted(found):
        if uid not in uids:
            raise UserError(
                f"{key}: in the user namespace that benchd runs in, uid {uid} cannot be told from "
                f"others: {NAMESPACE_FIX}, or remove it"
            )
    return frozenset(found)


def _uid(key: str, name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UserError(
            f"{key}: there is no user {name!r} on this machine: write a name or a uid"
        ) from None
