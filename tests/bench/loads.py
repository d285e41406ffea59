"""What the load generator itself costs: parsing, Redis, punctuality, crowds, size."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from figures import Figure

from benchd.edge.pack import build
from benchd.ship.load import llm, tokens
from benchd.ship.load.arrivals import Load, schedule
from support.truth import SHIP, Ran, load, stream, truth
from support.truth_checks import percentile

CHUNKS = 50_000
EVENT = {
    "id": "cmpl-0123456789abcdef",
    "object": "text_completion",
    "created": 1_700_000_000,
    "model": "some/model",
    "choices": [{"index": 0, "text": " word", "logprobs": None, "finish_reason": None}],
}
OPS = 100_000
USERS = 20
STREAMS = 1_000
RATE = 200
SECONDS = 6.0
TRIES = 3  # of which the best counts: what else the machine does is none of this


async def _parse() -> float:
    """Return the CPU seconds of reading a stream, from the socket's bytes to the sample."""
    line = b"data: " + json.dumps(EVENT).encode() + b"\n\n"
    chunk = b"%x\r\n%s\r\n" % (len(line), line)
    sample = tokens.Sample("measure", 0, 0, 0.0)
    options = llm.Options("openai-completions", "m", 8, CHUNKS, 0, False)
    reading = llm.Reading(asyncio.get_running_loop().create_future(), sample, options)
    reading.feed(0.0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    start = time.process_time()
    for number in range(CHUNKS):
        reading.feed(number * 0.001, chunk)
    spent = time.process_time() - start
    assert sample.chunks == CHUNKS
    return spent


def _loads() -> float:
    """Return the CPU seconds of ``json.loads`` alone on as many events."""
    text = json.dumps(EVENT)
    start = time.process_time()
    for _ in range(CHUNKS):
        json.loads(text)
    return time.process_time() - start


def parsing() -> Figure:
    """Time the reading of chunks of a stream; 5 us are 200,000 a second."""
    mine = min(asyncio.run(_parse()) for _ in range(2 * TRIES)) / CHUNKS * 1e6
    base = min(_loads() for _ in range(2 * TRIES)) / CHUNKS * 1e6
    return Figure("a chunk of a stream, read", mine, "us", 5.0, base, "json.loads alone")


async def _redis(port: int, out: Path) -> Ran:
    return await load(
        *(SHIP, out, "redis", "--url", f"redis://127.0.0.1:{port}", "--concurrency", str(USERS)),
        *("--requests", str(OPS), "--keys", "10000", "--processes", "1"),
    )


def _closed_loop(port: int) -> tuple[float, float]:
    """Return microseconds of a GET or SET: by the wall, and of the load generator's core."""
    with tempfile.TemporaryDirectory() as out:
        result = asyncio.run(_redis(port, Path(out))).result
    wall = 1e6 / result["metrics"]["ops_s"]["value"]
    return wall, wall * result["facts"]["cpu_share"]


class Asking(asyncio.Protocol):
    """Asks for a key and, when the answer is there, again: keeps no record of anything."""

    def __init__(self, over: asyncio.Future[None]) -> None:
        self.over = over
        self.left = OPS // USERS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask first."""
        self.transport = transport
        self.data_received(b"")

    def data_received(self, _: bytes) -> None:
        """Ask again."""
        self.left -= 1
        if self.left < 0:
            self.transport.close()
            if not self.over.done():
                self.over.set_result(None)
        else:
            self.transport.write(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")  # type: ignore[attr-defined] # it is a Transport


async def _bare(port: int) -> float:
    """Return the CPU microseconds of asking Redis with asyncio and nothing else."""
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(USERS)]
    start = time.process_time()
    for end in ends:
        await loop.create_connection(partial(Asking, end), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return (time.process_time() - start) / OPS * 1e6


def _until_it_listens(port: int) -> None:
    """Knock until the server opens, for 10 s at most; a refusal costs next to nothing."""
    deadline = time.monotonic() + 10.0
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def redis() -> list[Figure]:
    """Time GET and SET in a closed loop; 33 us are 30,000 a second."""
    if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL
    )
    words = ["redis-benchmark", "-p", str(port), "-c", str(USERS), "-t", "get", "-d", "100"]
    walls, cores, tools, bare = [], [], [], []
    try:
        _until_it_listens(port)
        for _ in range(TRIES):
            wall, core = _closed_loop(port)
            walls.append(wall)
            cores.append(core)
            said = subprocess.run(
                [*words, "-n", str(OPS), "--csv"], capture_output=True, text=True, check=True
            )
            tools.append(1e6 / float(said.stdout.splitlines()[1].split('","')[1]))
            bare.append(asyncio.run(_bare(port)))
    finally:
        server.terminate()
        server.wait()
    what = "redis, closed loop, each op"
    return [
        Figure(what, min(walls), "us", 33.3, min(tools), "redis-benchmark"),
        Figure(f"{what}, CPU", min(cores), "us", 33.3, min(bare), "asyncio that keeps nothing"),
    ]


async def _paced() -> tuple[float, float]:
    """Return how late requests left (p99, ms), and by how many percent the rate was off."""
    async with truth(lambda _: stream(0.005)) as (server, url):
        with tempfile.TemporaryDirectory() as out:
            ran = await load(
                *(SHIP, Path(out), "llm", "--url", url, "--output-tokens", "2"),
                *("--prompt-tokens", "8", "--load", "poisson", "--rate", str(RATE)),
                *("--duration", str(SECONDS), "--processes", "1"),
            )
            result = ran.result
    times = sorted(seen.received for seen in server.measured.values())
    offered = result["facts"]["offered_rate"]
    error = abs((len(times) - 1) / (times[-1] - times[0]) / offered - 1)
    return result["metrics"]["send_lag"]["percentiles"]["99"], 100 * error


async def _asleep() -> float:
    """Return how late asyncio alone wakes at such arrivals (p99, ms)."""
    start, lates = time.monotonic() + 0.1, []
    for offset in schedule(Load("poisson", rate=RATE), None, SECONDS):
        pause = start + offset - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        lates.append(time.monotonic() - start - offset)
    return 1000 * percentile(lates, 99)


def punctuality() -> list[Figure]:
    """Measure how late requests leave at 200 a second, and how exact the rate is."""
    runs = [asyncio.run(_paced()) for _ in range(TRIES)]
    lag, error = min(lag for lag, _ in runs), max(error for _, error in runs)
    base = min(asyncio.run(_asleep()) for _ in range(TRIES))
    return [
        Figure(f"send lag p99 at {RATE}/s Poisson", lag, "ms", 2.0, base, "asyncio.sleep alone"),
        Figure("rate, off by", error, "%", 1.0),
    ]


async def _crowd() -> list[float]:
    """Return by how many ms the times of tokens are off, of many streams at once."""
    tokens = 20
    async with truth(lambda _: stream(0.1, 0.1, tokens)) as (server, url):
        with tempfile.TemporaryDirectory() as out:
            ran = await load(
                *(SHIP, Path(out), "llm", "--url", url, "--output-tokens", str(tokens)),
                *("--prompt-tokens", "8", "--concurrency", str(STREAMS), "--processes", "1"),
                *("--requests", str(2 * STREAMS), "--warmup", str(STREAMS)),
            )
            samples, zero = ran.samples, ran.result["times"]["zero_monotonic"]
    assert [s["status"] for s in samples] == ["ok"] * 2 * STREAMS
    errors = []
    for sample in samples:
        sent = server.measured[sample["i"]].sent
        errors += [sample["first"] + zero - sent[0], sample["last"] + zero - sent[tokens - 1]]
    return [1000 * abs(error) for error in errors]


def crowd() -> Figure:
    """Compare the times of tokens of a thousand streams with those at which they were sent."""
    runs = [asyncio.run(_crowd()) for _ in range(TRIES)]
    middle = min(percentile(run, 50) for run in runs)
    return Figure(f"{STREAMS} streams, times off by, p50", middle, "ms", 1.0)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Go before everything else on this machine, as on an idle one; where that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def figures() -> list[Figure]:
    """Measure all of it; what is started here, and the servers, inherit the priority."""
    size = len(build("load").data) / 1000
    with undisturbed():
        measured = [parsing(), *redis(), *punctuality(), crowd()]
    return [*measured, Figure("zipapp of the load generator", size, "kB", 200.0)]
