"""What a result says of where and under whose eyes it was measured, on the embedded cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchd.core.model import JobState
from benchd.core.spec import Role
from benchd.sim import Config, EmbeddedCluster
from support.inside import WAITING, Inside, daemon_on

pytestmark = pytest.mark.asyncio

# The client takes two seconds; its service is looked at five times a second.
SHORT = WAITING.replace('["300"]', '["2"]').replace("timeout: 2}", "timeout: 0.2}")


async def result_of(inside: Inside) -> dict[str, Any]:
    """Wait until there is a result and return it."""
    await inside.wait_run()
    (document,) = await inside.daemon.store.results()
    found: dict[str, Any] = json.loads(document)
    return found


async def test_what_a_measurement_cost_is_known_without_a_question(tmp_path: Path) -> None:
    """The polls tell resources, time and energy: the client's in its result, all in the report."""
    config = Config(node_watts=250.0)
    async with (
        EmbeddedCluster(tmp_path / "sim", config=config) as slurm,
        daemon_on(slurm, tmp_path) as inside,
    ):
        inside.drop(SHORT)
        result = await result_of(inside)
        jobs = [result["provenance"]["cluster"][f"{role}_job"] for role in ("service", "client")]
        assert ["billing=1,cpu=1,mem=100M,node=1"] * 2 == [job["tres"] for job in jobs]
        assert [(1.0, True), (1.0, None)] == [(j["billing"], j.get("running")) for j in jobs]
        served, measured = jobs
        assert served["elapsed_s"] >= measured["elapsed_s"] >= 2.0
        assert pytest.approx(measured["elapsed_s"] / 3600, abs=1e-6) == measured["billing_hours"]
        assert ("energy_j" in served, measured["energy_j"] >= 500) == (False, True)
        service = await inside.job(Role.SERVICE)
        assert service is not None
        assert service.used is not None
        total = (service.used.energy_j or 0) + measured["energy_j"]
        assert total > measured["energy_j"]
        report = inside.daemon.state_dir / "runs" / service.run_id / "report.md"
        assert f"charged.energy\\_j: {total}\n" in report.read_text()
        assert 0 == slurm.calls.get("sacct", 0)


async def test_seconds_without_the_daemon_are_told_by_the_next_one(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """Nobody looked at the service while it was measured: the numbers stand, with a warning."""
    async with daemon_on(slurm, tmp_path) as first:
        first.drop(SHORT)
        client = await first.wait_job(Role.CLIENT, state=JobState.RUNNING)
    while slurm.jobs(client.token)[0].base != "COMPLETED":
        await first.turn()
    async with daemon_on(slurm, tmp_path) as second:
        validity = (await result_of(second))["validity"]
        history = await second.daemon.store.transitions(client.bindings[0].token)
    assert any("; nobody had looked for" in row.evidence.raw for row in history)
    (flag,) = [each for each in validity["flags"] if each["code"] == "service_not_observed"]
    limit = pytest.approx(0.6)
    assert ("warn", limit, True) == (flag["severity"], flag["limit"], validity["valid"])
    assert 0.6 < flag["value"] < 4.0
    assert "nobody looked at sim-llm" in flag["detail"]
