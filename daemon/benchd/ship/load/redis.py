"""The Redis workload: GET and SET at a rate or as fast as users can, checked with its counters.

redis-benchmark sends as fast as it can and nothing else, so it says what the peak is. What this
is for is latency at a rate: a server that stalls is not waited for.
"""

import argparse
import asyncio
import os
import random
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from . import resp, summary, work
from .lanes import READ, READ_LONG, Lane, Lanes
from .options import seconds, share, whole
from .record import Samples
from .sending import Phase, Sender
from .target import Target, Usage
from .work import Json, NotReady, basic_metrics

HELP = "GET and SET on a Redis server"
# Keys that are written in one go before the load, and seconds that may take.
_CHUNK = 500
_PATIENCE = 30.0
_STATS = re.compile(r"cmdstat_(\w+):calls=(\d+)")

# The line of a batch that went well, as most do: three times as fast as any JSON writer. Names of
# phases and commands are ours, and need no quoting.
_PLAIN = (
    '{"i":%d,"phase":"%s","u":%d,"t":%d,"sched":%.6f,"send":%.6f,"fb":%.6f,"end":%.6f,'
    '"status":"ok","err":null,"conn_new":false,"short":false,"resent":false,'
    '"command":"%s","n":%d,"hits":%d}'
)


class Options(NamedTuple):
    """What the command line says about the workload."""

    reads: float
    keys: int
    distribution: str
    value_size: int
    pipeline: int
    connections: int
    seed: int
    password: str


class Sample(work.Sample):
    """Commands that were sent together, all of them the same."""

    __slots__ = ("command", "commands", "hits")

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        work.Sample.__init__(self, phase, index, user, scheduled)
        self.command = ""
        self.commands = 0
        self.hits = 0

    @property
    def amount(self) -> int:
        """Commands."""
        return self.commands

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl."""
        line = work.Sample.line(self, zero)
        line.update(command=self.command, n=self.commands, hits=self.hits)
        return line

    def text(self, zero: float) -> str:
        """Return the same line, without building it where nothing is out of the ordinary."""
        sent, first, end = self.sent, self.first_byte, self.end
        odd = self.status != "ok" or self.short or self.resent or self.conn_new
        if odd or sent is None or first is None or end is None:
            return work.Sample.text(self, zero)
        return _PLAIN % (
            self.index, self.phase, self.user, self.target,
            self.scheduled - zero, sent - zero, first - zero, end - zero,
            self.command, self.commands, self.hits,
        )  # fmt: skip

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says."""
        work.Sample.restore(self, line, shift)
        self.command, self.commands, self.hits = line["command"], line["n"], line["hits"]


