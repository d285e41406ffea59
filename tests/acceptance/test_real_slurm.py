"""The main job on the real thing: a recipe in the inbox becomes a result from a real Slurm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import REPO, RunningDaemon, until
from support.realslurm import RealSlurm

REDIS = REPO / "recipes" / "redis.yaml"

pytestmark = pytest.mark.real("slurm", "sshd", "redis-server", "redis-benchmark")

# How the daemon gets at the cluster: over SSH, on the login node itself, or asking slurmrestd. What
# takes long is told of the others by `make test-heavy`.
REST = pytest.param("rest", marks=pytest.mark.real("slurmrestd"))
HEAVY_LOCAL = pytest.param("local", marks=pytest.mark.heavy)
HEAVY_REST = pytest.param("rest", marks=[pytest.mark.real("slurmrestd"), pytest.mark.heavy])


def through(*ways: object) -> pytest.MarkDecorator:
    """Return the mark that gives a test daemons that get at the cluster in these ways."""
    return pytest.mark.parametrize("daemon", ways, indirect=True)


@pytest.fixture
def daemon(
    request: pytest.FixtureRequest,
    real_config: Callable[..., Path],
    real_slurm: RealSlurm,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RunningDaemon]:
    """Start a daemon on the real cluster."""
    if "local" in request.param:
        monkeypatch.setenv("SLURM_CONF", str(real_slurm.dir / "slurm.conf"))
    running = RunningDaemon(real_config(way=request.param)).start()
    yield running
    running.close()


def drop_redis(daemon: RunningDaemon) -> None:
    """Drop the shipped recipe, with less work: nothing here is about its numbers."""
    text = REDIS.read_text()
    assert "requests: 2000000" in text
    inbox = daemon.state / "inbox" / REDIS.name
    inbox.write_text(text.replace("requests: 2000000", "requests: 100000"))


def passed(daemon: RunningDaemon, slurm: RealSlurm) -> dict[str, Any]:
    """Check that the run passed with exactly one Slurm job per token; return its result."""
    run = daemon.wait_run()
    assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
    jobs = daemon.jobs()
    sent = {job["token"]: len(slurm.sacct(job["token"])) for job in jobs}
    assert dict.fromkeys(sent, 1) == sent
    service = daemon.job("service")
    assert ("CANCELLED", "DONE") == (service["state"], service["why"])
    results: list[dict[str, Any]] = daemon.ask("results", run["id"])["results"]
    assert [True] == [each["validity"]["valid"] for each in results]
    return results[0]


@through("ssh", "local", REST)
def test_a_redis_recipe_becomes_a_valid_result(
    daemon: RunningDaemon, real_slurm: RealSlurm
) -> None:
    """Redis and its benchmark through Slurm: a rate, a report, a service we stopped."""
    drop_redis(daemon)
    result = passed(daemon, real_slurm)
    assert result["metrics"]["req_s"]["value"] > 0
    service = daemon.job("service")
    states = [row["State"].split()[0] for row in real_slurm.sacct(service["token"])]
    assert ["CANCELLED"] == states
    report = daemon.state / "runs" / result["run"] / "report.html"
    assert result["run"] in report.read_text()


@through("ssh", HEAVY_LOCAL, REST)
def test_a_killed_daemon_goes_on_where_it_was(daemon: RunningDaemon, real_slurm: RealSlurm) -> None:
    """SIGKILL while the service is starting: same result, one Slurm job per token."""
    drop_redis(daemon)
    until(lambda: daemon.job("service").get("slurm_id"), 30.0, "the service is in Slurm")
    daemon.kill()
    daemon.start()
    assert passed(daemon, real_slurm)["metrics"]["req_s"]["value"] > 0


@through("ssh", HEAVY_LOCAL, HEAVY_REST)
def test_a_daemon_killed_in_the_measurement_keeps_it(
    daemon: RunningDaemon, real_slurm: RealSlurm
) -> None:
    """SIGKILL after the client was sent: it is found again, not sent again."""
    drop_redis(daemon)
    until(lambda: daemon.job("client").get("slurm_id"), 60.0, "the client is in Slurm")
    daemon.kill()
    daemon.start()
    assert passed(daemon, real_slurm)["metrics"]["req_s"]["value"] > 0


@through("ssh", HEAVY_REST)
def test_ten_seconds_without_a_login_node_lose_nothing(
    daemon: RunningDaemon, real_slurm: RealSlurm
) -> None:
    """The sshd is stopped and its sessions cut in the middle of the run; the run passes."""
    drop_redis(daemon)
    until(lambda: daemon.job("service").get("slurm_id"), 30.0, "the service is in Slurm")
    real_slurm.ctl("down", "sshd")
    real_slurm.ctl("drop", "sshd")
    cut = time.monotonic()

    def is_down_for_ten_seconds() -> bool:
        down = daemon.link() != "up"
        return down and time.monotonic() - cut > 10.0

    until(is_down_for_ten_seconds, 20.0, "the link has been down for ten seconds")
    real_slurm.ctl("up", "sshd")
    assert passed(daemon, real_slurm)["metrics"]["req_s"]["value"] > 0


@through("ssh", "local", REST)
def test_a_cancelled_run_leaves_nothing_in_slurm(
    daemon: RunningDaemon, real_slurm: RealSlurm
) -> None:
    """The service of a run that is cancelled while it works ends in Slurm, and so does the run."""
    drop_redis(daemon)
    daemon.wait_job("service", "RUNNING")
    assert daemon.ctl("cancel", "--all").returncode == 0
    assert daemon.wait_run()["outcome"] == "CANCELLED"
    assert {"CANCELLED"} == {
        real_slurm.squeue()[job["token"]] for job in daemon.jobs() if job["slurm_id"]
    }


@through(REST)
def test_a_slurmrestd_that_goes_away_loses_nothing(
    daemon: RunningDaemon, real_slurm: RealSlurm
) -> None:
    """It is down while the service starts; when it is back the run goes on and passes."""
    drop_redis(daemon)
    until(lambda: daemon.job("service").get("slurm_id"), 30.0, "the service is in Slurm")
    real_slurm.ctl("kill", "slurmrestd")

    def is_missed() -> bool:
        cluster = daemon.ask("cluster", "list")["clusters"][0]
        return "no connection to slurmrestd" in cluster["detail"]

    until(is_missed, 20.0, "benchd says that slurmrestd does not answer")
    real_slurm.ctl("up", "slurmrestd")
    assert passed(daemon, real_slurm)["metrics"]["req_s"]["value"] > 0
