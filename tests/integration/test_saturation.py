"""A load that goes to saturation, from the recipe to the report."""

from __future__ import annotations

import gzip
import json
import re

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
    phases = [json.loads(line)["phase"] for line in raw.splitlines()]
    told = {f"step-{n}": phases.count(f"step-{n}") for n in range(len(steps))}
    assert told == {f"step-{step['step']}": step["scheduled"] for step in steps}
    assert min(told.values()) > 0
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    drawn = re.findall(r"<figcaption>([^<]+)", page[page.index("Step by step") :])
    assert drawn[:2] == ["Answered", "TTFT, scheduled p50"]
    assert "## Step by step" in text
