"""A real Prometheus in a job is told of services as they come and go; companions cost nothing."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from benchd.core.model import Job
from support.inside import PATIENCE, Inside

QUICK = "{type: tcp, interval: 0.2, timeout: 2, retries: 100}"
READY = QUICK.replace("type: tcp", "type: http, endpoint: /-/ready")
# Ten scrapes in the time of one, so that a test need not wait for rates.
WATCHING = f"""\
name: watching
services:
  - name: redis
    exporters: [redis]
    enable_cadvisor: true
    secrets: {{REDIS_PASSWORD: {{generate: 24}}}}
    health_check: {{type: redis, interval: 0.2, timeout: 2}}
  - name: prometheus
    parameters: {{scrape_interval: 500ms}}
    health_check: {READY}
    monitoring_targets:
      - {{service: redis}}
      - {{service_id: late, job_name: newcomer}}
"""
LATE = f"""\
name: late
service: {{name: late, kind: sim-llm, exporters: [job], health_check: {QUICK}}}
"""


class Scraping:
    """One run with a Prometheus, and what that one knows."""

    def __init__(self, inside: Inside) -> None:
        self.inside = inside

    async def job(self, name: str) -> Job:
        """Return a service that has answered."""
        return await self.once(lambda jobs: next(j for j in jobs if j.name == name and j.ready_at))

    async def once(self, wanted: Callable[[list[Job]], Any]) -> Any:
        """Wait until the jobs are so that this finds something."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return wanted(list((await self.inside.jobs()).values()))
                except StopIteration:
                    await self.inside.turn()

    async def ask(self, query: str) -> dict[str, float]:
        """Return the numbers of a query by job."""
        endpoint = (await self.job("prometheus")).endpoint
        assert endpoint is not None
        place = f"http://{endpoint.host}:{endpoint.ports[0]}/api/v1/query"
        url = f"{place}?{urllib.parse.urlencode({'query': query})}"

        def get() -> Any:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]["result"]

        rows = await asyncio.to_thread(get)
        return {row["metric"].get("job", ""): float(row["value"][1]) for row in rows}

    async def until(self, query: str, expected: dict[str, float]) -> None:
        """Wait until a query has this answer."""
        found: dict[str, float] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while expected != (found := await self.ask(query)):
                    await self.inside.turn()
        except TimeoutError:
            pytest.fail(f"{query}: {found}, not {expected}")


@pytest.mark.asyncio
@pytest.mark.real("prometheus", "redis-server", "redis-exporter")
async def test_prometheus_follows_the_services(inside: Inside) -> None:
    """Exporters are scraped once their service answers; one that comes later, and goes, as well."""
    inside.drop(WATCHING)
    watch = Scraping(inside)
    known = {"prometheus": 1.0, "redis-job": 1.0, "redis-redis": 1.0}
    await watch.until("up", known)
    await watch.until("redis_up", {"redis-redis": 1.0})
    await watch.until(
        'count by (job) (benchd_job_program_cpu_seconds_total{program="redis-server"})',
        {"redis-job": 1.0},
    )
    redis = await watch.job("redis")
    await watch.until(
        f'up{{run="{redis.run_id}", service="redis", point="0"}} == 1',
        {name: 1.0 for name in known if name != "prometheus"},
    )
    began = await watch.ask("process_start_time_seconds{job='prometheus'}")

    inside.drop(LATE, "late.yaml")
    late = await watch.job("late")
    await watch.until("up", {**known, "newcomer-job": 1.0})
    await inside.daemon.steering.cancel(late.token)
    await watch.until("up", known)
    assert began == await watch.ask("process_start_time_seconds{job='prometheus'}")
