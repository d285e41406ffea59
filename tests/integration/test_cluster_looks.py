"""Health looks at services: through the login node, and from it where forwarding is forbidden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from benchd.catalog.greetings import POSTGRES_HELLO
from benchd.core.model import Endpoint, Job, JobState, Verdict
from benchd.core.spec import HealthCheck
from benchd.sim import EmbeddedCluster
from support.builders import service
from support.near import settings_for
from support.near_slurm import Now, Opened, job_dir, near
from support.wire import Wire

pytestmark = pytest.mark.asyncio


def running(check: HealthCheck, **over: Any) -> Job:
    job = service(health_check=check)
    return replace(job, state=JobState.RUNNING, slurm_id="7", **over)


def report(slurm: EmbeddedCluster, job: Job, port: int, **over: Any) -> None:
    """Write endpoint.json as the job's script does."""
    job_dir(slurm, job).mkdir(parents=True, exist_ok=True)
    values = {"slurm_id": "7", "generation": 0, "host": "127.0.0.1", "ports": [port], **over}
    (job_dir(slurm, job) / "endpoint.json").write_text(json.dumps(values))


@asynccontextmanager
async def answering(reply: bytes | None) -> AsyncIterator[int]:
    """Serve a port that says ``reply`` to the first line and keeps the connection open."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readline()
            if reply is not None:
                writer.write(reply)
            await reader.read()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


LISTED = b'{"models":[{"name":"m:latest"}]}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"name"\r\n4\r\n:"m:\r\n'
EXPECTED = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n" + LISTED, Verdict.GOOD, "in it"),
    (CHUNKED + b'7\r\nlatest"\r\n0\r\n\r\n', Verdict.GOOD, "in it"),
    (
        CHUNKED + b"5\r\nother\r\n0\r\n\r\n",
        Verdict.BAD,
        "'\"m:latest\"' is not in it (16 bytes read)",
    ),
    (b"HTTP/1.1 503 Busy\r\nContent-Length: 32\r\n\r\n" + LISTED, Verdict.BAD, "503 Busy"),
]
CASES = [
    ("tcp", None, b"", Verdict.GOOD),
    ("redis", None, b"+PONG\r\n", Verdict.GOOD),
    ("redis", None, b"-LOADING\r\n", Verdict.BAD),
    ("http", "/health", b"HTTP/1.1 200 OK\r\n\r\nfine", Verdict.GOOD),
    ("http", "/health", b"HTTP/1.1 503 Busy\r\n\r\n", Verdict.BAD),
]


@pytest.mark.parametrize(("kind", "path", "reply", "verdict"), CASES)
@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_service_is_judged_by_its_answer(  # noqa: PLR0917 - the fixtures and the case
    slurm: EmbeddedCluster,
    now: Now,
    opened: Opened,
    kind: Any,
    path: str | None,
    reply: bytes,
    verdict: Verdict,
    forbidden: bool,
) -> None:
    """Every kind of look gives the same verdict through the link and from the login node."""
    job = running(HealthCheck(type=kind, endpoint=path, timeout=5.0))
    if forbidden:
        slurm.inject("no-forwarding")
    async with answering(reply) as port, opened() as at:
        report(slurm, job, port)
        first = await at.cluster.probe(job)
        second = await at.cluster.probe(replace(job, endpoint=first.endpoint))
    assert [verdict, verdict] == [first.verdict, second.verdict], first.detail
    assert ((port,), "7") == (first.endpoint.ports, first.endpoint.slurm_id)  # type: ignore[union-attr] # else it fails as it should


@pytest.mark.parametrize(("reply", "verdict", "detail"), EXPECTED)
@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_page_must_have_what_is_expected(  # noqa: PLR0917 - the fixtures and the case
    slurm: EmbeddedCluster,
    now: Now,
    opened: Opened,
    reply: bytes,
    verdict: Verdict,
    detail: str,
    forbidden: bool,
) -> None:
    """The body decides, however it is framed and whether or not the connection is closed."""
    check = HealthCheck(type="http", endpoint="/api/tags", expect='"m:latest"', timeout=1.0)
    if forbidden:
        slurm.inject("no-forwarding")
    async with answering(reply) as port, opened() as at:
        report(slurm, running(check), port)
        answer = await at.cluster.probe(running(check))
    assert verdict == answer.verdict, answer.detail
    assert detail in answer.detail


# Packets have line ends and NUL bytes in them.
GREETING = b"\x10\0\0\0\n8.4.2\0\x07\0\0\0abcd\n"
STARTING = b"E\0\0\0\x20SFATAL\0C57P03\0Mstarting\nup\0\0"


@pytest.mark.parametrize(
    ("kind", "reply", "verdict"),
    [("mysql", GREETING, Verdict.GOOD), ("postgres", STARTING, Verdict.BAD)],
)
@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_database_is_judged_by_its_first_packet(  # noqa: PLR0917 - the fixtures and the case
    slurm: EmbeddedCluster,
    now: Now,
    opened: Opened,
    kind: Any,
    reply: bytes,
    verdict: Verdict,
    forbidden: bool,
) -> None:
    """Bytes of a protocol come whole through the link and from the login node, without a login."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind == "postgres":
            heard.append(await reader.read(4096))
        writer.write(reply)
        await writer.drain()
        heard.append(await reader.read())
        writer.close()

    if forbidden:
        slurm.inject("no-forwarding")
    job = running(HealthCheck(type=kind, timeout=5.0))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, opened() as at:
        report(slurm, job, server.sockets[0].getsockname()[1])
        found = await at.cluster.probe(job)
    assert verdict == found.verdict, found.detail
    assert ("8.4.2" if kind == "mysql" else "starting?up (57P03)") in found.detail
    assert b"".join(heard) == (b"" if kind == "mysql" else POSTGRES_HELLO)


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_closed_port_is_a_bad_verdict(
    slurm: EmbeddedCluster, now: Now, opened: Opened, forbidden: bool
) -> None:
    """A service that refuses connections is bad, and the detail says what happened."""
    job = running(HealthCheck(type="tcp", timeout=5.0))
    if forbidden:
        slurm.inject("no-forwarding")
    report(slurm, job, 1)
    async with opened() as at:
        answer = await at.cluster.probe(job)
    assert Verdict.BAD == answer.verdict
    assert "127.0.0.1:1" in answer.detail
    assert "refused" in answer.detail


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_silent_service_is_bad_when_its_time_is_over(
    slurm: EmbeddedCluster, now: Now, opened: Opened, forbidden: bool
) -> None:
    """A service that accepts and says nothing is bad once the check's time-out is over."""
    job = running(HealthCheck(type="redis", timeout=0.5))
    if forbidden:
        slurm.inject("no-forwarding")
    async with answering(None) as port, opened() as at:
        report(slurm, job, port)
        answer = await at.cluster.probe(job)
    assert Verdict.BAD == answer.verdict, answer.detail


