"""Every Prometheus metric of benchd, built once on its own registry and passed by hand.

No job, run, recipe, user or node is ever a label: with 10,000 jobs there are fewer than 2,000
series. A new metric is one line here and one in ``docs/reference``.
"""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from benchd import __version__

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Seconds. A remote command: 2 ms on a quiet node, 150 s is where sbatch is given up.
_COMMAND = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0)
# Seconds. A health look: 1 ms over a warm link, 30 s is a generous time-out.
_LOOK = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 10.0, 30.0)
# Seconds. Queues and model loading: from at once to days.
_WAIT = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 86400.0)
# Seconds. A durable commit: 0.3 ms on an SSD, 1 s on a disk in trouble.
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """All metrics, by the name they have after ``benchd_``."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # Without this every counter doubles: a *_created series nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library lacks the hint
        self.registry = registry if registry is not None else CollectorRegistry()
        self._build()
        self._work()
        self._cluster()
        self._link()
        self._daemon()

    def _build(self) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("benchd_build", "What is running.", registry=self.registry)
        build.info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
            }
        )

    def _work(self) -> None:
        r = self.registry
        self.jobs = Gauge("benchd_jobs", "Jobs by state.", ("cluster", "role", "state"), registry=r)
        self.jobs_waiting = Gauge(
            "benchd_jobs_waiting",
            "Jobs in Slurm's queue by the class of Slurm's reason: wait, quota, held ...",
            ("cluster", "reason_class"),
            registry=r,
        )
        self.transitions = Counter(
            "benchd_transitions_total",
            "State changes of jobs.",
            ("cluster", "role", "to", "why"),
            registry=r,
        )
        self.events_dropped = Counter(
            "benchd_events_dropped_total",
            "Things learned that no row of the lifecycle accepts.",
            ("trigger",),
            registry=r,
        )
        self.runs = Gauge("benchd_runs", "Runs by phase.", ("phase",), registry=r)
        self.recipes = Counter(
            "benchd_recipes_total", "Recipes taken in.", ("outcome",), registry=r
        )
        self.results = Counter(
            "benchd_results_total", "Results brought home.", ("kind", "valid"), registry=r
        )
        self.queue_wait_seconds = Histogram(
            "benchd_queue_wait_seconds",
            "From accepted by Slurm to running.",
            ("cluster",),
            buckets=_WAIT,
            registry=r,
        )
        self.time_to_ready_seconds = Histogram(
            "benchd_time_to_ready_seconds",
            "From running to answering.",
            ("cluster", "kind"),
            buckets=_WAIT,
            registry=r,
        )
        self.service_ready = Gauge(
            "benchd_service_ready", "Services that answer.", ("cluster", "kind"), registry=r
        )
        self.probe_seconds = Histogram(
            "benchd_probe_seconds",
            "Time of one health look.",
            ("cluster", "verdict"),
            buckets=_LOOK,
            registry=r,
        )

    def _cluster(self) -> None:
        r = self.registry
        self.submissions = Counter(
            "benchd_submissions_total",
            "Submission tries by what came of them.",
            ("cluster", "outcome"),
            registry=r,
        )
        self.submit_seconds = Histogram(
            "benchd_submit_seconds", "One submission.", ("cluster",), buckets=_COMMAND, registry=r
        )
        self.poll_seconds = Histogram(
            "benchd_poll_seconds", "One poll.", ("cluster",), buckets=_COMMAND, registry=r
        )
        self.poll_age_seconds = Gauge(
            "benchd_poll_age_seconds", "Age of the last answered poll.", ("cluster",), registry=r
        )
        self.slurm_rpcs = Counter(
            "benchd_slurm_rpcs_total",
            "Slurm RPCs made; what the site pays for us.",
            ("cluster", "command", "outcome"),
            registry=r,
        )
        self.slurm_budget_tokens = Gauge(
            "benchd_slurm_budget_tokens",
            "Slurm RPCs that may be made now; below 0: in debt.",
            ("cluster",),
            registry=r,
        )
        self.slurm_rate_limited = Counter(
            "benchd_slurm_rate_limited_total",
            "Answers in which Slurm said that it limits our calls.",
            ("cluster",),
            registry=r,
        )
        self.poll_interval_seconds = Gauge(
            "benchd_poll_interval_seconds",
            "Time between two polls, as it is now: it grows with quiet and under pressure.",
            ("cluster",),
            registry=r,
        )

    def _link(self) -> None:
        r = self.registry
        self.ssh_up = Gauge("benchd_ssh_up", "1 while the link is up.", ("cluster",), registry=r)
        self.ssh_logins = Counter(
            "benchd_ssh_logins_total", "Logins tried.", ("cluster", "outcome"), registry=r
        )
        self.ssh_channels = Gauge(
            "benchd_ssh_channels", "Sessions open now.", ("cluster",), registry=r
        )
        self.ssh_channel_limit = Gauge(
            "benchd_ssh_channel_limit",
            "Sessions that may be open at once; one fewer for an hour after each refusal.",
            ("cluster",),
            registry=r,
        )
        self.ssh_logins_left = Gauge(
            "benchd_ssh_logins_left",
            "Logins that may still be tried within these 24 hours.",
            ("cluster",),
            registry=r,
        )
        self.cluster_paused = Gauge(
            "benchd_cluster_paused",
            "1 while nothing is sent until `benchctl cluster resume`.",
            ("cluster",),
            registry=r,
        )
        self.ssh_commands = Counter(
            "benchd_ssh_commands_total",
            "Commands run on the login node.",
            ("cluster", "op", "outcome"),
            registry=r,
        )
        self.ssh_command_seconds = Summary(
            "benchd_ssh_command_seconds", "Time of commands.", ("cluster", "op"), registry=r
        )
        self.circuit_open = Gauge(
            "benchd_circuit_open", "1 while the cluster is left alone.", ("cluster",), registry=r
        )

    def _daemon(self) -> None:
        r = self.registry
        self.store_commit_seconds = Histogram(
            "benchd_store_commit_seconds", "One durable commit.", buckets=_COMMIT, registry=r
        )
        self.store_writable = Gauge(
            "benchd_store_writable", "0 while the disk is full.", registry=r
        )
        self.store_backup_timestamp_seconds = Gauge(
            "benchd_store_backup_timestamp_seconds",
            "When the newest copy of the database was taken by itself; 0: never.",
            registry=r,
        )
        self.event_loop_lag_seconds = Gauge(
            "benchd_event_loop_lag_seconds", "How late the event loop wakes.", registry=r
        )
        self.strays = Gauge(
            "benchd_strays", "Jobs of our name in Slurm that no book has.", ("cluster",), registry=r
        )
        self.invariant_violations = Counter(
            "benchd_invariant_violations_total",
            "Things that must never happen.",
            ("kind",),
            registry=r,
        )

    def render(self) -> bytes:
        """Return the text a Prometheus scrape gets (``CONTENT_TYPE``)."""
        return generate_latest(self.registry)


def replace_all(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Set a gauge to exactly these label values: what is gone from the store is gone here."""
    gauge.clear()
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
