"""The LLM workload: what a request is, when it has succeeded, and what was measured of it."""

import asyncio
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import http1
from .prompts import Prompts
from .streams import APIS, Lines, error_text, load_object
from .target import Target

# Bytes of an error page that are kept.
_ERROR_BYTES = 4096


class Options(NamedTuple):
    """What the command line says about the workload."""

    api: str
    model: str
    prompt_tokens: int
    output_tokens: int
    seed: int
    run_id: str
    timeout: float
    ignore_eos: bool


class Sample:
    """One request: times in seconds on the monotonic clock."""

    __slots__ = (
        "chunks", "conn_new", "end", "error", "estimated", "events", "finish", "first",
        "first_byte", "first_out", "index", "last", "phase", "prompt_tokens", "resent", "scheduled",
        "sent", "status", "tokens", "user",
    )  # fmt: skip

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        self.phase = phase
        self.index = index
        self.user = user
        self.scheduled = scheduled
        self.sent: Optional[float] = None
        self.first_byte: Optional[float] = None
        self.first: Optional[float] = None
        self.first_out: Optional[float] = None
        self.last: Optional[float] = None
        self.end: Optional[float] = None
        self.chunks = 0
        self.events = 0
        self.tokens: Optional[int] = None
        self.prompt_tokens: Optional[int] = None
        self.estimated = False
        self.finish: Optional[str] = None
        self.conn_new = False
        self.resent = False
        self.status = "cancelled"
        self.error = ""

    @property
    def ok(self) -> bool:
        """Whether it counts as a success."""
        return self.status == "ok"

    def line(self, zero: float) -> Dict[str, Any]:
        """Return the line of samples.jsonl; times become seconds since the start of the run."""

        def at(moment: Optional[float]) -> Optional[float]:
            return None if moment is None else round(moment - zero, 6)

        return {
            "i": self.index,
            "phase": self.phase,
            "u": self.user,
            "sched": at(self.scheduled),
            "send": at(self.sent),
            "fb": at(self.first_byte),
            "first": at(self.first),
            "first_out": at(self.first_out),
            "last": at(self.last),
            "end": at(self.end),
            "m": self.chunks,
            "events": self.events,
            "n_out": self.tokens,
            "n_in": self.prompt_tokens,
            "est": self.estimated,
            "status": self.status,
            "finish": self.finish,
            "err": self.error or None,
            "conn_new": self.conn_new,
        }


