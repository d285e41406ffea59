"""The load generator as a job runs it: what it refuses, how it is stopped, what it leaves."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import load as read_load
from benchd.core.results import count_flags
from benchd.core.spec import JobSpec, Role
from support.near import until
from support.shipped import PATIENCE, Client, sim_llm, start_load

SPEC = JobSpec(role=Role.CLIENT, name="llm-load", kind="llm-load")
QUICK = ("--output-tokens", "4", "--warmup", "0")


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def until_measuring(client: Client) -> None:
    """Wait until a sample of the measurement is on disk."""
    path = client.out / "samples.jsonl"

    def measuring() -> bool:
        assert client.process.returncode is None
        return path.exists() and b'"measure"' in path.read_bytes()

    await until(measuring, PATIENCE)


@pytest.mark.asyncio
async def test_result_is_read_by_the_catalogue(tmp_path: Path) -> None:
    """What the load generator leaves becomes numbers that add up, without a flag of an error."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        client = await start_load(tmp_path, "llm", "--url", url, "--requests", "30", *QUICK)
        assert await client.wait() == 0
    data = (client.out / "result.json").read_bytes()
    measured = read_load({"result/result.json": data}, SPEC)
    assert [
        f for f in (*measured.flags, *count_flags(measured.counts)) if f.severity == "error"
    ] == []
    assert measured.counts.ok == 30
    assert set(measured.metrics) == {
        *("ttft_service", "ttfo", "e2e_service", "tpot", "ntpot", "icl"),
        *("req_s", "out_tok_s", "error_rate", "concurrency"),
    }
    assert measured.workload["load"] == {"model": "closed", "concurrency": 1}
    assert sorted(path.name for path in client.out.iterdir()) == [
        "result.json",
        "samples.jsonl.gz",
    ]


@pytest.mark.asyncio
async def test_json_on_request(tmp_path: Path) -> None:
    """With --json the document is printed, as it is in the file."""
    async with sim_llm(tmp_path, "--ttft-ms", "1", "--tpot-ms", "1") as url:
        client = await start_load(
            tmp_path, "llm", "--url", f"{url}/v1/", "--requests", "2", "--json", *QUICK
        )
        assert await client.wait() == 0
    assert json.loads(client.stdout) == client.result


@pytest.mark.asyncio
async def test_duration_ends_a_measurement(tmp_path: Path) -> None:
    """After the duration no request is begun; those under way are finished and counted."""
    async with sim_llm(tmp_path, "--ttft-ms", "20", "--tpot-ms", "1") as url:
        client = await start_load(
            tmp_path, "llm", "--url", url, "--duration", "0.5", "--concurrency", "2", *QUICK
        )
        assert await client.wait() == 0
    counts, window = client.result["counts"], client.result["times"]["window_s"]
    assert counts["scheduled"] == counts["ok"] > 2
    assert max(s["sched"] for s in client.samples) - min(s["sched"] for s in client.samples) <= 0.5
    assert window >= 0.4


@pytest.mark.asyncio
async def test_sigterm_leaves_a_partial_result(tmp_path: Path) -> None:
    """A job that is cancelled leaves what it has, marked as partial, with counts that add up."""
    async with sim_llm(tmp_path, "--ttft-ms", "20", "--tpot-ms", "1") as url:
        client = await start_load(
            tmp_path, "llm", "--url", url, "--requests", "100000", "--concurrency", "4", *QUICK
        )
        await until_measuring(client)
        client.process.terminate()
        assert await client.wait() == 1
    result = client.result
    counts = result["counts"]
    assert (result["partial"], counts["scheduled"]) == (True, 100_000)
    assert counts["ok"] > 0
    assert counts["ok"] + counts["errors"] + counts["cancelled"] == 100_000
    assert client.stderr == ""


@pytest.mark.asyncio
async def test_sigkill_leaves_the_samples(tmp_path: Path) -> None:
    """A job that is killed leaves whole lines of samples and no result that looks like one."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        client = await start_load(tmp_path, "llm", "--url", url, "--duration", "60", *QUICK)
        await until_measuring(client)
        client.process.kill()
        await client.wait()
    whole = (client.out / "samples.jsonl").read_text().splitlines()[:-1]
    assert {json.loads(line)["status"] for line in whole} == {"ok"}
    assert not (client.out / "result.json").exists()


@pytest.mark.asyncio
async def test_nothing_listens(tmp_path: Path) -> None:
    """A service that is not there is one clear sentence, at once, and a result that says so."""
    url = f"http://127.0.0.1:{closed_port()}"
    client = await start_load(tmp_path, "llm", "--url", url)
    assert await client.wait() == 1
    assert client.stderr.startswith(f"load: nothing answers at {url}: ")
    assert client.stderr.endswith("is the service running, are host and port right?\n")
    counts = client.result["counts"]
    assert (counts["scheduled"], counts["cancelled"], counts["ok"]) == (100, 100, 0)


@pytest.mark.asyncio
async def test_nothing_is_left_where_nobody_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, without --out, a service that is not there leaves the sentence and nothing else."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    client = await start_load(tmp_path, "redis", "--url", f"redis://127.0.0.1:{closed_port()}")
    assert await client.wait() == 1
    assert client.stderr.startswith("load: no Redis at ")
    assert (client.stdout, list(here.iterdir())) == ("", [])


@pytest.mark.asyncio
async def test_service_that_goes_away(tmp_path: Path) -> None:
    """When the service is gone for good the client gives up, and the rest counts as cancelled."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        client = await start_load(tmp_path, "llm", "--url", url, "--requests", "100000", *QUICK)
        await until_measuring(client)
    assert await client.wait() == 1
    assert "20 connections in a row failed" in client.stderr
    counts = client.result["counts"]
    assert counts["by_class"]["connect"] == 20
    assert counts["ok"] + counts["errors"] + counts["cancelled"] == 100_000


