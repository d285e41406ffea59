"""The server: routes, the queue for a slot, generation on an absolute schedule, and the log."""

import asyncio
import json
import time
from collections import deque
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Set, Union
from urllib.parse import parse_qs

from . import VERSION, wire
from .asks import Ask, Limits, Refused, understand
from .counters import CONTENT_TYPE, Counters
from .delays import Delays
from .frames import Ollama, OpenAI, Times

# Token times kept for /sim/log; older requests go first. Two floats each: some tens of MB.
LOG_TOKENS = 500000
_WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty")
_GENERATE = ("/v1/completions", "/v1/chat/completions", "/api/generate", "/api/chat")


class Options(NamedTuple):
    """What the command line says."""

    model: str
    delays: Delays
    parallel: int
    max_queue: int
    max_tokens: int


class Log:
    """The server's own truth: when each token of a request was due, and when it was written."""

    def __init__(self) -> None:
        self.entries: Deque[Dict[str, Any]] = deque()
        self.tokens = 0

    def add(self, entry: Dict[str, Any]) -> None:
        """Keep an entry, and forget the oldest ones when it gets too much."""
        self.entries.append(entry)
        self.tokens += 1 + len(entry["scheduled"])
        while self.tokens > LOG_TOKENS and len(self.entries) > 1:
            self.tokens -= 1 + len(self.entries.popleft()["scheduled"])


