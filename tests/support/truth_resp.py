"""A server of keys that knows the truth: it logs when it sent what, and fails as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# What is sent for a read: pieces, each after a pause of so many seconds; None closes.
Pieces = tuple[tuple[float, bytes | None], ...]
# Stand for the value in a piece, for the beginning of it and for the rest.
VALUE, HEAD, TAIL = b"<value>", b"<head>", b"<tail>"
_CUT = 10


@dataclass
class Keys:
    """The server; every write is kept, reads are answered in order of their arrival."""

    answers: Mapping[int, Pieces]  # the place of a read -> what it gets; others get the value
    sent: list[list[float]] = field(default_factory=list)  # of each read: when its pieces left
    value: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until it ends."""
        try:
            while True:
                await self._one(await _words(reader), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        if words[0] == b"PING":
            writer.write(b"+PONG\r\n")
        elif words[0] == b"INFO":
            writer.write(b"$0\r\n\r\n")
        elif words[0] == b"DEL":
            writer.write(b":1\r\n")
        elif words[0] == b"SET":
            self.value = words[2]
            writer.write(b"+OK\r\n")
        else:
            await self._read(writer)

    async def _read(self, writer: asyncio.StreamWriter) -> None:
        place = len(self.sent)
        times: list[float] = []
        self.sent.append(times)
        whole = b"$%d\r\n%s\r\n" % (len(self.value), self.value)
        for pause, piece in self.answers.get(place, ((0.0, VALUE),)):
            if pause:
                await asyncio.sleep(pause)
            if piece is None:
                raise ConnectionResetError
            times.append(time.monotonic())
            for name, part in ((VALUE, whole), (HEAD, whole[:_CUT]), (TAIL, whole[_CUT:])):
                if name in piece:  # once, and the value may be anything
                    before, _, after = piece.partition(name)
                    writer.write(before + part + after)
                    break
            else:
                writer.write(piece)


async def _words(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readline() or b"*0")[1:])
    if not count:
        raise ConnectionResetError
    return [
        (await reader.readexactly(int((await reader.readline())[1:]) + 2))[:-2]
        for _ in range(count)
    ]


@asynccontextmanager
async def keys(answers: Mapping[int, Pieces]) -> AsyncIterator[tuple[Keys, str]]:
    """Serve; give the server and its URL."""
    served = Keys(answers)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    try:
        yield served, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
