"""The same shell without SSH: benchd runs on the login node itself (``local: true``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import PIPE, Process

from benchd.config import Budget
from benchd.edge import refusals
from benchd.edge.channels import Channels, lane_of
from benchd.edge.shell import (
    OUTPUT_LIMIT,
    ByteReader,
    ByteWriter,
    Capped,
    Completed,
    LinkReport,
    Stopping,
)
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics

# Bytes read at once.
_CHUNK = 65536
# Seconds between TERM and KILL for a command whose time is over.
_KILL_AFTER = 5.0


class LocalShell:
    """Commands on this host, each in its own process group; a ``Shell``."""

    def __init__(self, name: str, *, metrics: Metrics, channels: int = Budget().channels) -> None:
        self.name = name
        self.generation = 1
        self._metrics = metrics
        self._slots = Channels(channels, clock=time.monotonic)
        self._running: set[Process] = set()
        self._retired = False

    def report(self) -> LinkReport:
        """Return how many commands run; there is no link that could be down."""
        return LinkReport(state="local", channels=self._slots.held, channel_limit=self._slots.limit)

    def resume(self) -> None:
        """Do nothing: there is no login that could have been refused."""

    def retire(self) -> None:
        """Start nothing more; what runs may end."""
        self._retired = True

    async def run(
        self,
        command: str,
        *,
        op: str,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109 - the whole process group has to end with it
        limit: int = OUTPUT_LIMIT,
    ) -> Completed:
        """Run one bash command on this host to its end, or raise ``Unreachable``."""
        outcome = "cancelled"
        started = time.monotonic()
        try:
            async with self._slots.session(lane_of(op)):
                process = await self._start(command)
                try:
                    done = await self._talk(process, stdin, timeout, limit)
                finally:
                    await self._end(process)
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

    async def _start(self, command: str) -> Process:
        if self._retired:
            raise Stopping(self.name)
        try:
            process = await asyncio.create_subprocess_exec(
                "bash",
                "--norc",
                "-c",
                command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise NeedsHuman(f"{self.name}: bash is not installed on this host") from error
        except OSError as error:
            raise Unreachable(
                f"{self.name}: cannot start a command: {error}", sent=False
            ) from error
        self._running.add(process)
        return process

    async def _talk(self, process: Process, stdin: bytes, seconds: float, limit: int) -> Completed:
        assert process.stdin is not None  # noqa: S101 - for the type checker: all three are pipes
        assert process.stdout is not None  # noqa: S101 - see above
        assert process.stderr is not None  # noqa: S101 - see above
        out, err = Capped(limit), Capped(limit)
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(
                    _feed(process.stdin, stdin),
                    _collect(process.stdout, out),
                    _collect(process.stderr, err),
                )
                status = await process.wait()
        except TimeoutError as error:
            raise Unreachable(f"{self.name}: stopped on this host after {seconds:g} s") from error
        return Completed(
            status=status,
            stdout=out.head,
            stderr=err.head,
            seconds=time.monotonic() - started,
            truncated=out.truncated or err.truncated,
        )

    async def _end(self, process: Process) -> None:
        """Leave nothing of the group behind, whatever happened."""
        self._running.discard(process)
        if process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(_KILL_AFTER):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            _signal(process, signal.SIGKILL)

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node from this host."""
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.open_connection(host, port)
        except TimeoutError:
            raise
        except OSError as error:
            where, target = f"{self.name}: this host", f"{host}:{port}"
            raise refusals.of_error(where, target, error) from error

    async def close(self) -> None:
        """End what still runs."""
        for process in tuple(self._running):
            _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _feed(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(OSError):  # it may have ended without reading
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _collect(reader: asyncio.StreamReader, into: Capped) -> None:
    while data := await reader.read(_CHUNK):
        into.feed(data)
