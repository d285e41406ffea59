"""The counters of an LLM server beside the numbers of its client: honest ones, and others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import load as read_load
from benchd.core.results import Measured
from benchd.core.spec import JobSpec, Role
from support.shipped import get, sim_llm, start_load
from support.truth import SHIP, Ran, Truth, load, stream, truth

pytestmark = pytest.mark.asyncio

TOKENS = 4
# The truth server's answers say 8 tokens of prompt.
QUICK = ("--requests", "20", "--warmup", "10", "--prompt-tokens", "8", "--output-tokens", "4")
MADE, ASKED, FOUND, PROMPTS = (
    f"vllm:{name}_total"
    for name in ("generation_tokens", "prefix_cache_queries", "prefix_cache_hits", "prompt_tokens")
)


def measured(ran: Any) -> Measured:
    """Return what benchd makes of it."""
    data = (ran.out / "result.json").read_bytes()
    asked = {"prompt_tokens": ran.result["workload"]["prompt"]["tokens"]}
    spec = JobSpec(role=Role.CLIENT, name="llm-load", kind="llm-load", parameters=asked)
    return read_load({"result/result.json": data}, spec)


def doubts(ran: Ran) -> set[str]:
    """Return the flags but for those of a busy machine, and that a closed loop is one."""
    found = {flag.code for flag in measured(ran).flags}
    return found - {"client_cpu", "loop_lag_p99", "send_lag_p99", "closed_loop"}


def page(**counted: float) -> bytes:
    """Return a whole answer with counters."""
    rows = "".join(f'vllm:{n}_total{{model_name="m"}} {v}\n' for n, v in counted.items())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(rows)}\r\nConnection: close\r\n\r\n"
    return (head + rows).encode()


def total(served: Truth) -> int:
    """Return the tokens that were sent: one for a try, four for others."""
    return sum(1 if seen.phase == "calibrate" else TOKENS for seen in served.seen)


async def test_an_honest_server_agrees(tmp_path: Path) -> None:
    """What the server has counted in between is what was measured, without warm-up or trials."""
    async with sim_llm(tmp_path, "--ttft-ms", "2", "--tpot-ms", "1") as url:
        options = ("--requests", "30", "--concurrency", "3", "--output-tokens", "5")
        client = await start_load(tmp_path, "llm", "--url", url, *options)
        assert await client.wait() == 0
        _, log = await get(f"{url}/sim/log")
    ours = [row for row in log["requests"] if "-measure-" in row["id"]]
    found = measured(client)
    metrics: Any = found.server_metrics
    assert metrics["delta"] == {
        MADE: 150,
        PROMPTS: sum(row["prompt_tokens"] for row in ours),
        "vllm:request_success_total": 30,
        "process_start_time_seconds": 0,
    }
    assert metrics["before"][MADE] == sum(r["output_tokens"] for r in log["requests"]) - 150
    known = {"client_cpu", "loop_lag_p99", "closed_loop"}
    assert {flag.code for flag in found.flags} <= known


async def test_counters_of_two_nodes(tmp_path: Path) -> None:
    """The first of several nodes asks when all are ready, and again when all have ended."""
    async with sim_llm(tmp_path, "--ttft-ms", "2", "--tpot-ms", "1") as url:
        options = ("--url", url, "--nodes", "2", "--requests", "40", "--output-tokens", "5")
        both = [
            await start_load(tmp_path, "llm", "--node", node, "--concurrency", "2", *options)
            for node in ("0", "1")
        ]
        assert [0, 0] == await asyncio.gather(*(client.wait() for client in both))
    metrics: Any = measured(both[0]).server_metrics
    assert metrics["delta"][MADE] == 200


LYING: dict[str, tuple[Callable[[Truth], Sequence[tuple[float, bytes]]], set[str]]] = {
    "counts fewer than it sends": (
        lambda served: [(0, page(generation_tokens=total(served) * 0.9))],
        {"token_mismatch"},
    ),
    "is used by somebody else": (
        lambda served: [(0, page(generation_tokens=total(served) * 2))],
        {"token_mismatch"},
    ),
    "began anew": (
        lambda served: [(0, page(generation_tokens=1000 if len(served.seen) < 20 else 80))],
        {"server_restarted"},
    ),
    "has prompts in its cache": (
        lambda served: [
            (0, page(generation_tokens=total(served), prefix_cache_queries=len(served.seen) * 8,
                     prefix_cache_hits=len(served.seen) * 2))
        ],
        {"cache_hit_rate"},
    ),
    "shows another page": (
        lambda _: [(0, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno!\n")],
        {"not_cross_checked"},
    ),
    "cuts its page": (
        lambda _: [(0, b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nvllm:a_total 1\n")],
        {"not_cross_checked"},
    ),
    "has no end of a page": (
        lambda _: [(0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0, b"vllm:a_total 1\n" * 9999)] * 40],
        {"not_cross_checked"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LYING)
async def test_a_server_that(tmp_path: Path, what: str) -> None:
    """A server with other counters is measured all the same, and the doubt is told."""
    answer, expected = LYING[what]
    async with truth(lambda _: stream(0.0, tokens=TOKENS)) as (served, url):
        served.metrics = lambda: answer(served)
        ran = await load(SHIP, tmp_path / "out", "llm", "--url", url, *QUICK)
    assert (ran.status, len(ran.samples)) == (0, 20)
    assert doubts(ran) == expected
