"""The scripts that spread vLLM over nodes, with stand-ins for Ray: who waits, and what is left.

The stand-ins have as much of Ray's command line and Python module as the scripts use, and are not
Ray; tests/acceptance/test_real_ray.py runs the same scripts with Ray itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.catalog.services import vllm_ray
from support.near import until

PATIENCE = 30.0  # seconds on a busy machine

PROGRAM = """\
#!{python}
import os, socket, sys, time
options = dict(word.partition("=")[::2] for word in sys.argv)
if os.environ.get("HEAD_FAILS") and "--head" in options:
    sys.exit("no head today")
if os.fork() == 0:
    os.setsid()  # Ray's own processes do the same
    time.sleep(600)
if "--head" in options:
    server = socket.create_server((options["--node-ip-address"], int(options["--port"])))
else:
    host, _, port = options["--address"].rpartition(":")
    socket.create_connection((host, int(port))).close()
    open("joined", "a").write(options["--node-ip-address"] + "\\n")
time.sleep(600)
"""
MODULE = """\
def init(address, log_to_driver):
    assert address.startswith("127.0.0.1:")

def nodes():
    try:
        joined = open("joined").read().split()
    except FileNotFoundError:
        joined = []
    return [{"NodeManagerAddress": name, "Alive": True} for name in ["127.0.0.1", *joined]]
"""


@dataclass
class Node:
    """Runs a script as the job does on one of its nodes."""

    job: Path

    async def start(self, index: int, *words: str, **env: str) -> asyncio.subprocess.Process:
        """Start it; what it says is kept."""
        return await asyncio.create_subprocess_exec(
            *("bash", *words),
            cwd=self.job,
            env={
                "PATH": f"{self.job}:{os.environ['PATH']}",
                "PYTHONPATH": str(self.job),
                "BENCHD_JOB": str(self.job),
                "BENCHD_HOST_IP": "127.0.0.1",
                "BENCHD_SPAN": f"{self.job.name}-0",
                "BENCHD_NODES": "2",
                "BENCHD_NODE_INDEX": str(index),
                **env,
            },
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    def left(self) -> int:
        """Return how many processes of the job there are."""
        marker = f"BENCHD_SPAN={self.job.name}-0\0".encode()
        count = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                count += marker in (process / "environ").read_bytes()
        return count


@pytest_asyncio.fixture(name="node")
async def a_node(tmp_path: Path) -> AsyncIterator[Node]:
    """Write the scripts and the stand-ins; in the end nothing of them runs."""
    for name, text in vllm_ray.FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "ray.py").write_text(MODULE)
    (tmp_path / "ray").write_text(PROGRAM.format(python=sys.executable))
    (tmp_path / "ray").chmod(0o755)
    yield Node(tmp_path)
    assert Node(tmp_path).left() == 0


SERVER = ("ray-head.sh", "sh", "-c", 'echo up >served; read -r line <again; exit "$line"')


@pytest.mark.asyncio
async def test_the_server_starts_when_all_nodes_have_joined(node: Node) -> None:
    """It waits for the other node, its status is the head's, and no process of Ray outlives it."""
    os.mkfifo(node.job / "again")
    head = await node.start(0, *SERVER)
    address = node.job / f"ray-address.{node.job.name}-0"
    await until(address.exists, PATIENCE)
    assert not (node.job / "served").exists()
    worker = await node.start(1, "ray-worker.sh")
    await until((node.job / "served").exists, PATIENCE)
    (node.job / "again").write_text("7\n")
    _, said = await asyncio.wait_for(head.communicate(), PATIENCE)
    assert (head.returncode, b"benchd: 2 nodes joined Ray: 127.0.0.1, 127.0.0.1" in said) == (
        7,
        True,
    )
    worker.terminate()
    await asyncio.wait_for(worker.communicate(), PATIENCE)
    assert worker.returncode == 143


@pytest.mark.asyncio
async def test_a_signal_ends_what_runs_behind_the_head(node: Node) -> None:
    """The server gets the signal, and Ray goes with it."""
    (node.job / "joined").write_text("127.0.0.2\n")
    head = await node.start(0, "ray-head.sh", "sh", "-c", "echo up >served; exec sleep 600")
    await until((node.job / "served").exists, PATIENCE)
    head.terminate()
    await asyncio.wait_for(head.communicate(), PATIENCE)
    assert head.returncode == 143


@pytest.mark.asyncio
async def test_a_head_that_ends_is_not_waited_for(node: Node) -> None:
    """When Ray cannot start, the job says so at once and ends."""
    head = await node.start(0, *SERVER, HEAD_FAILS="1")
    _, said = await asyncio.wait_for(head.communicate(), PATIENCE)
    assert head.returncode == 1
    assert b"no head today" in said
    assert b"benchd: Ray's head has ended" in said
