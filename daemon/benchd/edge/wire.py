"""One connection to a login node, as ``edge/link.py`` wants it and ``edge/ssh.py`` makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from benchd.edge.framing import Frame
from benchd.edge.shell import ByteReader, ByteWriter, Completed


class NothingRan(Exception):
    """The login node opened no session: the command surely did not start.

    ``is_full``: because there are as many as it allows (MaxSessions).
    """

    def __init__(self, reason: str, *, is_full: bool) -> None:
        super().__init__(reason)
        self.is_full = is_full


class NoLogin(Exception):
    """A login did not work. ``outcome``: config, auth, hostkey, timeout or network.

    After the first three only a human can help; for the first nothing was sent.
    """

    def __init__(self, outcome: str, what: str) -> None:
        super().__init__(what)
        self.outcome = outcome

    @property
    def needs_human(self) -> bool:
        """Whether trying again could get the account blocked, and can never help."""
        return self.outcome in {"config", "auth", "hostkey"}


class Wire(Protocol):
    """An authenticated connection."""

    @property
    def where(self) -> str:
        """Return the address at the other end."""
        ...

    def is_closed(self) -> bool:
        """Tell whether it is gone."""
        ...

    async def run(self, frame: Frame, stdin: bytes, limit: int) -> Completed:
        """Run one command in a session of its own: ``NothingRan``, or ``Unreachable``."""
        ...

    async def connect(self, host: str, port: int, seconds: float) -> tuple[ByteReader, ByteWriter]:
        """Open a connection from the login node to a compute node; see ``Shell.connect``."""
        ...

    async def hang_up(self) -> None:
        """End it."""
        ...


class Dial(Protocol):
    """Logs in."""

    def check(self) -> None:
        """Raise ``NoLogin`` for what no login can succeed with, before anybody hears of us."""
        ...

    async def __call__(self, lost: Callable[[Exception | None], None]) -> Wire:
        """Return a new connection or raise ``NoLogin``. ``lost`` is called when it is gone."""
        ...
