"""The redis service and the redis-benchmark client on a real Redis, as their payloads say."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.checks import Answer, Redis, request, verdict
from benchd.catalog.readings import redis_benchmark
from benchd.core.model import Endpoint, Verdict
from benchd.core.payload import Payload, Sh
from benchd.core.results import Measured, Severity, count_flags
from benchd.core.spec import HealthCheck, JobSpec, Role
from support.near import until, until_answered

# Seconds after which something that should have happened is given up.
PATIENCE = 30.0
real = pytest.mark.real("redis-server", "redis-benchmark")


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def start(payload: Payload, job: Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a payload the way a batch script does."""
    for name, text in payload.files.items():
        (job / name).write_text(text)
    words = [a.text if isinstance(a, Sh) else shlex.quote(a) for a in payload.argv]
    (job / "data").mkdir(exist_ok=True)
    given = {"JOB": str(job), "BENCHD_DATA": str(job / "data"), "BENCHD_BIND": "127.0.0.1"}
    lines = [*payload.preamble, f"exec {' '.join(words)}"]
    return await asyncio.create_subprocess_exec(
        *("bash", "-u", "-c", "\n".join(lines)),
        env={**os.environ, **given, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def look(port: int) -> Verdict:
    """Ask as the health check does."""
    here = Endpoint(host="127.0.0.1", ports=(port,), slurm_id="1", generation=0)
    asked = request(HealthCheck(type="redis"), here)
    assert isinstance(asked, Redis)
    try:
        reader, writer = await asyncio.open_connection(asked.host, asked.port)
    except ConnectionRefusedError:
        return Verdict.BAD
    writer.write(asked.send)
    data = await reader.readline()
    writer.close()
    return verdict(asked, Answer(data=data))[0]


@asynccontextmanager
async def redis(job: Path, **parameters: Any) -> AsyncIterator[int]:
    """Run the redis service; give its port once its own check is good."""
    spec = JobSpec(role=Role.SERVICE, name="redis", kind="redis", parameters=parameters)
    port = free_port()
    payload = CATALOG.services["redis"].payload(spec)
    process = await start(payload, job, {"BENCHD_PORT": str(port)})

    async def good() -> Verdict | None:
        assert process.returncode is None
        said = await look(port)
        return said if said is Verdict.GOOD else None

    try:
        await until_answered(good, PATIENCE)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE)


def client(**parameters: Any) -> JobSpec:
    """Return a benchmark's spec."""
    return JobSpec(role=Role.CLIENT, name="b", kind="redis-benchmark", parameters=parameters)


async def bench(
    job: Path, port: int, spec: JobSpec, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start the benchmark client against a port."""
    (job / "result").mkdir()
    target = {"BENCHD_TARGET_HOST": "127.0.0.1", "BENCHD_TARGET_PORT": str(port)}
    target |= {"BENCHD_RESULT_DIR": str(job / "result"), **(env or {})}
    return await start(CATALOG.clients["redis-benchmark"].payload(spec), job, target)


async def ended(process: asyncio.subprocess.Process, job: Path) -> tuple[int, str, Measured]:
    """Wait for a benchmark; return status, stderr and what is read from its files."""
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    files = {f"result/{path.name}": path.read_bytes() for path in (job / "result").iterdir()}
    assert process.returncode is not None
    return process.returncode, err.decode(), redis_benchmark({**files, "err": err}, client())


@real
@pytest.mark.asyncio
@pytest.mark.parametrize("persistence", ["none", "aof", "rdb", "both"])
async def test_redis_starts_as_asked(tmp_path: Path, persistence: str) -> None:
    """Redis answers PING and has the persistence that was asked for, in the job's own directory."""
    async with redis(tmp_path, persistence=persistence, maxmemory="64mb") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = {}
        for name in ("appendonly", "save", "maxmemory", "dir"):
            writer.write(f"CONFIG GET {name}\r\n".encode())
            lines = [(await reader.readline()).strip().decode() for _ in range(5)]
            answers[name] = lines[4]
        writer.close()
    assert answers == {
        "appendonly": "yes" if persistence in ("aof", "both") else "no",
        "save": "3600 1 300 100 60 10000" if persistence in ("rdb", "both") else "",
        "maxmemory": str(64 * 1024**2),
        "dir": str(tmp_path / "data"),
    }


@real
@pytest.mark.asyncio
async def test_benchmark_on_a_real_redis(tmp_path: Path) -> None:
    """A real run is read without an error, agrees with the server's count, and adds up."""
    spec = client(requests=20_000, pipeline=16, clients=10, data_size=64)
    async with redis(tmp_path) as port:
        status, err, _ = await ended(await bench(tmp_path, port, spec), tmp_path)
    files = {f"result/{p.name}": p.read_bytes() for p in (tmp_path / "result").iterdir()}
    measured = redis_benchmark(files, spec)
    assert (status, err) == (0, "")
    flags = [*measured.flags, *count_flags(measured.counts)]
    assert [f.code for f in flags if f.severity is not Severity.INFO] == []
    if shutil.which("redis-cli"):
        assert [f.code for f in flags] == ["closed_loop"]
        assert str(measured.service["version"])[0].isdigit()
    rate = measured.metrics["req_s"].value
    assert rate is not None
    assert rate > 0
    assert measured.times.window_s is not None
    assert measured.times.window_s > 0


@real
@pytest.mark.asyncio
async def test_somebody_else_who_writes_is_noticed(tmp_path: Path) -> None:
    """Commands of another client in the window are a flag, with how many there were."""
    spec, beside = client(requests=50_000), 40_000
    async with redis(tmp_path) as port:
        process = await bench(tmp_path, port, spec)
        await until((tmp_path / "result" / "redis-benchmark.csv").exists, PATIENCE)
        other = await asyncio.create_subprocess_exec(
            *("redis-benchmark", "-p", str(port), "-n", str(beside), "-t", "set", "-P", "16", "-q"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(other.wait(), PATIENCE)
        assert process.returncode is None
        await ended(process, tmp_path)
    files = {f"result/{p.name}": p.read_bytes() for p in (tmp_path / "result").iterdir()}
    measured = redis_benchmark(files, spec)
    (found,) = [each for each in measured.flags if each.code == "counter_mismatch"]
    assert (found.severity, found.limit) == (Severity.WARN, 0.02)
    assert found.value == pytest.approx(beside / 100_000, abs=0.01)
    delta = measured.server_metrics["delta"]
    assert isinstance(delta, dict)
    assert delta["calls.set"] == 50_000 + beside


@real
@pytest.mark.asyncio
@pytest.mark.parametrize("has_cli", [True, False])
async def test_nothing_listens(tmp_path: Path, has_cli: bool) -> None:
    """A refused connection ends at once with a reason, with redis-cli and without it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    names = ["bash", "sh", "timeout", "cat", "date", "wc", "redis-benchmark"]
    for name in [*names, "redis-cli"] if has_cli else names:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    port = free_port()
    process = await bench(tmp_path, port, client(), {"PATH": str(tools)})
    status, err, measured = await ended(process, tmp_path)
    assert status == 69
    assert f"benchd: no PONG from 127.0.0.1:{port} within 5 s: " in err
    assert "no_result" in {flag.code for flag in measured.flags}


@real
@pytest.mark.asyncio
async def test_preflight_without_redis_cli(tmp_path: Path) -> None:
    """Where there is no redis-cli, bash asks, and the result says what was not checked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "timeout", "cat", "date", "wc", "redis-benchmark"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    async with redis(tmp_path) as port:
        process = await bench(tmp_path, port, client(requests=1000), {"PATH": str(tools)})
        status, _, measured = await ended(process, tmp_path)
    assert status == 0
    assert {flag.code for flag in measured.flags} == {"closed_loop", "not_cross_checked"}


@real
@pytest.mark.asyncio
async def test_password(tmp_path: Path) -> None:
    """A Redis that wants a password is not measured."""
    async with redis(tmp_path) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONFIG SET requirepass secret\r\n")
        await writer.drain()
        writer.close()
        process = await bench(tmp_path, port, client())
        status, err, _ = await ended(process, tmp_path)
    said = f"benchd: 127.0.0.1:{port} wants a password: give the service "
    assert (status, err) == (69, said + "secrets: {REDIS_PASSWORD: {generate: 24}}\n")


@real
@pytest.mark.asyncio
async def test_hard_limit(tmp_path: Path) -> None:
    """A benchmark that takes too long is stopped, says so, and is no valid measurement."""
    spec = client(requests=1_000_000_000, timeout=1)
    async with redis(tmp_path) as port:
        status, err, measured = await ended(await bench(tmp_path, port, spec), tmp_path)
    assert status == 124
    assert "redis-benchmark was stopped after 1 s: raise parameters.timeout" in err
    assert Severity.ERROR in {flag.severity for flag in measured.flags}


@real
@pytest.mark.asyncio
async def test_sigterm_stops_the_benchmark(tmp_path: Path) -> None:
    """A cancelled job stops redis-benchmark with it and ends with the status of a signal."""
    spec = client(requests=1_000_000_000)
    async with redis(tmp_path) as port:
        process = await bench(tmp_path, port, spec)

        def measuring() -> bool:
            assert process.returncode is None
            return (tmp_path / "result" / "redis-benchmark.csv").exists()

        await until(measuring, PATIENCE)
        process.terminate()
        status, _, _ = await ended(process, tmp_path)
    assert status == 143
    assert (tmp_path / "result" / "ended.txt").exists()


@real
@pytest.mark.asyncio
async def test_program_that_is_not_there(tmp_path: Path) -> None:
    """A node without the program gets a sentence that says what to do."""
    spec = client().model_copy(update={"command": "no-such-benchmark"})
    async with redis(tmp_path) as port:
        status, err, _ = await ended(await bench(tmp_path, port, spec), tmp_path)
    assert status == 127
    assert "no-such-benchmark is not installed here; use an image that has it" in err


@pytest.mark.real("shellcheck")
def test_wrapper_is_clean_shell(tmp_path: Path) -> None:
    """The wrapper is POSIX sh without a complaint from shellcheck."""
    payload = CATALOG.clients["redis-benchmark"].payload(client())
    path = tmp_path / "redis-benchmark.sh"
    path.write_text(payload.files["redis-benchmark.sh"])
    command = ("shellcheck", "-s", "sh", str(path))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
