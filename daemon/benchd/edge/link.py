"""The way to one login node: logins are rare, answers are certain or said not to be.

There is one connection, made when it is first needed and kept. When it is lost, ``Logins`` says
when the next may be made; until then all who need it are told at once that nothing was tried.
After a refusal (key, host key) nobody knocks again until a human says so.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from benchd.config import ClusterSettings
from benchd.edge.channels import Channels, lane_of
from benchd.edge.framing import Frame
from benchd.edge.home import Words
from benchd.edge.login import LinkState, Pace, pace_of
from benchd.edge.logins import Logins
from benchd.edge.shell import (
    OUTPUT_LIMIT,
    ByteReader,
    ByteWriter,
    Completed,
    LinkReport,
    LoginRefused,
    Resting,
    Stopping,
)
from benchd.edge.ssh import Dialer
from benchd.edge.wire import Dial, NoLogin, NothingRan, Wire
from benchd.errors import NeedsHuman, StoreFull, Unreachable
from benchd.metrics import Metrics

log = structlog.get_logger()

# Refused sessions before giving up, and the first pause (s): sshd frees a session a bit late.
_OPEN_TRIES, _OPEN_PAUSE = 6, 0.05


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
        dial: Dial | None = None,
    ) -> None:
        if settings.ssh is None:
            raise ValueError(f"cluster {name}: a link needs `ssh` settings")
        self.name = name
        # What is looked at only once has no daemon that could be told to go on.
        self._once = once
        self.generation = 0
        self.tried = 0  # logins since the daemon started
        self.state = LinkState.DOWN
        self.trouble = ""  # why the last login or connection failed
        self.where = f"{settings.ssh.host}:{settings.ssh.port}"
        self._pace = pace or pace_of(settings)
        self._dial = dial or Dialer(name, settings.ssh, self._pace)
        self._metrics = metrics
        self._clock = clock
        self._jitter = jitter
        self._logins = Logins(self._pace, clock=clock, jitter=jitter)
        self._channels = Channels(settings.budget.channels, clock=clock, show=self._show_channels)
        self._words: Words | None = None
        self._wall: Callable[[], float] = time.time
        self._lock = asyncio.Lock()
        self._wire: Wire | None = None
        self._login: asyncio.Timeout | None = None  # the deadline of the login under way
        self._up_since = 0.0
        self._down_since: float | None = None
        self._closed = False
        self._refused: type[NeedsHuman] = NeedsHuman  # what a paused link raises
        metrics.ssh_up.labels(name).set(0)
        metrics.ssh_logins_left.labels(name).set_function(
            lambda: self._logins.ceiling - self._logins.today
        )

    async def remember(self, words: Words, wall: Callable[[], float]) -> None:
        """Recall the logins of predecessors, and keep those to come where they can be recalled."""
        self._words, self._wall = words, wall
        self._logins.read(await words.meta(self._key) or "", wall())

    @property
    def _key(self) -> str:
        return f"logins:{self.name}"

    def report(self) -> LinkReport:
        """Return how the way is, at once."""
        wait = None if self.state is LinkState.UP else self._logins.wait()
        down = self._down_since
        return LinkReport(
            state=self.state,
            trouble=self.trouble,
            down_for=None if down is None else self._clock() - down,
            next_login_in=wait.seconds if wait else None,
            resting=wait.why if wait else "",
            logins=self.tried,
            logins_today=self._logins.today,
            logins_per_day=self._logins.ceiling,
            channels=self._channels.held,
            channel_limit=self._channels.limit,
        )

    def resume(self) -> None:
        """Log in again whatever the last answer was: a human says it is mended."""
        if self.state is LinkState.PAUSED:
            self._enter(LinkState.DOWN)
        self._logins.allow()

    # --- commands and connections -----------------------------------------------------------------

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
            done = await self._run(op, Frame(command=command, seconds=timeout), stdin, limit)
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

    async def _run(self, op: str, frame: Frame, stdin: bytes, limit: int) -> Completed:
        refused = ""
        for turn in range(_OPEN_TRIES):
            await self._connection()  # who cannot be reached needs no session
            async with self._channels.session(lane_of(op)):
                wire = await self._connection()
                try:
                    return await wire.run(frame, stdin, limit)
                except NothingRan as refusal:
                    refused = str(refusal)
                    if refusal.is_full:
                        self._channels.refused()
            await asyncio.sleep(_OPEN_PAUSE * 2**turn * (1 + self._jitter()))
        raise Unreachable(
            f"{self.name}: {self.where} refuses another session ({refused}); "
            "lower budget.channels if this stays",
            sent=False,
        )

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node through the login node (direct-tcpip)."""
        wire = await self._connection()
        return await wire.connect(host, port, timeout)

    def retire(self) -> None:
        """Send nothing more and give up a login under way; what was sent may end."""
        self._closed = True
        if self._login is not None and not self._login.expired():
            self._login.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Log out."""
        self.retire()
        async with self._lock:
            if self._wire is not None:
                await self._wire.hang_up()
            self._wire = None
            if self.state is not LinkState.PAUSED:
                self._enter(LinkState.DOWN)

    def _show_channels(self, held: int, limit: int) -> None:
        self._metrics.ssh_channels.labels(self.name).set(held)
        self._metrics.ssh_channel_limit.labels(self.name).set(limit)

    # --- logging in -------------------------------------------------------------------------------

    async def _connection(self) -> Wire:
        async with self._lock:
            if self._closed:
                raise Stopping(self.name)
            if self._wire is not None:
                if not self._wire.is_closed():
                    return self._wire
                self._lost(None)  # if nobody said so: it was lost while it came up
            if self.state is LinkState.PAUSED:
                raise self._refused(self.trouble)
            wait = self._logins.wait()
            if wait is not None:
                why = wait.why or self.trouble or "a pause between two logins"
                raise Resting(
                    f"{self.name}: next login to {self.where} in {wait.seconds:.0f} s ({why})",
                    wait.seconds,
                )
            self._enter(LinkState.CONNECTING)
            try:
                self._wire = await self._log_in()
            finally:
                if self.state is LinkState.CONNECTING:
                    self._enter(LinkState.DOWN)
            return self._wire

    async def _log_in(self) -> Wire:
        try:
            self._dial.check()
            await self._count()
            async with asyncio.timeout(self._patience) as self._login:
                wire = await self._dial(self._lost)
        except NoLogin as error:
            if error.needs_human:
                raise self._pause(error.outcome, str(error)) from error
            raise self._failed(error.outcome, str(error)) from error
        except TimeoutError as error:
            raise self._failed("timeout", "no answer in time") from error
        finally:
            self._login = None
        self._metrics.ssh_logins.labels(self.name, "ok").inc()
        self.generation += 1
        self.trouble = ""
        self._up_since, self._down_since = self._clock(), None
        self._enter(LinkState.UP)
        log.info("link.up", cluster=self.name, login=wire.where)
        return wire

    @property
    def _patience(self) -> float:
        """Seconds that one login may take in all."""
        return self._pace.connect_timeout + self._pace.login_timeout + 1

    async def _count(self) -> None:
        """Count a login before it is tried: a daemon that dies of it tries again, too."""
        self.tried += 1
        self._logins.tried()
        if self._words is not None:
            with suppress(StoreFull):  # on a full disk this life's count has to do
                await self._words.set_meta(self._key, self._logins.written(self._wall()))

    def _pause(self, outcome: str, what: str) -> NeedsHuman:
        self.trouble = f"{self.name}: {what}{self._then(what)}"
        self._fell()
        self._enter(LinkState.PAUSED)
        log.error("link.paused", cluster=self.name, login=self.where, why=what)
        if outcome == "config":  # nothing was sent: looking at the files again harms nobody
            self._refused = NeedsHuman
        else:
            self._refused = LoginRefused
            self._metrics.ssh_logins.labels(self.name, outcome).inc()
        return self._refused(self.trouble)

    def _then(self, what: str) -> str:
        """Return what follows the advice; a daemon reads its configuration only as it starts."""
        if self._once:
            return ""
        then = f"; then `benchctl cluster resume {self.name}`"
        restart = " (if that changed the configuration, restart benchd first)"
        return then + (restart if "set ssh." in what else "")

    def _failed(self, outcome: str, what: str) -> Unreachable:
        self._metrics.ssh_logins.labels(self.name, outcome).inc()
        self._back_off(what)
        return Unreachable(f"{self.name}: cannot log in to {self.where}: {what}", sent=False)

    def _back_off(self, what: str) -> None:
        self.trouble = what
        self._fell()
        pause = self._logins.failed()
        log.warning("link.down", cluster=self.name, why=what, again_in=round(pause, 1))

    def _fell(self) -> None:
        if self._down_since is None:
            self._down_since = self._clock()

    def _lost(self, error: Exception | None) -> None:
        if self._closed or self.state is not LinkState.UP:
            return
        self._enter(LinkState.DOWN)
        if self._clock() - self._up_since > self._pace.ceiling:
            self._logins.held()
        self._back_off(str(error) if error else "closed by the login node")

    def _enter(self, state: LinkState) -> None:
        self.state = state
        self._metrics.ssh_up.labels(self.name).set(1 if state is LinkState.UP else 0)
