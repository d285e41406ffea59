"""Who may do what: the same for the socket and for a file in the inbox, by the uid alone."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from benchd.config import AccessSettings
from benchd.errors import UserError

ROOT = 0  # uid


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

    def is_trusted(self, uid: int) -> bool:
        """Tell whether this is the user benchd runs as, or root."""
        return uid in (ROOT, self.owner)

    def right_of(self, uid: int) -> Right:
        """Return what this user may do."""
        if self.is_trusted(uid) or uid in self.operators:
            return Right.OPERATE
        return Right.READ if uid in self.readers else Right.NOTHING


def access_of(settings: AccessSettings, owner: int) -> Access:
    """Return the rights that a configuration gives; ``UserError`` for a user who does not exist."""
    return Access(
        owner=owner,
        readers=_uids("access.read", settings.read),
        operators=_uids("access.operate", settings.operate),
    )


def _uids(key: str, names: Iterable[str]) -> frozenset[int]:
    found = set()
    for name in names:
        if name.isascii() and name.isdigit():
            found.add(int(name))
            continue
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise UserError(
                f"{key}: there is no user {name!r} on this machine: write a name or a uid"
            ) from None
    return frozenset(found)
