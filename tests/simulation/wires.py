"""Virtual links to a login node, as the daemon's ``Link`` wants them; and services to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchd.edge.shell import ByteReader, ByteWriter, Completed, ForwardingForbidden
from benchd.edge.wire import NoLogin
from benchd.errors import Unreachable
from simulation.bash import Answer

if TYPE_CHECKING:
    from benchd.edge.framing import Frame
    from simulation.login import LoginNode
    from simulation.site import Site

# Seconds that a login takes: the TCP handshake, the keys, a slow PAM.
LOGIN = (0.2, 2.0)
# Seconds after which a login to a node that is down is given up.
NO_LOGIN = 10.0


class VirtualWire:
    """An authenticated connection to the login node; a ``Wire``."""

    def __init__(
        self,
        site: Site,
        node: LoginNode,
        number: int,
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._site = site
        self._node = node
        self._number = number
        self.lost = lost
        self.closed = False
        self.where = f"login.{site.name}:22"

    def is_closed(self) -> bool:
        """Tell whether it is gone."""
        return self.closed

    async def run(self, frame: Frame, stdin: bytes, limit: int) -> Completed:
        """Run one command in a session of its own."""
        if self.closed:
            raise Unreachable(f"{self._site.name}: the link broke")
        session, future = self._node.open(
            self._number, frame.command, stdin=stdin, seconds=frame.seconds, limit=limit
        )
        try:
            return await future
        except asyncio.CancelledError:
            self._node.cancelled(session)
            raise

    async def connect(self, host: str, port: int, seconds: float) -> tuple[ByteReader, ByteWriter]:
        """Open a connection from the login node to a compute node."""
        site = self._site
        await site.sleep(0.02)
        if self.closed or self._node.is_down:
            await site.sleep(seconds)
            raise TimeoutError
        if site.faults.no_forwarding:
            raise ForwardingForbidden(f"{site.name} forwards no connections")
        if host in site.nodes.dark:
            await site.sleep(seconds)
            raise TimeoutError
        if (host, port) not in site.nodes.listening:
            raise ConnectionRefusedError("Connection refused")
        talk = Conversation(site, host, port)
        return talk, talk

    async def hang_up(self) -> None:
        """End it."""
        self.closed = True


class Conversation:
    """Both halves of a connection to a service."""

    def __init__(self, site: Site, host: str, port: int) -> None:
        self._site = site
        self._place = (host, port)
        self._said = b""

    async def read(self, n: int = -1) -> bytes:
        """Return what the service answers."""
        await self._site.sleep(0.02)
        answer = self._site.ask_service(*self._place, self._said)
        self._said = b""
        return answer.out

    async def readline(self) -> bytes:
        """Return the first line of it."""
        return (await self.read()).partition(b"\n")[0] + b"\n"

    def write(self, data: bytes) -> None:
        """Say something."""
        self._said += data

    async def drain(self) -> None:
        """Wait for nothing."""

    def write_eof(self) -> None:
        """Say no more."""

    def close(self) -> None:
        """Hang up."""

    async def wait_closed(self) -> None:
        """Wait for nothing."""


class VirtualDial:
    """Logs in to the login node; a ``Dial``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> None:
        """Find nothing wrong with the keys."""

    async def __call__(self, lost: Callable[[Exception | None], None]) -> VirtualWire:
        """Log in, or say why not."""
        site = self._site
        site.logins.append(site.agenda.now)
        await site.sleep(site.rng.uniform(*LOGIN))
        if site.login.is_down:
            await site.sleep(NO_LOGIN)
            raise NoLogin("timeout", "no answer in time")
        return site.login.accept(lost)


def answer_of(sent: bytes) -> Answer:
    """Return what a service says to a probe."""
    if sent.startswith(b"GET "):
        return Answer(0, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    if sent.startswith(b"PING"):
        return Answer(0, b"+PONG\r\n")
    return Answer(0)
