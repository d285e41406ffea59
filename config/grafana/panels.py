"""What the dashboard shows: every panel with its query, in rows. ``build.py`` lays them out."""

# ruff: noqa: INP001 - a program beside its product, not part of a package

from __future__ import annotations

from benchd.catalog.dashboard import Panel, Row, stat

HERE_ONLY = 'cluster=~"$cluster"'
ENDS = 'to=~"COMPLETED|FAILED|CANCELLED"'
PER_MINUTE = 60


def since_start(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Make median and p95 over everything since the start: for what happens a few times an hour."""
    legend = f" {{{{{by}}}}}" if by else ""
    labels = ", ".join(filter(None, ["le", by]))
    total = f"sum by ({labels}) ({metric}_bucket{{{HERE_ONLY}}})"
    return tuple(
        (f"histogram_quantile({q}, {total})", f"{name}{legend}")
        for q, name in ((0.5, "median"), (0.95, "p95"))
    )


def lately(metric: str, *by: str, quantile: float = 0.95, match: str = HERE_ONLY) -> str:
    """Make a quantile of what happens all the time."""
    labels = ", ".join(["le", *by])
    rate = f"rate({metric}_bucket{{{match}}}[$__rate_interval])"
    return f"histogram_quantile({quantile}, sum by ({labels}) ({rate}))"


def per_minute(metric: str, *by: str) -> str:
    """Make a rate per minute."""
    rate = f"rate({metric}{{{HERE_ONLY}}}[$__rate_interval])"
    return f"sum by ({', '.join(by)}) ({rate}) * {PER_MINUTE}"


BAD_ABOVE_ZERO = ((None, "green"), (1, "red"))
NOW = Row(
    "Now",
    (
        stat(
            "Live jobs",
            "Jobs that Slurm has: submitted, pending or running.",
            f'sum(benchd_jobs{{{HERE_ONLY}, state=~"SUBMITTED|PENDING|RUNNING"}}) or vector(0)',
        ),
        stat(
            "Open runs",
            "Recipes that were accepted and are not finished.",
            "sum(benchd_runs) or vector(0)",
        ),
        stat(
            "Services that answer",
            "Services whose health check succeeds.",
            f"sum(benchd_service_ready{{{HERE_ONLY}}}) or vector(0)",
        ),
        stat(
            "Link",
            "The SSH connection to the login node.",
            f"min(benchd_ssh_up{{{HERE_ONLY}}})",
            words=((0, "down", "red"), (1, "up", "green")),
        ),
        stat(
            "Circuit",
            "Open: the cluster failed so often that it is left alone for a while.",
            f"max(benchd_circuit_open{{{HERE_ONLY}}})",
            words=((0, "closed", "green"), (1, "open", "red")),
        ),
        stat(
            "State of jobs is",
            "Age of the last answer from Slurm.",
            f"max(benchd_poll_age_seconds{{{HERE_ONLY}}})",
            "s",
            limits=((None, "green"), (300, "yellow"), (900, "red")),
        ),
        stat(
            "Store",
            "Read-only: the disk under the state directory is full.",
            "min(benchd_store_writable)",
            words=((0, "read-only", "red"), (1, "writable", "green")),
        ),
        stat(
            "Broken promises",
            "Things that must never happen, such as a job that was submitted twice.",
            "sum(benchd_invariant_violations_total) or vector(0)",
            limits=BAD_ABOVE_ZERO,
        ),
    ),
)
WORK = Row(
    "Work",
    (
        Panel(
            "Jobs by state",
            "Every job benchd knows, by its one state.",
            ((f"sum by (state) (benchd_jobs{{{HERE_ONLY}}})", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            "State changes per minute",
            "How the jobs move.",
            ((per_minute("benchd_transitions_total", "to"), "{{to}}"),),
        ),
        Panel(
            "How jobs ended",
            "Since benchd started, with the reason.",
            (
                (
                    f"sum by (role, to, why) (benchd_transitions_total{{{HERE_ONLY}, {ENDS}}})",
                    "{{role}} {{to}} {{why}}",
                ),
            ),
            kind="bargauge",
        ),
        Panel(
            "Results",
            "Since benchd started. Invalid: no work was done, or the service changed under it.",
            (("sum by (kind, valid) (benchd_results_total)", "{{kind}} valid={{valid}}"),),
            kind="bargauge",
        ),
        Panel(
            "Submissions",
            "Since benchd started, by what came of them.",
            (
                (
                    f"sum by (cluster, outcome) (benchd_submissions_total{{{HERE_ONLY}}})",
                    "{{cluster}} {{outcome}}",
                ),
            ),
            kind="bargauge",
        ),
        Panel(
            "Recipes",
            "Since benchd started, by what came of them.",
            (("sum by (outcome) (benchd_recipes_total)", "{{outcome}}"),),
            kind="bargauge",
        ),
        Panel(
            "Wait in the queue",
            "From accepted by Slurm to running, of all jobs since benchd started.",
            since_start("benchd_queue_wait_seconds", "cluster"),
            "s",
        ),
        Panel(
            "Time to ready",
            "From running to answering its health check, of all services since benchd started.",
            since_start("benchd_time_to_ready_seconds", "kind"),
            "s",
        ),
        Panel(
            "Services",
            "By kind: 1 for each one that answers.",
            (
                (
                    f"sum by (cluster, kind) (benchd_service_ready{{{HERE_ONLY}}})",
                    "{{cluster}} {{kind}}",
                ),
            ),
        ),
    ),
)
CLUSTER = Row(
    "What the cluster bears",
    (
        Panel(
            "Slurm RPCs per minute",
            "What benchd costs slurmctld and slurmdbd.",
            (
                (
                    per_minute("benchd_slurm_rpcs_total", "cluster", "command"),
                    "{{cluster}} {{command}}",
                ),
            ),
        ),
        Panel(
            "RPCs that may still be made",
            "The token bucket: at 0 benchd waits.",
            ((f"benchd_slurm_budget_tokens{{{HERE_ONLY}}}", "{{cluster}}"),),
        ),
        Panel(
            "Answers that limit us",
            "Since benchd started: how often Slurm said that our calls are too many.",
            ((f"benchd_slurm_rate_limited_total{{{HERE_ONLY}}}", "{{cluster}}"),),
        ),
        Panel(
            "Age of the last poll",
            "Grows to the poll interval and falls back; a slope that does not end is a fault.",
            (
                (f"benchd_poll_age_seconds{{{HERE_ONLY}}}", "{{cluster}}"),
                (f"benchd_poll_interval_seconds{{{HERE_ONLY}}}", "{{cluster}} interval"),
            ),
            "s",
        ),
        Panel(
            "Time of polls, submissions and probes (p95)",
            "Slow answers are how a busy slurmctld says so.",
            (
                (lately("benchd_poll_seconds", "cluster"), "{{cluster}} poll"),
                (since_start("benchd_submit_seconds", "cluster")[1][0], "{{cluster}} submit"),
                (lately("benchd_probe_seconds", "cluster"), "{{cluster}} probe"),
            ),
            "s",
        ),
        Panel(
            "SSH logins",
            "Since benchd started: one long connection, so this should hardly move.",
            (
                (
                    f"sum by (cluster, outcome) (benchd_ssh_logins_total{{{HERE_ONLY}}})",
                    "{{cluster}} {{outcome}}",
                ),
                (f"benchd_ssh_logins_left{{{HERE_ONLY}}}", "{{cluster}} left today"),
            ),
        ),
        Panel(
            "SSH sessions open",
            "sshd allows 10 at once by default; benchd stays below its budget.",
            (
                (f"benchd_ssh_channels{{{HERE_ONLY}}}", "{{cluster}}"),
                (f"benchd_ssh_channel_limit{{{HERE_ONLY}}}", "{{cluster}} at most"),
            ),
        ),
    ),
)
DAEMON = Row(
    "The daemon itself",
    (
        Panel(
            "Event loop wakes late by",
            "The one number that shows that the daemon lives.",
            (("benchd_event_loop_lag_seconds", "lag"),),
            "s",
        ),
        Panel(
            "Time of a durable commit",
            "p50 and p99; a disk in trouble shows here first.",
            tuple(
                (lately("benchd_store_commit_seconds", quantile=q, match=""), f"p{q * 100:.0f}")
                for q in (0.5, 0.99)
            ),
            "s",
        ),
        Panel(
            "Memory and processor",
            "Of the daemon alone.",
            (
                ('process_resident_memory_bytes{job="benchd"}', "memory"),
                (
                    'rate(process_cpu_seconds_total{job="benchd"}[$__rate_interval]) * 100',
                    "processor (% of a core)",
                ),
            ),
        ),
        Panel(
            "Versions",
            "What is running.",
            (("benchd_build_info", "benchd {{version}}, Python {{python}}, SQLite {{sqlite}}"),),
            kind="bargauge",
            width=24,
            height=4,
        ),
    ),
)
ROWS = (NOW, WORK, CLUSTER, DAEMON)
