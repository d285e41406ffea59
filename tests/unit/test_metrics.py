"""The metrics: their names, their labels, and how many series they can become."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from benchd.core.model import TERMINAL, JobState, Verdict
from benchd.core.slurm_reasons import ReasonClass
from benchd.metrics import CONTENT_TYPE, Metrics, replace_all

# contract.md 8, fixed: dashboards and alerts rest on these names.
CONTRACT = {
    "benchd_build_info": ("version", "python", "sqlite"),
    "benchd_jobs": ("cluster", "role", "state"),
    "benchd_transitions_total": ("cluster", "role", "to", "why"),
    "benchd_runs": ("phase",),
    "benchd_submissions_total": ("cluster", "outcome"),
    "benchd_submit_seconds": ("cluster",),
    "benchd_poll_seconds": ("cluster",),
    "benchd_poll_age_seconds": ("cluster",),
    "benchd_slurm_rpcs_total": ("cluster", "command", "outcome"),
    "benchd_slurm_budget_tokens": ("cluster",),
    "benchd_ssh_up": ("cluster",),
    "benchd_ssh_logins_total": ("cluster", "outcome"),
    "benchd_ssh_channels": ("cluster",),
    "benchd_circuit_open": ("cluster",),
    "benchd_probe_seconds": ("cluster", "verdict"),
    "benchd_service_ready": ("cluster", "kind"),
    "benchd_queue_wait_seconds": ("cluster",),
    "benchd_time_to_ready_seconds": ("cluster", "kind"),
    "benchd_recipes_total": ("outcome",),
    "benchd_results_total": ("kind", "valid"),
    "benchd_store_commit_seconds": (),
    "benchd_store_writable": (),
    "benchd_event_loop_lag_seconds": (),
    "benchd_invariant_violations_total": ("kind",),
}
# Everything a label can be on a large installation: three clusters, six kinds of software.
VALUES = {
    "cluster": ["a", "b", "c"],
    "role": ["service", "client"],
    "state": list(JobState),
    "to": list(JobState),
    "why": [f"WHY_{i}" for i in range(12)],
    "phase": ["waiting", "starting", "measuring", "ending", "finished"],
    "outcome": ["ok", "nonzero", "lost", "unsent", "cancelled"],
    "command": ["squeue", "sbatch", "sacct", "scancel"],
    "verdict": list(Verdict),
    "kind": [f"kind{i}" for i in range(6)],
    "valid": ["true", "false"],
    "op": [f"op{i}" for i in range(14)],
    "reason_class": list(ReasonClass),
    "trigger": [f"trigger{i}" for i in range(13)],
}


def ours(metrics: Metrics) -> dict[str, Counter | Gauge | Histogram | Summary]:
    """Return our metrics by their name in Prometheus."""
    kinds = (Counter, Gauge, Histogram, Summary)
    found = [value for value in vars(metrics).values() if isinstance(value, kinds)]
    return {m._name + ("_total" if isinstance(m, Counter) else ""): m for m in found}


@pytest.mark.parametrize("name", sorted(set(CONTRACT) - {"benchd_build_info"}))
def test_every_metric_of_the_contract_exists_with_its_labels(name: str) -> None:
    """The names and labels that dashboards rest on are there."""
    assert CONTRACT[name] == ours(Metrics())[name]._labelnames


def test_what_is_running_is_a_metric() -> None:
    """Version, Python and SQLite are labels of one series that is 1."""
    text = Metrics().render().decode()
    assert re.search(r'^benchd_build_info\{.*version="[^"]+".*\} 1\.0$', text, re.MULTILINE)


def test_series_stay_below_the_budget_whatever_the_number_of_jobs() -> None:
    """Three clusters with every label value they can have make fewer than 2,000 series."""
    metrics = Metrics()
    for metric in ours(metrics).values():
        names = metric._labelnames
        if "why" in names:  # only failures have a word of their own
            continue
        for values in itertools.product(*(VALUES[name] for name in names)):
            if names:
                metric.labels(*values)
    for cluster, role in itertools.product(VALUES["cluster"], VALUES["role"]):
        for state in JobState:
            whys = VALUES["why"] if state in TERMINAL - {JobState.COMPLETED} else [""]
            for why in whys:
                metrics.transitions.labels(cluster, role, state, why)
    lines = [x for x in metrics.render().decode().splitlines() if not x.startswith("#")]
    assert len(lines) < 2000


def test_no_label_can_name_a_job() -> None:
    """No metric has a label whose values grow with the number of jobs, runs or users."""
    used = {label for metric in ours(Metrics()).values() for label in metric._labelnames}
    assert set() == used & {"job", "token", "run", "recipe", "user", "uid", "node", "slurm_id"}


def test_every_daemon_has_metrics_of_its_own() -> None:
    """Two sets of metrics in one process do not know each other."""
    one, two = Metrics(), Metrics(CollectorRegistry())
    one.recipes.labels("accepted").inc()
    value = two.registry.get_sample_value("benchd_recipes_total", {"outcome": "accepted"})
    assert value is None


def test_what_is_gone_from_the_store_is_gone_from_the_gauge() -> None:
    """Setting a gauge from the store leaves no series of yesterday behind."""
    metrics = Metrics()
    replace_all(metrics.jobs, {("a", "client", "RUNNING"): 3.0, ("a", "client", "FAILED"): 1.0})
    replace_all(metrics.jobs, {("a", "client", "RUNNING"): 2.0})
    lines = [x for x in metrics.render().decode().splitlines() if x.startswith("benchd_jobs{")]
    assert ['benchd_jobs{cluster="a",role="client",state="RUNNING"} 2.0'] == lines


def test_the_text_is_what_prometheus_expects() -> None:
    """The rendering has help for every metric and no *_created series."""
    text = Metrics().render().decode()
    assert (True, False) == (CONTENT_TYPE.startswith("text/plain"), "_created" in text)
    assert "# HELP benchd_ssh_up 1 while the link is up." in text


def test_the_module_is_the_only_place_where_metrics_are_made() -> None:
    """A new metric is one line in metrics.py: no other module constructs one."""
    root = Path(__file__).parents[2] / "daemon" / "benchd"
    makers = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*\"benchd_")
    files = [p.name for p in root.rglob("*.py") if makers.search(p.read_text())]
    assert ["metrics.py"] == files
