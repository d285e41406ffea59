"""Runs what is shipped to compute nodes the way a compute node does: a zipapp, a bare Python."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchd.edge.pack import build

# Seconds after which a program that should have ended or answered is given up.
PATIENCE = 60.0


def unpack(name: str, directory: Path) -> Path:
    """Put a zipapp into a directory, under the name that it has on a cluster."""
    package = build(name)
    path = directory / package.file_name
    path.write_bytes(package.data)
    return path


@asynccontextmanager
async def sim_llm(directory: Path, *options: str) -> AsyncIterator[str]:
    """Run the synthetic LLM server on a free port; give its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-W", "error", str(unpack("llm", directory)), "--port", "0"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        banner = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        yield f"http://127.0.0.1:{banner.decode().strip().rpartition(':')[2]}"
    finally:
        if process.returncode is None:
            process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors) == (0, b"")


@dataclass
class Client:
    """A load generator that runs or has run."""

    process: asyncio.subprocess.Process
    out: Path
    stdout: str = ""
    stderr: str = ""

    async def wait(self) -> int:
        """Wait for its end; return the exit status."""
        out, err = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        self.stdout, self.stderr = out.decode(), err.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def result(self) -> dict[str, Any]:
        """Return its result document."""
        document: dict[str, Any] = json.loads((self.out / "result.json").read_text())
        return document

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Return its samples, those of the measurement."""
        lines = gzip.decompress((self.out / "samples.jsonl.gz").read_bytes()).splitlines()
        return [s for line in lines if (s := json.loads(line))["phase"] == "measure"]


async def start_load(directory: Path, *options: str) -> Client:
    """Start the load generator with its output below a directory."""
    out = directory / "out"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-W", "error", str(unpack("load", directory)), *options),
        *(("--out", str(out)) if options[:1] in (("llm",), ("chroma",), ("http",)) else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Client(process, out)


async def get(url: str, body: Any = None) -> tuple[int, Any]:
    """Fetch a page of JSON; return status and content."""

    def fetch() -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, data, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.request.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    return await asyncio.to_thread(fetch)