async def test_a_link_that_is_down_is_no_verdict(slurm: EmbeddedCluster, now: Now) -> None:
    """Trouble with our own link says nothing about the service."""
    job = running(HealthCheck(type="tcp", timeout=0.5))
    settings = settings_for(slurm, port=1)
    async with near(slurm, now, settings=settings) as at:
        answer = await at.cluster.probe(job)
    assert (Verdict.NONE, None) == (answer.verdict, answer.endpoint)


async def test_a_frozen_link_is_no_verdict(slurm: EmbeddedCluster, now: Now) -> None:
    """When the login node itself is silent, the service is not blamed for it."""
    job = running(HealthCheck(type="tcp", timeout=0.3))
    async with answering(b"") as port, Wire(slurm.port) as wire:
        hosts = slurm.dir / "wired_hosts"
        hosts.write_text(slurm.known_hosts.read_text().replace(f":{slurm.port} ", f":{wire.port} "))
        settings = settings_for(slurm, port=wire.port, known_hosts=str(hosts))
        async with near(slurm, now, settings=settings) as at:
            await at.cluster.open()
            endpoint = Endpoint(host="127.0.0.1", ports=(port,), slurm_id="7", generation=0)
            wire.freeze()
            answer = await at.cluster.probe(replace(job, endpoint=endpoint))
    assert Verdict.NONE == answer.verdict, answer.detail


