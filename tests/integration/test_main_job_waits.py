"""A job that Slurm does not start: what the daemon shows, counts and logs of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from benchd.core.model import JobState
from benchd.core.spec import Role
from support.inside import Inside

pytestmark = pytest.mark.asyncio

DOWN = """\
service:
  name: web
  kind: generic
  command: sleep 60
  resources: {time: "00:05:00", partition: down}
"""


async def test_a_job_in_a_dead_partition_is_told_of(inside: Inside) -> None:
    """It is counted by the class of its reason, and logged once with what helps."""
    with capture_logs() as logs:
        inside.drop(DOWN)
        job = await inside.wait_job(Role.SERVICE, state=JobState.PENDING, reason="PartitionDown")
        for _ in range(2):
            await inside.daemon.gauges.draw()
    text = inside.daemon.metrics.render().decode()
    line = f'benchd_jobs_waiting{{cluster="{job.cluster}",reason_class="infrastructure"}} 1.0'
    assert line in text.splitlines()
    told = [event for event in logs if event["event"] == "job.blocked"]
    assert [(job.token, "PartitionDown")] == [(event["job"], event["reason"]) for event in told]
    assert "the partition down is down" in told[0]["advice"]
