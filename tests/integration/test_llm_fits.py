"""What a server is told beside the prompt: its key; Ollama's context and layers on the GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.shipped import Client, start_load

KEY = "sk-9f2c"
TAGS = b'{"models": [{"name": "m:latest"}], "data": [{"id": "m"}]}'
SAYS = {
    b"/v1/completions": b'data: {"choices": [{"text": "a", "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n",
    b"/api/generate": b'{"response": "a"}\n{"done": true, "eval_count": 1}\n',
}


@asynccontextmanager
async def locked(key: str) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve whoever has the key (nobody is asked for an empty one); give URL and the bodies."""
    bodies: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                status, page = b"200 OK", SAYS.get(head.split()[1], TAGS)
                if key and f"\r\nAuthorization: Bearer {key}\r\n".encode() not in head:
                    status, page = b"401 Unauthorized", b'{"error": "Unauthorized"}'
                elif body:
                    bodies.append(json.loads(body))
                writer.write(
                    b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(page), page)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", bodies


async def load(directory: Path, url: str, *options: str) -> tuple[int, Client]:
    """Send three requests; return the exit status too."""
    usual = ("--requests", "3", "--warmup", "0", "--output-tokens", "1", "--prompt-tokens", "8")
    client = await start_load(directory, "llm", "--url", url, *usual, *options)
    return await client.wait(), client


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (KEY, (0, "")),
        ("sk-other", (1, "wants another key (401)")),
        (None, (1, "wants a key (401): name the variable that holds it with --api-key-env")),
    ],
)
async def test_a_server_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, expected: tuple[int, str]
) -> None:
    """The key comes from the environment, opens the server, and is in no file that is left."""
    if told is not None:
        monkeypatch.setenv("THE_KEY", told)
    else:
        monkeypatch.delenv("THE_KEY", raising=False)
    async with locked(KEY) as (url, _):
        status, client = await load(tmp_path, url, "--api-key-env", "THE_KEY")
    assert status == expected[0], client.stderr
    assert expected[1] in client.stderr
    left = b"".join(path.read_bytes() for path in client.out.iterdir()).decode("latin-1")
    assert told is None or told not in left + client.stdout + client.stderr


@pytest.mark.asyncio
async def test_ollama_is_told_its_context_and_layers(tmp_path: Path) -> None:
    """Every request carries the same two, so that the model is loaded once."""
    asked = ("--api", "ollama-generate", "--num-ctx", "512", "--num-gpu", "0")
    async with locked("") as (url, bodies):
        status, client = await load(tmp_path, url, *asked)
    assert status == 0, client.stderr
    said = {(body["options"]["num_ctx"], body["options"]["num_gpu"]) for body in bodies}
    assert said == {(512, 0)}
    assert (client.result["workload"]["num_ctx"], client.result["workload"]["num_gpu"]) == (512, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--api", "ollama-chat", "--num-ctx", "8"),
            "8 and 1 tokens do not fit into --num-ctx 8: they would be cut",
        ),
        (("--num-gpu", "0"), "--num-gpu is for Ollama's own interfaces"),
    ],
)
async def test_what_would_be_lost_is_refused(
    tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    """A prompt that would be cut, or an option that nobody reads, ends the client at once."""
    status, client = await load(tmp_path, "http://127.0.0.1:1", *options)
    assert (status, expected in client.stderr) == (2, True), client.stderr
