"""Replicas, places and several nodes: recipes from the drop to the end, on the embedded cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchd.core.model import CancelWhy, Job, JobState, Readiness, RunOutcome
from benchd.core.spec import Role
from benchd.sim import EmbeddedCluster
from support.inside import PATIENCE, Inside, daemon_on

pytestmark = pytest.mark.asyncio

_SERVICE = """\
service:
  name: sim-llm
  ports: [auto]
  {more}
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  parameters: {{ttft_ms: 2, tpot_ms: 1}}
  health_check: {{type: http, endpoint: /health, interval: 0.2, timeout: 2}}
"""
_LOAD = """\
client:
  name: llm-load
  {more}
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  target_service: {{name: sim-llm}}
  parameters: {{requests: 40, concurrency: 4, output_tokens: 4, warmup: 2}}
"""
# Measurements that take as long as they are let: each waits for a file of its own name.
_HOLD = """\
client:
  name: hold
  kind: generic
  command: bash
  args: ["-c", "until [ -e {gate}/$BENCHD_TOKEN ]; do sleep 0.05; done"]
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  target_service: {{name: sim-llm}}
repeat: 3
"""


def recipe(service: str = "", client: str = "") -> str:
    """Return a recipe with more keys of the service and of its client."""
    return _SERVICE.format(more=service) + _LOAD.format(more=client)


async def until_jobs(inside: Inside, holds: Callable[[list[Job]], bool]) -> list[Job]:
    """Wait until something holds of all jobs; return them."""
    async with asyncio.timeout(PATIENCE):
        while True:
            jobs = list((await inside.jobs()).values())
            if holds(jobs):
                return jobs
            await inside.turn()


def of(jobs: list[Job], role: Role) -> list[Job]:
    """Return the jobs of a role."""
    return [job for job in jobs if job.role is role]


def said(home: Path, job: Job) -> str:
    """Return what a job wrote."""
    (file,) = home.glob(f"**/jobs/{job.token}/*.out")
    return file.read_text()


async def test_a_client_spreads_over_all_replicas(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """The load generator has work for every replica, more for quick ones, and tells how much."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(recipe(service="replicas: 3"))
        run = await inside.wait_run()
        (document,) = await inside.daemon.store.results()
        jobs = list((await inside.jobs()).values())
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    client, services = of(jobs, Role.CLIENT)[0], of(jobs, Role.SERVICE)
    assert {job.token for job in services} == {b.token for b in client.bindings}
    rows = json.loads(document)["provenance"]["service"]["targets"]
    shares = [row["ok"] for row in rows]
    assert 40 == sum(shares)
    assert min(shares) >= 8  # 13 are even; whoever has the fewest in flight is asked next


async def test_load_generators_of_two_nodes_share_the_work(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """The embedded cluster starts a process for each node, and their samples make one result."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(recipe(client="nodes: 2"))
        run = await inside.wait_run()
        (document,) = await inside.daemon.store.results()
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    nodes = json.loads(document)["provenance"]["client"]["nodes"]
    assert [(0, 20), (1, 20)] == [(node["index"], node["ok"]) for node in nodes]


@pytest.mark.parametrize("placement", ["same-node", "other-node"])
async def test_a_client_runs_where_it_is_placed(
    slurm: EmbeddedCluster, tmp_path: Path, placement: str
) -> None:
    """A client is on its service's node, or on another, whatever Slurm would have chosen."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(recipe(client=f"placement: {placement}"))
        run = await inside.wait_run()
        jobs = list((await inside.jobs()).values())
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    client, service = of(jobs, Role.CLIENT)[0], of(jobs, Role.SERVICE)[0]
    assert (placement == "same-node") == (client.nodes == service.nodes)
    request = slurm.jobs(client.token)[0].request
    asked = (request.nodelist, request.exclude)
    there = (service.nodes,)
    assert ((there, ()) if placement == "same-node" else ((), there)) == asked


async def test_a_client_waits_for_the_service_of_another_run(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A recipe of a client alone measures the service of a run that is dropped after it."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(_LOAD.format(more=""), "client.yaml")
        await until_jobs(inside, lambda jobs: len(jobs) == 1)
        inside.drop(_SERVICE.format(more=""), "service.yaml")
        jobs = await until_jobs(inside, lambda jobs: of(jobs, Role.CLIENT)[0].collected_at)
    client, service = of(jobs, Role.CLIENT)[0], of(jobs, Role.SERVICE)[0]
    assert client.run_id != service.run_id
    assert [service.token] == [binding.token for binding in client.bindings]
    assert (JobState.COMPLETED, JobState.RUNNING) == (client.state, service.state)


async def test_a_client_measures_two_services(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """A client of two services starts when both answer, and is told where both are."""
    service = yaml.safe_load(_SERVICE.format(more=""))["service"]
    client = {
        "name": "ask",
        "kind": "generic",
        "command": "bash",
        "args": ["-c", "echo $BENCHD_TARGETS and $BENCHD_TARGET_STORE_URL"],
        "resources": service["resources"],
        "target_services": [{"name": "sim-llm"}, {"name": "store"}],
    }
    parts = [service, {**service, "name": "store", "kind": "sim-llm"}]
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(json.dumps({"services": parts, "client": client}))
        run = await inside.wait_run()
        jobs = list((await inside.jobs()).values())
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    (job,) = of(jobs, Role.CLIENT)
    assert ["sim-llm", "store"] == [binding.name for binding in job.bindings]
    llm, store = (f"{binding.host}:{binding.ports[0]}" for binding in job.bindings)
    assert f"{llm} and http://{store}\n" == said(tmp_path, job)


async def test_replicas_follow_what_waits(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """Three measurements that wait bring a service from one replica to three, and then to one."""
    gate = tmp_path / "gate"
    gate.mkdir()
    scale = "replicas: {min: 1, max: 3, scale_up_after: 0.2, scale_down_after: 0.5}"
    text = _SERVICE.format(more=scale) + _HOLD.format(gate=gate)

    def live(jobs: list[Job]) -> set[int]:
        return {job.replica for job in of(jobs, Role.SERVICE) if not job.is_terminal}

    def measuring(jobs: list[Job]) -> list[Job]:
        return [job for job in of(jobs, Role.CLIENT) if job.state is JobState.RUNNING]

    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(text)
        jobs = await until_jobs(inside, lambda jobs: len(measuring(jobs)) == 3)
        number = {job.token: job.replica for job in jobs}
        by_replica = {number[b.token]: job for job in measuring(jobs) for b in job.bindings}
        assert {0, 1, 2} == set(by_replica)
        assert {Readiness.READY} == {job.readiness for job in of(jobs, Role.SERVICE)}
        for replica in (1, 2):
            (gate / by_replica[replica].token).touch()
        await until_jobs(inside, lambda jobs: live(jobs) == {0})
        (gate / by_replica[0].token).touch()
        run = await inside.wait_run()
        services = of(list((await inside.jobs()).values()), Role.SERVICE)
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    assert [(0, 1), (1, 1), (2, 1)] == sorted((job.replica, job.attempt) for job in services)
    assert {(JobState.CANCELLED, CancelWhy.DONE)} == {(j.state, j.cancel_why) for j in services}