class Reading(http1.Exchange):
    """Reads the answer to one request into its sample."""

    def __init__(self, done: "asyncio.Future[None]", sample: Sample, options: Options) -> None:
        http1.Exchange.__init__(self, done)
        self.sample = sample
        self.options = options
        self.api = APIS[options.api]
        self.gaps: List[float] = []
        self._lines = Lines()
        self._page = b""
        self._done = False

    def body(self, now: float, piece: bytes) -> None:
        """Take a piece of the body: one arrival, however many events are in it."""
        if not 200 <= self.response.status < 300:
            self._page = (self._page + piece)[:_ERROR_BYTES]
            return
        before = self.sample.events
        for line in self._lines.feed(piece):
            self._line(now, line)
        if self.sample.events > before:
            self._arrived(now)

    def _line(self, now: float, line: bytes) -> None:
        sample = self.sample
        for piece in self.api.pieces(line):
            if piece.error is not None:
                self._fail("stream_error", piece.error)
            elif piece.bad is not None:
                self._fail("bad_frame", piece.bad)
            if piece.content or piece.reasoning:
                sample.events += 1
            if piece.content and sample.first_out is None:
                sample.first_out = now
            if piece.tokens is not None:
                sample.tokens = piece.tokens
            if piece.prompt_tokens is not None:
                sample.prompt_tokens = piece.prompt_tokens
            sample.finish = piece.finish or sample.finish
            if piece.done and not self._done:
                self._done = True
                sample.end = now

    def _arrived(self, now: float) -> None:
        sample = self.sample
        if sample.last == now:
            return  # the same segment: one arrival with several events
        sample.chunks += 1
        if sample.first is None:
            sample.first = now
        elif sample.last is not None:
            self.gaps.append(now - sample.last)
        sample.last = now

    def _fail(self, status: str, detail: str) -> None:
        """Note an error; the first one of a request is the one that counts."""
        if self.sample.status == "cancelled":
            self.sample.status = status
            self.sample.error = detail[:300]

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Judge the request."""
        sample = self.sample
        sample.first_byte = self.first_byte
        if sample.end is None:
            sample.end = now
        status = self.response.status
        if self._lines.rest() and how is None and 200 <= status < 300:
            before = sample.events
            self._line(now, self._lines.rest())
            if sample.events > before:
                self._arrived(now)
        if status and not 200 <= status < 300:
            self._fail("http_%dxx" % (status // 100), self._http_error(status))
        if not self._done:
            if how is not None:
                self._fail(how, detail)
            marker = "done: true" if self.api.ollama else "[DONE]"
            self._fail("truncated", "the answer ended without %s" % marker)
        if not sample.events:
            self._fail("no_tokens", "the answer has no content")
        if not self.api.ollama and sample.finish is None and sample.tokens is None:
            self._fail("truncated", "neither finish_reason nor usage came before [DONE]")
        if sample.tokens is None and sample.events:
            sample.tokens = sample.events
            sample.estimated = True
        if self.options.ignore_eos and self.is_short:
            counts = (sample.tokens, self.options.output_tokens)
            self._fail("short_output", "%s tokens came, %d were asked for" % counts)
        if sample.status == "cancelled":
            sample.status = "ok"

    @property
    def is_short(self) -> bool:
        """Whether fewer tokens came than were asked for, as far as that is known."""
        tokens = self.sample.tokens
        return (
            tokens is not None and not self.sample.estimated and tokens < self.options.output_tokens
        )

    def _http_error(self, status: int) -> str:
        value, _ = load_object(self._page)
        said = error_text(value) if value else None
        text = said or self._page.decode("utf-8", "replace").strip()
        return ("%d %s" % (status, text))[:300]


class Workload:
    """Sends requests over connections that others hold."""

    kind = "llm"

    def __init__(self, target: Target, options: Options) -> None:
        self.target = target
        self.options = options
        self.api = APIS[options.api]
        self.prompts = Prompts(options.run_id, options.seed, options.prompt_tokens)

    def with_words(self, words: int) -> None:
        """Make prompts of another number of words from now on."""
        self.prompts = Prompts(self.options.run_id, self.options.seed, words)

    def with_model(self, model: str) -> None:
        """Ask for another model from now on."""
        self.options = self.options._replace(model=model)

    def _window(self) -> int:
        """Return the context to ask Ollama for: room for prompt, answer and a template."""
        need = self.options.prompt_tokens + self.options.output_tokens + 512
        return max(2048, (need + 1023) // 1024 * 1024)

    def request(self, phase: str, index: int, tokens: int) -> bytes:
        """Return the bytes of one request."""
        options = self.options
        prompt = self.prompts.prompt(phase, index)
        body = self.api.body(options.model, prompt, tokens, options.ignore_eos, self._window())
        request_id = "%s-%s-%d" % (options.run_id, phase, index)
        return http1.request(self.target, "POST", self.api.path, body, request_id)

    async def send(
        self, connection: http1.Connection, sample: Sample, tokens: int
    ) -> Tuple[List[float], bool]:
        """Send one request, read its answer into the sample; return gaps and if it was short."""
        loop = asyncio.get_event_loop()
        reading = Reading(loop.create_future(), sample, self.options._replace(output_tokens=tokens))
        data = self.request(sample.phase, sample.index, tokens)
        timeout = self.options.timeout
        sample.sent = connection.send(data, reading)
        watch = loop.call_at(
            sample.sent + timeout,
            lambda: reading.finish(loop.time(), "timeout", "no end within %g s" % timeout),
        )
        try:
            await reading.done
        finally:
            watch.cancel()
            if not connection.usable:
                connection.close()
        return reading.gaps, sample.ok and reading.is_short
