"""Batches of documents, each sent once: what arrives, what is counted, and what is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.shipped import Client, start_load

pytestmark = pytest.mark.asyncio

Taken = Counter[bytes]


@pytest_asyncio.fixture(name="store")
async def a_store() -> AsyncIterator[tuple[str, Taken]]:
    """Run a server that takes documents, hangs up on some, and answers 500 to others."""
    taken: Taken = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            size = next(int(line[15:]) for line in head if line.startswith(b"content-length:"))
            body = await reader.readexactly(size)
            taken[body] += 1
            if b"hang up" in body:
                break
            status = b"500 No" if b"bad" in body else b"201 Made"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken


async def _head(reader: asyncio.StreamReader) -> list[bytes]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).lower().splitlines()
    except asyncio.IncompleteReadError:
        return []


def batches(path: Path, *bodies: bytes) -> str:
    """Write batches of ten documents as Spark's partitions do."""
    path.write_bytes(b"".join(b"10 %d\n%s" % (len(body), body) for body in bodies))
    return str(path)


async def ingest(folder: Path, bodies: str, *options: str) -> Client:
    """Start a load generator that sends batches."""
    client = await start_load(folder, "ingest", "--bodies", bodies, *options)
    client.out = folder / "out"
    return client


async def test_every_batch_of_every_partition_arrives_once(
    tmp_path: Path, store: tuple[str, Taken]
) -> None:
    """Also one whose connection broke or that was refused; those are errors by their class."""
    url, taken = store
    files = [
        batches(tmp_path / "0", b"[0]", b"[2]\n", b"bad"),
        batches(tmp_path / "1", b"[1]", b"hang up"),
    ]
    common = ("--url", url, "--batches", "5", "--nodes", "2", "--concurrency", "2")
    clients = [
        await ingest(tmp_path, file, *common, "--out", str(tmp_path / "out"), "--node", str(node))
        for node, file in enumerate(files)
    ]
    # three of five are not enough for a valid result
    assert [1, 0] == await asyncio.gather(*(client.wait() for client in clients))
    assert dict.fromkeys([b"[0]", b"[1]", b"[2]\n", b"bad", b"hang up"], 1) == taken
    result = clients[0].result
    counts, facts = result["counts"], result["facts"]
    assert {"http_5xx": 1, "conn_lost": 1} == counts["by_class"]
    assert (5, 3, 30) == (counts["scheduled"], counts["ok"], facts["documents"])
    seconds = result["times"]["window_s"]
    assert 30 / seconds == pytest.approx(result["metrics"]["docs_s"]["value"])


async def test_a_file_that_is_not_this_nodes_share_is_refused(tmp_path: Path) -> None:
    """Nobody sends what is somebody else's, or less than was announced."""
    bodies = batches(tmp_path / "0", b"[0]")
    client = await ingest(tmp_path, bodies, "--url", "http://127.0.0.1:1", "--batches", "2")
    assert 2 == await client.wait()
    assert "--bodies has 1 batches, and 2 of --batches 2 are this node's" in client.stderr
