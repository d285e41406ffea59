"""The Chroma workload: fill a collection, search it, and tell how much of the truth was found.

A latency of a vector database says nothing without its recall: an index that looks at less is
faster. So both are told, and the truth is reckoned here, from the seed, after the measurement.
"""

import argparse
import asyncio
import base64
import json
import re
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from . import http1, summary, work
from .closed import Users
from .options import seconds, whole
from .pages import Page, Said, fetch
from .record import Samples
from .sending import Phase, Stop
from .target import Target
from .vectors import SPACES, Truth, Vector, Vectors, mean, text
from .work import Json, NotReady, basic_metrics, spans

HELP = "fill a Chroma collection and search it, with recall"
_ALL = "/api/v2/tenants/default_tenant/databases/default_database/collections"
# Different searches; more requests than these begin again. Bounded by their memory, too.
_SEARCHES = 1000
# Bytes of requests that are made before a part of the inserts is timed: making them is our work.
_AHEAD = 64 * 1024 * 1024
# Seconds for which the number of vectors may lag behind what was inserted.
_SETTLE = 60.0


class Options(NamedTuple):
    """What the command line says about the workload."""

    vectors: int
    dimension: int
    batch: int
    clusters: int
    k: int
    space: str
    ef_search: Optional[int]
    ef_construction: Optional[int]
    max_neighbors: Optional[int]
    insert_concurrency: int
    recall_queries: int
    seed: int
    keep: bool