class Workload(work.Workload):
    """Reads and writes keys of its own, which it deletes in the end."""

    kind = "redis"
    amount = "ops"
    forks = True
    runs_lanes = True

    def __init__(self, target: Target, timeout: float, run_id: str, options: Options) -> None:
        work.Workload.__init__(self, target, timeout, run_id)
        self.options = options
        self.prefix = "benchd:%s:" % run_id
        # Of full entropy: a server that compresses must not be faster for it.
        draw = random.Random("%d/value" % options.seed)  # noqa: S311 - a value, not a secret
        self.value = bytes(bytearray(int(draw.random() * 256) for _ in range(options.value_size)))
        self.version = ""
        self.before: Dict[str, int] = {}
        self.after: Dict[str, int] = {}
        self.memory: Optional[int] = None
        # A run's name and a value have any characters, also those that a form gives a meaning.
        key = self.prefix.encode("ascii").replace(b"%", b"%%") + b"%012d"
        size, value = len(self._key(0)), self.value.replace(b"%", b"%%")
        self._forms = {
            "get": b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (size, key),
            "set": b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"
            % (size, key, len(self.value), value),
        }
        self._answers = {"set": b"+OK\r\n" * options.pipeline}
        if options.value_size * options.pipeline < READ:  # larger ones come in pieces
            answer = b"$%d\r\n%s\r\n" % (len(self.value), self.value)
            self._answers["get"] = answer * options.pipeline
        self._lanes: Optional[Lanes] = None
        self._draw: Optional[random.Random] = None
        self._pool: List[resp.Connection] = []
        self._turn = 0

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a batch that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    async def connect(self, target: Target, patience: float) -> resp.Connection:
        """Return a connection of its own for each user; in an open loop they share some."""
        if not self.is_open:
            return await self._fresh(target, patience)
        self._pool = [connection for connection in self._pool if connection.usable]
        if len(self._pool) < self.options.connections:
            connection = await self._fresh(target, patience)
            self._pool.append(connection)
            return connection
        self._turn += 1
        return self._pool[self._turn % len(self._pool)]

    async def _fresh(self, target: Target, patience: float) -> resp.Connection:
        connection = await resp.connect(target, patience)
        if self.options.password:
            said = await resp.ask(
                connection, resp.command("AUTH", self.options.password), 1, patience
            )
            if isinstance(said[0], resp.Error):
                connection.close()
                raise OSError(str(said[0]))
        return connection

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Look at the server and write every key once, so that reads find something."""
        connection = await self._first()
        try:
            said = await resp.ask(connection, resp.command("PING"), 1, _PATIENCE)
            if isinstance(said[0], resp.Error):
                raise NotReady(_explained(self.target, str(said[0])))
            info = _info(await resp.ask(connection, resp.command("INFO", "server"), 1, _PATIENCE))
            self.version = info.get("redis_version", "")
            if self.options.reads > 0:
                await self._each_key(connection, "SET", self.value)
        except OSError as error:
            raise NotReady("%s: %s" % (self.target.authority, error)) from None
        finally:
            connection.close()

    async def _first(self) -> resp.Connection:
        try:
            return await self._fresh(self.target, _PATIENCE)
        except OSError as error:
            raise NotReady(_explained(self.target, str(error))) from None

    async def _each_key(self, connection: resp.Connection, *words: Any) -> None:
        """Send a command for every key."""
        for first in range(0, self.options.keys, _CHUNK):
            keys = range(first, min(first + _CHUNK, self.options.keys))
            data = [resp.command(words[0], self._key(key), *words[1:]) for key in keys]
            for reply in await resp.ask(connection, b"".join(data), len(data), _PATIENCE):
                if isinstance(reply, resp.Error):
                    raise NotReady("%s %s: %s" % (words[0], self._key(first), reply))

    def _key(self, number: int) -> str:
        return "%s%012d" % (self.prefix, number)

    async def begin(self) -> None:
        """Read the server's counters before the measurement."""
        self.before, _ = await self._counters()

    async def conclude(self) -> None:
        """Read them after it."""
        self.after, self.memory = await self._counters()

    async def _counters(self) -> "tuple[Dict[str, int], Optional[int]]":
        connection = await self._first()
        try:
            stats = await resp.ask(connection, resp.command("INFO", "commandstats"), 1, _PATIENCE)
            memory = _info(await resp.ask(connection, resp.command("INFO", "memory"), 1, _PATIENCE))
        except OSError:
            return {}, None
        finally:
            connection.close()
        text = stats[0].decode("utf-8", "replace") if isinstance(stats[0], bytes) else ""
        used = memory.get("used_memory", "")
        found = {name: int(calls) for name, calls in _STATS.findall(text)}
        return found, int(used) if used.isdigit() else None

    async def finish(self) -> None:
        """Leave no key behind."""
        for connection in self._pool:
            connection.close()
        try:
            connection = await self._fresh(self.target, _PATIENCE)
        except OSError:
            return  # gone, and its keys with it or not: nothing can be done
        try:
            await self._each_key(connection, "DEL")
        except (OSError, NotReady):
            pass
        finally:
            connection.close()

    def compose(self, sample: Any) -> bytes:
        """Choose command and keys of a batch, and return its bytes."""
        options = self.options
        if self._draw is None:
            key = "%d/%d" % (options.seed, self.numbering.index)
            self._draw = random.Random(key)  # noqa: S311 - keys, not secrets
        draw = self._draw.random
        is_read = draw() < options.reads
        sample.command = "get" if is_read else "set"
        sample.commands = options.pipeline
        form = self._forms[sample.command]
        if options.pipeline == 1:
            return form % self._any_key(draw)
        return b"".join([form % self._any_key(draw) for _ in range(options.pipeline)])

    def _any_key(self, draw: Callable[[], float]) -> int:
        if self.options.distribution == "uniform":
            return int(draw() * self.options.keys)
        return int(self.options.keys ** draw()) - 1  # density 1/rank

    def plain_answer(self, sample: Any) -> Optional[bytes]:
        """Return the answer to a batch if all is well: the value that was written, or OK."""
        return self._answers.get(sample.command)

    def judge(self, sample: Any, batch: resp.Batch, why: str) -> None:
        """Take over what came of a batch."""
        sample.sent, sample.first_byte, sample.end = batch.sent, batch.first, batch.end
        if batch.problem:
            sample.fail(batch.problem, why)
            return
        for reply in batch.replies:
            if isinstance(reply, resp.Error):
                sample.fail("error_reply", str(reply))
            elif sample.command == "get":
                sample.hits += int(reply is not None)
                if reply is not None and reply != self.value:
                    sample.fail("unexpected", "GET answers %r" % (str(reply)[:40],))
            elif reply != b"OK":
                sample.fail("unexpected", "SET answers %r" % (reply,))
        if sample.status == "cancelled":
            sample.status = "ok"

    async def send(self, connection: Any, sample: Any) -> None:
        """Send one batch and wait for its answers."""
        loop = asyncio.get_event_loop()
        waiting: "asyncio.Future[None]" = loop.create_future()

        def done(batch: resp.Batch) -> None:
            self.judge(sample, batch, connection.why)
            if not waiting.done():
                waiting.set_result(None)

        connection.send(self.compose(sample), resp.Batch(self.options.pipeline, done))
        watch = loop.call_later(self.timeout, connection.expire, self.timeout)
        try:
            await waiting
        finally:
            watch.cancel()

    async def lane(self, connection: Any, phase: Phase, user: int, sender: Sender) -> bool:
        """Send one batch after another; return whether all was well."""
        if self._lanes is None:
            self._lanes = Lanes(self.timeout, READ if "get" in self._answers else READ_LONG)
        lanes = self._lanes
        try:
            return await lanes.run(Lane(lanes, self, connection, phase, user, sender))
        finally:
            if lanes.is_empty and lanes is self._lanes:
                lanes.close()
                self._lanes = None

    def described(self) -> Json:
        """Return what was asked for; the password is not part of it."""
        said = self.options._asdict()
        del said["password"]
        return dict(said)

    def server(self) -> Json:
        """Return its version, and what its counters say of the measurement."""
        names = sorted(set(self.before) | set(self.after)) if self.after else []
        delta = {n: self.after.get(n, 0) - self.before.get(n, 0) for n in names}
        return {
            "server": "redis",
            "version": self.version,
            "commandstats": {name: calls for name, calls in delta.items() if calls},
            "used_memory": self.memory,
        }

    def counters(self) -> Json:
        """Return how often each command was called."""
        both = [{"calls." + n: c for n, c in seen.items()} for seen in (self.before, self.after)]
        return {"before": both[:1], "after": both[1:]} if self.after else {}

    def metrics(self, samples: Sequence[work.Sample]) -> Json:
        """Return latency, of each command too, and throughput in commands."""
        found = basic_metrics(self, samples, "req_s")
        good = [s for s in samples if s.ok and isinstance(s, Sample)]
        tried = summary.issued(samples)
        found["ops_s"] = summary.rate_of("ops_s", "1/s", good, tried, lambda s: s.amount)
        for name in ("get", "set"):
            ours = [s for s in good if s.command == name]
            if ours:
                for metric, value in self.distributions(ours).items():
                    found["%s.%s" % (metric, name)] = value
        reads = sum(s.commands for s in good if s.command == "get")
        hits = sum(s.hits for s in good)
        found["hit_rate"] = summary.rate("hit_rate", "1", hits / float(reads) if reads else None)
        return found

    def facts(self, samples: Sequence[work.Sample]) -> Json:
        """Return how many commands were answered, by our count and by the server's."""
        ours = [s for s in samples if isinstance(s, Sample) and s.sent is not None]
        counted = {n: c for n, c in self.server()["commandstats"].items() if n in ("get", "set")}
        return {
            "client_ops": sum(s.commands for s in ours),
            "server_ops": sum(counted.values()) if counted else None,
        }


