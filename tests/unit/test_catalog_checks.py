"""Health checks: what is asked, and what the answers mean."""

from __future__ import annotations

import pytest

from benchd.catalog.checks import (
    Answer,
    Command,
    Http,
    Log,
    Look,
    NoAnswer,
    NotAsked,
    Redis,
    Response,
    Tcp,
    request,
    verdict,
)
from benchd.core.model import Endpoint, Verdict
from benchd.core.spec import HealthCheck

HERE = Endpoint(host="n1", ports=(7000, 7001), slurm_id="1", generation=0)
NO_PORT = Endpoint(host="n1", ports=(), slurm_id="1", generation=0)


@pytest.mark.parametrize(
    ("check", "endpoint", "expected"),
    [
        (HealthCheck(), HERE, Tcp(host="n1", port=7000)),
        (HealthCheck(type="redis"), HERE, Redis(host="n1", port=7000)),
        (HealthCheck(type="http"), HERE, Http(host="n1", port=7000, path="/")),
        (
            HealthCheck(type="http", endpoint="/api/tags?x=1"),
            HERE,
            Http(host="n1", port=7000, path="/api/tags?x=1"),
        ),
        (
            HealthCheck(type="http", endpoint="http://localhost:7001/h?x=1"),
            HERE,
            Http(host="n1", port=7001, path="/h?x=1"),
        ),
        (HealthCheck(type="http", endpoint="h"), HERE, Http(host="n1", port=7000, path="/h")),
        (HealthCheck(type="log", endpoint="ready"), NO_PORT, Log(pattern="ready")),
        (
            HealthCheck(type="command", endpoint="true"),
            HERE,
            Command(
                text="true",
                env={
                    "BENCHD_HOST": "n1",
                    "BENCHD_PORT": "7000",
                    "BENCHD_PORT_0": "7000",
                    "BENCHD_PORT_1": "7001",
                },
            ),
        ),
        (HealthCheck(), NO_PORT, None),
        (HealthCheck(type="http"), NO_PORT, None),
    ],
)
def test_request(check: HealthCheck, endpoint: Endpoint, expected: Look | None) -> None:
    """A check and an endpoint say what to fetch."""
    assert request(check, endpoint) == expected


TCP = Tcp(host="n1", port=7000)
HTTP = Http(host="n1", port=7000, path="/health")
TAGS = Http(host="n1", port=7000, path="/api/tags", expect="llama")
REDIS = Redis(host="n1", port=7000)
COMMAND = Command(text="true")
LOG = Log(pattern="ready")


@pytest.mark.parametrize(
    ("look", "response", "expected"),
    [
        (TCP, Answer(), (Verdict.GOOD, "port 7000 accepts connections")),
        (TCP, NoAnswer(detail="refused"), (Verdict.BAD, "refused")),
        (TCP, NotAsked(detail="link down"), (Verdict.NONE, "link down")),
        (HTTP, Answer(data=b"HTTP/1.1 200 OK\r\n"), (Verdict.GOOD, "GET /health: 200 OK")),
        (HTTP, Answer(data=b"HTTP/1.0 204\r\n"), (Verdict.GOOD, "GET /health: 204")),
        (HTTP, Answer(data=b"HTTP/1.1 302 Found"), (Verdict.GOOD, "GET /health: 302 Found")),
        (
            HTTP,
            Answer(data=b"HTTP/1.1 503 Service Unavailable\r\n"),
            (Verdict.BAD, "GET /health: 503 Service Unavailable"),
        ),
        (
            HTTP,
            Answer(data=b"-ERR \x1b[31m\r\nmore"),
            (Verdict.BAD, "GET /health: not an HTTP server: it said '-ERR ?[31m'"),
        ),
        (
            TAGS,
            Answer(data=b"HTTP/1.1 200 OK\r\nServer: llama\r\n\r\n{}"),
            (Verdict.BAD, "GET /api/tags: 200 OK, but 'llama' is not in it (2 bytes read)"),
        ),
        (
            TAGS,
            Answer(data=b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000),
            (
                Verdict.BAD,
                "GET /api/tags: 200 OK, but 'llama' is not in it (the first 262144 bytes read)",
            ),
        ),
        (
            HTTP,
            Answer(),
            (
                Verdict.BAD,
                "GET /health: not an HTTP server: it closed the connection without a word",
            ),
        ),
        (REDIS, Answer(data=b"+PONG\r\n"), (Verdict.GOOD, "PONG")),
        (
            REDIS,
            Answer(data=b"-NOAUTH Authentication required.\r\n"),
            (Verdict.GOOD, "up, but it wants a password (NOAUTH)"),
        ),
        (
            REDIS,
            Answer(data=b"-LOADING Redis is loading\r\n"),
            (Verdict.BAD, "loading its data set from disk"),
        ),
        (
            REDIS,
            Answer(data=b"-DENIED Redis is running in protected mode\r\n"),
            (
                Verdict.BAD,
                "protected mode refuses other nodes: start it with --protected-mode no",
            ),
        ),
        (REDIS, Answer(data=b"HTTP/1.1 400\r\n"), (Verdict.BAD, "no PONG but 'HTTP/1.1 400'")),
        (REDIS, Answer(), (Verdict.BAD, "it closed the connection without a word")),
        (COMMAND, Answer(status=0, data=b"up\n"), (Verdict.GOOD, "exit status 0: up")),
        (COMMAND, Answer(status=1, data=b"a\nb\n"), (Verdict.BAD, "exit status 1: b")),
        (LOG, Answer(status=0), (Verdict.GOOD, "the output has a line that matches 'ready'")),
        (LOG, Answer(status=1), (Verdict.BAD, "no line of the output matches 'ready' yet")),
        (
            LOG,
            Answer(status=2, data=b"grep: Unmatched ["),
            (Verdict.BAD, "cannot search for 'ready': grep: Unmatched ["),
        ),
    ],
)
def test_verdict(look: Look, response: Response, expected: tuple[Verdict, str]) -> None:
    """An answer says whether the service is up, in a sentence for the user."""
    assert verdict(look, response) == expected


def test_http_request_is_one_line_each() -> None:
    """The HTTP look sends a request that asks the server to close the connection."""
    look = Http(host="fd00::1", port=80, path="/x")
    sent = look.send.split(b"\r\n")
    expected = (b"GET /x HTTP/1.1", b"Host: [fd00::1]:80", [b"", b""])
    assert (sent[0], sent[1], sent[-2:]) == expected
    assert b"Connection: close" in sent
