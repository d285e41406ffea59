"""The chroma and http workloads of the load generator, on a real Chroma and on canned answers."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchd.core.results import Severity
from slurm.lease import fast_dir
from support.payloads import Done, Up, client, service
from support.reality import CHROMA
from support.shipped import start_load


@pytest.fixture(scope="module")
def chroma() -> Iterator[Up]:
    """Run a real Chroma."""
    with (
        tempfile.TemporaryDirectory(prefix="benchd-chroma-", dir=fast_dir()) as home,
        service(Path(home), "chroma", command=str(CHROMA)) as up,
    ):
        yield up


def good(done: Done) -> dict[str, Any]:
    """Return the metrics of a measurement without a doubt."""
    assert done.status == 0, done.said
    flags = done.measured.flags
    assert [flag for flag in flags if flag.severity is Severity.ERROR] == []
    return dict(done.measured.metrics)


@pytest.mark.real("chroma")
def test_recall_follows_the_index(chroma: Up, tmp_path: Path) -> None:
    """An index that looks at little finds less of the truth, among vectors that have no order."""
    usual = {"vectors": 2000, "dimension": 32, "data": "uniform", "requests": 60, "warmup": 5}
    more = {"recall_queries": 40, "batch": 300, "concurrency": 2}
    recall = []
    for ef_search in (4, 200):
        parameters = {**usual, **more, "ef_search": ef_search}
        done = client(tmp_path, "chroma-load", chroma, parameters=parameters)
        metrics = good(done)
        recall.append(metrics["recall_at_k"].value)
        assert metrics["recall_at_k"].n == 40
        assert metrics["latency_service"].n == 60
        assert metrics["latency_service.insert"].n == 7
        assert metrics["ops_s.insert"].value > 0
        assert done.measured.service == {"server": "chroma", "version": "1.0.0"}
    assert recall[0] < 0.9
    assert 0.97 < recall[1] <= 1.0


@pytest.mark.real("chroma")
def test_recall_is_of_no_step(chroma: Up, tmp_path: Path) -> None:
    """On the way to saturation latencies are told step by step, and what was found once."""
    usual = {"vectors": 500, "dimension": 16, "recall_queries": 20, "ef_search": 400}
    steps = {"load": "saturate", "steps": 3, "step_time": 0.3, "concurrency": 4, "warmup": 2}
    done = client(tmp_path, "chroma-load", chroma, parameters={**usual, **steps})
    found = dict(done.measured.metrics)
    assert (found["recall_at_k"].n, found["ceiling_rate"].value) > (19, 0)
    assert "latency_sched" not in found
    said: Any = done.measured.workload["saturation"]
    told = [set(step["metrics"]) for step in said["steps"]]
    assert [{"latency_service", "recall_at_k"} & names for names in told] == [
        {"latency_service"}
    ] * 6
    assert ["latency_sched" in names for names in told] == [False, False, *[True] * 4]


@pytest.mark.real("chroma")
@pytest.mark.parametrize("space", ["cosine", "ip"])
def test_truth_and_chroma_agree_on_distance(chroma: Up, tmp_path: Path, space: str) -> None:
    """In each space the neighbours that Chroma finds are the true ones, and its traces are gone."""
    usual = {"vectors": 500, "dimension": 16, "requests": 20, "warmup": 0, "recall_queries": 20}
    parameters = {**usual, "ef_search": 400, "ef_construction": 400, "space": space}
    metrics = good(client(tmp_path, "chroma-load", chroma, parameters=parameters))
    assert metrics["recall_at_k"].value > 0.97
    listed = client(
        tmp_path,
        "http-load",
        chroma,
        parameters={
            "path": "/api/v2/tenants/default_tenant/databases/default_database/collections",
            "expect": "[]",
            "requests": 10,
        },
    )
    assert good(listed)["req_s"].value > 0


@asynccontextmanager
async def pages(*answers: bytes) -> AsyncIterator[str]:
    """Serve each answer in turn, the last one for ever; give the URL."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def page(status: int, body: str) -> bytes:
    """Return an HTTP answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


CREATED = (200, '{"id": "x"}')


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(404, "")], "heartbeat answers 404: is it Chroma 1.0 or newer (API v2)?"),
        (
            [(200, "{}"), (200, '"1.0.0"'), (200, "{}"), (404, ""), (400, "bad ef_search")],
            "no collection can be made: 400 bad ef_search",
        ),
        (
            [(200, "{}"), (200, '"1.0.0"'), (200, "{}"), (404, ""), CREATED, (500, "disk full")],
            "2 of 2 batches could not be inserted: 500 disk full",
        ),
    ],
)
async def test_what_chroma_refuses_is_said(
    tmp_path: Path, answers: list[tuple[int, str]], said: str
) -> None:
    """A collection that cannot be made or filled is no measurement: the server's words say why."""
    async with pages(*(page(*answer) for answer in answers)) as url:
        options = ("--vectors", "20", "--batch", "10", "--dimension", "4")
        load = await start_load(tmp_path, "chroma", "--url", url, *options)
        assert await load.wait() == 1
    assert said in load.result["error"]
    assert load.result["metrics"] == {}


