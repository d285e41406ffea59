"""The cluster's side of the compute nodes: speaks with ``slurmd.py``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FAREWELL = 8.0  # seconds slurmd may take to kill everything; it gives itself 5


def interpreter() -> str:
    """Return the Python binary itself: wrappers of version managers cost 100 ms per start."""
    return str(Path(sys.executable).resolve())


class Agent:
    """Starts and ends the processes of jobs; tells when all of a job's processes are gone."""

    def __init__(self, on_end: Callable[[str, int | None], None]) -> None:
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start slurmd; in its own session, so that Ctrl-C in a terminal does not reach it."""
        self._process = await asyncio.create_subprocess_exec(
            interpreter(),
            "-ISE",
            str(Path(__file__).with_name("slurmd.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(), name="sim-slurmd")

    async def close(self) -> None:
        """Kill everything that runs and wait until it is gone."""
        if self._process is None or self._process.stdin is None or self._reader is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(FAREWELL):
                await self._reader
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def launch(
        self,
        key: str,
        argv: Sequence[str],
        *,
        cwd: str,
        environment: Mapping[str, str],
        out: str,
        err: str,
        append: bool,
        node: str,
    ) -> None:
        """Run a job's script."""
        self._send(
            op="start",
            key=key,
            argv=list(argv),
            cwd=cwd,
            env=dict(environment),
            out=out,
            err=err,
            append=append,
            node=node,
        )

    def end(self, key: str, *, why: str, wait: float) -> None:
        """End a job's processes: SIGTERM, and SIGKILL after ``wait`` seconds."""
        self._send(op="end", key=key, why=why, wait=wait)

    def watch(self, pid: int) -> None:
        """Have this session killed with the cluster."""
        self._send(op="watch", pid=pid)

    def forget(self, pid: int) -> None:
        """Watch it no more: it has ended."""
        self._send(op="forget", pid=pid)

    def _send(self, **message: Any) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        async for line in self._process.stdout:
            report = json.loads(line)
            self._on_end(report["key"], report.get("raw"))
