"""A real Prometheus scrapes a real daemon: every query of the dashboards returns data."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slurm.testbed import free_ports
from support.daemon import REPO, RunningDaemon, environment, until
from support.inside import RECIPE

CONFIG = REPO / "config"
DASHBOARDS = [CONFIG / "grafana" / "dashboards" / "benchd.json"]
# What Grafana puts in the place of its variables; the scrape interval of this test is 1 s.
VARIABLES = {"$__rate_interval": "10s", "$cluster": ".*", "${datasource}": "prometheus"}
# Only the service, which stays up: so that gauges of live things have something to show.
SERVICE = RECIPE.partition("client:")[0].replace("name: tiny", "name: stays", 1)

pytestmark = pytest.mark.real("prometheus")


def queries() -> list[tuple[str, str]]:
    """Return panel title and PromQL of everything on every dashboard."""
    panels = [p for path in DASHBOARDS for p in json.loads(path.read_text())["panels"]]
    return [(p["title"], target["expr"]) for p in panels for target in p.get("targets", [])]


def variables() -> list[str]:
    """Return the dashboards' own look-ups, as the queries that Grafana makes of them."""
    found = [v for path in DASHBOARDS for v in json.loads(path.read_text())["templating"]["list"]]
    looks = [v["definition"] for v in found if v["type"] == "query"]
    split = [re.fullmatch(r"label_values\((.+), (\w+)\)", look) for look in looks]
    return [f"count by ({m[2]}) ({m[1]})" for m in split if m]


def promtool(*argv: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run Prometheus's own checker."""
    return subprocess.run(["promtool", *argv], input=stdin, capture_output=True, check=False)


def test_the_configuration_and_its_rules_are_valid() -> None:
    """Promtool accepts the scrape configuration with the alert rules that it names."""
    done = promtool("check", "config", str(CONFIG / "prometheus.yml"))
    assert (0, True) == (done.returncode, b"12 rules found" in done.stdout), done


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    """Each alert is played with series in which it must fire and in which it must not."""
    done = promtool("test", "rules", str(REPO / "tests" / "data" / "alerts.test.yml"))
    assert 0 == done.returncode, done.stdout.decode() + done.stderr.decode()


def test_every_alert_is_played() -> None:
    """No alert is without a test of both answers."""
    alerts = re.findall(r"alert: (\w+)", (CONFIG / "alerts.yml").read_text())
    played = (REPO / "tests" / "data" / "alerts.test.yml").read_text()
    silent = re.findall(r"alertname: (\w+)\}", played)
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts", played)
    assert (set(alerts), set(alerts)) == (set(silent), set(fired))


def test_the_dashboards_are_what_their_program_writes() -> None:
    """The committed JSON is the one that config/grafana/build.py writes today."""
    argv = [sys.executable, str(CONFIG / "grafana" / "build.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


class Prometheus:
    """A real one with this repository's configuration, asked as Grafana would."""

    def __init__(self, home: Path, target: str) -> None:
        self.port = free_ports(1)[0]
        text = (CONFIG / "prometheus.yml").read_text()
        text = text.replace("127.0.0.1:9469", target).replace("15s", "1s")
        (home / "prometheus.yml").write_text(text)
        (home / "alerts.yml").write_text((CONFIG / "alerts.yml").read_text())
        self.log = home / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={home}/prometheus.yml",
                    f"--storage.tsdb.path={home}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        until(self._has_scraped, 30.0, f"Prometheus scrapes benchd; see {self.log}")

    def _has_scraped(self) -> bool:
        try:
            return [1.0] == self.values('up{job="benchd"}')
        except OSError:
            return False

    def get(self, path: str, **query: str) -> Any:
        """Ask the HTTP API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        """Return the numbers of an instant query; what is not a number is no data."""
        for name, value in VARIABLES.items():
            query = query.replace(name, value)
        numbers = [float(row["value"][1]) for row in self.get("query", query=query)["result"]]
        return [number for number in numbers if not math.isnan(number)]


@contextmanager
def embedded_cluster(home: Path) -> Iterator[Path]:
    """Run ``benchd sim`` and hand out the configuration that it wrote."""
    argv = [sys.executable, "-m", "benchd.cli.daemon", "sim", "--dir", str(home)]
    with (home.parent / "sim.log").open("wb") as log:
        sim = subprocess.Popen(argv, stdout=log, stderr=log, env=environment())
    try:
        until(lambda: b"ready" in (home.parent / "sim.log").read_bytes(), 20.0, "the cluster is up")
        yield home / "benchd.yaml"
    finally:
        sim.terminate()
        sim.wait(20)


@pytest.fixture(scope="module")
def running_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """Start a daemon on an embedded cluster."""
    with embedded_cluster(tmp_path_factory.mktemp("prometheus-sim") / "sim") as config:
        daemon = RunningDaemon(config)
        try:
            yield daemon.start()
        finally:
            daemon.close()


@pytest.fixture(scope="module")
def prometheus(
    running_daemon: RunningDaemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Watch a daemon that has one finished run and one service that stays up."""
    home = tmp_path_factory.mktemp("prometheus")
    address = urllib.parse.urlsplit(running_daemon.metrics_url).netloc
    watcher = Prometheus(home, address)
    try:
        for name, text in (("tiny", RECIPE), ("stays", SERVICE)):
            (home / f"{name}.yaml").write_text(text)
        running_daemon.drop(home / "tiny.yaml")
        assert "PASSED" == running_daemon.wait_run()["outcome"], running_daemon.tail()
        running_daemon.drop(home / "stays.yaml")
        ready = 'benchd_service_ready{kind="sim-llm"}'
        until(lambda: 1.0 in watcher.values(ready), 60.0, "the service that stays is READY")
        yield watcher
    finally:
        watcher.process.terminate()
        watcher.process.wait(20)


@pytest.mark.parametrize(("title", "query"), queries())
def test_a_panel_has_data(prometheus: Prometheus, title: str, query: str) -> None:
    """A query of a dashboard returns numbers from a daemon that has worked."""
    until(lambda: prometheus.values(query), 30.0, f"{title}: {query} returns data")


@pytest.mark.parametrize("query", variables())
def test_a_variable_has_values(prometheus: Prometheus, query: str) -> None:
    """The list to choose a cluster from is not empty."""
    assert prometheus.values(query)


def test_no_alert_fires_for_a_daemon_in_good_health(prometheus: Prometheus) -> None:
    """The rules are loaded and none of them is pending or firing."""
    groups = prometheus.get("rules")["groups"]
    states = {rule["name"]: rule["state"] for group in groups for rule in group["rules"]}
    assert dict.fromkeys(states, "inactive") == states
    assert states


def test_the_metrics_follow_the_conventions(running_daemon: RunningDaemon) -> None:
    """Promtool finds nothing to say about what /metrics answers."""
    with urllib.request.urlopen(running_daemon.metrics_url, timeout=10) as answer:
        done = promtool("check", "metrics", stdin=answer.read())
    assert (0, b"") == (done.returncode, done.stderr)
