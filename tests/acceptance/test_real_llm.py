"""A real streaming LLM server, measured through Slurm: every layer but the size of the model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import REPO, RunningDaemon
from support.realslurm import RealSlurm
from support.tiny_llm import write_model

SERVER = REPO / "tests" / "support" / "llm_server.py"

RECIPE = """\
name: tiny-llm
service:
  name: tiny-llm
  kind: generic
  command: {python}
  args: [{server}, {model}, "$BENCHD_PORT"]
  ports: [auto]
  health_check: {{type: http, endpoint: /health, interval: 1}}
  resources: {{time: "00:05:00", cpus_per_task: 1}}
client:
  name: load
  kind: llm-load
  target_service: {{name: tiny-llm}}
  resources: {{time: "00:05:00"}}
  parameters: {{api: openai-chat, model: tiny, requests: 48, concurrency: 4, output_tokens: 16}}
"""


@pytest.mark.real("slurm", "sshd", "xllamacpp")
def test_a_real_llm_server_is_measured_through_slurm(
    real_config: Callable[..., Path], real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """llama.cpp's own server with random weights: tokens stream, and TTFT comes home."""
    model = tmp_path / "tiny.gguf"
    write_model(model)
    recipe = tmp_path / "tiny-llm.yaml"
    recipe.write_text(RECIPE.format(python=sys.executable, server=SERVER, model=model))
    daemon = RunningDaemon(real_config()).start()
    try:
        daemon.drop(recipe)
        run = daemon.wait_run()
        assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
        result = daemon.ask("results", run["id"])["results"][0]
    finally:
        daemon.close()
    assert result["counts"]["ok"] == 48
    assert result["metrics"]["ttft_service"]["percentiles"]["50"] > 0
    assert result["metrics"]["out_tok_s"]["value"] > 0
    # its own counters: every token that came, and every token of a prompt, computed or cached
    delta = result["server_metrics"]["delta"]
    assert delta["llamacpp:tokens_predicted_total"] == 48 * 16
    assert delta["llamacpp:prompt_tokens_cached_total"] > 0
    codes = {flag["code"] for flag in result["validity"]["flags"]}
    assert not codes & {"token_mismatch", "not_cross_checked", "server_restarted"}
