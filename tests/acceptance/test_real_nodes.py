"""Several load generators on several nodes of a real Slurm: one start, one result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from benchd.core.hostlist import expand
from support.daemon import RunningDaemon
from support.realslurm import RealSlurm

pytestmark = pytest.mark.real("slurm", "sshd")

RECIPE = """\
name: nodes
service:
  name: sim-llm
  replicas: 2
  ports: [auto]
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters: {ttft_ms: 5, tpot_ms: 1}
  health_check: {type: http, endpoint: /health, interval: 0.5, timeout: 2}
client:
  name: llm-load
  nodes: 2
  resources: {cpus_per_task: 1, time: "00:05:00"}
  target_service: {name: sim-llm}
  parameters: {requests: 81, concurrency: 5, output_tokens: 4, warmup: 4}
"""


def test_two_nodes_load_together(
    real_config: Callable[..., Path], real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """Two nodes of one job share users and requests, begin together, and leave one valid result."""
    recipe = tmp_path / "nodes.yaml"
    recipe.write_text(RECIPE)
    with closing(RunningDaemon(real_config()).start()) as daemon:
        daemon.drop(recipe)
        run = daemon.wait_run()
        assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
        (result,) = daemon.ask("results", run["id"])["results"]
        client = daemon.job("client")
    assert [row["NodeList"] for row in real_slurm.sacct(client["token"])] == [client["nodes"]]
    nodes = result["provenance"]["client"]["nodes"]
    assert [(0, 41), (1, 40)] == [(node["index"], node["ok"]) for node in nodes]
    assert 2 == len(expand(client["nodes"]))
    assert (81, 81) == (result["counts"]["scheduled"], result["counts"]["ok"])
    assert 81 == result["metrics"]["e2e_service"]["n"]
    assert 81 == sum(row["ok"] for row in result["provenance"]["service"]["targets"])
    assert {"nodes_missing", "start_spread"}.isdisjoint(
        flag["code"] for flag in result["validity"]["flags"]
    )
