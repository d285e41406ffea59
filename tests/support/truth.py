"""A server that knows the truth: it logs when it really sent what, on the monotonic clock.

That clock is the same in all processes of a machine, so what the load generator says can be
compared with what happened.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import benchd.ship

SHIP = Path(benchd.ship.__file__).parent
# Seconds after which a load generator that should have ended is given up.
PATIENCE = 90.0
_ID = re.compile(rb"x-request-id: (\S+?)-([a-z]+(?:-\d+)?)-(\d+)\r", re.IGNORECASE)


@dataclass
class Seen:
    """One request as the server saw it."""

    phase: str
    index: int
    received: float
    prompt: str
    sent: list[float] = field(default_factory=list)  # when each piece was handed to the socket
    in_flight: int = 0


@dataclass
class Answer:
    """What the server writes: pieces, each after a pause of so many seconds."""

    pieces: Sequence[tuple[float, bytes]]
    status: str = "200 OK"
    cut: bool = False  # close the connection after the last piece, in the middle of the body
    raw: bool = False  # the pieces are all there is: no status line


def event(text: str = "", **more: Any) -> bytes:
    """Return one event of a stream of completions."""
    choice = {"index": 0, "text": text, "finish_reason": None, **more}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def delta(**parts: Any) -> bytes:
    """Return one event of a stream of chat."""
    choice = {"index": 0, "delta": parts, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def end(tokens: int, prompt: int = 8) -> bytes:
    """Return the events that end a stream."""
    usage = {"completion_tokens": tokens, "prompt_tokens": prompt}
    last = {"choices": [], "usage": usage}
    return b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"


def stream(first: float, gap: float = 0.0, tokens: int = 2) -> Answer:
    """Return a plain stream: a token after ``first`` seconds, the others after ``gap`` each."""
    pieces = [(first if n == 0 else gap, event("a")) for n in range(tokens)]
    return Answer([*pieces, (0.0, end(tokens))])


class Truth:
    """The server, and everything that it saw."""

    def __init__(self, behave: Callable[[Seen], Answer], slots: int = 10_000) -> None:
        self.behave = behave
        self.slots = asyncio.Semaphore(slots)
        self.seen: list[Seen] = []
        self.most = 0
        # what it answers to GET /metrics, pieces as they are; without, it knows no such page
        self.metrics: Callable[[], Sequence[tuple[float, bytes]]] | None = None
        self.stall: tuple[float, float] | None = None  # after the first measured one: from, length
        self._open: asyncio.Event = asyncio.Event()
        self._open.set()
        self._busy = 0
        self._stalls: asyncio.Task[None] | None = None

    @property
    def measured(self) -> dict[int, Seen]:
        """Return the requests of the measurement by their number."""
        return {seen.index: seen for seen in self.seen if seen.phase == "measure"}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until it ends."""
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        received = time.monotonic()
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        body = await reader.readexactly(length)
        if head.startswith(b"GET /metrics") and self.metrics is not None:
            for pause, piece in self.metrics():
                await asyncio.sleep(pause)
                writer.write(piece)
                await writer.drain()
            return False
        if head.startswith(b"GET"):
            page = json.dumps({"data": [{"id": "m"}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
            return True
        match = _ID.search(head)
        assert match is not None
        asked = json.loads(body)
        prompt = str(asked.get("prompt") or asked.get("messages"))
        seen = Seen(match[2].decode(), int(match[3]), received, prompt)
        self.seen.append(seen)
        if self.stall is not None and seen.phase == "measure" and self._stalls is None:
            self._stalls = asyncio.ensure_future(self._stall(*self.stall))
        self._busy += 1
        self.most = max(self.most, self._busy)
        try:
            async with self.slots:
                return await self._answer(seen, writer)
        finally:
            self._busy -= 1

    async def _stall(self, after: float, length: float) -> None:
        await asyncio.sleep(after)
        self._open.clear()
        await asyncio.sleep(length)
        self._open.set()

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        plain = seen.phase == "calibrate"
        answer = stream(0.0, tokens=1) if plain else self.behave(seen)
        await self._open.wait()
        if not answer.raw:
            head = f"HTTP/1.1 {answer.status}\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head.encode())
        for pause, piece in answer.pieces:
            if pause:
                await asyncio.sleep(pause)
            await self._open.wait()
            seen.sent.append(time.monotonic())
            writer.write(piece if answer.raw else b"%x\r\n%s\r\n" % (len(piece), piece))
        if answer.cut or answer.raw:
            await writer.drain()
            return False
        writer.write(b"0\r\n\r\n")
        return True


@asynccontextmanager
async def truth(behave: Callable[[Seen], Answer], slots: int = 10_000) -> AsyncIterator[Any]:
    """Serve; give the server and its URL."""
    served = Truth(behave, slots)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, backlog=4096)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served, url
    finally:
        server.close()


@dataclass
class Ran:
    """What a load generator left."""

    status: int
    out: Path
    stderr: str

    @property
    def left(self) -> list[str]:
        """Return the names of its files."""
        return sorted(path.name for path in self.out.iterdir())

    @property
    def result(self) -> Any:
        """Return the result document."""
        return json.loads((self.out / "result.json").read_text())

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Return the samples of the measurement, in the order of their numbers."""
        return self.of_phase("measure")

    def of_phase(self, phase: str) -> list[dict[str, Any]]:
        """Return the samples of a phase, in the order of their numbers."""
        lines = gzip.decompress((self.out / "samples.jsonl.gz").read_bytes()).splitlines()
        found = [s for line in lines if (s := json.loads(line))["phase"] == phase]
        return sorted(found, key=lambda s: int(s["i"]))


async def load(
    home: Path,
    out: Path,
    *options: str,
    during: Callable[[asyncio.subprocess.Process], Awaitable[None]] | None = None,
    **environment: str,
) -> Ran:
    """Run the load generator that is the package ``load`` in a directory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "load", *options, "--out", str(out)),
        cwd=home,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    if during is not None:
        await during(process)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return Ran(process.returncode, out, errors.decode())
