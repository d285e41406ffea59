"""An LLM and a vector store in one recipe, measured together on a real Slurm."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from support.daemon import REPO, RunningDaemon
from support.reality import CHROMA
from support.realslurm import RealSlurm
from support.tiny_llm import write_model

SERVER = REPO / "tests" / "support" / "llm_server.py"

RECIPE = """\
name: rag
services:
  - name: tiny-llm
    kind: generic
    command: {python}
    args: [{server}, {model}, "$BENCHD_PORT"]
    ports: [auto]
    health_check: {{type: http, endpoint: /health, interval: 1}}
    resources: {{time: "00:05:00", cpus_per_task: 1}}
  - name: chroma
    command: "{chroma}"
    resources: {{time: "00:05:00", cpus_per_task: 1}}
    health_check: {{type: http, endpoint: /api/v2/heartbeat, interval: 1}}
client:
  name: rag-load
  target_services: [{{name: tiny-llm}}, {{name: chroma}}]
  resources: {{time: "00:05:00", cpus_per_task: 1}}
  parameters:
    {{model: tiny, requests: 24, concurrency: 2, prompt_tokens: 16, output_tokens: 4,
      documents: 200, document_tokens: 16, dimension: 32, k: 2}}
"""


@pytest.mark.real("slurm", "sshd", "xllamacpp", "chroma")
def test_documents_from_chroma_go_into_the_prompts(
    real_config: Callable[..., Path], real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """From the drop to the report: each answer has its search, and the whole is their sum."""
    model = tmp_path / "tiny.gguf"
    write_model(model)
    recipe = tmp_path / "rag.yaml"
    words = {"python": sys.executable, "server": SERVER, "model": model, "chroma": CHROMA}
    recipe.write_text(RECIPE.format(**words))
    with closing(RunningDaemon(real_config()).start()) as daemon:
        daemon.drop(recipe)
        run = daemon.wait_run()
        assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
        (result,) = daemon.ask("results", run["id"])["results"]
        assert run["id"] in (daemon.state / "runs" / run["id"] / "report.html").read_text()
    assert 24 == result["counts"]["ok"]
    metrics = {name: metric.get("mean") for name, metric in result["metrics"].items()}
    assert 0 < metrics["retrieval"] < metrics["ttft_rag"] < metrics["e2e_rag"]
    parts = metrics["retrieval"] + metrics["e2e_service"]
    assert metrics["e2e_rag"] == pytest.approx(parts, rel=0.1, abs=2.0)
    assert result["workload"]["documents"]["in_prompt"] == 2
