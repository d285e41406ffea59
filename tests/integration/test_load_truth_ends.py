"""How measurements end, and what they are made in: signals, many users, proxies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchd.ship.load.arrivals import Load, schedule
from support.near import until
from support.truth import PATIENCE, SHIP, Truth, load, stream, truth
from support.truth_checks import LLM

OPEN = ("--load", "poisson", "--rate", "100", "--duration", "60", "--warmup", "0")


async def until_seen(server: Truth, count: int) -> None:
    """Wait until the server has so many measured requests."""

    def enough() -> bool:
        return len(server.measured) >= count

    await until(enough, PATIENCE)


@pytest.mark.asyncio
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_sigterm_at_an_open_loop(tmp_path: Path, processes: str) -> None:
    """A cancelled job leaves a whole document, marked as partial, whose counts add up."""
    async with truth(lambda _: stream(0.01)) as (server, url):

        async def stop(process: asyncio.subprocess.Process) -> None:
            await until_seen(server, 120)
            process.terminate()

        ran = await load(
            *(SHIP, tmp_path / "out", "llm", "--url", url, *LLM, *OPEN),
            *("--processes", processes),
            during=stop,
        )
    result = ran.result
    counts = result["counts"]
    assert (ran.status, ran.stderr, result["partial"]) == (1, "", True)
    assert counts["ok"] >= 60
    assert counts["ok"] + counts["errors"] + counts["cancelled"] == counts["scheduled"] > 5000
    assert result["metrics"]["ttft_sched"]["n"] == counts["ok"]


@pytest.mark.asyncio
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_sigkill_at_an_open_loop(tmp_path: Path, processes: str) -> None:
    """A killed job leaves the samples up to the last seconds, and no process that goes on."""
    async with truth(lambda _: stream(0.01)) as (server, url):

        async def kill(process: asyncio.subprocess.Process) -> None:
            await until_seen(server, 250)
            process.kill()

        ran = await load(
            *(SHIP, tmp_path / "out", "llm", "--url", url, *LLM, *OPEN),
            *("--processes", processes),
            during=kill,
        )
        there = len(server.measured)
        quiet = asyncio.get_running_loop().time()

        def ended() -> bool:
            nonlocal there, quiet
            now = asyncio.get_running_loop().time()
            if len(server.measured) != there:
                there, quiet = len(server.measured), now
            return now - quiet > 0.3

        await until(ended, PATIENCE)
    lines = (ran.out / "samples.jsonl").read_text().splitlines()[:-1]
    assert len(lines) >= 30
    assert {json.loads(line)["status"] for line in lines} == {"ok"}
    assert not (ran.out / "result.json").exists()
    assert there < 1000


@pytest.mark.asyncio
async def test_a_thousand_users(tmp_path: Path) -> None:
    """A thousand users at once are all served, by processes that share them."""
    async with truth(lambda _: stream(1.0, tokens=1)) as (server, url):
        ran = await load(
            *(SHIP, tmp_path / "out", "llm", "--url", url, *LLM, "--concurrency", "1000"),
            *("--requests", "1000", "--warmup", "0"),
        )
    assert ran.stderr == ""
    assert ran.result["counts"]["ok"] == 1000
    assert len({s["i"] for s in ran.samples}) == 1000
    assert server.most >= 700


@pytest.mark.asyncio
async def test_nodes_share_a_schedule(tmp_path: Path) -> None:
    """Two nodes send one Poisson stream between them, and the numbers are of both together."""
    common = ("--load", "poisson", "--rate", "80", "--requests", "120", "--seed", "7")
    async with truth(lambda _: stream(0.01)) as (server, url):
        words = ("llm", "--url", url, *LLM, *common, "--warmup", "4", "--run-id", "r")
        nodes = [
            load(SHIP, tmp_path / "out", *words, "--nodes", "2", "--node", str(node))
            for node in (0, 1)
        ]
        first, second = await asyncio.gather(*nodes)
    assert (first.status, second.status, first.stderr) == (0, 0, "")
    counts = first.result["counts"]
    assert (counts["ok"], counts["scheduled"]) == (120, 120)
    assert sorted(server.measured) == list(range(120))
    wanted = schedule(Load("poisson", rate=80.0, seed=7), 120, None)
    times = [server.measured[n].received for n in range(120)]
    gaps = [
        time - times[0] - (offset - wanted[0]) for time, offset in zip(times, wanted, strict=True)
    ]
    assert max(map(abs, gaps)) <= 0.25
    assert first.result["metrics"]["ttft_sched"]["n"] == 120


@pytest.mark.asyncio
async def test_proxies_are_not_asked(tmp_path: Path) -> None:
    """Whatever proxies the cluster sets, the service itself is asked."""
    nobody = "http://127.0.0.1:9"
    async with truth(lambda _: stream(0.0)) as (server, url):
        ran = await load(
            *(SHIP, tmp_path / "out", "llm", "--url", url, *LLM, "--requests", "3"),
            *("--warmup", "0"),
            http_proxy=nobody,
            HTTP_PROXY=nobody,
            ALL_PROXY=nobody,
            no_proxy="",
        )
    assert (ran.status, len(server.measured)) == (0, 3)
