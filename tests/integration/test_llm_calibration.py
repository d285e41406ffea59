"""The load generator against a server that knows the truth.

Client and server share a machine and its monotonic clock, so every time can be compared. What is
allowed: the client notices a token at most a few milliseconds after the server wrote it, and never
before; means and medians of the metrics differ from the server's own by no more than that.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from support.shipped import get, sim_llm, start_load

# Allowed lateness of the client, in ms. On an idle machine the median is 0.2 ms and the 95th
# percentile 0.5 ms; a busy two-core CI machine needs the room.
MEDIAN_MS = 5.0
P95_MS = 50.0
# Samples are written with microseconds.
ROUNDING_MS = 0.002

APIS = ("openai-completions", "openai-chat", "ollama-generate", "ollama-chat")


async def measure(directory: Path, api: str) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """Measure 40 requests with varied delays; return the result and (sample, truth) pairs."""
    server = ("--ttft-ms", "40", "--tpot-ms", "5", "--distribution", "normal", "--jitter", "0.3")
    options = ("--requests", "40", "--concurrency", "4", "--output-tokens", "16", "--warmup", "4")
    async with sim_llm(directory, *server) as url:
        load = await start_load(
            directory, "llm", "--url", url, "--api", api, "--run-id", "cal", *options
        )
        assert await load.wait() == 0, load.stderr
        _, log = await get(f"{url}/sim/log")
    truth = {entry["id"]: entry for entry in log["requests"]}
    return load.result, [(s, truth[f"cal-measure-{s['i']}"]) for s in load.samples]


def within(errors_ms: list[float]) -> None:
    """Assert that errors are within the tolerance, and that nobody saw the future."""
    ordered = sorted(errors_ms)
    assert ordered[0] >= -ROUNDING_MS
    assert statistics.median(ordered) <= MEDIAN_MS
    assert ordered[int(len(ordered) * 0.95)] <= P95_MS


@pytest.mark.asyncio
@pytest.mark.parametrize("api", APIS)
async def test_measured_times_are_the_servers(tmp_path: Path, api: str) -> None:
    """First and last token, counts and all means agree with the server's own log."""
    result, pairs = await measure(tmp_path, api)
    assert len(pairs) == 40
    zero = result["times"]["zero_monotonic"]
    within([(zero + s["first"] - t["written"][0]) * 1000 for s, t in pairs])
    within([(zero + s["last"] - t["written"][-1]) * 1000 for s, t in pairs])
    within([(t["received"] - zero - s["send"]) * 1000 for s, t in pairs])
    assert {(s["n_out"], s["n_in"], s["est"]) for s, _ in pairs} == {(16, 128, False)}
    means = {
        "ttft_service": [t["written"][0] - t["received"] for _, t in pairs],
        "e2e_service": [t["written"][-1] - t["received"] for _, t in pairs],
        "tpot": [(t["written"][-1] - t["written"][0]) / 15 for _, t in pairs],
    }
    for name, truths in means.items():
        metric = result["metrics"][name]
        assert metric["n"] == 40
        assert metric["mean"] == pytest.approx(statistics.fmean(truths) * 1000, abs=MEDIAN_MS)
        median = metric["percentiles"]["50"]
        assert median == pytest.approx(statistics.median(truths) * 1000, abs=MEDIAN_MS)


@pytest.mark.asyncio
async def test_server_keeps_its_promise(tmp_path: Path) -> None:
    """Tokens are written when they are due, not earlier, and lateness does not add up."""
    _, pairs = await measure(tmp_path, "openai-completions")
    late = [
        (written - due) * 1000
        for _, truth in pairs
        for due, written in zip(truth["scheduled"], truth["written"], strict=True)
    ]
    within(late)


@pytest.mark.asyncio
async def test_counts_and_rates(tmp_path: Path) -> None:
    """Throughput is successes and their tokens over the window from first schedule to last end."""
    result, pairs = await measure(tmp_path, "openai-completions")
    window = max(s["end"] for s, _ in pairs) - min(s["sched"] for s, _ in pairs)
    metrics = result["metrics"]
    assert result["times"]["window_s"] == pytest.approx(window, abs=1e-4)
    assert metrics["req_s"]["value"] == pytest.approx(40 / window, rel=1e-3)
    assert metrics["out_tok_s"]["value"] == pytest.approx(40 * 16 / window, rel=1e-3)
    assert metrics["error_rate"]["value"] == 0.0
    assert "ttft_sched" not in metrics  # a closed loop has no schedule
    assert metrics["ttft_service"]["percentiles"]["95"] is None  # 40 samples do not carry it
