"""The ingest workload: documents that were made into requests before, each of which is sent once.

What is in the file is sent as it is: batches are made by whoever makes the documents, so that no
work of ours is between two requests. A batch that fails is an error and not sent again.
"""

import argparse
import asyncio
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from . import http1, summary, target, work
from .arrivals import MOST
from .nodes import share
from .options import seconds, whole
from .pages import Page
from .record import Samples
from .work import Json, NotReady, basic_metrics

HELP = "batches of documents from a file, each sent once"


class Batch(NamedTuple):
    """Where the body of a request is in the file, and how many documents are in it."""

    documents: int
    start: int
    size: int


class Sample(work.Sample):
    """One batch."""

    __slots__ = ("documents", "size")

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        work.Sample.__init__(self, phase, index, user, scheduled)
        self.documents = 0
        self.size = 0

    @property
    def amount(self) -> int:
        """Documents."""
        return self.documents

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl."""
        line = work.Sample.line(self, zero)
        line.update(documents=self.documents, bytes=self.size)
        return line

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says."""
        work.Sample.restore(self, line, shift)
        self.documents, self.size = line["documents"], line["bytes"]


class Answer(Page):
    """Reads the answer to one batch into its sample."""

    def __init__(self, done: "asyncio.Future[None]", sample: Sample) -> None:
        Page.__init__(self, done)
        self.sample = sample

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Judge the request."""
        sample, status = self.sample, self.response.status
        sample.first_byte = self.first_byte
        sample.end = now
        if how is not None:
            sample.fail(how, detail)
        if not 200 <= status < 300:
            said = self.data[:200].decode("utf-8", "replace").strip()
            sample.fail("http_%dxx" % (status // 100), "%d %s" % (status, said))
        if sample.status == "cancelled":
            sample.status = "ok"


class Workload(work.Workload):
    """Sends what is in a file, once."""

    kind = "ingest"
    shared = True
    repeatable = False  # the service may have taken it
    numbered = False  # each node has files of its own
    amount = "documents"

    def __init__(
        self,
        where: target.Target,
        timeout: float,
        run_id: str,
        path: str,
        method: str,
        headers: Dict[str, str],
        into: str,
    ) -> None:
        work.Workload.__init__(self, where, timeout, run_id)
        self.path = path
        self.method = method
        self.headers = headers
        self.into = into
        self.batches: List[Batch] = []
        self._file: Optional[int] = None

    def open(self, bodies: str) -> None:
        """Find the batches in a file: a line with documents and bytes, then the bytes."""
        with open(bodies, "rb") as file:
            while True:
                head = file.readline()
                if not head:
                    break
                documents, size = map(int, head.split())
                self.batches.append(Batch(documents, file.tell(), size))
                file.seek(size, os.SEEK_CUR)
        self._file = os.open(bodies, os.O_RDONLY)

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a batch that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Refuse to measure nothing."""
        if not self.batches:
            raise NotReady("there are no documents to send")

    async def send(self, connection: http1.Connection, sample: Any) -> None:
        """Send one batch."""
        batch = self.batches[sample.index]
        assert self._file is not None  # noqa: S101 - open() comes first
        body = os.pread(self._file, batch.size, batch.start)
        sample.documents, sample.size = batch.documents, batch.size
        answer = Answer(asyncio.get_event_loop().create_future(), sample)
        data = http1.request(self.target, self.method, self.path, body, headers=self.headers)
        sample.sent = connection.send(data, answer)
        await http1.answered(connection, answer, sample.sent, self.timeout)

    def described(self) -> Json:
        """Return what was asked for; the key of the door is not part of it."""
        return {
            "method": self.method,
            "path": self.path if self.into == "http" else None,
            "into": self.into,
            "content_type": self.headers.get("Content-Type"),
        }

    def metrics(self, samples: Sequence[work.Sample]) -> Json:
        """Return what a batch took, and documents, batches and bytes a second."""
        found = basic_metrics(self, samples, "req_s")
        good = [s for s in samples if s.ok and isinstance(s, Sample)]
        span = summary.window(summary.issued(samples)) or None
        documents, size = sum(s.documents for s in good), sum(s.size for s in good)
        found["docs_s"] = summary.rate("docs_s", "1/s", documents / span if span else None)
        found["bytes_s"] = summary.rate("bytes_s", "B/s", size / span if span else None)
        return found

    def server(self) -> Json:
        """Say nothing: whoever starts this knows more."""
        return {}

    def facts(self, samples: Sequence[work.Sample]) -> Json:
        """Return how many documents the service has taken."""
        good = [s for s in samples if s.ok and isinstance(s, Sample)]
        return {"documents": sum(s.documents for s in good)}


def _path(text: str) -> str:
    # It becomes part of a request's head.
    if not text.startswith("/") or not all("!" <= c <= "~" for c in text):
        raise argparse.ArgumentTypeError("a path begins with / and has no spaces")
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    add = parser.add_argument
    add("--bodies", required=True, metavar="FILE", help="the batches, as benchd's Spark makes them")
    add("--batches", type=whole(1, MOST), required=True, help="in the files of all --nodes")
    add("--method", choices=("POST", "PUT"), default="POST")
    add("--path", type=_path, default="/")
    add("--content-type", default="application/json")
    add("--bearer-env", metavar="NAME", help="variable with the token to show, if one is wanted")
    add("--into", choices=("chroma", "http"), default="http", help="what is told in the result")
    add("--timeout", type=seconds, default=60.0, help="seconds a request may take")
    parser.set_defaults(warmup=0)  # what was sent to warm up would be there twice


def build(args: argparse.Namespace, where: target.Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    headers = {"Content-Type": args.content_type}
    if args.bearer_env:
        bearer = os.environ.get(args.bearer_env, "")
        if not bearer:
            raise target.Usage("--bearer-env %s: there is no such variable" % args.bearer_env)
        headers["Authorization"] = "Bearer " + bearer
    if args.warmup or args.requests or args.duration:
        raise target.Usage("ingest sends every batch once: no --warmup, --requests, --duration")
    workload = Workload(where, args.timeout, run_id, args.path, args.method, headers, args.into)
    try:
        workload.open(args.bodies)
    except (OSError, ValueError) as error:
        raise target.Usage("--bodies %s: %s" % (args.bodies, error)) from None
    mine = share(args.batches, args.nodes, args.node)
    if len(workload.batches) != mine:
        message = "--bodies has %d batches, and %d of --batches %d are this node's"
        raise target.Usage(message % (len(workload.batches), mine, args.batches))
    return workload
