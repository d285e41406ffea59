"""Every way to send requests, as the server saw it: MLPerf's scenarios by name, and the others."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from benchd.ship.load.arrivals import Load, schedule
from support.near import until
from support.truth import PATIENCE, SHIP, Ran, Truth, load, stream, truth
from support.truth_checks import LLM

# Seconds by which a request may come late on a busy machine.
SLACK = 0.25


async def measured(out: Path, *options: str, answer: float = 0.0) -> tuple[Ran, Truth, list[float]]:
    """Run a load; return what it left, the server, and when requests came, from the first on."""
    async with truth(lambda _: stream(answer, tokens=1)) as (server, url):
        words = ("llm", "--url", url, *LLM, "--warmup", "0", *options)
        ran = await load(SHIP, out, *words)
    assert (ran.status, ran.stderr) == (0, "")
    came = sorted(seen.received for seen in server.measured.values())
    return ran, server, [moment - came[0] for moment in came]


def late(came: list[float], planned: list[float]) -> float:
    """Return by how much arrivals were off at most, from the first one on."""
    return max(abs(c - (p - planned[0])) for c, p in zip(came, planned, strict=True))


@pytest.mark.asyncio
async def test_single_stream(tmp_path: Path) -> None:
    """SingleStream is one user who waits for each answer."""
    ran, server, came = await measured(
        tmp_path, "--scenario", "single-stream", "--requests", "12", answer=0.02
    )
    assert (len(came), server.most, ran.result["workload"]["load"]["scenario"]) == (
        12,
        1,
        "single-stream",
    )
    assert min(b - a for a, b in itertools.pairwise(came)) >= 0.02
    assert "ttft_sched" not in ran.result["metrics"]


@pytest.mark.asyncio
async def test_offline(tmp_path: Path) -> None:
    """Offline sends everything at once, and is read by its throughput."""
    ran, server, came = await measured(
        tmp_path, "--scenario", "offline", "--requests", "40", answer=0.5
    )
    assert (len(came), server.most) == (40, 40)
    assert came[-1] < 0.4
    assert ran.result["metrics"]["req_s"]["value"] == pytest.approx(40 / 0.6, rel=0.35)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "model"),
    [
        (("--scenario", "server"), {"model": "poisson"}),
        (("--load", "gamma", "--burstiness", "0.3"), {"model": "gamma", "burstiness": 0.3}),
    ],
)
async def test_random_arrivals(tmp_path: Path, options: tuple[str, ...], model: Any) -> None:
    """Server (Poisson) and gamma arrivals are those of the seed, whatever answers do."""
    common = ("--rate", "60", "--requests", "40", "--seed", "11")
    ran, _, came = await measured(tmp_path, *options, *common, answer=0.3)
    planned = list(schedule(Load(rate=60.0, seed=11, **model), 40, None))
    assert late(came, planned) <= SLACK
    assert model.items() <= ran.result["workload"]["load"].items()


@pytest.mark.asyncio
async def test_trace(tmp_path: Path) -> None:
    """Requests of a trace come when the file says, in whatever order it says it."""
    file = tmp_path / "trace"
    file.write_text('0.7\n0.1\n{"offset": 0.4, "tokens": 3}\n0.4\n')
    ran, _, came = await measured(tmp_path / "out", "--trace", str(file), answer=0.2)
    assert (len(came), ran.result["workload"]["load"]["trace"]) == (4, str(file))
    assert late(came, [0.1, 0.4, 0.4, 0.7]) <= SLACK


@pytest.mark.asyncio
async def test_ramp(tmp_path: Path) -> None:
    """A ramp sends more and more: a quarter of its requests in the first half, from none on."""
    options = ("--load", "ramp", "--rate", "0.001", "--end-rate", "80", "--duration", "1")
    _, _, came = await measured(tmp_path, *options, answer=0.2)
    assert len(came) == 40
    assert sum(moment < 0.5 for moment in came) == pytest.approx(10, abs=3)


@pytest.mark.asyncio
async def test_think_time(tmp_path: Path) -> None:
    """A user thinks between an answer and the next request; of that nothing is in a latency."""
    options = ("--concurrency", "3", "--think-time", "0.15", "--requests", "12")
    ran, server, _ = await measured(tmp_path, *options, answer=0.02)
    users: dict[int, list[Any]] = {}
    for sample in ran.samples:
        users.setdefault(sample["u"], []).append(sample)
    pauses = [b["send"] - a["end"] for own in users.values() for a, b in itertools.pairwise(own)]
    assert (len(users), len(pauses), server.most <= 3) == (3, 9, True)
    assert 0.15 <= min(pauses) <= max(pauses) <= 0.15 + SLACK
    assert ran.result["metrics"]["e2e_service"]["max"] <= 1000 * (0.02 + SLACK)


@pytest.mark.asyncio
async def test_cancelled_on_the_way_to_saturation(tmp_path: Path) -> None:
    """What was cancelled keeps the steps that were whole, and says that it is a part."""
    async with truth(lambda _: stream(0.01, tokens=1), slots=2) as (server, url):

        async def stop(process: asyncio.subprocess.Process) -> None:
            def begun() -> bool:
                return any(seen.phase == "step-2" for seen in server.seen)

            await until(begun, PATIENCE)
            process.terminate()

        options = ("--load", "saturate", "--step-time", "0.4", "--concurrency", "8")
        words = ("llm", "--url", url, *LLM, *options)
        ran = await load(SHIP, tmp_path, *words, during=stop)
    result = ran.result
    kinds = [step["kind"] for step in result["workload"]["saturation"]["steps"]]
    assert (ran.status, ran.stderr, result["partial"], kinds) == (1, "", True, ["floor", "ceiling"])
    assert result["metrics"]["ceiling_rate"]["value"] > 0
    assert {name: metric.get("value") for name, metric in result["metrics"].items()} == {
        "ceiling_rate": result["metrics"]["ceiling_rate"]["value"],
        "knee_rate": None,
        "peak_rate": None,
    }
