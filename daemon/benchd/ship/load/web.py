"""The HTTP workload: the same request again and again, and whether the answer is the right one."""

import argparse
import asyncio
import os
from typing import Any, Dict, NamedTuple, Optional, Sequence

from . import http1, summary, target, work
from .options import seconds, whole
from .pages import Page
from .work import Json, basic_metrics

HELP = "the same request to any HTTP server"


class Options(NamedTuple):
    """What the command line says about the workload."""

    method: str
    path: str
    body: bytes
    content_type: str
    expect_status: Optional[int]
    expect: bytes
    bearer: str


class Sample(work.Sample):
    """One request for a page."""

    __slots__ = ("size",)

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        work.Sample.__init__(self, phase, index, user, scheduled)
        self.size = 0

    @property
    def amount(self) -> int:
        """Bytes."""
        return self.size

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl."""
        line = work.Sample.line(self, zero)
        line["bytes"] = self.size
        return line

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says."""
        work.Sample.restore(self, line, shift)
        self.size = line["bytes"]


class Answer(Page):
    """Reads the answer to one request into its sample."""

    def __init__(self, done: "asyncio.Future[None]", sample: Sample, options: Options) -> None:
        Page.__init__(self, done)
        self.sample = sample
        self.options = options

    def body(self, now: float, piece: bytes) -> None:
        """Count, and keep what has to be looked into."""
        self.sample.size += len(piece)
        if self.options.expect or not 200 <= self.response.status < 400:
            Page.body(self, now, piece)

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Judge the request."""
        sample, options, status = self.sample, self.options, self.response.status
        sample.first_byte = self.first_byte
        sample.end = now
        if how is not None:
            sample.fail(how, detail)
        wanted = options.expect_status
        good = status == wanted if wanted else 200 <= status < 400
        if not good:
            said = self.data[:200].decode("utf-8", "replace").strip()
            sample.fail("http_%dxx" % (status // 100), "%d %s" % (status, said))
        if options.expect not in self.data:
            sample.fail("unexpected", "the body does not contain %r" % options.expect.decode())
        if sample.status == "cancelled":
            sample.status = "ok"


class Workload(work.Workload):
    """Sends one request over and over."""

    kind = "http"
    shared = spreads = forks = True
    amount = "bytes"

    def __init__(self, where: target.Target, timeout: float, run_id: str, options: Options) -> None:
        work.Workload.__init__(self, where, timeout, run_id)
        self.options = options
        headers = {"Content-Type": options.content_type} if options.content_type else {}
        if options.bearer:
            headers["Authorization"] = "Bearer " + options.bearer
        self._headers = headers
        self._requests: Dict[target.Target, bytes] = {}

    def _request(self, where: target.Target) -> bytes:
        options = self.options
        if where not in self._requests:
            self._requests[where] = http1.request(
                where, options.method, options.path, options.body, headers=self._headers
            )
        return self._requests[where]

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a request that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    async def send(self, connection: http1.Connection, sample: Any) -> None:
        """Send it once more."""
        sample.size = 0
        answer = Answer(asyncio.get_event_loop().create_future(), sample, self.options)
        sample.sent = connection.send(self._request(connection.target), answer)
        await http1.answered(connection, answer, sample.sent, self.timeout)

    def described(self) -> Json:
        """Return what was asked for; the key of the door is not part of it."""
        options = self.options
        return {
            "method": options.method,
            "path": options.path,
            "body_bytes": len(options.body),
            "expect_status": options.expect_status,
            "expect": options.expect.decode() or None,
        }

    def metrics(self, samples: Sequence[work.Sample]) -> Json:
        """Return latency to the first and the last byte, and throughput."""
        found = basic_metrics(self, samples, "req_s")
        good = [s for s in samples if s.ok]
        found["bytes_s"] = summary.rate_of(
            "bytes_s", "B/s", good, summary.issued(samples), lambda s: s.amount
        )
        return found

    def quantities(self) -> work.Quantities:
        """Return latency to the first and the last byte."""
        found = work.Workload.quantities(self)
        found["ttfb"] = _ttfb
        return found


def _ttfb(sample: work.Sample) -> Optional[float]:
    if sample.first_byte is None or sample.sent is None:
        return None
    return sample.first_byte - sample.sent


def _text(text: str) -> str:
    # It becomes part of a request's head.
    if not text or not all("!" <= c <= "~" for c in text):
        raise argparse.ArgumentTypeError("printable characters, no spaces")
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    add = parser.add_argument
    add("--method", choices=("GET", "POST", "PUT", "DELETE"), default="GET")
    add("--path", type=_text, default="/", help="with what follows ? in it, if anything")
    add("--body", default="", help="what is sent; @FILE: what is in a file")
    add("--content-type", type=_text, help="of the body (default: application/json)")
    add("--expect-status", type=whole(100, 599), help="(default: any from 200 to 399)")
    add("--expect", default="", help="text that a good answer contains")
    add("--bearer-env", metavar="NAME", help="variable with the token to show, if one is wanted")
    add("--seed", type=whole(0, 2**63), default=0, help="of the arrivals")
    add("--timeout", type=seconds, default=60.0, help="seconds a request may take")


def build(args: argparse.Namespace, where: target.Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    body = args.body.encode("utf-8")
    if args.body.startswith("@"):
        try:
            with open(args.body[1:], "rb") as file:
                body = file.read()
        except OSError as error:
            raise target.Usage("--body %s: %s" % (args.body, error.strerror)) from None
    bearer = ""
    if args.bearer_env:
        bearer = os.environ.get(args.bearer_env, "")
        if not bearer:
            raise target.Usage("--bearer-env %s: there is no such variable" % args.bearer_env)
    options = Options(
        method=args.method,
        path=args.path if args.path.startswith("/") else "/" + args.path,
        body=body,
        content_type=args.content_type or "",
        expect_status=args.expect_status,
        expect=args.expect.encode("utf-8"),
        bearer=bearer,
    )
    return Workload(where, args.timeout, run_id, options)
