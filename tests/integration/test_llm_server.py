"""sim-llm: the two interfaces, the queue for a slot, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from support.shipped import get, sim_llm

FAST = ("--ttft-ms", "2", "--tpot-ms", "1")


async def raw(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Send bytes and read until the server closes; return head and body."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def post(url: str, path: str, body: Any) -> tuple[bytes, bytes]:
    """Post JSON; return head and raw body."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    return await raw(url, head.encode() + data)


def unchunked(body: bytes) -> list[bytes]:
    """Return the chunks of a body."""
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    assert chunks.pop() == b""
    return chunks


def events(body: bytes) -> list[Any]:
    """Return the events of a stream, the marker as text."""
    data = [line[6:] for line in b"".join(unchunked(body)).split(b"\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in data]


@pytest.mark.asyncio
async def test_completion_stream(tmp_path: Path) -> None:
    """A streamed completion has one event for each token, then usage if asked for, then the end."""
    async with sim_llm(tmp_path, *FAST) as url:
        ask = {"model": "sim-llm", "prompt": "a b c", "max_tokens": 3, "stream": True}
        _, body = await post(url, "/v1/completions", ask)
        usage = {"stream_options": {"include_usage": True}}
        _, with_usage = await post(url, "/v1/completions", {**ask, **usage})
    plain = events(body)
    assert [e["choices"][0]["finish_reason"] for e in plain[:-1]] == [None, None, "length"]
    assert plain[-1] == "[DONE]"
    assert all("usage" not in e for e in plain[:-1])
    *_, last, done = events(with_usage)
    assert (last["choices"], done) == ([], "[DONE]")
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


@pytest.mark.asyncio
async def test_chat_stream_begins_with_the_role(tmp_path: Path) -> None:
    """A streamed chat begins with an event that has a role and no content."""
    async with sim_llm(tmp_path, *FAST) as url:
        messages = [{"role": "user", "content": [{"type": "text", "text": "a b"}]}]
        ask = {"model": "sim-llm", "messages": messages, "max_completion_tokens": 2, "stream": True}
        _, body = await post(url, "/v1/chat/completions", ask)
    first, *tokens, _ = events(body)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len([t for t in tokens if t["choices"][0]["delta"]["content"]]) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("/api/generate", {"prompt": "a b c"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "a b c"}]}),
    ],
)
async def test_ollama_stream(tmp_path: Path, path: str, prompt: dict[str, Any]) -> None:
    """Ollama's stream is one object for each token and one with counts and nanoseconds."""
    async with sim_llm(tmp_path, "--ttft-ms", "20", "--tpot-ms", "5") as url:
        ask = {"model": "sim-llm:latest", "options": {"num_predict": 3}, **prompt}
        head, body = await post(url, path, ask)
    lines = [json.loads(line) for line in b"".join(unchunked(body)).splitlines()]
    assert b"application/x-ndjson" in head
    assert [line["done"] for line in lines] == [False, False, False, True]
    last = lines[-1]
    assert (last["prompt_eval_count"], last["eval_count"], last["done_reason"]) == (3, 3, "length")
    assert last["prompt_eval_duration"] >= 20_000_000
    assert last["prompt_eval_duration"] + last["eval_duration"] >= 30_000_000


