"""SSH itself: logging in, sessions, forwarded connections. The one file that speaks asyncssh.

Facts about asyncssh this file rests on: ``run()`` returns normally with ``exit_status None`` when
the link died, so the status travels in-band (``framing``); one bad UTF-8 byte in text mode closes
the whole connection, so everything is bytes; a refused channel (``ChannelOpenError``) means that
nothing ran, so it may be tried again; nothing else may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable

import asyncssh

from benchd.config import SSHSettings
from benchd.edge import keys, login, refusals
from benchd.edge.framing import Frame
from benchd.edge.login import Pace
from benchd.edge.shell import KILL_AFTER, ByteReader, ByteWriter, Capped, Completed, printable
from benchd.edge.wire import NoLogin, NothingRan
from benchd.errors import Unreachable

# Seconds we wait longer than the far side's `timeout -k`: its word is the better one.
_GRACE = 10.0
# Seconds for a session to open; a warm link needs 2 ms, a node short of memory some seconds.
_OPEN_TIMEOUT = 20.0
# Bytes read at once.
_CHUNK = 65536
# Bytes of framing that may come on top of a command's own output: two lines, and room to spare.
_OVERHEAD = 65536


class _Client(asyncssh.SSHClient):
    """Says when its connection is gone."""

    def __init__(self, lost: Callable[[Exception | None], None]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)


class Dialer:
    """Logs in to one login node; a ``Dial``.

    Where a name stands for several nodes (round-robin DNS), each login that fails and each
    connection that is lost makes the next login begin with the next address.
    """

    def __init__(self, name: str, settings: SSHSettings, pace: Pace) -> None:
        self._name = name
        self._settings = settings
        self._pace = pace
        self._address = 0  # the one to begin with, counted round
        # It logs every login and channel at INFO; what matters is logged elsewhere, in our words.
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

    def check(self) -> None:
        """Raise ``NoLogin`` for files that no login can succeed with."""
        try:
            keys.check(self._settings)
        except login.Unusable as error:
            raise NoLogin("config", str(error)) from error

    async def __call__(self, lost: Callable[[Exception | None], None]) -> Connection:
        """Return a new connection, or raise ``NoLogin``."""
        try:
            return await self._dial(lost)
        except asyncssh.PermissionDenied as error:
            why = login.denied(self._settings) + keys.certificate_trouble(self._settings)
            raise NoLogin("auth", why) from error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            known = keys.knows(self._settings)
            raise NoLogin("hostkey", login.distrusted(self._settings, known=known)) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
            raise NoLogin("config", f"the SSH key or configuration: {error}") from error
        except TimeoutError as error:
            raise NoLogin("timeout", "no answer in time") from error
        except (asyncssh.Error, OSError) as error:
            raise NoLogin("network", str(error)) from error

    async def _dial(self, lost: Callable[[Exception | None], None]) -> Connection:
        settings = self._settings
        options = login.options(settings, self._pace)
        jump: asyncssh.SSHClientConnection | None = None
        sock: socket.socket | None = None
        where = f"{settings.host}:{settings.port}"
        if settings.proxy_jump:
            user, host, port = login.jump(settings.proxy_jump)
            named = {"username": user} if user else {}
            jump = await asyncssh.connect(host, port, **(options | named))
            options["tunnel"] = jump
        elif not settings.config:  # a configuration file may say how to reach the host
            sock, where = await self._connected()
            options["sock"] = sock
        following = self._address + 1

        def gone(error: Exception | None) -> None:
            self._address = following
            if jump is not None:
                jump.abort()
            lost(error)

        try:
            conn = await asyncssh.connect(
                settings.host, settings.port, client_factory=lambda: _Client(gone), **options
            )
        except BaseException:
            self._address = following
            for made in (jump, sock):
                if made is not None:
                    made.close()
            raise
        return Connection(conn, jump, name=self._name, where=where)

    async def _connected(self) -> tuple[socket.socket, str]:
        """Return a socket to the first address that accepts it, and which that is."""
        settings, loop = self._settings, asyncio.get_running_loop()
        found = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        first, refused = self._address, OSError(f"{settings.host} has no address")
        for turn in range(first, first + len(found)):
            self._address = turn
            family, kind, protocol, _, address = found[turn % len(found)]
            try:
                sock = await self._reached(family, kind, protocol, address)
            except TimeoutError:  # the time is up for this login
                self._address += 1
                raise
            except OSError as error:
                refused = error
            else:
                there = "" if address[0] == settings.host else f" ({address[0]})"
                return sock, f"{settings.host}:{settings.port}{there}"
        raise refused

    async def _reached(
        self, family: int, kind: int, protocol: int, address: tuple[object, ...]
    ) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._pace.connect_timeout):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock


class Connection:
    """An authenticated SSH connection; a ``Wire``."""

    def __init__(
        self,
        conn: asyncssh.SSHClientConnection,
        jump: asyncssh.SSHClientConnection | None,
        *,
        name: str,
        where: str,
    ) -> None:
        self.name = name
        self.where = where
        self._conn = conn
        self._jump = jump

    def is_closed(self) -> bool:
        """Tell whether it is gone."""
        return self._conn.is_closed()

    async def hang_up(self) -> None:
        """Log out, of the login node and then of the jump host."""
        for conn in (self._conn, self._jump):
            if conn is not None:
                await _hang_up(conn)

    # --- commands ---------------------------------------------------------------------------------

    async def run(self, frame: Frame, stdin: bytes, limit: int) -> Completed:
        """Run one command in a session of its own."""
        started = time.monotonic()
        process = await self._open(frame.text)
        return await self._talk(process, frame, stdin, limit, started)

    async def _open(self, text: str) -> asyncssh.SSHClientProcess[bytes]:
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                return await self._conn.create_process(text, encoding=None, request_pty=False)
        except TimeoutError as error:
            self._conn.abort()  # the session that may yet open would be nobody's
            raise Unreachable(f"{self.name}: {self.where} opens no session") from error
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                raise Unreachable(f"{self.name}: {self.where} lost the command") from error
            is_full = error.code == asyncssh.OPEN_CONNECT_FAILED
            raise NothingRan(error.reason, is_full=is_full) from error
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"{self.name}: the link to {self.where} broke: {error}") from error

    async def _talk(
        self,
        process: asyncssh.SSHClientProcess[bytes],
        frame: Frame,
        stdin: bytes,
        limit: int,
        started: float,
    ) -> Completed:
        out, err = Capped(limit + _OVERHEAD, frame.start), Capped(limit, frame.start)
        broke = ""
        try:
            async with asyncio.timeout(frame.seconds + KILL_AFTER + _GRACE):
                with contextlib.suppress(OSError):  # it may have ended without reading
                    process.stdin.write(stdin)
                    process.stdin.write_eof()
                await asyncio.gather(_collect(process.stdout, out), _collect(process.stderr, err))
        except TimeoutError:
            broke = "no answer in time"
        except (asyncssh.Error, OSError) as error:
            broke = str(error)
        finally:
            process.close()
        done = frame.completed(out, err, limit, time.monotonic() - started)
        if done is None:
            said = printable(frame.err(err)[-200:] or frame.err(out)[-200:])
            raise Unreachable(
                f"{self.name}: {self.where} did not say how the command ended"
                f" ({broke or said or 'connection lost'})"
            )
        if frame.timed_out(done):
            raise Unreachable(f"{self.name}: stopped on {self.where} after {frame.seconds:g} s")
        return done

    # --- forwarded connections --------------------------------------------------------------------

    async def connect(self, host: str, port: int, seconds: float) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node through the login node (direct-tcpip)."""
        conn = self._conn
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await conn.open_connection(host, port, encoding=None)
        except asyncssh.ChannelOpenError as error:
            if conn.is_closed():
                raise Unreachable(f"{self.name}: the link broke: {error.reason}") from error
            where, target = f"{self.name}: {self.where}", f"{host}:{port}"
            raise refusals.of_channel(where, target, error.code, error.reason) from error
        except TimeoutError:
            raise  # is an OSError; asyncio raised it, not the link
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"{self.name}: the link broke: {error}") from error
        return _Reader(self.name, reader), writer


class _Reader:
    """The reading half of a forwarded connection; our own link's end is no end of the stream."""

    def __init__(self, name: str, reader: asyncssh.SSHReader[bytes]) -> None:
        self._name = name
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        """Return up to ``n`` bytes; empty at the end."""
        return await self._wrap(self._reader.read(n))

    async def readline(self) -> bytes:
        """Return one line with its end, or what is left."""
        return await self._wrap(self._reader.readline())

    async def _wrap(self, reading: Awaitable[bytes]) -> bytes:
        try:
            return await reading
        except asyncssh.Error as error:
            raise Unreachable(f"{self._name}: the link broke: {error}") from error


async def _collect(reader: asyncssh.SSHReader[bytes], into: Capped) -> None:
    while data := await reader.read(_CHUNK):
        into.feed(data)


async def _hang_up(conn: asyncssh.SSHClientConnection) -> None:
    conn.close()
    try:
        async with asyncio.timeout(2):  # seconds; a frozen server never says good-bye
            await conn.wait_closed()
    except TimeoutError:
        conn.abort()
