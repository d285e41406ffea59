"""The RAG workload: look documents up in Chroma, and ask an LLM with them in the prompt.

One request is one search and one answer, and each part is timed: what the user waits for is their
sum. Search and documents follow from the seed; the search vectors are those of no text, because an
embedding model is a third service, and this measures two.
"""

import argparse
import asyncio
import json
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import chroma, http1, llm, tokens, work
from .options import whole
from .prompts import Prompts
from .record import Samples
from .target import Target, Usage, parse
from .vectors import Vector, text
from .work import Json, moment, since

HELP = "documents from Chroma into the prompts of an LLM server"
# Documents in one insert.
_BATCH = 100
# Seconds that opening a connection to the store may take.
_CONNECT_TIMEOUT = 10.0


class Sample(tokens.Sample):
    """One search and the answer that was made of what it found."""

    __slots__ = ("began", "found", "searched", "texts")

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        tokens.Sample.__init__(self, phase, index, user, scheduled)
        self.began: Optional[float] = None  # when the search was sent
        self.searched: Optional[float] = None  # when its answer was there
        self.found = 0
        self.texts: List[str] = []  # what was found

    @property
    def begun(self) -> Optional[float]:
        """When its search was sent."""
        return self.began

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl."""
        line = tokens.Sample.line(self, zero)
        line.update(
            began=since(zero, self.began), searched=since(zero, self.searched), found=self.found
        )
        return line

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says."""
        tokens.Sample.restore(self, line, shift)
        self.began = moment(line["began"], shift)
        self.searched = moment(line["searched"], shift)
        self.found = line["found"]


class Shelf(chroma.Workload):
    """A collection with texts in it."""

    def __init__(
        self, target: Target, timeout: float, run_id: str, options: chroma.Options
    ) -> None:
        chroma.Workload.__init__(self, target, timeout, run_id, options)
        self.texts = Prompts("documents", options.seed, 1)
        self.open: Dict[int, http1.Connection] = {}

    def _insert(self) -> bytes:
        """Return the next batch, with its texts."""
        first = len(self.base)
        body: Json = json.loads(super()._insert().decode("ascii"))
        numbers = range(first, len(self.base))
        body["documents"] = [self.texts.prompt("document", number) for number in numbers]
        return json.dumps(body).encode("ascii")

    def _search(self, vector: Vector) -> bytes:
        form = '{"query_embeddings":[%s],"n_results":%d,"include":["documents"]}'
        return (form % (text(vector), self.options.k)).encode("ascii")

    async def look_up(self, sample: Sample) -> List[str]:
        """Return the texts that a search finds; of a failure, tell the sample."""
        found: List[str] = []
        for _ in range(2):  # the server may have closed a connection that was idle
            connection = self.open.get(sample.user)
            is_new = connection is None or not connection.usable
            if connection is None or is_new:
                try:
                    connection = await http1.connect(self.target, _CONNECT_TIMEOUT)
                except OSError as error:
                    sample.fail("store_connect", str(error))
                    return []
                self.open[sample.user] = connection
            one = work.Sample(sample.phase, sample.index, sample.user, time.monotonic())
            if sample.began is None:
                sample.began = one.scheduled
            found = await self._ask(connection, one)
            if one.ok:
                sample.searched = one.end
                sample.found = len(found)
                return found
            if is_new or one.status != "conn_lost" or one.first_byte is not None:
                break
        sample.fail("store_" + one.status, one.error)
        return []

    async def _ask(self, connection: http1.Connection, one: work.Sample) -> List[str]:
        bodies = self.bodies["measure" if work.is_measured(one.phase) else "warmup"]
        wanted = min(self.options.k, self.options.vectors)
        answer = chroma.Answer(asyncio.get_event_loop().create_future(), one, wanted)
        data = http1.request(
            self.target, "POST", self.path("query"), bodies[one.index % len(bodies)]
        )
        one.sent = connection.send(data, answer)
        await http1.answered(connection, answer, one.sent, self.timeout)
        return _documents(answer.data) if one.ok else []

    def close(self) -> None:
        """Drop all connections."""
        for connection in self.open.values():
            connection.close()


def _documents(data: bytes) -> List[str]:
    """Return the texts in the answer to one search."""
    value: Any = json.loads(data.decode("utf-8"))
    rows = value.get("documents") or [[]]
    return [row for row in rows[0] if isinstance(row, str)]


