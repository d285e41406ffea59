"""A load that goes to saturation, from the recipe to the report."""

from __future__ import annotations

import gzip
import json
import re
from statistics import median
from typing import Any

import pytest

from benchd.core.results import Result
from support.inside import Inside

RECIPE = """\
name: steps
service:
  name: sim-llm
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters: {ttft_ms: 20.0, tpot_ms: 1.0, parallel: 2}
  health_check: {interval: 0.2s}
client:
  name: llm-load
  target_service: {name: sim-llm}
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters:
    {load: saturate, steps: 3, step_time: 0.4, concurrency: 8, output_tokens: 4, arrivals: constant}
"""


def numbers(row: str) -> tuple[float, ...]:
    """Return answers a second, errors and the median of a step as the report has them."""
    cells = row.split(" | ")
    return float(cells[3]), float(cells[5]), float(cells[6])


def reckoned(own: list[dict[str, Any]], due: str) -> tuple[float, ...]:
    """Return the same from the samples of a step; those of users who wait have no schedule."""
    good = [s for s in own if s["status"] == "ok"]
    window = max(s["end"] for s in own) - min(s["sched"] for s in own)
    times = [1000 * (s["first"] - s[due]) for s in good]
    return len(good) / window, len(own) - len(good), median(times)


@pytest.mark.asyncio
async def test_from_recipe_to_report(inside: Inside) -> None:
    """The result has what was found and every step, and the report draws both."""
    inside.drop(RECIPE)
    run = await inside.wait_run()
    folder = inside.daemon.state_dir / "runs" / run.id
    (path,) = (folder / "results").glob("*.json")
    result = Result.model_validate_json(path.read_text())
    assert {"peak_rate", "knee_rate", "ceiling_rate"} == set(result.metrics)
    assert all(metric.percentiles is None for metric in result.metrics.values())
    steps = result.model_dump()["workload"]["saturation"]["steps"]
    raw = gzip.decompress((folder / "raw" / result.job / "result/samples.jsonl.gz").read_bytes())
    lines = [json.loads(line) for line in raw.splitlines()]
    of_step = [[s for s in lines if s["phase"] == f"step-{n}"] for n in range(len(steps))]
    assert [len(own) for own in of_step] == [step["scheduled"] for step in steps]
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    drawn = re.findall(r"<figcaption>([^<]+)", page[page.index("Step by step") :])
    assert drawn[:2] == ["Answered", "TTFT, scheduled p50"]
    table = re.findall(r"^\| 0 \| (.*) \|$", text[text.index("## Step by step") :], re.MULTILINE)
    due = ["send", "send", *["sched"] * 4]
    wanted = [reckoned(own, since) for own, since in zip(of_step, due, strict=True)]
    assert [numbers(row) for row in table] == [pytest.approx(each, rel=2e-3) for each in wanted]
