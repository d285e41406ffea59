"""One login session: a command line of the client, really run by bash on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from benchd.sim.agent import Agent

CHUNK = 65536  # bytes moved at once between the channel and the command
SHELL = "/bin/bash"


class Session:
    """Runs one command and moves its input and output. It outlives its connection, as with sshd."""

    def __init__(
        self,
        process: asyncssh.SSHServerProcess[bytes],
        *,
        environment: Mapping[str, str],
        home: Path,
        agent: Agent,
    ) -> None:
        self._process = process
        self._environment = environment
        self._home = home
        self._agent = agent

    async def run(self) -> None:
        """Run the command to its end and report its exit status."""
        command = self._process.command
        argv = [SHELL, "-l"] if command is None else [SHELL, "-c", command]
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=out_write,
                stderr=err_write,
                cwd=self._home,
                env=self._environment,
                start_new_session=True,
            )
        finally:
            os.close(out_write)
            os.close(err_write)
        self._agent.watch(child.pid)
        feeding = asyncio.create_task(self._feed(child), name=f"sim-stdin-{child.pid}")
        try:
            await asyncio.gather(
                self._pump(out_read, self._process.stdout),
                self._pump(err_read, self._process.stderr),
            )
            await child.wait()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self._agent.forget(child.pid)
        self._report(child.returncode or 0)

    def _report(self, status: int) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            if status < 0:
                self._process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            else:
                self._process.exit(status)

    async def _feed(self, child: asyncio.subprocess.Process) -> None:
        """Give the command its input. A cut connection is its end of file."""
        assert child.stdin is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(OSError, asyncssh.Error):
            while True:
                try:
                    data = await self._process.stdin.read(CHUNK)
                except asyncssh.SignalReceived as received:
                    number = getattr(signal, f"SIG{received.signal}", None)
                    if number is not None:
                        os.killpg(child.pid, number)
                    continue
                except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                    continue
                if not data:
                    break
                child.stdin.write(data)
                await child.stdin.drain()
        child.stdin.close()

    async def _pump(self, fd: int, writer: asyncssh.SSHWriter[bytes]) -> None:
        """Send what the command prints. When nobody listens any more its pipe is closed."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
        except (OSError, asyncssh.Error):
            pass  # the connection is gone; the command goes on without an audience
        finally:
            transport.close()