@pytest.mark.parametrize(
    "stale", [{"slurm_id": "6"}, {"generation": 1}, {"host": "a b;c"}, {"ports": [0]}]
)
async def test_a_foreign_or_damaged_endpoint_is_not_asked(
    slurm: EmbeddedCluster, now: Now, opened: Opened, stale: dict[str, Any]
) -> None:
    """An endpoint of another id or span, or one that is none, counts as not written yet."""
    job = running(HealthCheck(type="tcp"))
    report(slurm, job, 1, **stale)
    async with opened() as at:
        answer = await at.cluster.probe(job)
    assert (Verdict.BAD, None) == (answer.verdict, answer.endpoint)
    assert "has not written its endpoint.json yet" in answer.detail


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_host_that_the_login_node_cannot_find_is_no_verdict(
    slurm: EmbeddedCluster,
    now: Now,
    opened: Opened,
    forbidden: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that the login node does not resolve is its trouble, not the service's."""
    job = running(HealthCheck(type="tcp", timeout=5.0))
    report(slurm, job, 7000, host="no-such-host.invalid")
    if forbidden:
        slurm.inject("no-forwarding")
    else:  # like a real login node, it tries
        monkeypatch.setattr("benchd.sim.server._is_own_address", lambda host: True)
    async with opened() as at:
        answer = await at.cluster.probe(job)
    assert Verdict.NONE == answer.verdict, answer.detail
    assert "opens no connection to no-such-host.invalid:7000" in answer.detail


async def test_an_endpoint_that_cannot_be_read_is_no_verdict(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Only a missing file means not written yet; a failing or unmounted file system does not."""
    job = running(HealthCheck(type="tcp"))
    job_dir(slurm, job).mkdir(parents=True)
    async with opened() as at:
        missing = await at.cluster.probe(job)
        (job_dir(slurm, job) / "endpoint.json").mkdir()
        unreadable = await at.cluster.probe(job)
        slurm.workdir.rename(slurm.dir / "elsewhere")
        unmounted = await at.cluster.probe(job)
    assert [Verdict.BAD, Verdict.NONE, Verdict.NONE] == [
        missing.verdict,
        unreadable.verdict,
        unmounted.verdict,
    ]
    assert "Is a directory" in unreadable.detail


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ('test "$BENCHD_HOST:$BENCHD_PORT" = 127.0.0.1:1', Verdict.GOOD),
        ("echo broken; exit 3", Verdict.BAD),
        ("sleep 30", Verdict.BAD),
    ],
)
async def test_a_command_check_runs_on_the_login_node(
    slurm: EmbeddedCluster, now: Now, opened: Opened, command: str, verdict: Verdict
) -> None:
    """A command check knows host and port, and is bad when it fails or takes too long."""
    job = running(HealthCheck(type="command", endpoint=command, timeout=0.5))
    report(slurm, job, 1)
    async with opened() as at:
        answer = await at.cluster.probe(job)
    assert verdict == answer.verdict, answer.detail


@pytest.mark.parametrize(
    ("pattern", "verdict"),
    [("^ready in [0-9]+", Verdict.GOOD), ("warn'ing", Verdict.GOOD), ("never", Verdict.BAD)],
)
async def test_a_log_check_searches_both_outputs(
    slurm: EmbeddedCluster, now: Now, opened: Opened, pattern: str, verdict: Verdict
) -> None:
    """A log check looks at stdout and stderr of the job, and a missing file is no match."""
    job = running(HealthCheck(type="log", endpoint=pattern))
    report(slurm, job, 1)
    (job_dir(slurm, job) / "7.out").write_text("starting\nready in 7 s\nwarn'ing\n")
    async with opened() as at:
        answer = await at.cluster.probe(job)
    assert verdict == answer.verdict, answer.detail
