"""A TCP proxy that can be told to misbehave, for tests of what happens to a connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

# struct linger: closing says RST instead of FIN, and what was not sent yet is dropped.
_NO_LINGER = struct.pack("ii", 1, 0)


class Wire:
    """Forwards connections to a port; ``async with Wire(port) as wire``, then ``wire.port``."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.sent = 0  # bytes that clients sent so far
        self.cut_after: int | None = None  # cut a connection when so many bytes were sent
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._is_plugged = True
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def freeze(self) -> None:
        """Keep connections open and forward nothing more: a hung node, a dead route."""
        self._open.clear()

    def thaw(self) -> None:
        """Forward again."""
        self._open.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            if (end := writer.get_extra_info("socket")) is not None:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    def unplug(self) -> None:
        """Reset every connection, and each new one at once: the login node is gone."""
        self._is_plugged = False
        self.cut()

    def plug(self) -> None:
        """Let connections through again."""
        self._is_plugged = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not self._is_plugged:
            writer.transport.abort()
            return
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._copy(reader, far_writer, count=True), self._copy(far_reader, writer)
            )
        except (OSError, asyncio.CancelledError):
            pass  # asyncio logs a served connection that ends in a cancellation
        finally:
            self._writers -= {writer, far_writer}
            self._tasks.discard(task)
            far_writer.transport.abort()
            writer.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        while data := await reader.read(4096):
            await self._open.wait()
            if count and self.cut_after is not None and self.sent + len(data) > self.cut_after:
                writer.write(data[: max(0, self.cut_after - self.sent)])
                await writer.drain()
                self.cut_after = None
                self.cut()
                return
            self.sent += len(data) if count else 0
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
