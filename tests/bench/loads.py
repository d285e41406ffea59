"""What the load generator itself costs: parsing, Redis, punctuality, size."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import Figure, median_of

from benchd.edge.pack import build
from benchd.ship.load import llm, tokens
from support.truth import SHIP, Ran, load, stream, truth

CHUNKS = 50_000
EVENT = {
    "id": "cmpl-0123456789abcdef",
    "object": "text_completion",
    "created": 1_700_000_000,
    "model": "some/model",
    "choices": [{"index": 0, "text": " word", "logprobs": None, "finish_reason": None}],
}
OPS = 100_000


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
    mine = median_of(lambda: asyncio.run(_parse()), 5) / CHUNKS * 1e6
    base = median_of(_loads, 5) / CHUNKS * 1e6
    return Figure("a chunk of a stream, read", mine, "us", 5.0, base, "json.loads alone")


async def _redis(port: int, out: Path) -> Ran:
    return await load(
        *(SHIP, out, "redis", "--url", f"redis://127.0.0.1:{port}", "--concurrency", "20"),
        *("--requests", str(OPS), "--keys", "10000", "--processes", "1"),
    )


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
    """Time GET in a closed loop; 33 us are 30,000 a second."""
    if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        _until_it_listens(port)
        with tempfile.TemporaryDirectory() as out:
            ran = asyncio.run(_redis(port, Path(out)))
            mine = 1e6 / ran.result["metrics"]["ops_s"]["value"]
        words = ["redis-benchmark", "-p", str(port), "-c", "20", "-t", "get", "-n", str(OPS)]
        said = subprocess.run([*words, "--csv"], capture_output=True, text=True, check=True)
        base = 1e6 / float(said.stdout.splitlines()[1].split('","')[1])
    finally:
        server.terminate()
        server.wait()
    return [Figure("redis, closed loop, each op", mine, "us", 33.3, base, "redis-benchmark")]


async def _paced() -> tuple[Any, list[float]]:
    async with truth(lambda _: stream(0.005)) as (server, url):
        with tempfile.TemporaryDirectory() as out:
            ran = await load(
                *(SHIP, Path(out), "llm", "--url", url, "--output-tokens", "2"),
                *("--prompt-tokens", "8"),
                *("--load", "poisson", "--rate", "200", "--duration", "10", "--processes", "1"),
            )
            return ran.result, sorted(seen.received for seen in server.measured.values())


def punctuality() -> list[Figure]:
    """Measure how late requests leave at 200 a second, and how exact the rate is."""
    result, times = asyncio.run(_paced())
    lag = result["metrics"]["send_lag"]["percentiles"]["99"]
    offered = result["facts"]["offered_rate"]
    error = abs((len(times) - 1) / (times[-1] - times[0]) / offered - 1)
    return [
        Figure("send lag p99 at 200/s Poisson", lag, "ms", 2.0),
        Figure("rate, off by", 100 * error, "%", 1.0),
    ]


def figures() -> list[Figure]:
    """Measure all of it."""
    size = len(build("load").data) / 1000
    return [
        parsing(),
        *redis(),
        *punctuality(),
        Figure("zipapp of the load generator", size, "kB", 200.0),
    ]