@pytest.mark.asyncio
async def test_a_short_answer_is_an_error(tmp_path: Path) -> None:
    """A search that returns fewer neighbours than were asked for has failed, and has no recall."""
    ready = [(200, "{}"), (200, '"1.0.0"'), (200, "{}"), (404, ""), CREATED, (201, "true")]
    async with pages(
        *(page(*a) for a in ready), page(200, "2"), page(200, '{"ids":[["1"]]}')
    ) as url:
        options = ("--vectors", "2", "--dimension", "4", "--k", "2", "--requests", "5")
        load = await start_load(tmp_path, "chroma", "--url", url, *options, "--warmup", "0")
        assert await load.wait() == 1
    assert load.result["counts"]["by_class"] == {"short_answer": 5}
    assert load.result["facts"]["recall_queries"] == 0


@pytest.mark.asyncio
async def test_http_tells_good_answers_from_bad(tmp_path: Path) -> None:
    """Status and body decide; each class of error has its count and its first words."""
    answers = (page(200, "fine"), page(500, "broken"), page(404, "lost"), page(200, "other"))
    async with pages(*answers, page(200, "fine")) as url:
        options = ("--requests", "40", "--warmup", "0", "--expect", "fine", "--path", "/x?y=1")
        load = await start_load(tmp_path, "http", "--url", url, *options)
        assert await load.wait() == 1  # 3 of 40 failed, more than one in twenty
    counts = load.result["counts"]
    assert (counts["ok"], counts["by_class"]) == (
        37,
        {"http_5xx": 1, "http_4xx": 1, "unexpected": 1},
    )
    assert "http_4xx: 404 lost" in counts["first_errors"]
    metrics = load.result["metrics"]
    assert metrics["latency_service"]["n"] == metrics["ttfb"]["n"] == 37
    assert metrics["error_rate"]["value"] == pytest.approx(3 / 40)
    assert metrics["bytes_s"]["value"] > 0
    assert {sample["bytes"] for sample in load.samples if sample["status"] == "ok"} == {4}


@pytest.mark.asyncio
async def test_http_shows_a_token_and_never_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token comes from a variable, is in the request, and in nothing that is written."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        writer.write(b"HTTP/1.1 201 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    monkeypatch.setenv("DOOR_KEY", "CANARY-key")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = (
            "--method",
            "POST",
            "--body",
            "{}",
            "--content-type",
            "text/x",
            "--requests",
            "2",
        )
        more = ("--warmup", "0", "--expect-status", "201", "--bearer-env", "DOOR_KEY")
        load = await start_load(tmp_path, "http", "--url", url, *options, *more)
        assert await load.wait() == 0
    assert len(seen) == 2
    assert seen[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer CANARY-key\r\n" in seen[0]
    assert b"\r\nContent-Type: text/x\r\n" in seen[0]
    assert "CANARY" not in json.dumps([load.result, load.samples])