def _info(replies: Sequence[resp.Reply]) -> Dict[str, str]:
    """Return what a section of INFO says."""
    text = replies[0].decode("utf-8", "replace") if isinstance(replies[0], bytes) else ""
    pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    return {name: value.strip() for name, value in pairs}


def _explained(target: Target, why: str) -> str:
    if why.startswith("NOAUTH"):
        message = "%s wants a password: put it into the variable of --password-env"
        return message % target.authority
    if why.startswith(("WRONGPASS", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH")):
        return "%s does not take the password: %s" % (target.authority, why)
    message = "no Redis at %s: %s; is the service running, are host and port right?"
    return message % (target.authority, why)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command line of this workload takes, beyond what all take."""
    add = parser.add_argument
    add("--reads", type=share, default=0.9, help="share of GET; the rest is SET")
    add("--keys", type=whole(1, 10**9), default=100000, help="that are read and written")
    add("--distribution", choices=("uniform", "zipfian"), default="uniform", help="of the keys")
    add("--value-size", type=whole(1, 10**8), default=100, help="bytes")
    add("--pipeline", type=whole(1, 10**4), default=1, help="commands sent together")
    add("--connections", type=whole(1, 10**4), default=50, help="that an open loop shares")
    add("--seed", type=whole(0, 2**63), default=0, help="of keys, values and arrivals")
    add("--password-env", metavar="NAME", default="REDIS_PASSWORD", help="variable with it, if set")
    add("--timeout", type=seconds, default=10.0, help="seconds an answer may take")


def build(args: argparse.Namespace, where: Target, run_id: str) -> Workload:
    """Return the workload that a command line asks for."""
    if where.tls or where.base:
        raise Usage("--url: write it as redis://host:port")
    options = Options(
        reads=args.reads,
        keys=args.keys,
        distribution=args.distribution,
        value_size=args.value_size,
        pipeline=args.pipeline,
        connections=args.connections,
        seed=args.seed,
        password=os.environ.get(args.password_env, ""),
    )
    return Workload(where, args.timeout, run_id, options)
