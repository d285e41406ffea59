"""The daemon's way to a virtual cluster: a ``Shell`` over virtual links, with rare logins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchd.edge.shell import OUTPUT_LIMIT, ByteReader, ByteWriter, Completed, Resting
from benchd.errors import Unreachable
from simulation.login import SessionRefused, VirtualWire

if TYPE_CHECKING:
    from simulation.site import Site

# Sessions at once, as the daemon's own default has it.
CHANNELS = 5
# Seconds that a login takes: the TCP handshake, the keys, a slow PAM.
LOGIN = (0.2, 2.0)
# Seconds after which a login to a node that is down is given up.
NO_LOGIN = 10.0
# Seconds between failed logins: at first, and in the end.
FLOOR, CEILING = 30.0, 300.0


class Way:
    """One link at a time, made when it is needed."""

    def __init__(self, site: Site) -> None:
        self.generation = 0
        self.logins = 0
        self.state = "down"
        self._site = site
        self._wire: VirtualWire | None = None
        self._failures = 0
        self._not_before = 0.0
        self._lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(CHANNELS)

    def resume(self) -> None:
        """Log in at once."""
        self._not_before = 0.0

    async def run(
        self,
        command: str,
        *,
        op: str,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109 - it also bounds the far side
        limit: int = OUTPUT_LIMIT,
    ) -> Completed:
        """Run one command on the login node to its end, or raise ``Unreachable``."""
        async with self._slots:
            wire = await self._connection()
            try:
                return await wire.send(command, stdin=stdin, seconds=timeout, limit=limit)
            except SessionRefused as error:
                raise Unreachable(f"{self._site.name}: no session: {error}", sent=False) from error

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node."""
        wire = await self._connection()
        return await wire.connect(host, port, timeout)

    async def close(self) -> None:
        """Log out."""
        self.state = "down"
        if self._wire is not None:
            await self._wire.hang_up()

    async def _connection(self) -> VirtualWire:
        if self._wire is not None and not self._wire.closed:
            return self._wire
        site = self._site
        async with self._lock:
            if self._wire is not None and not self._wire.closed:
                return self._wire
            if site.agenda.now < self._not_before:
                raise Resting(f"{site.name}: the next login comes later")
            self.logins += 1
            site.logins.append(site.agenda.now)
            self.state = "connecting"
            await asyncio.sleep(site.rng.uniform(*LOGIN))
            if site.login.is_down:
                await asyncio.sleep(NO_LOGIN)
                self._lost(None)
                raise Unreachable(f"{site.name}: cannot log in", sent=False)
            self._wire = site.login.accept(self._lost)
            self.generation += 1
            self.state = "up"
            return self._wire

    def _lost(self, error: Exception | None) -> None:
        self.state = "down"
        pause = min(CEILING, FLOOR * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._not_before = self._site.agenda.now + pause