@pytest.mark.asyncio
async def test_answers_in_one_piece(tmp_path: Path) -> None:
    """Without a stream the same answers come in one piece."""
    async with sim_llm(tmp_path, *FAST) as url:
        base = {"model": "sim-llm", "max_tokens": 2}
        _, text = await get(f"{url}/v1/completions", {**base, "prompt": [1, 2, 3]})
        messages = [{"role": "user", "content": "hi"}]
        _, chat = await get(f"{url}/v1/chat/completions", {**base, "messages": messages})
        options = {"num_predict": 2}
        ask = {"model": "sim-llm", "stream": False, "options": options}
        _, ollama = await get(f"{url}/api/generate", {**ask, "prompt": "hi"})
        _, loaded = await get(f"{url}/api/generate", {"model": "sim-llm"})
    assert text["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert len(text["choices"][0]["text"].split()) == 2
    assert len(chat["choices"][0]["message"]["content"].split()) == 2
    assert (len(ollama["response"].split()), ollama["eval_count"]) == (2, 2)
    assert (loaded["done"], loaded["done_reason"], loaded["response"]) == (True, "load", "")


@pytest.mark.asyncio
async def test_pages(tmp_path: Path) -> None:
    """It says who it is: its model, its health, and that it is synthetic."""
    async with sim_llm(tmp_path, "--model", "tiny") as url:
        assert (await get(f"{url}/v1/models"))[1]["data"][0]["id"] == "tiny"
        assert (await get(f"{url}/api/tags"))[1]["models"][0]["name"] == "tiny"
        assert "sim-llm" in (await get(f"{url}/api/version"))[1]["version"]
        health = {"status": "ok", "synthetic": True, "model": "tiny"}
        assert await get(f"{url}/health") == (200, health)
        head, _ = await raw(url, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"\r\nServer: sim-llm\r\n" in head


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/completions", [], 400, "the body is not a JSON object"),
        ("/v1/completions", {"prompt": "a"}, 400, "model is missing; this server has 'sim-llm'"),
        (
            "/v1/completions",
            {"model": "gpt", "prompt": "a"},
            404,
            "model 'gpt' not found; this server has 'sim-llm'",
        ),
        (
            "/v1/completions",
            {"model": "sim-llm"},
            400,
            "prompt must be one text or one list of token ids",
        ),
        (
            "/v1/completions",
            {"model": "sim-llm", "prompt": "a", "stop": "x"},
            400,
            "sim-llm does not support 'stop': leave it out",
        ),
        (
            "/v1/completions",
            {"model": "sim-llm", "prompt": "a", "max_tokens": 0},
            400,
            "max_tokens must be a whole number from 1 to 8192, not 0",
        ),
        (
            "/v1/completions",
            {"model": "sim-llm", "prompt": "a", "stream_options": {"include_usage": True}},
            400,
            "stream_options needs stream: true",
        ),
        (
            "/v1/chat/completions",
            {"model": "sim-llm", "messages": [{"role": "user"}]},
            400,
            "each message needs a role and a text as content",
        ),
        (
            "/api/generate",
            {"model": "sim-llm", "prompt": "a b", "options": {"num_ctx": 1}},
            400,
            "the prompt has 2 tokens, options.num_ctx is 1",
        ),
        (
            "/api/generate",
            {"model": "sim-llm", "prompt": "a", "options": {"num_predict": -1}},
            400,
            "num_predict -1 (no end) is not supported: say how many tokens",
        ),
        ("/v1/embeddings", {"model": "sim-llm"}, 405, "use GET for /v1/embeddings"),
    ],
)
async def test_refusals(tmp_path: Path, path: str, body: Any, status: int, said: str) -> None:
    """What it cannot do is refused in the words of the interface, nothing is ignored silently."""
    async with sim_llm(tmp_path, *FAST) as url:
        got, answer = await get(f"{url}{path}", body)
    error = answer["error"] if path.startswith("/api/") else answer["error"]["message"]
    assert (got, error) == (status, said)


@pytest.mark.asyncio
async def test_fields_without_effect_are_named(tmp_path: Path) -> None:
    """Fields that cannot change a synthetic answer are accepted and named in a header."""
    async with sim_llm(tmp_path, *FAST) as url:
        ask = {"model": "sim-llm", "prompt": "a", "temperature": 0, "seed": 1}
        head, _ = await post(url, "/v1/completions", ask)
    assert b"X-Sim-No-Effect: seed, temperature" in head


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_requests_that_cannot_be_read(tmp_path: Path, request_: bytes, status: bytes) -> None:
    """A request that is no request gets an answer and costs nobody else anything."""
    async with sim_llm(tmp_path, *FAST) as url:
        head, _ = await raw(url, request_)
        assert head.split(b" ")[1] == status
        assert (await get(f"{url}/health"))[0] == 200


@pytest.mark.asyncio
async def test_queue_for_a_slot(tmp_path: Path) -> None:
    """With one slot requests are generated one after the other, and the queue has an end."""
    options = ("--ttft-ms", "50", "--parallel", "1", "--max-queue", "1")
    ask = {"model": "sim-llm", "prompt": "a", "max_tokens": 1}
    async with sim_llm(tmp_path, *options) as url:
        answers = await asyncio.gather(*(get(f"{url}/v1/completions", ask) for _ in range(3)))
        _, log = await get(f"{url}/sim/log")
    assert sorted(status for status, _ in answers) == [200, 200, 503]
    first, second = log["requests"]
    assert second["started"] >= first["written"][-1] >= first["started"] + 0.05


@pytest.mark.asyncio
async def test_client_that_goes_away_frees_its_slot(tmp_path: Path) -> None:
    """A request whose client has gone is ended and logged as aborted; the next one is served."""
    ask = {"model": "sim-llm", "prompt": "a", "max_tokens": 5000, "stream": True}
    async with sim_llm(tmp_path, *FAST, "--parallel", "1") as url:
        data = json.dumps(ask).encode()
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)
        )
        await reader.readuntil(b"data: ")
        writer.close()
        status, _ = await get(f"{url}/v1/completions", {**ask, "max_tokens": 1, "stream": False})
        _, log = await get(f"{url}/sim/log?after=0")
        _, later = await get(f"{url}/sim/log?after=1")
    assert status == 200
    assert [entry["aborted"] for entry in log["requests"]] == [True, False]
    assert [entry["number"] for entry in later["requests"]] == [2]
