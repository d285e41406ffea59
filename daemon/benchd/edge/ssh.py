"""One SSH connection to one login node: logins are rare, answers are certain or said not to be.

Facts about asyncssh this file rests on: ``run()`` returns normally with ``exit_status None`` when
the link died, so the status travels in-band (``framing``); one bad UTF-8 byte in text mode closes
the whole connection, so everything is bytes; a refused channel (``ChannelOpenError``) means that
nothing ran, so it may be tried again; nothing else may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable

import asyncssh
import structlog

from benchd.config import ClusterSettings
from benchd.edge import keys, login, refusals
from benchd.edge.framing import Frame
from benchd.edge.login import SITE, TESTBED, LinkState, Pace
from benchd.edge.shell import (
    KILL_AFTER,
    OUTPUT_LIMIT,
    ByteReader,
    ByteWriter,
    Capped,
    Completed,
    Resting,
    printable,
)
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics

log = structlog.get_logger()

# Seconds we wait longer than the far side's `timeout -k`: its word is the better one.
_GRACE = 10.0
# Seconds for a session to open; a warm link needs 2 ms, a node short of memory some seconds.
_OPEN_TIMEOUT = 20.0
# Refused channels before giving up, and the first pause (s): sshd frees a session a bit late.
_OPEN_TRIES, _OPEN_PAUSE = 6, 0.05
# Bytes read at once.
_CHUNK = 65536
# Bytes of framing and banners that may come on top of a command's own output.
_OVERHEAD = 65536


class _Client(asyncssh.SSHClient):
    """Tells the link when its connection is gone."""

    def __init__(self, lost: Callable[[Exception | None], None]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)


class _NothingRan(Exception):
    """The channel was refused: the command surely did not start."""


class Link:
    """One connection to one login node; a ``Shell``."""

    def __init__(
        self,
        name: str,
        settings: ClusterSettings,
        *,
        metrics: Metrics,
        pace: Pace | None = None,
        once: bool = False,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if settings.ssh is None:
            raise ValueError(f"cluster {name}: a link needs `ssh` settings")
        self.name = name
        # What is looked at only once has no daemon that could be told to go on.
        self._then = "" if once else f"; then `benchctl cluster resume {name}`"
        self.generation = 0
        self.logins = 0  # tried since the daemon started
        self.state = LinkState.DOWN
        self.trouble = ""  # why the last login or connection failed
        self.where = f"{settings.ssh.host}:{settings.ssh.port}"
        self._settings = settings.ssh
        self._metrics = metrics
        self._pace = pace or (TESTBED if settings.testbed else SITE)
        self._clock = clock
        self._jitter = jitter
        self._lock = asyncio.Lock()
        self._channels = asyncio.Semaphore(settings.budget.channels)
        self._conn: asyncssh.SSHClientConnection | None = None
        self._jump: asyncssh.SSHClientConnection | None = None
        self._not_before = 0.0
        self._failures = 0
        self._up_since = 0.0
        self._closed = False
        # It logs every login and channel at INFO; what matters is logged here, in our words.
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        metrics.ssh_up.labels(name).set(0)
        metrics.ssh_channels.labels(name).set(0)

    def resume(self) -> None:
        """Log in again although the last answer was a refusal: a human says it is mended."""
        if self.state is LinkState.PAUSED:
            self._enter(LinkState.DOWN)
        self._failures = 0
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
        outcome = "cancelled"
        started = time.monotonic()
        try:
            async with self._channels:
                done = await self._run(Frame(command=command, seconds=timeout), stdin, limit)
            outcome = "ok" if done.status == 0 else "nonzero"
            return done
        except Unreachable as error:
            outcome = "lost" if error.sent else "unsent"
            raise
        finally:
            self._metrics.ssh_commands.labels(self.name, op, outcome).inc()
            self._metrics.ssh_command_seconds.labels(self.name, op).observe(
                time.monotonic() - started
            )

    async def _run(self, frame: Frame, stdin: bytes, limit: int) -> Completed:
        for turn in range(_OPEN_TRIES):
            conn = await self._connection()
            started = time.monotonic()
            try:
                process = await self._open(conn, frame.text)
            except _NothingRan as refusal:
                self.trouble = str(refusal)
                await asyncio.sleep(_OPEN_PAUSE * 2**turn * (1 + self._jitter()))
                continue
            with self._metrics.ssh_channels.labels(self.name).track_inprogress():
                return await self._talk(process, frame, stdin, limit, started)
        raise Unreachable(
            f"{self.name}: {self.where} refuses another session ({self.trouble}); "
            "lower budget.channels if this stays",
            sent=False,
        )

    async def _open(
        self, conn: asyncssh.SSHClientConnection, text: str
    ) -> asyncssh.SSHClientProcess[bytes]:
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                return await conn.create_process(text, encoding=None, request_pty=False)
        except TimeoutError as error:
            conn.abort()  # the session that may yet open would be nobody's
            raise Unreachable(f"{self.name}: {self.where} opens no session") from error
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                raise Unreachable(f"{self.name}: {self.where} lost the command") from error
            raise _NothingRan(error.reason) from error
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
        out, err = Capped(limit + _OVERHEAD), Capped(limit)
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

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node through the login node (direct-tcpip)."""
        conn = await self._connection()
        try:
            async with asyncio.timeout(timeout):
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
        return _Reader(self, reader), writer

    async def close(self) -> None:
        """Log out."""
        self._closed = True
        async with self._lock:
            for conn in (self._conn, self._jump):
                if conn is not None:
                    await _hang_up(conn)
            self._conn = self._jump = None
            if self.state is not LinkState.PAUSED:
                self._enter(LinkState.DOWN)

    # --- logging in ------------------------------------------------------------------------------

    async def _connection(self) -> asyncssh.SSHClientConnection:
        async with self._lock:
            if self._closed:
                raise Unreachable(f"{self.name}: the link was closed", sent=False)
            if self._conn is not None:
                if not self._conn.is_closed():
                    return self._conn
                self._lost(None)  # if nobody said so: it was lost while it came up
            if self.state is LinkState.PAUSED:
                raise NeedsHuman(self.trouble)
            # Bounded: the clock may have been set back.
            wait = min(self._not_before - self._clock(), self._pace.ceiling * 1.25)
            if wait > 0:
                raise Resting(
                    f"{self.name}: next login to {self.where} in {wait:.0f} s ({self.trouble})"
                )
            self._enter(LinkState.CONNECTING)
            try:
                self._conn = await self._log_in()
            finally:
                if self.state is LinkState.CONNECTING:
                    self._enter(LinkState.DOWN)
            return self._conn

    async def _log_in(self) -> asyncssh.SSHClientConnection:
        pace = self._pace
        try:
            keys.check(self._settings)
            async with asyncio.timeout(pace.connect_timeout + pace.login_timeout + 1):
                conn = await self._dial()
        except login.Unusable as error:
            raise self._pause("config", str(error)) from error
        except asyncssh.PermissionDenied as error:
            raise self._pause("auth", login.denied(self._settings)) from error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            known = keys.knows(self._settings)
            raise self._pause("hostkey", login.distrusted(self._settings, known=known)) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
            raise self._pause("config", f"the SSH key or configuration: {error}") from error
        except TimeoutError as error:
            raise self._failed("timeout", "no answer in time") from error
        except (asyncssh.Error, OSError) as error:
            raise self._failed("network", str(error)) from error
        self._count("ok")
        self.generation += 1
        self.trouble = ""
        self._up_since = self._clock()
        self._enter(LinkState.UP)
        log.info("link.up", cluster=self.name, login=self.where)
        return conn

    async def _dial(self) -> asyncssh.SSHClientConnection:
        settings = self._settings
        options = login.options(settings, self._pace)
        self._drop_jump()
        if settings.proxy_jump:
            user, host, port = login.jump(settings.proxy_jump)
            named = {"username": user} if user else {}
            self._jump = await asyncssh.connect(host, port, **(options | named))
            options["tunnel"] = self._jump
        try:
            return await asyncssh.connect(
                settings.host,
                settings.port,
                client_factory=lambda: _Client(self._lost),
                **options,
            )
        except BaseException:
            self._drop_jump()
            raise

    def _drop_jump(self) -> None:
        if self._jump is not None:
            self._jump.abort()
            self._jump = None

    def _pause(self, outcome: str, what: str) -> NeedsHuman:
        if outcome != "config":  # nothing was sent: no login
            self._count(outcome)
        self.trouble = f"{self.name}: {what}{self._then}"
        self._enter(LinkState.PAUSED)
        log.error("link.paused", cluster=self.name, login=self.where, why=what)
        return NeedsHuman(self.trouble)

    def _failed(self, outcome: str, what: str) -> Unreachable:
        self._count(outcome)
        self._back_off(what)
        return Unreachable(f"{self.name}: cannot log in to {self.where}: {what}", sent=False)

    def _back_off(self, what: str) -> None:
        self._failures += 1
        self.trouble = what
        delay = min(self._pace.ceiling, self._pace.floor * 2.0 ** min(self._failures - 1, 16))
        self._not_before = self._clock() + delay * (1 + self._jitter() / 4)
        log.warning("link.down", cluster=self.name, why=what, again_in=delay)

    def _lost(self, error: Exception | None) -> None:
        if self._closed or self.state is not LinkState.UP:
            return
        self._enter(LinkState.DOWN)
        self._drop_jump()
        if self._clock() - self._up_since > self._pace.ceiling:
            self._failures = 0  # it had held: this is a new trouble
        self._back_off(str(error) if error else "closed by the login node")

    def _count(self, outcome: str) -> None:
        self.logins += 1
        self._metrics.ssh_logins.labels(self.name, outcome).inc()

    def _enter(self, state: LinkState) -> None:
        self.state = state
        self._metrics.ssh_up.labels(self.name).set(1 if state is LinkState.UP else 0)


class _Reader:
    """The reading half of a forwarded connection; our own link's end is no end of the stream."""

    def __init__(self, link: Link, reader: asyncssh.SSHReader[bytes]) -> None:
        self._link = link
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
            raise Unreachable(f"{self._link.name}: the link broke: {error}") from error


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