class Server:
    """All state of one server; everything runs on one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.limits = Limits(model=options.model, max_tokens=options.max_tokens)
        self.log = Log()
        self.started = time.time()
        self.counters = Counters(options.model, self.started)
        self.accepted = 0
        self.waiting = 0
        self.running = 0
        self.slots = asyncio.Semaphore(options.parallel)
        self.connections: "Set[asyncio.Task[None]]" = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start to serve a connection."""
        task = asyncio.get_event_loop().create_task(self._serve(reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def stop(self) -> None:
        """Drop every connection.

        Said again until it is heard: before Python 3.12 ``wait_for`` swallows a cancellation that
        comes together with its result, and the connection would go on to the next request.
        """
        while self.connections:
            for task in self.connections:
                task.cancel()
            await asyncio.wait(list(self.connections), timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.TimeoutError):
            pass  # the client went away: nothing is owed to it
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            request = await wire.read_request(reader)
        except wire.Bad as bad:
            writer.write(_error("", bad.status, bad.message, {"Connection": "close"}))
            return False
        if request is None:
            return False
        received = time.monotonic()
        try:
            if request.path in _GENERATE:
                await self._generate(request, reader, writer, received)
            else:
                writer.write(self._page(request))
        except Refused as refused:
            writer.write(_error(request.path, refused.status, refused.message, {}))
        await wire.drain(writer)
        return request.keep_alive and not writer.transport.is_closing()

    def _page(self, request: wire.Request) -> bytes:
        """Answer everything that is not a generation."""
        if request.method not in ("GET", "HEAD"):
            return _error(request.path, 405, "use GET for %s" % request.path[:100], {})
        model = self.options.model
        pages: Dict[str, Any] = {
            "/health": {"status": "ok", "synthetic": True, "model": model},
            "/": {"name": "sim-llm", "synthetic": True, "version": VERSION},
            "/v1/models": {
                "object": "list",
                "data": [
                    {
                        "id": model,
                        "object": "model",
                        "created": int(self.started),
                        "owned_by": "sim-llm",
                    }
                ],
            },
            "/api/tags": {
                "models": [{"name": model, "model": model, "size": 0, "details": {"family": "sim"}}]
            },
            "/api/version": {"version": "0.0.0-sim-llm.%s" % VERSION},
        }
        if request.path == "/metrics":
            page = self.counters.page(self.running, self.waiting)
            return wire.whole(200, page, {"Content-Type": CONTENT_TYPE})
        if request.path == "/sim/log":
            return wire.answer(200, self._log_page(request.query), {})
        if request.path in pages:
            return wire.answer(200, pages[request.path], {})
        return _error(request.path, 404, "sim-llm has no page %s" % request.path[:100], {})

    def _log_page(self, query: str) -> Dict[str, Any]:
        after = parse_qs(query).get("after", ["0"])[0]
        if not after.isdigit():
            raise Refused(400, "after must be a number, not %r" % after[:40])
        delays = self.options.delays
        return {
            "schema": "sim-llm.log/1",
            "clock": "CLOCK_MONOTONIC",
            "now": time.monotonic(),
            "settings": dict(delays._asdict(), parallel=self.options.parallel),
            "accepted": self.accepted,
            "requests": [e for e in self.log.entries if e["number"] > int(after)],
        }

    async def _generate(
        self,
        request: wire.Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        received: float,
    ) -> None:
        if request.method != "POST":
            raise Refused(405, "use POST for %s" % request.path)
        ask = understand(request.path, _json(request.body), self.limits)
        if self.waiting >= self.options.max_queue:
            raise Refused(503, "%d requests are waiting already: try later" % self.waiting)
        self.accepted += 1
        answering = Answering(ask, self.accepted, request, received)
        self.waiting += 1
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            if not ask.load_only:
                await answering.run(self.options.delays, self.counters, reader, writer)
            else:
                answering.empty(writer)
        finally:
            self.running -= 1
            self.slots.release()
            self.log.add(answering.entry())


class Answering:
    """One generation."""

    def __init__(self, ask: Ask, number: int, request: wire.Request, received: float) -> None:
        frames = OpenAI if request.path.startswith("/v1/") else Ollama
        self.ask = ask
        self.number = number
        self.request_id = request.headers.get("x-request-id", "")[:200]
        self.frames: Union[OpenAI, Ollama] = frames(ask, number, time.time())
        self.times = Times(received)
        self.scheduled: List[float] = []
        self.written: List[float] = []
        self.end: Optional[float] = None
        self.headers = {"X-Sim-No-Effect": ", ".join(ask.no_effect)} if ask.no_effect else {}

    def entry(self) -> Dict[str, Any]:
        """Return the line of the log."""
        return {
            "number": self.number,
            "id": self.request_id,
            "api": self.ask.api,
            "received": self.times.received,
            "started": self.times.started,
            "scheduled": self.scheduled,
            "written": self.written,
            "end": self.end,
            "prompt_tokens": self.ask.prompt_tokens,
            "output_tokens": len(self.written),
            "aborted": self.end is None,
        }

    def empty(self, writer: asyncio.StreamWriter) -> None:
        """Answer a request without a prompt, by which Ollama's clients load a model."""
        writer.write(wire.whole(200, self.frames.whole([], self.times), self.headers))
        self.end = time.monotonic()

    async def run(
        self,
        delays: Delays,
        counters: Counters,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send every token when it is due; due times are absolute, so lateness does not add up."""
        times, streaming = self.times, self.ask.stream
        times.started = time.monotonic()
        counters.prompt_tokens += self.ask.prompt_tokens
        self.scheduled = [
            times.started + due for due in delays.schedule(self.number, self.ask.tokens)
        ]
        if streaming:
            headers = {
                "Content-Type": self.frames.content_type,
                "Cache-Control": "no-cache",
                "Transfer-Encoding": "chunked",
            }
            headers.update(self.headers)
            writer.write(wire.head(200, headers) + wire.chunk(self.frames.opening()))
        words: List[str] = []
        for index, due in enumerate(self.scheduled):
            await _until(due)
            if writer.transport.is_closing() or reader.at_eof():
                raise ConnectionError("the client went away")
            word = _WORDS[(self.number + index) % len(_WORDS)] + " "
            piece = wire.chunk(self.frames.token(index, word)) if streaming else b""
            words.append(word)
            self.written.append(time.monotonic())
            counters.tokens += 1
            if streaming:
                writer.write(piece)
                await wire.drain(writer)
        times.first, times.last = self.written[0], self.written[-1]
        if streaming:
            writer.write(wire.chunk(self.frames.closing(times)) + wire.LAST_CHUNK)
        else:
            writer.write(wire.whole(200, self.frames.whole(words, times), self.headers))
        counters.answers += 1
        self.end = time.monotonic()


async def _until(due: float) -> None:
    """Sleep to a moment on the monotonic clock; always let others run."""
    await asyncio.sleep(max(0.0, due - time.monotonic()))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON: %s" % error) from None


def _error(path: str, status: int, message: str, headers: Dict[str, str]) -> bytes:
    """Return an error in the words of the interface that was asked."""
    if path.startswith("/api/"):
        return wire.answer(status, {"error": message}, headers)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "code": status}
    return wire.answer(status, {"error": error}, headers)
