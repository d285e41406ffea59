"""A real Prometheus in a job is told of services as they come and go; companions cost nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.services.grafana_panels import services_dashboard
from benchd.core.model import CancelWhy, Job, JobState, RunOutcome
from benchd.core.monitoring import TARGETS
from benchd.core.spec import Role
from benchd.errors import NotYet
from benchd.sim import EmbeddedCluster
from support.builders import service
from support.inside import PATIENCE, RECIPE, WAITING, Inside
from support.near_slurm import Opened, job_dir

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

# Panels that draw something when there is a Redis with its exporter and benchd's: no GPU, no vLLM.
DRAWN = {
    *("Up", "Silent", "What answers", "Cores in use", "Memory by program", "Storage"),
    *("Node: share of cores in use", "Node: network", "Redis: commands", "Redis: memory"),
}
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "5s", "$run": ".*", "$service": ".*"}


def resolved(query: str) -> str:
    """Return what Grafana makes of a query."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


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

    async def until_shown(self, expected: set[str]) -> None:
        """Wait until these panels of the dashboard have something to draw, and no other."""
        shown: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while shown != expected:
                shown = set()
                for panel in services_dashboard()["panels"]:
                    queries = [target["expr"] for target in panel.get("targets", ())]
                    if any([await self.ask(resolved(query)) for query in queries]):
                        shown.add(panel["title"])

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
    await watch.until_shown(DRAWN)

    inside.drop(LATE, "late.yaml")
    late = await watch.job("late")
    await watch.until("up", {**known, "newcomer": 1.0, "newcomer-job": 1.0})
    await inside.daemon.steering.cancel(late.token)
    await watch.until("up", known)
    assert began == await watch.ask("process_start_time_seconds{job='prometheus'}")


EXPORTED = """\
name: exported
service:
  name: mysql
  exporters: [mysql, node, process]
  secrets: {MYSQL_ROOT_PASSWORD: {generate: 24}}
  health_check: {type: mysql, interval: 0.2, timeout: 2, retries: 200}
"""
# What each says when it has found what it is for; none before it has.
SAID = ("mysql_up 1\n", "node_load1 ", 'namedprocess_namegroup_num_procs{groupname="mariadbd"} ')


@pytest.mark.asyncio
@pytest.mark.real("mariadb", "mysqld-exporter", "node-exporter", "process-exporter")
async def test_exporters_find_what_they_are_for(inside: Inside) -> None:
    """Those of MariaDB (with a password), of the node and of processes tell of the job."""
    inside.drop(EXPORTED)
    endpoint = (await Scraping(inside).job("mysql")).endpoint
    assert endpoint is not None
    places = [f"http://{endpoint.host}:{port}/metrics" for port in endpoint.ports[1:]]
    said: list[bool] = []
    async with asyncio.timeout(PATIENCE):
        while said != [True] * len(SAID):
            pages = [await asyncio.to_thread(read, place) for place in places]
            said = [words in page for words, page in zip(SAID, pages, strict=True)]


def read(url: str) -> str:
    """Return a page; nothing while nobody answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


COMPANION = f"""\
monitoring:
  parameters: {{scrape_interval: 200ms}}
  health_check: {READY}
"""


@pytest.mark.asyncio
@pytest.mark.real("prometheus")
async def test_a_companion_watches_the_run_and_ends_with_it(inside: Inside, tmp_path: Path) -> None:
    """The part `monitoring` scrapes the measured service, and is not wanted after the client."""
    flag = tmp_path / "enough"
    inside.drop(
        WAITING.replace("ports: [auto]", "exporters: [job]")
        .replace("command: sleep", "command: bash")
        .replace('["300"]', f"[-c, 'until [ -e {flag} ]; do sleep 0.1; done']")
        + COMPANION
    )
    watch = Scraping(inside)
    await watch.until("up", {"prometheus": 1.0, "sim-llm": 1.0, "sim-llm-job": 1.0})
    client = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    before = await watch.job("prometheus")
    flag.touch()
    await inside.wait_run()
    after = (await inside.jobs())[before.token]

    assert (None, CancelWhy.DONE) == (before.cancel_why, after.cancel_why)
    assert JobState.COMPLETED is (await inside.jobs())[client.token].state


@pytest.mark.asyncio
async def test_a_companion_that_fails_costs_the_run_nothing(inside: Inside) -> None:
    """The measurement is valid and the run passes; the report has a notice, not an error."""
    inside.drop(RECIPE + COMPANION + '  command: "false"\n')
    run = await inside.wait_run()
    watcher = next(j for j in (await inside.jobs()).values() if j.name == "prometheus")
    report = inside.daemon.state_dir / "runs" / run.id / "report.md"

    assert (RunOutcome.PASSED, JobState.FAILED) == (run.outcome, watcher.state)
    assert "it only watched the run, whose results stand" in report.read_text()


@pytest.mark.asyncio
async def test_a_file_is_written_whole_where_the_job_is(
    slurm: EmbeddedCluster, opened: Opened
) -> None:
    """What was there is replaced and nothing is left beside it; a directory is not made again."""
    job = service(slurm_id="5", state=JobState.RUNNING)
    place = job_dir(slurm, job)
    place.mkdir(parents=True)
    async with opened() as at:
        for data in (b"[1]\n", b"[]\n"):
            await at.cluster.put(job, TARGETS, data)
        assert {"benchd.json": b"[]\n"} == {
            file.name: file.read_bytes() for file in (place / TARGETS).parent.iterdir()
        }
        shutil.rmtree(place)
        with pytest.raises(NotYet, match="No such file or directory"):
            await at.cluster.put(job, TARGETS, b"[]")
    assert not place.exists()
