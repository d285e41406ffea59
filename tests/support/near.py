"""Links, shells and clusters near an embedded cluster, with settings that suit a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from benchd.config import Budget, ClusterSettings, SSHSettings
from benchd.edge.link import Link
from benchd.edge.login import Pace
from benchd.metrics import Metrics
from benchd.sim import EmbeddedCluster

Answer = TypeVar("Answer")

# Seconds. A frozen server is found after 0.6 s, a failed login may be repeated after 0.05 s.
QUICK = Pace(
    floor=0.05,
    ceiling=0.2,
    per_ten_minutes=1_000,
    per_day=1_000,
    keepalive=0.2,
    keepalive_count=3,
    connect_timeout=3.0,
    login_timeout=3.0,
)


def ssh_settings(cluster: EmbeddedCluster, **over: Any) -> SSHSettings:
    """Return how to reach the cluster's login node."""
    values: dict[str, Any] = {
        "host": cluster.host,
        "port": cluster.port,
        "user": cluster.user,
        "identity": str(cluster.key),
        "known_hosts": str(cluster.known_hosts),
    }
    return SSHSettings(**{**values, **over})


def settings_for(cluster: EmbeddedCluster, *, channels: int = 5, **over: Any) -> ClusterSettings:
    """Return a testbed's settings: nobody is disturbed, so nothing is rationed."""
    return ClusterSettings(
        ssh=ssh_settings(cluster, **over),
        workdir=str(cluster.workdir),
        budget=Budget(
            rpc_per_minute=60_000.0, burst=1000, submits_per_minute=60_000.0, channels=channels
        ),
        testbed=True,
    )


def link_to(
    cluster: EmbeddedCluster,
    *,
    metrics: Metrics | None = None,
    pace: Pace = QUICK,
    channels: int = 5,
    clock: Callable[[], float] = time.monotonic,
    **over: Any,
) -> Link:
    """Return a link to the cluster's login node, not yet logged in."""
    return Link(
        "alpha",
        settings_for(cluster, channels=channels, **over),
        metrics=metrics or Metrics(),
        pace=pace,
        clock=clock,
    )


def known_under(cluster: EmbeddedCluster, port: int, host: str = "127.0.0.1") -> str:
    """Return a known_hosts file that knows the cluster's key under another name or port."""
    path = cluster.dir / f"known_hosts_{host}_{port}"
    text = cluster.known_hosts.read_text()
    path.write_text(text.replace(f"[127.0.0.1]:{cluster.port} ", f"[{host}]:{port} "))
    return str(path)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to become true; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


async def until_answered(
    ask: Callable[[], Awaitable[Answer | None]], seconds: float = 10.0, *, pause: float = 0.01
) -> Answer:
    """Ask again until the answer is not None and return it; fail when none comes in time."""
    async with asyncio.timeout(seconds):
        while (answer := await ask()) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(pause)
        return answer


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """Return the value of a metric; 0 when nothing was counted."""
    return metrics.registry.get_sample_value(name, labels) or 0.0