@pytest.mark.asyncio
async def test_model_is_found_out(tmp_path: Path) -> None:
    """Without --model the one that the server lists is used."""
    async with sim_llm(tmp_path, "--model", "tiny", "--ttft-ms", "1", "--tpot-ms", "1") as url:
        for api in ("openai-chat", "ollama-generate"):
            client = await start_load(
                tmp_path, "llm", "--url", url, "--api", api, "--requests", "1", *QUICK
            )
            assert await client.wait() == 0
            assert client.result["workload"]["model"] == "tiny"


@pytest.mark.asyncio
async def test_wrong_model_is_explained(tmp_path: Path) -> None:
    """A model that the server does not have is said in the server's own words."""
    async with sim_llm(tmp_path) as url:
        client = await start_load(
            tmp_path, "llm", "--url", url, "--model", "big", "--requests", "1", *QUICK
        )
        assert await client.wait() == 1
    said = "http_4xx: 404 model 'big' not found; this server has 'sim-llm'"
    assert client.result["counts"]["first_errors"] == [said]
    assert client.result["facts"]["model_listed"] is False


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say what to load: llm"),
        (("redis", "--url", "https://n1"), "--url: write it as redis://host:port"),
        (("llm",), "the following arguments are required: --url"),
        (("llm", "--url", "n1:80"), "--url 'n1:80': write it as http://host:port"),
        (("llm", "--url", "http://n1:x"), "--url 'http://n1:x' is no URL"),
        (
            ("llm", "--url", "http://n1", "--load", "poisson"),
            "--load poisson needs --rate",
        ),
        (
            ("llm", "--url", "http://n1", "--rate", "8"),
            "--rate belongs to open loops (--load constant, poisson, gamma, ramp, find-peak)",
        ),
        (
            ("llm", "--url", "http://n1", "--load", "constant", "--rate", "8", "--think-time", "1"),
            "--think-time belongs to --load closed, not to constant",
        ),
        (
            ("llm", "--url", "http://n1", "--scenario", "server", "--concurrency", "8"),
            "--concurrency belongs to --load closed, saturate, not to poisson",
        ),
        (
            ("llm", "--url", "http://n1", "--load", "saturate", "--duration", "8"),
            "--duration: each step of --load saturate lasts --step-time",
        ),
        (
            ("llm", "--url", "http://n1", "--load", "saturate", "--steps", "2"),
            "2 is not between 3 and 100",
        ),
        (
            ("llm", "--url", "http://n1", "--dataset", "/nowhere"),
            "--dataset /nowhere: No such file or directory",
        ),
        (
            ("http", "--url", "http://n1", "--slo", "ttft_sched_ms<=5"),
            "--slo ttft_sched_ms<=5: with this workload and load there are latency_service_ms",
        ),
        (("llm", "--url", "http://n1", "--slo", "fast"), "write it as ttft_service_ms<=500"),
        (("redis", "--url", "n1:1"), "--url 'n1:1': write it as redis://host:port"),
        (("llm", "--url", "http://n1", "--requests", "0"), "0 is not between 1 and 2000000"),
        (("llm", "--url", "http://n1", "--run-id", "a b"), "a run id is 1 to 200 printable"),
        (("llm", "--url", "http://n1", "--nonsense"), "unknown arguments: --nonsense"),
    ],
)
async def test_usage_errors(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """A command line that cannot be is refused with status 2 and what would be right."""
    client = await start_load(tmp_path, *options)
    assert await client.wait() == 2
    assert said in client.stderr
    assert "Traceback" not in client.stderr


@pytest.mark.asyncio
async def test_same_seed_same_prompts(tmp_path: Path) -> None:
    """The prompts depend on run id and seed alone."""
    seen: list[Any] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if head.startswith(b"POST"):
            seen[-1].append(json.loads(await reader.readexactly(length))["prompt"])
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for run_id, seed in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")):
            seen.append([])
            options = ("--model", "m", "--run-id", run_id, "--seed", seed, "--requests", "3")
            client = await start_load(tmp_path, "llm", "--url", url, *options, *QUICK)
            assert await client.wait() == 1
    first, again, other_seed, other_run = seen
    assert first == again
    assert not set(first) & set(other_seed)
    assert not set(first) & set(other_run)