class Workload(llm.Workload):
    """Asks an LLM with what a store has found."""

    kind = "rag"
    shared = False  # each node would fill a collection of its own
    spreads = False
    forks = False

    def __init__(self, inner: llm.Workload, shelf: Shelf, document_tokens: int) -> None:
        llm.Workload.__init__(self, inner.target, inner.timeout, inner.run_id, inner.options)
        self.headers = inner.headers
        self.shelf = shelf
        self.document_tokens = document_tokens
        self.contexts: Dict[Tuple[str, int], List[str]] = {}

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a request that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Find the model, how many words make a token of it, and fill the store."""
        await llm.Workload.prepare(self, samples, zero)
        words = self.calibrated["words"] / float(self.options.prompt_tokens)
        length = int(round(words * self.document_tokens))
        self.shelf.texts = Prompts("documents", self.options.seed, length)
        await self.shelf.prepare(samples, zero)

    def prompt(self, phase: str, index: int) -> str:
        """Return what was found, and the question."""
        found = self.contexts.get((phase, index), [])
        return "\n".join(found + [llm.Workload.prompt(self, phase, index)])

    async def send(self, connection: http1.Connection, sample: Any) -> None:
        """Search, then ask."""
        if sample.searched is None:  # a question that is sent again is not searched for again
            sample.texts = await self.shelf.look_up(sample)
        if sample.status != "cancelled":
            sample.end = time.monotonic()
            return
        key = (sample.phase, sample.index)
        self.contexts[key] = sample.texts
        try:
            await llm.Workload.send(self, connection, sample)
        finally:
            del self.contexts[key]
            if sample.ok:
                sample.texts = []

    async def finish(self) -> None:
        """Leave no collection behind."""
        self.shelf.close()
        await self.shelf.finish()

    def described(self) -> Json:
        """Return what was asked for."""
        said = llm.Workload.described(self)
        options = self.shelf.options
        said["documents"] = {
            "stored": options.vectors,
            "dimension": options.dimension,
            "in_prompt": options.k,
            "tokens": self.document_tokens,
        }
        return said

    def server(self) -> Json:
        """Return what both services are."""
        return dict(llm.Workload.server(self), store=self.shelf.server())

    def quantities(self) -> work.Quantities:
        """Return the times of the search, of the answer, and of both together."""
        found = llm.Workload.quantities(self)
        for name, end in (("retrieval", "searched"), ("ttft_rag", "first"), ("e2e_rag", "last")):
            found[name] = _from_search(end)
        return found

    def facts(self, samples: Sequence[work.Sample]) -> Json:
        """Return what may make the numbers those of another workload."""
        found = llm.Workload.facts(self, samples)
        found["rag_prompt_tokens_mean"] = found.pop("prompt_tokens_mean")
        return found


def _from_search(name: str) -> Callable[[Any], Optional[float]]:
    def read(sample: Any) -> Optional[float]:
        end = getattr(sample, name)
        return None if end is None or sample.began is None else float(end - sample.began)

    return read


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    llm.add_options(parser)
    add = parser.add_argument
    add("--store-url", required=True, help="http://host:port of Chroma")
    add("--documents", type=whole(1, 10**6), default=1000, help="in the store")
    add("--document-tokens", type=whole(1, 10**5), default=64, help="length of a document")
    add("--dimension", type=whole(1, 10**5), default=384, help="of a document's vector")
    add("--k", type=whole(1, 1000), default=4, help="documents that go into a prompt")


def build(args: argparse.Namespace, target: Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    options = chroma.Options(
        vectors=args.documents,
        dimension=args.dimension,
        batch=_BATCH,
        clusters=min(100, args.documents),
        k=args.k,
        space="l2",
        ef_search=None,
        ef_construction=None,
        max_neighbors=None,
        insert_concurrency=1,
        recall_queries=1,
        seed=args.seed,
        keep=False,
    )
    if args.dataset or args.prompt_ids:
        raise Usage("--dataset, --prompt-ids: questions are made, and documents put before them")
    shelf = Shelf(parse(args.store_url), args.timeout, run_id, options)
    return Workload(llm.build(args, target, run_id), shelf, args.document_tokens)
