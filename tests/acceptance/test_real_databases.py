"""Databases of one user on one node of a real Slurm, several of a kind at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import RunningDaemon
from support.realslurm import RealSlurm

# Two of each on one node. The last client waits for both of a kind, so neither ends before that.
TWO_OF_EACH = """\
name: two-of-each
services:
  - name: mysql-a
    kind: mysql
    secrets: {MYSQL_ROOT_PASSWORD: {generate: 24}}
    init_script: "CREATE DATABASE shop; CREATE TABLE shop.t (a INT);"
    resources: {cpus_per_task: 1, time: "00:05:00", nodelist: n1}
    health_check: {type: mysql, interval: 1}
  - name: mysql-b
    kind: mysql
    secrets: {MYSQL_ROOT_PASSWORD: {generate: 24}}
    storage: local
    resources: {cpus_per_task: 1, time: "00:05:00", nodelist: n1}
    health_check: {type: mysql, interval: 1}
  - name: redis-a
    kind: redis
    parameters: {persistence: both}
    resources: {cpus_per_task: 1, time: "00:05:00", nodelist: n2}
    health_check: {type: redis, interval: 1}
  - name: redis-b
    kind: redis
    parameters: {persistence: both}
    resources: {cpus_per_task: 1, time: "00:05:00", nodelist: n2}
    health_check: {type: redis, interval: 1}
clients:
  - name: sysbench-a
    kind: sysbench
    target_service: {name: mysql-a}
    duration: 2
    parameters: {tables: 2, table_size: 1000, threads: 2, warmup: 0}
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
  - name: sysbench-b
    kind: sysbench
    target_service: {name: mysql-b}
    duration: 2
    parameters: {tables: 2, table_size: 1000, threads: 2, warmup: 0, rate: 100}
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
  - name: bench-a
    kind: redis-benchmark
    target_service: {name: redis-a}
    parameters: {requests: 5000}
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
  - name: bench-b
    kind: redis-benchmark
    target_service: {name: redis-b}
    parameters: {requests: 5000}
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
  - name: both-mysql
    kind: generic
    command: sleep 1
    target_services: [{name: mysql-a}, {name: mysql-b}]
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
  - name: both-redis
    kind: generic
    command: sleep 1
    target_services: [{name: redis-a}, {name: redis-b}]
    resources: {cpus_per_task: 1, time: "00:05:00", exclude: "n1,n2"}
"""


@pytest.fixture
def daemon(real_config: Callable[..., Path]) -> Iterator[RunningDaemon]:
    """Start a daemon on the real cluster."""
    running = RunningDaemon(real_config()).start()
    yield running
    running.close()


def measured(daemon: RunningDaemon, folder: Path, text: str) -> dict[str, dict[str, Any]]:
    """Run a recipe; return the metrics of each client, once all of them are valid."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(text)
    daemon.drop(recipe)
    run = daemon.wait_run()
    assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
    results = daemon.state / "runs" / run["id"] / "results"
    found = {}
    for path in results.iterdir():
        result = json.loads(path.read_text())
        assert result["validity"]["valid"], result["validity"]
        found[result["job"].split("-c-")[1].split("-p0r0")[0]] = result["metrics"]
    assert run["id"] in (daemon.state / "runs" / run["id"] / "report.html").read_text()
    return found


@pytest.mark.real("slurm", "sshd", "mariadb", "sysbench", "redis-server", "redis-benchmark")
def test_two_of_each_on_one_node_do_not_meet(
    daemon: RunningDaemon, real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """Two MySQLs and two Redis of one user on one node, two at once: none meets the other."""
    found = measured(daemon, tmp_path, TWO_OF_EACH)
    both = {"both-mysql", "both-redis"}
    assert {"sysbench-a", "sysbench-b", "bench-a", "bench-b"} | both == set(found)
    assert found["sysbench-a"]["latency_service"]["percentiles"]["99"] > 0
    assert found["sysbench-b"]["latency_sched"]["percentiles"]["50"] > 0
    assert found["sysbench-b"]["ops_s"]["value"] == pytest.approx(100, rel=0.5)
    services = [job for job in daemon.jobs() if job["role"] == "service"]
    for kind, node in (("mysql", "n1"), ("redis", "n2")):
        assert [node] * 2 == [job["nodes"] for job in services if job["kind"] == kind]
        times = [job["times"] for job in services if job["kind"] == kind]
        assert max(each["ready"] for each in times) < min(each["ended"] for each in times), times
