"""Sweeps on the embedded cluster: what fails, what is measured again, services made anew."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from benchd.core.model import JobState, RunOutcome
from benchd.core.numbers import Metric
from benchd.core.results import Measured
from benchd.core.spec import Role
from support.inside import Inside

pytestmark = pytest.mark.asyncio

# Point 1 leaves a number that is none, point 2 fails; until `mended` lies in the workdir.
SWEEP = """\
name: sweep
client:
  name: count
  kind: generic
  command: sh
  args: ["-c", 'cd $BENCHD_RESULT_DIR; [ -e ../../../../../mended ] || case $POINT in
    1) echo "{\\"metrics\\": {\\"x\\": {\\"value\\": NaN, \\"unit\\": \\"s\\"}}}" >metrics.json ;;
    2) exit 3 ;; esac']
  resources: {cpus_per_task: 1, time: "00:05:00"}
sweep: {client.environment.POINT: ["0", "1", "2", "3"]}
"""
# Two measurements, of which each gets a service of its own.
FRESH = """\
name: fresh
service:
  name: sim-llm
  ports: [auto]
  fresh: measurement
  resources: {cpus_per_task: 1, time: "00:05:00"}
  health_check: {type: http, endpoint: /health, interval: 0.2, timeout: 2}
client:
  name: look
  kind: generic
  command: "true"
  resources: {cpus_per_task: 1, time: "00:05:00"}
  target_service: {name: sim-llm}
repeat: 2
"""


async def results(inside: Inside) -> list[dict[str, Any]]:
    """Return the results of all runs, oldest first."""
    return [json.loads(text) for text in await inside.daemon.store.results()]


async def test_a_retried_sweep_measures_only_what_is_missing(inside: Inside) -> None:
    """A failed point stops no other; what failed or is not valid is measured again, once."""
    inside.drop(SWEEP)
    run = await inside.wait_run()
    assert RunOutcome.FAILED is run.outcome
    valid = {each["cell"]["POINT"]: each["validity"]["valid"] for each in await results(inside)}
    assert {"0": True, "1": False, "2": False, "3": True} == valid
    (place,) = [site.cluster for site in inside.daemon.sites.values()]
    mended = (await place.open()).workdir + "/mended"
    await place.remote.run(f"touch {mended}", op="put")
    await inside.daemon.steering.retry(run.id)
    assert RunOutcome.PASSED is (await inside.wait_run()).outcome
    counted = [(j.point, j.attempt) for j in (await inside.jobs()).values()]
    assert [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] == sorted(counted)


async def test_a_sweep_that_stops_on_failure_starts_nothing_more(inside: Inside) -> None:
    """The points after the failed one are never sent, and say why."""
    inside.drop(SWEEP.replace('"1", "2"', '"2"') + "stop_on_failure: true\ncluster: sim\n")
    (site,) = inside.daemon.sites.values()
    site.pacing.max_jobs = 1
    run = await inside.wait_run()
    assert RunOutcome.FAILED is run.outcome
    assert (run.why or "").startswith("client count FAILED")
    jobs = sorted((await inside.jobs()).values(), key=lambda job: job.point)
    ends = [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]
    assert ends == [job.state for job in jobs]
    assert [1, 1, 0] == [inside.accepted(job.token) for job in jobs]
    assert "stop_on_failure: count of point 1, repeat 0 ended FAILED" in (jobs[2].detail or "")


async def test_each_measurement_has_a_service_of_its_own(inside: Inside) -> None:
    """One after the other: the second service begins when the first has ended."""
    inside.drop(FRESH)
    assert RunOutcome.PASSED is (await inside.wait_run()).outcome
    jobs = (await inside.jobs()).values()
    services = [job for job in jobs if job.role is Role.SERVICE]
    clients = [job for job in jobs if job.role is Role.CLIENT]
    assert [s.token for s in services] == [c.bindings[0].token for c in clients]
    first, second = services
    assert (first.ended_at or 0) <= (second.submitted_at or 0)


async def test_a_result_that_fits_no_schema_is_kept_as_it_came(inside: Inside) -> None:
    """It is invalid and says so; the run ends, and what the client left is at home."""
    closing = inside.daemon.steering.performing.closing
    kind = closing.catalog.clients["generic"]
    broken = replace(kind, parse=lambda _files, _spec: Measured(metrics={"x": cast("Metric", "9")}))
    closing.catalog = replace(closing.catalog, clients={"generic": broken})
    inside.drop(SWEEP.replace('"0", "1", "2", "3"', '"1"'))
    run = await inside.wait_run()
    assert RunOutcome.INVALID is run.outcome
    (result,) = await results(inside)
    assert "malformed" in [flag["code"] for flag in result["validity"]["flags"]]
    raw = inside.daemon.archive.folder(run.id) / "raw"
    assert ["metrics.json"] == [path.name for path in raw.rglob("metrics.json")]
