"""The load generator against servers that misbehave: every failure in its class, none a success."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.shipped import Client, start_load

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODELS = b'{"data": [{"id": "m"}]}'


def event(text: str | None, finish: str | None = None) -> bytes:
    """Return one event of a completion."""
    choice = {"text": text, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*parts: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Return a whole answer, one chunk for each part."""
    return HEAD + b"".join(chunk(part) for part in parts) + last


def page(status: bytes, body: bytes) -> bytes:
    """Return an answer with a length."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 128, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD = stream(event("a "), event("b ", "length"), USAGE, DONE)
ERROR = b'data: {"error": {"message": "out of memory"}}\n\n'

Answer = Callable[[int], tuple[bytes, bool]]


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, seen: list[bytes]
) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            if head.startswith(b"GET"):
                writer.write(page(b"200 OK", MODELS))
                continue
            seen.append(body)
            # What the client sends to find out the length of prompts is answered well.
            is_measured = b"-measure-" in head
            data, is_cut = answer(len(seen)) if is_measured else (GOOD, False)
            writer.write(data)
            await writer.drain()
            if is_cut:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


@asynccontextmanager
async def faulty(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a server that answers measured requests as told; give URL and the bodies it got."""
    seen: list[bytes] = []
    server = await asyncio.start_server(lambda r, w: _serve(r, w, answer, seen), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def load(directory: Path, answer: Answer, *options: str) -> Client:
    """Send eight requests of four users to a faulty server."""
    async with faulty(answer) as (url, _):
        usual = ("--requests", "8", "--concurrency", "4", "--warmup", "0", "--output-tokens", "2")
        client = await start_load(directory, "llm", "--url", url, *usual, *options)
        status = await client.wait()
        assert client.stderr == ""
        assert status == (0 if client.result["counts"]["ok"] == 8 else 1)
        return client


@pytest.mark.asyncio
async def test_connection_closed_behind_the_answer(tmp_path: Path) -> None:
    """A server that promises to keep connections and closes them costs no request."""
    async with faulty(lambda _: (GOOD, True)) as (url, _):
        usual = ("--requests", "40", "--concurrency", "1", "--warmup", "0", "--output-tokens", "2")
        client = await start_load(tmp_path, "llm", "--url", url, *usual)
        assert await client.wait() == 0
        assert (client.result["counts"]["ok"], client.result["counts"]["errors"]) == (40, 0)
        assert client.result["facts"]["resent"] > 0


CASES: dict[str, tuple[bytes, bool, str, str]] = {
    "error in the middle of a stream": (
        stream(event("a "), ERROR, last=b""),
        True,
        "stream_error",
        "out of memory",
    ),
    "error and then the marker": (
        stream(event("a "), ERROR, DONE),
        False,
        "stream_error",
        "out of memory",
    ),
    "error as a bare object": (
        stream(event("a "), b'{"error": "out of memory"}\n'),
        False,
        "stream_error",
        "out of memory",
    ),
    "connection cut in a stream": (
        stream(event("a "), last=b""),
        True,
        "conn_lost",
        "the server closed the connection",
    ),
    "connection cut in a chunk": (
        HEAD + b"ff\r\ndata: {",
        True,
        "conn_lost",
        "the server closed the connection",
    ),
    "connection cut before an answer": (
        b"",
        True,
        "conn_lost",
        "the server closed the connection",
    ),
    "no marker at the end": (
        stream(event("a "), event("b ", "length"), USAGE),
        False,
        "truncated",
        "the answer ended without [DONE]",
    ),
    "marker without a reason to finish": (
        stream(event("a "), DONE),
        False,
        "truncated",
        "neither finish_reason nor usage came before [DONE]",
    ),
    "body until the connection closes": (
        b"HTTP/1.1 200 OK\r\n\r\n" + event("a "),
        True,
        "truncated",
        "the answer ended without [DONE]",
    ),
    "500": (page(b"500 Oops", b'{"error": "bad"}'), False, "http_5xx", "500 bad"),
    "503 without a body": (page(b"503 Busy", b""), False, "http_5xx", "503 "),
    "404": (
        page(b"404 No", b'{"error": {"message": "no model m"}}'),
        False,
        "http_4xx",
        "404 no model m",
    ),
    "no content": (
        stream(event("", "stop"), USAGE, DONE),
        False,
        "no_tokens",
        "the answer has no content",
    ),
    "broken JSON": (
        stream(event("a "), b'data: {"choi\n\n', DONE),
        False,
        "bad_frame",
        "not JSON: b'{\"choi'",
    ),
    "not HTTP": (b"+PONG\r\n\r\n", False, "bad_frame", "not an HTTP status line: '+PONG'"),
    "broken chunks": (
        HEAD + b"zz\r\n",
        False,
        "bad_frame",
        "not the size of a chunk: b'zz'",
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES)
async def test_every_failure_has_its_class(tmp_path: Path, case: str) -> None:
    """A failed request is counted in its class, with an example, and never as a success."""
    data, is_cut, name, detail = CASES[case]
    client = await load(tmp_path, lambda _: (data, is_cut))
    counts = client.result["counts"]
    assert counts["by_class"] == {name: 8}
    assert counts["first_errors"] == [f"{name}: {detail}"]
    assert (counts["scheduled"], counts["ok"], counts["errors"]) == (8, 0, 8)
    assert client.result["metrics"] == {}


@pytest.mark.asyncio
async def test_silent_server_is_a_timeout(tmp_path: Path) -> None:
    """An answer that does not end in time is a timeout, and its connection is not used again."""
    client = await load(
        tmp_path, lambda _: (stream(event("a "), last=b""), False), "--timeout", "0.2"
    )
    assert client.result["counts"]["by_class"] == {"timeout": 8}
    assert {s["conn_new"] for s in client.samples} == {True}


@pytest.mark.asyncio
async def test_short_answers_are_errors_when_full_length_was_asked_for(tmp_path: Path) -> None:
    """With --ignore-eos an answer that is too short is an error."""
    client = await load(tmp_path, lambda _: (GOOD, False), "--ignore-eos", "--output-tokens", "5")
    assert client.result["counts"]["by_class"] == {"short_output": 8}


@pytest.mark.asyncio
async def test_short_answers_are_noted(tmp_path: Path) -> None:
    """Without --ignore-eos an answer that is too short is a success, but is counted as short."""
    client = await load(tmp_path, lambda _: (GOOD, False), "--output-tokens", "5")
    assert (client.result["counts"]["ok"], client.result["facts"]["short_outputs"]) == (8, 8)


@pytest.mark.asyncio
async def test_numbers_are_those_of_successes(tmp_path: Path) -> None:
    """Failures are counted beside the successes and do not touch their numbers."""
    bad = page(b"500 Oops", b"")
    client = await load(tmp_path, lambda n: (GOOD if n % 2 else bad, False))
    counts, metrics = client.result["counts"], client.result["metrics"]
    assert counts["ok"] + counts["errors"] == 8
    assert metrics["e2e_service"]["n"] == counts["ok"] == 4
    assert metrics["error_rate"]["value"] == 0.5


@pytest.mark.asyncio
async def test_tokens_are_estimated_without_usage(tmp_path: Path) -> None:
    """Without usage the chunks are counted, and the result says that this is an estimate."""
    plain = stream(event("a "), event("b ", "stop"), DONE)
    client = await load(tmp_path, lambda _: (plain, False))
    assert client.result["facts"]["tokens_estimated"] == 8
    assert {(s["n_out"], s["est"]) for s in client.samples} == {(2, True)}


@pytest.mark.asyncio
async def test_events_in_one_segment_are_one_arrival(tmp_path: Path) -> None:
    """What comes in one segment has one time: no gap of zero is made up, no TPOT either."""
    client = await load(tmp_path, lambda _: (GOOD, False))
    assert {(s["m"], s["events"]) for s in client.samples} == {(1, 2)}
    assert client.result["metrics"]["icl"]["n"] == client.result["metrics"]["tpot"]["n"] == 0


@pytest.mark.asyncio
async def test_answer_in_pieces(tmp_path: Path) -> None:
    """An interim answer, a character cut in two and odd line ends do no harm."""
    text = 'data:{"choices": [{"text": "\u00e9", "finish_reason": "stop"}]}\r\n\r\n'.encode()
    middle = text.index(b"\xa9")
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        + HEAD
        + chunk(b": hello\n\n" + text[:middle])
        + chunk(text[middle:])
        + b"e;x=y\r\n"
        + DONE
        + b"\r\n0\r\nTrailer: x\r\n\r\n"
    )
    client = await load(tmp_path, lambda _: (data, False))
    assert client.result["counts"]["ok"] == 8


@pytest.mark.asyncio
async def test_connections_are_kept(tmp_path: Path) -> None:
    """Each user keeps one connection; only its first request opens it."""
    client = await load(tmp_path, lambda _: (GOOD, False))
    assert [s["conn_new"] for s in client.samples].count(True) == 4


@pytest.mark.asyncio
async def test_every_prompt_is_new(tmp_path: Path) -> None:
    """No two requests of a run have the same prompt, not even those of the warm-up."""
    async with faulty(lambda _: (GOOD, False)) as (url, seen):
        usual = ("--requests", "20", "--warmup", "10", "--output-tokens", "2", "--run-id", "r")
        assert await (await start_load(tmp_path, "llm", "--url", url, *usual)).wait() == 0
    prompts: list[Any] = [json.loads(body)["prompt"] for body in seen]
    assert len(prompts) == len(set(prompts)) == 31
    assert len({prompt[:40] for prompt in prompts}) == 31
