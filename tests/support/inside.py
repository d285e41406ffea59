"""A daemon in this process on an embedded cluster: faults can be injected and rows looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchd.app import Daemon
from benchd.config import Settings
from benchd.core.model import Job, Run
from benchd.core.spec import Role
from benchd.sim import EmbeddedCluster
from benchd.sim.serve import configuration
from support.near import until

# Seconds a step of the story may take before the test says that it does not come.
PATIENCE = 30.0

RECIPE = """\
name: tiny
service:
  name: sim-llm
  ports: [auto]
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters: {ttft_ms: 2, tpot_ms: 1}
  health_check: {type: http, endpoint: /health, interval: 0.2, timeout: 2}
client:
  name: llm-load
  resources: {cpus_per_task: 1, time: "00:05:00"}
  target_service: {name: sim-llm}
  parameters: {requests: 40, concurrency: 4, output_tokens: 4, warmup: 2}
"""

# The same with a client that takes as long as it is let: a command that waits.
WAITING = """\
name: waiting
service:
  name: sim-llm
  ports: [auto]
  resources: {cpus_per_task: 1, time: "00:05:00"}
  health_check: {type: http, endpoint: /health, interval: 0.2, timeout: 2}
  restart: {policy: on-failure, max_attempts: 2, requeue: true, back_off: 0.1}
client:
  name: hold
  kind: generic
  command: sleep
  args: ["300"]
  resources: {cpus_per_task: 1, time: "00:10:00"}
  target_service: {name: sim-llm}
"""


class Inside:
    """The daemon, its cluster, and the questions tests ask."""

    def __init__(self, daemon: Daemon, cluster: EmbeddedCluster) -> None:
        self.daemon = daemon
        self.cluster = cluster

    def drop(self, text: str, name: str = "tiny.yaml") -> None:
        """Put a recipe into the inbox."""
        (self.daemon.state_dir / "inbox" / name).write_text(text)

    async def job(self, role: Role) -> Job | None:
        """Return the newest job of a role."""
        jobs = [j for j in await self.daemon.store.jobs() if j.role is role]
        return jobs[-1] if jobs else None

    async def jobs(self) -> dict[str, Job]:
        """Return all jobs by token."""
        return {job.token: job for job in await self.daemon.store.jobs()}

    async def turn(self) -> None:
        """Let the daemon work for a moment."""
        await asyncio.sleep(0.02)  # the story goes on in the same loop

    async def wait_job(self, role: Role, **fields: object) -> Job:
        """Wait until the newest job of a role has these fields."""
        async with asyncio.timeout(PATIENCE):
            while True:
                job = await self.job(role)
                if job is not None and all(getattr(job, k) == v for k, v in fields.items()):
                    return job
                await self.turn()

    async def wait_run(self) -> Run:
        """Wait until the newest run is over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                runs = await self.daemon.store.runs()
                if runs and runs[0].outcome is not None:
                    return runs[0]
                await self.turn()

    def accepted(self, token: str) -> int:
        """Return how many Slurm jobs there ever were of this name."""
        return len(self.cluster.jobs(token))


def settings_for(cluster: EmbeddedCluster, home: Path, **over: object) -> Settings:
    """Return the configuration ``benchd sim`` would write, faster, without TCP."""
    values = configuration(cluster, home / "control.sock")
    clusters = values["clusters"]
    assert isinstance(clusters, dict)
    clusters["sim"] |= {"poll": {"interval": 0.3, "floor": 0.1}, **over}
    return Settings.model_validate(
        {**values, "state_dir": str(home / "state"), "http": None, "scan_interval": 0.05},
        strict=False,
    )


@asynccontextmanager
async def daemon_on(cluster: EmbeddedCluster, home: Path, **over: object) -> AsyncIterator[Inside]:
    """Run a daemon until the block ends; its own failure fails the test."""
    async with working(Daemon(settings_for(cluster, home, **over)), cluster) as inside:
        yield inside


@asynccontextmanager
async def working(made: Daemon, cluster: EmbeddedCluster) -> AsyncIterator[Inside]:
    """Run a daemon that was made otherwise, as ``daemon_on`` does."""
    async with made as daemon, asyncio.TaskGroup() as group:
        running = group.create_task(daemon.run(), name="daemon")
        await until((daemon.state_dir / "inbox").is_dir)
        try:
            yield Inside(daemon, cluster)
        finally:
            daemon.stop()
            await running
