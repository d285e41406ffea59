"""What it takes to run commands near Slurm: one protocol, kept by a login node and by this host.

A shell runs one command and says how it ended, or says that it does not know. It knows nothing of
Slurm; ``edge/cluster.py`` knows nothing of SSH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchd.errors import ClusterError, NeedsHuman, Unreachable

# Bytes of stdout (and of stderr) kept from one command: a 10,000-row squeue is about 2.5 MiB.
OUTPUT_LIMIT = 8 * 1024 * 1024
# Seconds after which a command that ignored SIGTERM is killed; as `timeout -k` counts them.
KILL_AFTER = 5


class ForwardingForbidden(ClusterError):
    """The login node does not forward connections (AllowTcpForwarding no): use commands instead."""


class LoginRefused(NeedsHuman):
    """Our key or token is refused, or a host key by us: not even a restart may try again."""


class Paused(NeedsHuman):
    """Nothing was tried: the cluster is paused already, be it by hand or by an earlier refusal."""


class Stopping(Unreachable):
    """Nothing was tried: this daemon ends. No trouble of the cluster."""

    def __init__(self, cluster: str) -> None:
        super().__init__(f"{cluster}: this daemon is stopping", sent=False)


class Resting(Unreachable):
    """Nothing was tried: the link or the circuit waits so many seconds before it tries again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, sent=False)
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """How the way to a login node is, for people. Times are in seconds from now or until now."""

    state: str  # down, connecting, up, paused, or local
    trouble: str = ""  # why it is down
    down_for: float | None = None  # since the connection was lost, or could first not be made
    next_login_in: float | None = None  # None: as soon as it is needed
    resting: str = ""  # which ceiling of logins says so; empty for a mere pause
    logins: int = 0  # tried since the daemon started
    logins_today: int = 0  # tried within 24 hours, also by its predecessors
    logins_per_day: int | None = None
    channels: int = 0  # sessions open now
    channel_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that surely ended, and how. ``truncated``: more was said than the limit let in."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    truncated: bool = False

    def said(self, limit: int = 500) -> str:
        """Return the last words on stderr (else stdout) as one printable line, for messages."""
        words = self.stderr.strip() or self.stdout.strip()
        return printable(words[-limit:])


class ByteReader(Protocol):
    """The reading half of a connection; asyncio's and asyncssh's streams both are one."""

    async def read(self, n: int = -1) -> bytes:
        """Return up to ``n`` bytes; empty at the end."""
        ...

    async def readline(self) -> bytes:
        """Return one line with its end, or what is left."""
        ...


class ByteWriter(Protocol):
    """The writing half of a connection."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait until the queue is short."""
        ...

    def write_eof(self) -> None:
        """Say that nothing follows."""
        ...

    def close(self) -> None:
        """Close both halves."""
        ...

    async def wait_closed(self) -> None:
        """Wait until they are closed."""
        ...


class Shell(Protocol):
    """Somewhere commands run."""

    generation: int  # grows with every new connection

    def report(self) -> LinkReport:
        """Return how the way is, at once."""
        ...

    async def run(
        self,
        command: str,
        *,
        op: str,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109 - it also bounds the far side, which no caller's timeout does
        limit: int = OUTPUT_LIMIT,
    ) -> Completed:
        """Run one bash command to its end, or raise ``Unreachable`` (``NeedsHuman``).

        ``command`` is one line. ``op`` names the purpose, for metrics.
        """
        ...

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node.

        ``ConnectionRefusedError``: the target says no. ``TimeoutError``: it says nothing.
        ``ForwardingForbidden``: the login node does not forward. ``Unreachable``: our link is down,
        or the login node had trouble of its own (a name it cannot resolve, no sockets left).
        """
        ...

    def resume(self) -> None:
        """Try again: a human says that whatever needed one is mended."""
        ...

    def retire(self) -> None:
        """Start nothing more from now on; what runs may end."""
        ...

    async def close(self) -> None:
        """End everything this shell started and can reach."""
        ...


class Capped:
    """Collects a stream up to a limit and keeps its last bytes, where the status is.

    What comes before ``start`` does not count: a start-up file may print without end. Of a stream
    that has no ``start`` in it, only the last bytes are there.
    """

    # Bytes at the end that are kept whatever the limit: one status line is about 50.
    TAIL = 256
    # Bytes kept of what comes before the start: they say what is wrong when it never comes.
    BEFORE = 4096

    def __init__(self, limit: int, start: bytes = b"") -> None:
        self._limit = limit
        self._start = start  # until it was seen
        self._before = b""
        self._head = bytearray()
        self._tail = b""
        self.truncated = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._start:
            data = self._before + data
            at = data.find(self._start)
            if at < 0:
                self._before = data[-self.BEFORE :]
                return
            data, self._start, self._before = data[at:], b"", b""
        room = self._limit - len(self._head)
        self._head += data[:room] if room > 0 else b""
        if len(data) > room:
            self.truncated = True
        self._tail = (self._tail + data[-self.TAIL :])[-self.TAIL :]

    @property
    def head(self) -> bytes:
        """The first ``limit`` bytes from the start on."""
        return self._before if self._start else bytes(self._head)

    @property
    def tail(self) -> bytes:
        """The last bytes, also of a stream that was longer than the limit."""
        return self._tail


def printable(data: bytes | str) -> str:
    """Return text with escapes and control characters made visible: it may end on a terminal."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return "".join(c if c.isprintable() else " " for c in text).strip()
