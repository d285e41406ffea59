"""The HTTP interface: everything on the Unix socket, what only reads on TCP.

The socket is 0660 in a 0750 directory, and every request is answered according to the uid of its
peer as the kernel says it (SO_PEERCRED): the daemon's own user and root may do everything, others
what ``access:`` in the configuration gives them. On TCP there are only the routes that change
nothing; off loopback a token is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from benchd.access import Access
from benchd.api.comparing import CompareRoutes
from benchd.api.control import Control, Keeping, Reads
from benchd.api.door import KEEPALIVE, Door
from benchd.api.guard import Admission, admit_local, admit_remote, gate, notebook, peer_uid
from benchd.api.kinds import KindRoutes
from benchd.api.routes import Routes
from benchd.api.sockets import bind_tcp, bind_unix, is_loopback, read_token
from benchd.api.upkeep import UpkeepRoutes
from benchd.catalog import CATALOG, Catalog
from benchd.config import HttpSettings

log = structlog.get_logger()

BODY_LIMIT = 256 * 1024  # bytes: the largest recipe that is accepted
SOCKET_VISITORS = 64  # connections at once; people and their scripts use a handful
USER_VISITORS = 8  # of these, one user's; nobody else's scripts need more
TCP_VISITORS = 16  # connections at once; one or two Prometheus servers scrape


class Interface:
    """Listens on the Unix socket, and on TCP if configured: ``start`` and ``stop``."""

    def __init__(
        self,
        *,
        control: Control,
        keeping: Keeping,
        reads: Reads,
        registry: CollectorRegistry,
        clock: Callable[[], float],
        path: Path,
        http: HttpSettings | None,
        access: Access | None = None,
        catalog: Catalog = CATALOG,
    ) -> None:
        """``access``: default, nobody but the user this process runs as, and root."""
        self._routes = Routes(control=control, reads=reads, registry=registry, clock=clock)
        self._upkeep = UpkeepRoutes(keeping=keeping)
        self._kinds = KindRoutes(catalog=catalog)
        self._comparing = CompareRoutes(reads=reads, clock=clock)
        self._path = path
        self._http = http
        self._access = access or Access(owner=os.getuid())
        self._inode: int | None = None
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self.tcp_port: int | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises ``UserError`` when a place is taken or must not be listened on."""
        try:
            await self._start_socket()
            if self._http is not None:
                await self._start_tcp(self._http)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, let answers in progress end, and remove the socket if it is ours."""
        for server in self._servers:
            server.close()
        for runner in self._runners:
            await runner.cleanup()
        self._servers.clear()
        self._runners.clear()
        if self._inode is not None and self._path.exists():
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
            self._inode = None

    async def _start_socket(self) -> None:
        listening = bind_unix(self._path)
        self._inode = self._path.stat().st_ino
        routes = [*self._reading(), *self._routes.acting(), *self._upkeep.acting()]
        door = Door(limit=SOCKET_VISITORS, each=USER_VISITORS, who=self._other)
        await self._serve(listening, routes, admit_local(self._access), door)
        log.info("api.listening", socket=str(self._path))

    def _other(self, transport: asyncio.Transport) -> int | None:
        uid = peer_uid(transport)
        return None if self._access.is_trusted(uid) else uid

    async def _start_tcp(self, settings: HttpSettings) -> None:
        token = read_token(settings)
        listening = bind_tcp(settings, has_token=token is not None)
        host, self.tcp_port = listening.getsockname()[:2]
        admit = admit_remote(token, loopback=is_loopback(host))
        await self._serve(listening, self._reading(), admit, Door(limit=TCP_VISITORS))
        log.info("api.listening", host=host, port=self.tcp_port, token=token is not None)

    def _reading(self) -> list[web.RouteDef]:
        """Return the routes that change nothing: all there is on TCP."""
        return [
            *self._routes.reading(),
            *self._kinds.reading(),
            *self._comparing.reading(),
        ]

    async def _serve(
        self,
        listening: socket.socket,
        routes: Iterable[web.AbstractRouteDef],
        admit: Admission,
        door: Door,
    ) -> None:
        layers = [gate(door, admit), notebook(self._routes.reads, self._routes.clock)]
        application = web.Application(middlewares=layers, client_max_size=BODY_LIMIT)
        application.add_routes(routes)
        # What is no HTTP is answered with 400 and not worth a traceback in the log.
        quiet = logging.getLogger("aiohttp.noise")
        quiet.setLevel(logging.CRITICAL)
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEPALIVE,
            shutdown_timeout=2.0,
            logger=quiet,
        )
        await runner.setup()
        self._runners.append(runner)
        loop = asyncio.get_running_loop()
        # Either kind of socket will do: create_server asks only for a listening stream.
        self._servers.append(
            await loop.create_server(door.protocols(runner.server), sock=listening)
        )
