"""The LLM workload: what a request is, when it has succeeded, and what was measured of it."""

import argparse
import asyncio
import os
from typing import Any, List, NamedTuple, Optional, Sequence

from . import http1, pages, preflight, work
from .datasets import Rows
from .options import seconds, whole
from .prompts import Ids, Prompts
from .record import Samples
from .streams import APIS, CONTENT, Lines, error_text, load_object
from .target import Target, Usage
from .tokens import Gaps, Sample, cached_share, metrics, quantities
from .work import Json

HELP = "streaming requests to an LLM server"
# Bytes of an error page that are kept.
_ERROR_BYTES = 4096
# Tokens beyond those asked for that are none too many: some servers count the end of the text.
_MORE = 1
# The gaps between chunks, on their way to the node that puts all together.
_GAPS = "gaps.bin"


class Options(NamedTuple):
    """What the command line says about the workload."""

    api: str
    model: str
    prompt_tokens: int
    output_tokens: int
    seed: int
    ignore_eos: bool
    num_ctx: Optional[int] = None
    num_gpu: Optional[int] = None
    cache_mode: str = "unique"
    prompt_ids: bool = False
    record_chunks: bool = False


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
            if line:
                self._line(now, line)
        if self.sample.events > before:
            self._arrived(now)

    def _line(self, now: float, line: bytes) -> None:
        sample = self.sample
        for piece in self.api.pieces(line):
            if piece is CONTENT:
                sample.events += 1
                if sample.first_out is None:
                    sample.first_out = now
                continue
            if piece.error is not None:
                self.sample.fail("stream_error", piece.error)
            elif piece.bad is not None:
                self.sample.fail("bad_frame", piece.bad)
            if piece.content or piece.reasoning:
                sample.events += 1
            if piece.content and sample.first_out is None:
                sample.first_out = now
            if piece.tokens is not None:
                sample.tokens = piece.tokens
            if piece.prompt_tokens is not None:
                sample.prompt_tokens = piece.prompt_tokens
            if piece.cached is not None:
                sample.cached = piece.cached
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
            self.sample.fail("http_%dxx" % (status // 100), self._http_error(status))
        if not self._done:
            if how is not None:
                self.sample.fail(how, detail)
            marker = "done: true" if self.api.ollama else "[DONE]"
            self.sample.fail("truncated", "the answer ended without %s" % marker)
        if not sample.events:
            self.sample.fail("no_tokens", "the answer has no content")
        if not self.api.ollama and sample.finish is None and sample.tokens is None:
            self.sample.fail("truncated", "neither finish_reason nor usage came before [DONE]")
        if sample.tokens is None and sample.events:
            sample.tokens = sample.events
            sample.estimated = True
        if self.options.ignore_eos and self.is_short:
            counts = (sample.tokens, self.options.output_tokens)
            self.sample.fail("short_output", "%s tokens came, %d were asked for" % counts)
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


class Workload(work.Workload):
    """Sends requests for streams of tokens."""

    kind = "llm"
    shared = spreads = forks = True
    amount = "out_tokens"

    def __init__(
        self,
        target: Target,
        timeout: float,
        run_id: str,
        options: Options,
        key: str = "",
        rows: Optional[Rows] = None,
    ) -> None:
        work.Workload.__init__(self, target, timeout, run_id)
        self.options = options
        # Not one of the options, which are shown.
        self.headers = {"Authorization": "Bearer %s" % key} if key else {}
        self.api = APIS[options.api]
        self.rows = rows
        self.prompts = Prompts(run_id, options.seed, options.prompt_tokens, options.cache_mode)
        self.ids: Optional[Ids] = None
        if options.prompt_ids:
            self.ids = Ids(run_id, options.seed, options.prompt_tokens, options.cache_mode)
        self.gaps = Gaps()
        self.found = preflight.Found([], "")
        self.calibrated: Json = {}
        self.counted: Json = {}

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a request that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    def leave(self, home: str) -> None:
        """Write down the gaps between chunks: samples have only their number."""
        self.gaps.write(os.path.join(home, _GAPS))

    def absorb(self, home: str, is_own: bool) -> None:
        """Take over the gaps of another node."""
        path = os.path.join(home, _GAPS)
        if not is_own:
            self.gaps.take(path)
        os.remove(path)

    def with_words(self, words: int) -> None:
        """Make prompts of another number of words from now on."""
        self.prompts = Prompts(self.run_id, self.options.seed, words, self.options.cache_mode)

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Find the model, and how many words make a prompt of the wanted length."""
        self.found = await preflight.look(self.target, self.api.ollama, self.headers)
        model = preflight.choose_model(self.options.model, self.found, self.target.url)
        self.options = self.options._replace(model=model)
        for other in self.targets[1:]:
            found = await preflight.look(other, self.api.ollama, self.headers)
            if preflight.is_listed(model, found) is False:
                raise work.NotReady("%s does not have the model %s" % (other.url, model))
        if self.rows is not None or self.ids is not None:
            return  # what they are is known
        tries: List[Sample] = []
        try:
            self.calibrated = await preflight.calibrate(self, tries)
        finally:
            for sample in tries:
                samples.add(sample.line(zero))

    async def begin(self) -> None:
        """Read the server's counters before the measurement."""
        self.counted = {"before": await pages.counted(self.targets, self.headers)}

    async def recount(self) -> None:
        """Read them after it."""
        if any(self.counted.get("before", ())):
            self.counted["after"] = await pages.counted(self.targets, self.headers)

    def counters(self) -> Json:
        """Return both."""
        return self.counted

    def _window(self) -> int:
        """Return the context to ask Ollama for: room for prompt, answer and a template."""
        if self.options.num_ctx is not None:
            return self.options.num_ctx
        need = self.options.prompt_tokens + self.options.output_tokens + 512
        return max(2048, (need + 1023) // 1024 * 1024)

    def prompt(self, phase: str, index: int) -> Any:
        """Return the prompt of one request: its text, or the numbers of its tokens."""
        if self.rows is not None:
            return self.rows.row(phase, index).prompt
        if self.ids is not None:
            return self.ids.prompt(phase, index)
        return self.prompts.prompt(phase, index)

    def request(self, phase: str, index: int, tokens: int, where: Target) -> bytes:
        """Return the bytes of one request."""
        options = self.options
        prompt = self.prompt(phase, index)
        body = self.api.body(
            options.model, prompt, tokens, options.ignore_eos, self._window(), options.num_gpu
        )
        request_id = "%s-%s-%d" % (self.run_id, phase, index)
        return http1.request(where, "POST", self.api.path, body, request_id, self.headers)

    async def send(self, connection: http1.Connection, sample: Any) -> None:
        """Send one request, and keep the gaps of a measured answer."""
        gaps = await self.ask(connection, sample, self._asked(sample))
        if sample.phase == "measure" and sample.ok:
            self.gaps.add(gaps)

    def _asked(self, sample: Sample) -> int:
        """Return how many tokens a request asks for."""
        row = self.rows.row(sample.phase, sample.index) if self.rows is not None else None
        return (row.output_tokens if row is not None else None) or self.options.output_tokens

    async def ask(self, connection: http1.Connection, sample: Sample, tokens: int) -> List[float]:
        """Ask for so many tokens, read the answer into the sample; return the gaps in it."""
        loop = asyncio.get_event_loop()
        reading = Reading(loop.create_future(), sample, self.options._replace(output_tokens=tokens))
        data = self.request(sample.phase, sample.index, tokens, connection.target)
        sample.sent = connection.send(data, reading)
        await http1.answered(connection, reading, sample.sent, self.timeout)
        sample.short = sample.ok and reading.is_short
        if self.options.record_chunks:
            sample.gaps = reading.gaps
        return reading.gaps

    def described(self) -> Json:
        """Return what was asked for."""
        options = self.options
        ollama = {"num_ctx": self._window(), "num_gpu": options.num_gpu}
        return {
            **(ollama if self.api.ollama else {}),
            "api": options.api,
            "model": options.model,
            "prompt": self._prompts(),
            "output_tokens": options.output_tokens,
            "ignore_eos": options.ignore_eos,
            "record_chunks": options.record_chunks,
            "seed": options.seed,
        }

    def _prompts(self) -> Json:
        if self.rows is not None:
            return dict(self.rows.described(), source="dataset", cache_mode="dataset")
        return {
            "source": "token-ids" if self.ids is not None else "synthetic",
            "cache_mode": self.options.cache_mode,
            "tokens": self.options.prompt_tokens,
            "calibrated": self.calibrated,
        }

    def server(self) -> Json:
        """Return which models it has, and what it calls itself."""
        return {"models": self.found.models[:20], "server": self.found.server}

    def metrics(self, samples: Sequence[work.Sample]) -> Json:
        """Return times to tokens and between them, and how many came."""
        return metrics(self, _ours(samples), self.gaps)

    def quantities(self) -> work.Quantities:
        """Return the times of one stream."""
        return quantities(self.is_open)

    def facts(self, samples: Sequence[work.Sample]) -> Json:
        """Return what may make the numbers those of another workload."""
        good = [s for s in _ours(samples) if s.ok]
        prompts = [s.prompt_tokens for s in good if s.prompt_tokens is not None]
        if self.rows is not None:
            prompts = []  # of no wanted length
        return {
            "client_tokens": sum(s.amount for s in samples),
            "unfinished": sum(1 for s in samples if s.sent is not None and not s.ok),
            "cached_share": cached_share(good, self.options.prompt_tokens * self.api.ollama),
            "tokens_estimated": sum(1 for s in good if s.estimated),
            "short_outputs": sum(1 for s in samples if s.short),
            "long_outputs": sum(1 for s in good if s.amount > self._asked(s) + _MORE),
            "model_listed": preflight.is_listed(self.options.model, self.found),
            "prompt_tokens_mean": sum(prompts) / float(len(prompts)) if prompts else None,
        }


def _ours(samples: Sequence[work.Sample]) -> List[Sample]:
    return [s for s in samples if isinstance(s, Sample)]


def add_options(add: "argparse.ArgumentParser") -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    option = add.add_argument
    option("--api", choices=sorted(APIS), default="openai-completions")
    option("--model", default="", help="default: the one model that the server lists")
    option("--prompt-tokens", type=whole(1, 10**6), default=128)
    option("--cache-mode", choices=("unique", "shared-prefix", "repeat"), default="unique")
    option("--prompt-ids", action="store_true", help="send numbers of tokens (vLLM's completions)")
    option("--dataset", metavar="FILE", help="prompts: JSON lines with prompt, or ShareGPT")
    option("--output-tokens", type=whole(1, 10**5), default=64)
    option("--seed", type=whole(0, 2**63), default=0, help="of the prompts")
    option("--timeout", type=seconds, default=300.0, help="seconds a request may take")
    option(
        "--ignore-eos", action="store_true", help="full-length answers; a shorter one is an error"
    )
    option("--record-chunks", action="store_true", help="keep the gaps of each answer (gaps_us)")
    option("--api-key-env", metavar="NAME", help="variable with the server's key, if it has one")
    option("--num-ctx", type=whole(1, 10**8), help="context to ask Ollama for (default: enough)")
    option("--num-gpu", type=whole(0, 10**5), help="layers Ollama puts on the GPU (default: its)")


def build(args: argparse.Namespace, target: Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    for name in ("num_ctx", "num_gpu"):
        if getattr(args, name) is not None and not APIS[args.api].ollama:
            raise Usage("--%s is for Ollama's own interfaces" % name.replace("_", "-"))
    if args.num_ctx is not None and args.num_ctx < args.prompt_tokens + args.output_tokens:
        sizes = (args.prompt_tokens, args.output_tokens, args.num_ctx)
        raise Usage("%d and %d tokens do not fit into --num-ctx %d: they would be cut" % sizes)
    if args.prompt_ids and args.api != "openai-completions":
        raise Usage("--prompt-ids is for --api openai-completions")
    if args.dataset and (args.prompt_ids or args.cache_mode != "unique"):
        raise Usage("--dataset has its own prompts: leave --prompt-ids and --cache-mode out")
    options = Options(
        api=args.api,
        model=args.model,
        prompt_tokens=args.prompt_tokens,
        output_tokens=args.output_tokens,
        seed=args.seed,
        ignore_eos=args.ignore_eos,
        num_ctx=args.num_ctx,
        num_gpu=args.num_gpu,
        cache_mode=args.cache_mode,
        prompt_ids=args.prompt_ids,
        record_chunks=args.record_chunks,
    )
    key = os.environ.get(args.api_key_env, "") if args.api_key_env else ""
    rows = Rows(args.dataset) if args.dataset else None
    return Workload(target, args.timeout, run_id, options, key, rows)
