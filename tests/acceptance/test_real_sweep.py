"""A sweep on the real thing that is interrupted half-way: every measurement once, none missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.daemon import RunningDaemon, until
from support.realslurm import RealSlurm

# Two keys, of which one names two paths: 2 x 3 points with 2 repeats are 12 measurements, on two
# services at once. Each is short, as what is tried is the way around it.
RECIPE = """\
name: sweep
service: {name: redis, resources: {time: "00:05:00", cpus_per_task: 1}}
client:
  name: bench
  kind: redis-benchmark
  target_service: {name: redis}
  resources: {time: "00:05:00", cpus_per_task: 1}
  parameters: {tests: set, requests: 1000}
sweep:
  service.parameters.persistence: [none, aof]
  "client.parameters.clients, client.parameters.pipeline": [[1, 1], [4, 8], [8, 16]]
repeat: 2
"""
MEASUREMENTS = 12


@pytest.mark.real("slurm", "sshd", "redis-server", "redis-benchmark")
def test_a_sweep_survives_a_killed_daemon(
    real_config: Callable[..., Path], real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """SIGKILL when half is home: 12 valid results, of 12 Slurm jobs that each ran once."""
    recipe = tmp_path / "sweep.yaml"
    recipe.write_text(RECIPE)
    daemon = RunningDaemon(real_config()).start()
    try:
        daemon.drop(recipe)
        until(lambda: len(_done(daemon)) >= MEASUREMENTS // 2, 60.0, "half is home")
        daemon.kill()
        early = len(_done(daemon.start()))
        assert early < MEASUREMENTS, "it was over before the daemon was killed"
        run = daemon.wait_run()
        assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
        results = daemon.ask("results", run["id"])["results"]
        jobs = [job for job in daemon.jobs() if job["role"] == "client"]
    finally:
        daemon.close()
    told = [(each["repeat"], *each["cell"].values()) for each in results]
    axes = [(kept, *pair) for kept in ("none", "aof") for pair in ((1, 1), (4, 8), (8, 16))]
    assert sorted((repeat, *axis) for repeat in (0, 1) for axis in axes) == sorted(told)
    assert [True] * MEASUREMENTS == [each["validity"]["valid"] for each in results]
    assert all(_is_known(each["provenance"]) for each in results)
    tokens = sorted(job["token"] for job in jobs)
    assert sorted(each["job"] for each in results) == tokens
    assert dict.fromkeys(tokens, 1) == {name: len(real_slurm.sacct(name)) for name in tokens}


def _done(daemon: RunningDaemon) -> list[str]:
    """Return the measurements that are over."""
    return [
        j["token"] for j in daemon.jobs() if j["role"] == "client" and j["state"] == "COMPLETED"
    ]


def _is_known(origin: dict[str, Any]) -> bool:
    """Tell whether a result says on which nodes, of which version, what was asked for and given."""
    roles = [node["role"] for node in origin["hardware"] if node["cores"] and node["kernel"]]
    hashes = len({origin["recipe"]["sha256"], origin["recipe"]["resolved_sha256"]})
    jobs = [origin["cluster"][job] for job in ("service_job", "client_job")]
    cost = [job[key] for job in jobs for key in ("id", "tres", "billing")]
    place = origin["cluster"]["partition"]
    return ["service", "client"] == roles and hashes == 2 and all((*cost, place))
