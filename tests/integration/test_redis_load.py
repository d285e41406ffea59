"""The redis workload against a real Redis: what redis-benchmark cannot see, and what it can."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.clients.redis_load import KIND
from benchd.catalog.readings import load as read_load
from benchd.core.results import count_flags
from benchd.core.spec import JobSpec, Role
from benchd.ship.load.resp import Error, Replies, command
from support.near import until
from support.truth import PATIENCE, SHIP, load

SPEC = JobSpec(role=Role.CLIENT, name="redis-load", kind="redis-load")
# What a machine that does other things too may say of the client.
BUSY = ("client_cpu", "loop_lag_p99", "send_lag_p99")
real = pytest.mark.real("redis-server", "redis-benchmark")  # redis-cli comes with it


@asynccontextmanager
async def redis(*options: str) -> AsyncIterator[int]:
    """Run a Redis without files; give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        *("redis-server", "--port", str(port), "--save", "", "--enable-debug-command", "yes"),
        *options,
        stdout=asyncio.subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(answers, PATIENCE)
        yield port
    finally:
        server.terminate()
        await server.wait()


async def ask(port: int, *words: str) -> str:
    """Return what redis-cli says."""
    process = await asyncio.create_subprocess_exec(
        *(shutil.which("redis-cli") or "redis-cli", "-p", str(port), *words),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    said, _ = await process.communicate()
    return said.decode().strip()


@real
@pytest.mark.asyncio
async def test_a_stall_is_in_the_scheduled_latency(tmp_path: Path) -> None:
    """Redis that does nothing for a second has a p99 of almost a second at a fixed rate."""
    async with redis() as port:

        async def stall(process: asyncio.subprocess.Process) -> None:
            samples = tmp_path / "out" / "samples.jsonl"

            def measuring() -> bool:
                assert process.returncode is None
                return samples.exists() and b'"measure"' in samples.read_bytes()

            await until(measuring, PATIENCE)
            await ask(port, "DEBUG", "SLEEP", "1")

        ran = await load(
            *(SHIP, tmp_path / "out", "redis", "--url", f"redis://127.0.0.1:{port}"),
            *("--load", "poisson", "--rate", "400", "--duration", "4", "--keys", "500"),
            *("--slo", "latency_sched_ms<=100"),
            during=stall,
        )
        assert await ask(port, "DBSIZE") == "0"  # nothing is left behind
    assert (ran.status, ran.stderr) == (0, "")
    result = ran.result
    counts, metrics = result["counts"], result["metrics"]
    assert counts["ok"] == counts["scheduled"] > 1000
    assert metrics["latency_sched"]["percentiles"]["99"] >= 900
    assert metrics["latency_sched"]["percentiles"]["50"] <= 100
    assert 0.5 <= metrics["slo_attainment"]["value"] <= 0.85
    assert metrics["hit_rate"]["value"] == 1.0


@real
@pytest.mark.asyncio
@pytest.mark.parametrize("options", [(), ("--pipeline", "8"), ("--processes", "2")])
async def test_the_server_counts_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """As many commands as the server has counted are in the result, and read by the catalogue."""
    async with redis() as port:
        ran = await load(
            *(SHIP, tmp_path / "out", "redis", "--url", f"redis://127.0.0.1:{port}"),
            *("--concurrency", "8", "--requests", "4000", "--keys", "300", "--reads", "0.5"),
            *("--distribution", "zipfian", *options),
        )
    result = ran.result
    commands = sum(s["n"] for s in ran.samples)
    assert commands == 4000 * (8 if "--pipeline" in options else 1)
    assert result["facts"]["server_ops"] == result["facts"]["client_ops"] == commands
    window = result["times"]["window_s"]
    assert result["metrics"]["ops_s"]["value"] == pytest.approx(commands / window, rel=1e-3)
    by_name = [result["metrics"][f"latency_service.{name}"]["n"] for name in ("get", "set")]
    assert sum(by_name) == 4000
    assert min(by_name) >= 1500
    data = (ran.out / "result.json").read_bytes()
    measured = read_load({"result/result.json": data}, SPEC)
    flags = [f.code for f in (*measured.flags, *count_flags(measured.counts))]
    assert [code for code in flags if code not in BUSY] == ["closed_loop"]
    delta: Any = measured.server_metrics["delta"]
    assert delta["calls.get"] + delta["calls.set"] == commands
    # A server that somebody else uses too is noticed.
    result["facts"]["server_ops"] += commands // 10
    measured = read_load({"result/result.json": json.dumps(result).encode()}, SPEC)
    assert "counter_mismatch" in [f.code for f in measured.flags]


@real
@pytest.mark.asyncio
async def test_a_server_that_may_not_be_asked(tmp_path: Path) -> None:
    """Whoever may not ask for counters measures all the same, and says what was not checked."""
    async with redis() as port:
        assert await ask(port, "ACL", "SETUSER", "default", "-info") == "OK"
        url = f"redis://127.0.0.1:{port}"
        ran = await load(SHIP, tmp_path / "out", "redis", "--url", url, "--requests", "20")
    measured = read_load({"result/result.json": (ran.out / "result.json").read_bytes()}, SPEC)
    assert (ran.status, measured.counts.ok, measured.server_metrics) == (0, 20, {})
    found = [f.code for f in measured.flags if f.code not in BUSY]
    assert found == ["closed_loop", "not_cross_checked"]


@real
@pytest.mark.asyncio
async def test_passwords(tmp_path: Path) -> None:
    """A password comes from the environment and is nowhere in the result; a wrong one is said."""
    async with redis("--requirepass", "s3cret") as port:
        common = ("redis", "--url", f"redis://127.0.0.1:{port}", "--requests", "20", "--keys", "9")
        ran = await load(SHIP, tmp_path / "right", *common, REDIS_PASSWORD="s3cret")
        wrong = await load(SHIP, tmp_path / "wrong", *common, REDIS_PASSWORD="other")
        none = await load(SHIP, tmp_path / "none", *common, REDIS_PASSWORD="")
    assert ran.status == 0
    assert b"s3cret" not in (ran.out / "result.json").read_bytes()
    assert (wrong.status, none.status) == (1, 1)
    assert "does not take the password: WRONGPASS" in wrong.stderr
    assert "wants a password: put it into the variable of --password-env" in none.stderr


def test_replies_do_not_depend_on_cuts() -> None:
    """Replies are the same wherever segments are cut."""
    data = b"+OK\r\n$5\r\nab\r\nc\r\n$-1\r\n:42\r\n-ERR no\r\n*2\r\n$1\r\na\r\n:1\r\n"
    wanted = [b"OK", b"ab\r\nc", None, 42, Error("ERR no"), [b"a", 1]]
    for size in range(1, len(data) + 1):
        reader = Replies()
        found = []
        for start in range(0, len(data), size):
            found += reader.feed(data[start : start + size])
        assert found == wanted
    with pytest.raises(ValueError, match="not a reply of Redis"):
        Replies().feed(b"HTTP/1.1 400 Bad Request\r\n")
    assert command("SET", "k", 5) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n"


def test_the_job_of_a_recipe() -> None:
    """The job asks the service by its address, with what the recipe says, and no password."""
    spec = SPEC.model_copy(update={"parameters": {"load": "poisson", "rate": 500.0}})
    argv = [str(getattr(word, "text", word)) for word in KIND.payload(spec).argv]
    assert '"redis://$BENCHD_TARGET_HOST:$BENCHD_TARGET_PORT"' in argv
    assert {"redis", "--load=poisson", "--rate=500.0", "--keys=100000"} < set(argv)
    assert not any("concurrency" in word or "PASSWORD" in word for word in argv)