class Answer(Page):
    """Reads the answer to one request into its sample."""

    def __init__(
        self, done: "asyncio.Future[None]", sample: work.Sample, wanted: Optional[int]
    ) -> None:
        """Take how many ids are wanted; None: it is no search."""
        Page.__init__(self, done)
        self.sample = sample
        self.wanted = wanted
        self.ids: List[str] = []

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Judge the request."""
        sample = self.sample
        sample.first_byte = self.first_byte
        sample.end = now
        if how is not None:
            sample.fail(how, detail)
        said = Said(self.response.status, self.data)
        if not 200 <= said.status < 300:
            sample.fail("http_%dxx" % (said.status // 100), "%d %s" % (said.status, said.text()))
        elif self.wanted is not None:
            self.ids = _ids(said.json())
            if len(self.ids) < self.wanted:
                sample.fail("short_answer", "%d ids of %d" % (len(self.ids), self.wanted))
        if sample.status == "cancelled":
            sample.status = "ok"


def _ids(value: Any) -> List[str]:
    """Return the ids that a search has found; none where the answer has another form."""
    rows = value.get("ids") if isinstance(value, dict) else None
    row = rows[0] if isinstance(rows, list) and rows else None
    return [i for i in row if isinstance(i, str)] if isinstance(row, list) else []


class Workload(work.Workload):
    """Searches one collection that it has filled itself."""

    kind = "chroma"

    def __init__(self, target: Target, timeout: float, run_id: str, options: Options) -> None:
        work.Workload.__init__(self, target, timeout, run_id)
        self.options = options
        self.vectors = Vectors(options.dimension, options.seed, options.clusters)
        self.name = "benchd-%s-x" % re.sub(r"[^A-Za-z0-9._-]", "-", run_id)[:200]
        self.base: List[Vector] = []
        self.bodies: Dict[str, List[bytes]] = {}
        self.found: Dict[int, List[str]] = {}
        self.recalls: List[float] = []
        self.inserts: List[work.Sample] = []
        self.insert_seconds = 0.0
        self.version = ""
        self.batch = options.batch
        self.is_packed = False
        self._id = ""
        self._samples: Optional[Samples] = None

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Look at the server, make the collection and fill it."""
        self._samples = samples
        beat = await fetch(self.target, "GET", "/api/v2/heartbeat")
        if beat.status != 200:
            message = "%s/api/v2/heartbeat answers %d: is it Chroma 1.0 or newer (API v2)?"
            raise NotReady(message % (self.target.url, beat.status))
        self.version = str((await fetch(self.target, "GET", "/api/v2/version")).json() or "")
        limits = (await fetch(self.target, "GET", "/api/v2/pre-flight-checks")).json()
        if isinstance(limits, dict):
            most = limits.get("max_batch_size")
            self.batch = min(self.batch, most) if isinstance(most, int) else self.batch
            self.is_packed = limits.get("supports_base64_encoding") is True
        await self._create()
        await self._fill(samples, zero)
        for phase in ("warmup", "measure"):
            self.bodies[phase] = [
                self._search(self.vectors.query(phase, index)) for index in range(self._searches())
            ]

    def _searches(self) -> int:
        # 12 bytes is a number of 4 bytes as text
        fits = _AHEAD // 4 // (12 * self.options.dimension)
        return max(1, min(_SEARCHES, fits))

    async def _create(self) -> None:
        options = self.options
        await fetch(self.target, "DELETE", "%s/%s" % (_ALL, self.name))  # of an earlier try
        index: Json = {"space": options.space}
        for name in ("ef_search", "ef_construction", "max_neighbors"):
            value = getattr(options, name)
            if value is not None:
                index[name] = value
        body: Json = {"name": self.name, "configuration": {"hnsw": index}}
        said = await fetch(self.target, "POST", _ALL, json.dumps(body).encode("utf-8"))
        value = said.json()
        self._id = str(value.get("id", "")) if isinstance(value, dict) else ""
        if said.status not in (200, 201) or not self._id:
            raise NotReady("no collection can be made: %d %s" % (said.status, said.text()))

    async def _fill(self, samples: Samples, zero: float) -> None:
        """Insert everything, in parts: only the time of the requests counts, not our own work."""
        options = self.options
        users = Users(self, options.insert_concurrency, lambda s: samples.add(s.line(zero)))
        size = max(1, _AHEAD // (self.batch * options.dimension * (6 if self.is_packed else 12)))
        try:
            while len(self.base) < options.vectors:
                bodies: List[bytes] = []
                while len(bodies) < size and len(self.base) < options.vectors:
                    bodies.append(self._insert())
                    await asyncio.sleep(0)  # a signal may have come
                self.bodies["insert"] = bodies
                phase = Phase("insert", Stop(len(bodies), None))
                await users.run(phase)
                self.inserts += phase.samples
                self.insert_seconds += summary.window(phase.samples) or 0.0
                bad = [s for s in phase.samples if not s.ok]
                if bad or phase.gone:
                    message = "%d of %d batches could not be inserted: %s"
                    why = bad[0].error if bad else phase.gone
                    raise NotReady(message % (len(bad), len(bodies), why))
        finally:
            users.close()
            self.bodies.pop("insert", None)
        await self._settle()

    def _insert(self) -> bytes:
        """Return the next batch."""
        first = len(self.base)
        last = min(first + self.batch, self.options.vectors)
        rows = [self.vectors.base(index) for index in range(first, last)]
        self.base += rows
        ids = ",".join('"%d"' % index for index in range(first, last))
        made = ",".join(map(_packed if self.is_packed else text, rows))
        return ('{"ids":[%s],"embeddings":[%s]}' % (ids, made)).encode("ascii")

    async def _settle(self) -> None:
        """Wait until the server counts what it was given."""
        end = time.monotonic() + _SETTLE
        while True:
            count = (await fetch(self.target, "GET", "%s/%s/count" % (_ALL, self._id))).json()
            if count == len(self.base):
                return
            if time.monotonic() > end:
                message = "%d vectors were inserted, but after %g s the server counts %s"
                raise NotReady(message % (len(self.base), _SETTLE, count))
            await asyncio.sleep(0.1)

    def _search(self, vector: Vector) -> bytes:
        form = '{"query_embeddings":[%s],"n_results":%d,"include":["distances"]}'
        return (form % (text(vector), self.options.k)).encode("ascii")

    async def send(self, connection: http1.Connection, sample: work.Sample) -> None:
        """Send one batch or search."""
        is_measured = work.is_measured(sample.phase)
        name = "measure" if is_measured else sample.phase
        bodies = self.bodies[name if name in self.bodies else "warmup"]
        body = bodies[sample.index % len(bodies)]
        is_search = sample.phase != "insert"
        wanted = min(self.options.k, self.options.vectors) if is_search else None
        path = self.path("query" if is_search else "add")
        answer = Answer(asyncio.get_event_loop().create_future(), sample, wanted)
        data = http1.request(self.target, "POST", path, body)
        sample.sent = connection.send(data, answer)
        await http1.answered(connection, answer, sample.sent, self.timeout)
        if is_measured and sample.ok and sample.index < self._judged():
            self.found[sample.index] = answer.ids

    def path(self, what: str) -> str:
        """Return where the collection is asked for something."""
        return "%s/%s/%s" % (_ALL, self._id, what)

    def _judged(self) -> int:
        return min(self.options.recall_queries, len(self.bodies["measure"]))

    async def conclude(self) -> None:
        """Find the truth and compare; the service has nothing to do meanwhile."""
        truth = Truth(self.base, self.options.space)
        for index in sorted(self.found):
            found = [int(i) for i in self.found[index] if i.isdigit()]
            query = self.vectors.query("measure", index)
            recall = truth.recall(query, found, self.options.k)
            self.recalls.append(recall)
            if self._samples:
                self._samples.add({"phase": "recall", "i": index, "recall": recall})
            await asyncio.sleep(0)  # a signal may have come

    async def finish(self) -> None:
        """Delete the collection, unless it is to be kept."""
        if self._id and not self.options.keep:
            try:
                await fetch(self.target, "DELETE", "%s/%s" % (_ALL, self.name))
            except NotReady as error:
                print("the collection %s is left behind: %s" % (self.name, error), file=sys.stderr)

    def described(self) -> Json:
        """Return what was asked for."""
        options = self.options
        return {
            "vectors": options.vectors,
            "dimension": options.dimension,
            "batch": self.batch,
            "data": "clustered" if options.clusters else "uniform",
            "clusters": options.clusters,
            "k": options.k,
            "index": {
                "space": options.space,
                "ef_search": options.ef_search,
                "ef_construction": options.ef_construction,
                "max_neighbors": options.max_neighbors,
            },
            "insert_concurrency": options.insert_concurrency,
            "insert_encoding": "base64" if self.is_packed else "json",
            "searches": len(self.bodies.get("measure", ())),
            "seed": options.seed,
        }

    def server(self) -> Json:
        """Return its version."""
        return {"server": "chroma", "version": self.version}

    def metrics(self, samples: Sequence[work.Sample]) -> Json:
        """Return what searching and inserting took, and how much was found."""
        found = basic_metrics(self, samples, "ops_s")
        good = [s for s in self.inserts if s.ok]
        found["latency_service.insert"] = summary.distribution("latency_service", spans(good))
        rate = len(self.base) / self.insert_seconds if self.insert_seconds else None
        found["ops_s.insert"] = summary.rate("ops_s", "1/s", rate)
        recall = summary.rate("recall_at_k", "1", mean(self.recalls))
        recall["n"] = len(self.recalls)
        found["recall_at_k"] = recall
        return found

    def facts(self, samples: Sequence[work.Sample]) -> Json:
        """Return for how many searches the truth is known."""
        return {"recall_queries": len(self.recalls)}


def _packed(vector: Any) -> str:
    """Return a vector as Chroma's clients send it: its bytes, lowest first, in base64."""
    if sys.byteorder != "little":
        vector = vector[:]
        vector.byteswap()
    return '"%s"' % base64.b64encode(vector.tobytes()).decode("ascii")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    add = parser.add_argument
    add("--vectors", type=whole(1, 10**8), default=10000, help="to insert")
    add("--dimension", type=whole(1, 10**5), default=384, help="of a vector")
    add("--batch", type=whole(1, 10**5), default=500, help="vectors in one insert")
    add("--insert-concurrency", type=whole(1, 1000), default=1, help="inserts at once")
    add("--data", choices=("uniform", "clustered"), default="clustered")
    add("--clusters", type=whole(1, 10**5), default=100, help="of clustered data")
    add("--k", type=whole(1, 10**4), default=10, help="neighbours that a search asks for")
    add("--space", choices=SPACES, default="l2", help="how distance is measured")
    add("--ef-search", type=whole(1, 10**5), help="of the index (default: the server's)")
    add("--ef-construction", type=whole(1, 10**5), help="of the index (default: the server's)")
    add("--max-neighbors", type=whole(1, 10**4), help="of the index (default: the server's)")
    add("--recall-queries", type=whole(1, 10**5), default=50, help="searches that are judged")
    add("--seed", type=whole(0, 2**63), default=0, help="of the vectors")
    add("--timeout", type=seconds, default=60.0, help="seconds a request may take")
    add("--keep", action="store_true", help="leave the collection where it is")


def build(args: argparse.Namespace, target: Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    options = Options(
        vectors=args.vectors,
        dimension=args.dimension,
        batch=args.batch,
        clusters=args.clusters if args.data == "clustered" else 0,
        k=args.k,
        space=args.space,
        ef_search=args.ef_search,
        ef_construction=args.ef_construction,
        max_neighbors=args.max_neighbors,
        insert_concurrency=args.insert_concurrency,
        recall_queries=args.recall_queries,
        seed=args.seed,
        keep=args.keep,
    )
    return Workload(target, args.timeout, run_id, options)
