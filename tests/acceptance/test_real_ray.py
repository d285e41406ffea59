"""Ray on two nodes of a real Slurm, as the kind vllm starts it; vLLM itself needs a GPU.

In the place of vLLM, on the first node, stands llama.cpp's server with random weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.daemon import REPO, RunningDaemon
from support.reality import where_ray_is
from support.realslurm import RealSlurm
from support.tiny_llm import write_model

SERVER = REPO / "tests" / "support" / "llm_server.py"

RECIPE = """\
name: two-nodes
service:
  name: spread
  kind: vllm
  # what follows the last word of the command is for vLLM, and nobody reads it here
  command: bash -c 'exec {python} {server} {model} $BENCHD_PORT' in-the-place-of-vllm
  resources: {{time: "00:05:00", nodes: 2, cpus_per_task: 1}}
  environment: {{PATH: "{path}"}}
  parameters: {{model: tiny}}
  health_check: {{interval: 1}}
client:
  name: load
  kind: llm-load
  target_service: {{name: spread}}
  resources: {{time: "00:05:00"}}
  parameters: {{requests: 8, concurrency: 2, output_tokens: 4}}
"""


def processes_of(token: str) -> list[str]:
    """Return the command lines of a job's processes on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"BENCHD_TOKEN={token}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


@pytest.mark.heavy
@pytest.mark.real("slurm", "sshd", "xllamacpp", "ray")
def test_ray_spreads_over_the_nodes_of_a_job_and_ends_with_it(
    real_config: Callable[..., Path], real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """Both nodes join before the server starts, it is measured, and nothing of Ray is left."""
    model = tmp_path / "tiny.gguf"
    write_model(model)
    recipe = tmp_path / "two-nodes.yaml"
    path = f"{Path(where_ray_is() or '').parent}:/usr/bin:/bin"
    text = RECIPE.format(python=sys.executable, server=SERVER, model=model, path=path)
    recipe.write_text(text)
    daemon = RunningDaemon(real_config()).start()
    try:
        daemon.drop(recipe)
        run = daemon.wait_run()
        assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
        service = next(job for job in daemon.ask("jobs")["jobs"] if job["name"] == "spread")
        said = daemon.ctl("logs", service["token"], "--stderr").stdout
        result = daemon.ask("results", run["id"])["results"][0]
    finally:
        daemon.close()
    assert result["counts"]["ok"] == 8
    assert "benchd: 2 nodes joined Ray" in said
    assert processes_of(service["token"]) == []
