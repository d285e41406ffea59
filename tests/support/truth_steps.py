"""What must be true of loads that try one rate after another, as checks that a mutant must fail."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from support.truth import load, stream, truth

LLM = ("--output-tokens", "2", "--prompt-tokens", "8")


async def peak(home: Path, out: Path) -> None:
    """Check that the rate that is found is the one that the server can bear."""
    # Two at a time, 20 ms each: 100 a second, and of Poisson arrivals fewer within 100 ms.
    async with truth(lambda _: stream(0.02, tokens=1), slots=2) as (_, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "find-peak", "--rate", "20"),
            *("--step-time", "0.6", "--duration", "1", "--warmup", "4"),
            *("--slo", "ttft_sched_ms<=100"),
        )
    search = ran.result["workload"]["search"]
    found = search["peak_rate"]
    assert 40 <= found <= 115
    assert [step["rate"] for step in search["steps"]][:2] == [20, 40]
    assert max(step["rate"] for step in search["steps"] if step["good"]) == found
    assert min(step["rate"] for step in search["steps"] if not step["good"]) > found
    assert ran.result["metrics"]["peak_rate"]["value"] == found
    assert 0.5 * found <= len(ran.samples) <= 1.6 * found


async def saturation(home: Path, out: Path) -> None:
    """Check that each step is what its samples say, and the knee is where the server's is."""
    # Two at a time, 20 ms each: 100 a second, and less where the machine has other things to do.
    async with truth(lambda _: stream(0.02, tokens=1), slots=2) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "saturate", "--steps", "4"),
            *("--step-time", "0.4", "--concurrency", "12", "--arrivals", "constant"),
            *("--slo", "ttft_sched_ms<=200"),
        )
    steps, metrics = ran.result["workload"]["saturation"]["steps"], ran.result["metrics"]
    assert [step["kind"] for step in steps] == ["floor", "ceiling", *["rate"] * 4, "beyond"]
    for step in steps:
        name = f"step-{step['step']}"
        own, seen = ran.of_phase(name), [s.received for s in server.seen if s.phase == name]
        assert len(own) == len(seen) == step["scheduled"] == step["ok"] > 5
        begun = "send" if "concurrency" in step else "sched"
        said = step["metrics"]["ttft_service" if begun == "send" else "ttft_sched"]
        assert abs(said["mean"] - 1000 * statistics.fmean(s["first"] - s[begun] for s in own)) < 0.1
        window = max(s["end"] for s in own) - min(s["sched"] for s in own)
        assert math.isclose(step["metrics"]["req_s"]["value"], len(own) / window, rel_tol=1e-3)
        assert ("ttft_sched" in step["metrics"]) == ("rate" in step)
        if "rate" in step:
            arrived = (len(seen) - 1) / (max(seen) - min(seen))
            assert math.isclose(step["offered_rate"], arrived, rel_tol=0.1)
    # Nothing stands for all steps together but what was found.
    assert (ran.samples, {"hist", "percentiles"} & {k for m in metrics.values() for k in m}) == (
        [],
        set(),
    )
    found = {name: metric["value"] for name, metric in metrics.items()}
    assert 60 <= found["ceiling_rate"] <= 102
    assert 0.7 <= found["knee_rate"] / found["ceiling_rate"] <= 1.05
    assert 0.7 <= found["peak_rate"] / found["ceiling_rate"] <= 1.3
    assert ran.result["facts"]["ceiling_reached"] is True
    fair = [step["ok"] for step in steps if step["kind"] in ("floor", "rate")]
    assert ran.result["counts"]["scheduled"] == ran.result["counts"]["ok"] == sum(fair)
    assert len({s.prompt for s in server.seen}) == len(server.seen)
    # No step sends again what another one has sent: rows of a data set are used once.
    numbers = [s.index for s in server.seen if s.phase.startswith("step-")]
    assert sorted(numbers) == list(range(len(numbers)))
