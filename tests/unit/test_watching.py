"""Who is told where whom is, what runs beside a service, and what companions cost their run."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.services import prometheus as prometheus_kind
from benchd.config import RuntimeSettings
from benchd.core.effects import Cancel, ClusterView, Finish, Publish, Submit, World
from benchd.core.model import CancelWhy, Endpoint, Job, JobState, Readiness, RunOutcome
from benchd.core.notices import JobRow, notices
from benchd.core.plan import decide
from benchd.core.scraping import MonitoringTarget, Scrape, Watch
from benchd.core.spec import Role, Secret
from benchd.core.waiting import waiting_for
from benchd.errors import RecipeError
from support.builders import CREATED_AT as T0
from support.builders import client, job, run, service
from support.recipe_cases import jobs_of

NOW = T0 + 1000.0
OPEN = "GF_AUTH_ANONYMOUS_ENABLED"
OTHER = "aaaaaaaaaa"  # another run


def up(name: str, *ports: int, **over: Any) -> Job:
    """Return a service that has answered, with what tells of it on its last port."""
    generation = over.get("generation", 0)
    facts = {
        "state": JobState.RUNNING,
        "slurm_id": "7",
        "tries": 1,
        "attempted_at": T0,
        "submitted_at": T0,
        "started_at": T0 + 1,
        "readiness": Readiness.READY,
        "readiness_since": T0 + 2,
        "ready_at": T0 + 2,
        "next_probe_at": NOW + 5,
        "endpoint": Endpoint(host=f"n-{name}", ports=ports, slurm_id="7", generation=generation),
        "scrapes": (Scrape(port=len(ports) - 1, exporter="job"),),
    }
    return service(name=name, **{**facts, **over})


def prometheus(*targets: MonitoringTarget, **over: Any) -> Job:
    """Return a Prometheus that runs and has not answered yet."""
    facts = {"ready_at": None, "readiness": Readiness.STARTING, "watch": Watch.METRICS}
    own = {"kind": "prometheus", "watched": targets, "scrapes": (Scrape(port=0),)}
    return up("prometheus", 9090, **{**facts, **own, **over})


def world(*jobs: Job, **over: Any) -> World:
    """Return a world in which no poll is due."""
    views = {"alpha": ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 60)}
    runs = tuple(run(id=name) for name in dict.fromkeys(job.run_id for job in jobs))
    return World(**{"runs": runs, "jobs": jobs, "valid": {}, "clusters": views, **over})


def told(*jobs: Job, **over: Any) -> dict[str, str] | None:
    """Return where which Prometheus job is scraped, or None when nothing is written."""
    found = [e for e in decide(world(*jobs, **over), NOW) if isinstance(e, Publish)]
    if not found:
        return None
    groups = json.loads(found[0].text)
    return {group["labels"]["job"]: group["targets"][0] for group in groups}


REDIS = up("redis", 6379, 9121)
ELSEWHERE = up("redis", 6380, 9122, run_id=OTHER)


@pytest.mark.parametrize(
    ("watcher", "services", "expected"),
    [
        (prometheus(), [REDIS], {"redis-job": "n-redis:9121"}),
        (prometheus(ready_at=NOW), [], {"prometheus": "n-prometheus:9090"}),
        # nothing is known yet: nothing is written, least of all an empty list
        (prometheus(), [], None),
        (prometheus(), [replace(REDIS, ready_at=None)], None),
        (prometheus(), [replace(REDIS, generation=1)], None),
        (prometheus(), [replace(REDIS, state=JobState.FAILED)], None),
        (prometheus(), [ELSEWHERE], None),
        # silence is when the numbers are wanted
        (
            prometheus(),
            [replace(REDIS, readiness=Readiness.UNREADY)],
            {"redis-job": "n-redis:9121"},
        ),
        (prometheus(state=JobState.PENDING), [REDIS], None),
        (
            prometheus(MonitoringTarget(service="redis", job_name="cache")),
            [REDIS],
            {"cache-job": "n-redis:9121"},
        ),
        (
            prometheus(MonitoringTarget(service_id="redis", job_name="cache", port=8080)),
            [REDIS, up("vllm", 8000)],
            {"cache": "n-redis:8080"},
        ),
        # of its own run, else of any
        (
            prometheus(MonitoringTarget(name="redis")),
            [REDIS, ELSEWHERE],
            {"redis-job": "n-redis:9121"},
        ),
        (prometheus(MonitoringTarget(name="redis")), [ELSEWHERE], {"redis-job": "n-redis:9122"}),
        # by token, by its beginning, by Slurm's number; not when two begin so
        (
            prometheus(MonitoringTarget(service_id=ELSEWHERE.token[:20])),
            [REDIS, ELSEWHERE],
            {"redis-job": "n-redis:9122"},
        ),
        (prometheus(MonitoringTarget(service_id="bq7x2m-")), [REDIS, ELSEWHERE], None),
        (
            prometheus(MonitoringTarget(service_id="71")),
            [REDIS, replace(ELSEWHERE, slurm_id="71")],
            {"redis-job": "n-redis:9122"},
        ),
        (prometheus(MonitoringTarget(host="mel2073", port=9100)), [REDIS], None),
    ],
)
def test_a_prometheus_is_told_of_what_it_should_scrape(
    watcher: Job, services: list[Job], expected: dict[str, str] | None
) -> None:
    """Services that have answered in their present life: its run's, or those that it names."""
    assert expected == told(watcher, *services)


def test_what_was_told_is_told_again_when_it_changes() -> None:
    """The same list is not written twice; what went is taken off, down to an empty list."""
    watcher = prometheus()
    first = next(e for e in decide(world(watcher, REDIS), NOW) if isinstance(e, Publish))
    known = {watcher.token: first.text}

    assert told(watcher, REDIS, published=known) is None
    assert {} == told(watcher, replace(REDIS, state=JobState.FAILED), published=known)


def test_labels_tell_what_a_target_is() -> None:
    """Job, service, run, node, kind and point stand with every target; a path where metrics are."""
    scrape = Scrape(port=0, path="/minio/metrics")
    minio = up("minio", 9000, kind="minio", point=2, scrapes=(scrape,))
    effect = next(e for e in decide(world(prometheus(), minio), NOW) if isinstance(e, Publish))

    assert [
        {
            "targets": ["n-minio:9000"],
            "labels": {
                "job": "minio",
                "service": "minio",
                "run": minio.run_id,
                "node": "n-minio",
                "kind": "minio",
                "point": "2",
                "replica": "0",
                "__metrics_path__": "/minio/metrics",
            },
        }
    ] == json.loads(effect.text)


GRAFANA = up("grafana", 3000, 3001, 3002, ready_at=None, watch=Watch.SOURCES, scrapes=())
MINE = prometheus(ready_at=NOW)
THEIRS = prometheus(ready_at=NOW, run_id=OTHER)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([MINE, REDIS], [MINE.run_id]),
        ([MINE, THEIRS], [MINE.run_id]),
        ([THEIRS], [OTHER]),
        ([up("loki", 3100, run_id=OTHER), MINE], [MINE.run_id, OTHER]),
        ([REDIS], None),
    ],
)
def test_grafana_is_told_where_its_sources_are(
    others: list[Job], expected: list[str] | None
) -> None:
    """Of each kind those of its own run; without one, those of any run on the cluster."""
    effects = decide(world(GRAFANA, *others), NOW)
    found = {e.token: e.text for e in effects if isinstance(e, Publish)}
    groups = json.loads(found[GRAFANA.token]) if GRAFANA.token in found else None

    assert expected == (groups and [group["labels"]["run"] for group in groups])


# --- companions -----------------------------------------------------------------------------------

WATCHING = prometheus(companion=True)
DONE = {"state": JobState.COMPLETED, "slurm_id": "9", "collected_at": NOW, "ended_at": NOW}


@pytest.mark.parametrize(
    ("others", "ends"),
    [
        ([REDIS], False),
        ([replace(REDIS, state=JobState.COMPLETED)], True),
        ([REDIS, client()], False),
        ([REDIS, client(**DONE)], True),
        # a place that Slurm counts is better used by a measurement
        (
            [REDIS, client(state=JobState.PENDING, slurm_id="8", reason="QOSMaxJobsPerUserLimit")],
            True,
        ),
        ([REDIS, client(state=JobState.PENDING, slurm_id="8", reason="Resources")], False),
    ],
)
def test_a_companion_ends_with_what_it_watches(others: list[Job], ends: bool) -> None:
    """It lives as long as the run's measurements, or as the services of a run without any."""
    effects = decide(world(WATCHING, *others), NOW)
    cancelled = {e.token: e.why for e in effects if isinstance(e, Cancel)}

    assert (CancelWhy.DONE if ends else None) == cancelled.get(WATCHING.token)


def test_a_companion_takes_no_place_that_its_run_needs() -> None:
    """With two places they are the service's and the client's, whatever it is called."""
    view = ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 60, max_jobs=2)
    new = job(name="prometheus", companion=True, watch=Watch.METRICS)
    first = decide(world(new, service(), client(), clusters={"alpha": view}), NOW)
    then = decide(world(new, REDIS, client(), clusters={"alpha": view}), NOW)

    assert [[service().token], [client().token]] == [
        [effect.token for effect in effects if isinstance(effect, Submit)]
        for effects in (first, then)
    ]


@pytest.mark.parametrize(
    ("watcher", "expected"),
    [
        (
            prometheus(MonitoringTarget(service="redis"), MonitoringTarget(service_id="old_1")),
            "it answers; no service called old_1 does on alpha yet",
        ),
        (
            prometheus(MonitoringTarget(service="redis"), companion=True),
            "it answers; it watches the run and ends with its measurements",
        ),
    ],
)
def test_why_tells_what_a_watcher_has_not_found(watcher: Job, expected: str) -> None:
    """A name that nothing answers to is told, and what a companion stays for."""
    ready = replace(watcher, readiness=Readiness.READY)
    assert expected == waiting_for(ready, world(ready, REDIS), NOW)


@pytest.mark.parametrize("measured", [True, False])
def test_a_companion_that_failed_costs_its_run_nothing(measured: bool) -> None:
    """The run ends as it would without it; the same of the image that only it wanted."""
    failed = {"state": JobState.FAILED, "why": "EXITED", "exit_code": 1, "ended_at": NOW}
    image = job(role=Role.IMAGE, name="prom", kind="image", companion=True, **failed)
    redis = replace(REDIS, state=JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    others = [replace(WATCHING, **failed), image, redis, *([client(**DONE)] if measured else [])]
    before = world(*others)
    valid = {j.token: True for j in others}
    effects = decide(replace(before, valid=valid), NOW)

    assert [RunOutcome.PASSED] == [e.outcome for e in effects if isinstance(e, Finish)]


# --- what a recipe becomes ------------------------------------------------------------------------


def spec_of(text: str, name: str = "redis", **over: Any) -> Any:
    """Return the spec of a service of a recipe."""
    return next(j.spec for j in jobs_of("x.yaml", text, **over) if j.name == name)


def test_exporters_get_ports_after_those_of_the_service() -> None:
    """A port that the kind has and the recipe does not name keeps its place before them."""
    text = "service: {name: grafana, ports: [3000], enable_cadvisor: true, cadvisor_port: 8080}"
    spec = spec_of(text, "grafana")

    assert (3000, "auto", "auto", 8080) == spec.ports
    assert [("job", 3, "cadvisor")] == [(e.name, e.port, e.stands_for) for e in spec.exporters]
    assert (Scrape(port=3, exporter="job"),) == spec.scrapes


def test_cadvisor_is_the_one_that_the_cluster_names() -> None:
    """With a program or an image in the configuration nothing stands in for it."""
    text = "service: {name: redis, enable_cadvisor: true, container: {image_path: /r.sif}}"
    runtime = RuntimeSettings(name="apptainer", exporters={"cadvisor": "$HOME/cadvisor.sif"})
    found = next(j for j in jobs_of("x.yaml", text, runtime))

    assert (("cadvisor", ""),) == tuple((e.name, e.stands_for) for e in found.spec.exporters)
    assert 'cadvisor -listen_ip="$BENCHD_BIND" -port="$BENCHD_PORT_1"' in found.script
    assert '"${HOME:?is not set on this node}"/cadvisor.sif' in found.script
    assert "benchd tells of the job itself" not in found.script


@pytest.mark.parametrize(
    ("service", "programs", "expected"),
    [
        (
            "{name: redis, exporters: [redis], secrets: {REDIS_PASSWORD: {generate: 24}}}",
            {},
            '"redis://$BENCHD_HOST_IP:$BENCHD_PORT" -web.listen-address "$BENCHD_BIND:',
        ),
        (
            "{name: mysql, exporters: [mysql], secrets: {MYSQL_ROOT_PASSWORD: {generate: 24}}}",
            {"mysql": "/opt/mysqld_exporter"},
            "exec -- /opt/mysqld_exporter --config.my-cnf=<(printf",
        ),
        ("{name: redis, exporters: [node]}", {"node": "~/bin/node"}, "/bin/node --web.listen-add"),
        ("{name: redis, exporters: [process]}", {}, '-config.path "$JOB"/process-exporter.yml'),
        (
            "{name: redis, exporters: [job]}",
            {},
            'python3 "$BENCHD_SHIP_EXPORTER" --host "$BENCHD_BIND" --port "$BENCHD_PORT_1"',
        ),
    ],
)
def test_exporters_run_beside_their_service(
    service: str, programs: dict[str, str], expected: str
) -> None:
    """Each is started with its own port, from the node's PATH or where the cluster has it."""
    runtime = RuntimeSettings.model_validate({"exporters": programs})
    script = jobs_of("x.yaml", f"service: {service}", runtime)[0].script
    line = next(line for line in script.splitlines() if expected in line)

    assert "_PASSWORD" not in line  # every user of the node can read arguments


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("{name: redis, cadvisor_port: 8080}", "service.cadvisor_port: is the port of nothing"),
        (
            "{name: redis, ports: [8080], enable_cadvisor: true, cadvisor_port: 8080}",
            "service.cadvisor_port: 8080 stands in ports as well",
        ),
        ("{name: redis, exporters: [mysql]}", "service.exporters[0]: mysql understands services"),
        ("{name: redis, exporters: [job, job]}", "service.exporters[0]: job stands here 2 times"),
        ("{name: redis, exporters: [jobs]}", "service.exporters[0]: 'jobs'"),
        (
            "{name: redis, monitoring_targets: [{service: x}]}",
            "service.monitoring_targets: kind 'redis' watches nobody",
        ),
        (
            "{name: grafana, monitoring_targets: [{host: n1, port: 9090}]}",
            "service.monitoring_targets[0]: name a service only",
        ),
        (
            "{name: prometheus, monitoring_targets: [{port: 9100}]}",
            "service.monitoring_targets[0]: name one of service, service_id and host",
        ),
        (
            "{name: prometheus, monitoring_targets: [{host: n1}]}",
            "service.monitoring_targets[0]: a host needs a port",
        ),
        (
            "{name: prometheus, monitoring_targets: [{service: a, host: n1, port: 1}]}",
            "service.monitoring_targets[0]: name one of service, service_id and host, not several",
        ),
        (
            "{name: prometheus, parameters: {retention_time: 15}}",
            "service.parameters.retention_time: 15 is not text",
        ),
        (
            "{name: prometheus, environment: {PROMETHEUS_RETENTION_TIME: soon}}",
            "service.environment.PROMETHEUS_RETENTION_TIME: 'soon' does not look right",
        ),
        (
            "{name: prometheus, args: ['--config.file=/x']}",
            "service.args[0]: --config.file stands there already",
        ),
        (
            f"{{name: grafana, parameters: {{anonymous: false}}, environment: {{{OPEN}: 'true'}}}}",
            "service.environment.GF_AUTH_ANONYMOUS_ENABLED: says 'true'",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(service: str, expected: str) -> None:
    """Every mistake about monitoring is found when the recipe is read, at its place."""
    with pytest.raises(RecipeError) as refused:
        spec_of(f"service: {service}")
    said = str(refused.value)

    assert expected.partition(": ")[2] in said
    assert said.count("x.yaml") == 1, said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("monitoring: {}", "nothing to run"),
        ("service: {name: redis}\nmonitoring: {kind: grafana}", "is no kind that scrapes others"),
        ("service: {name: prometheus}\nmonitoring: {}", "prometheus is used twice"),
        ("service: {name: redis}\nmonitoring: {scrape: 1}", "scrape"),
    ],
)
def test_monitoring_beside_a_run_is_checked_like_a_service(text: str, expected: str) -> None:
    """What is wrong with the part `monitoring` is said; by itself it is nothing to run."""
    with pytest.raises(RecipeError, match=expected):
        spec_of(text)


def test_monitoring_is_a_companion_with_a_name_and_a_kind() -> None:
    """Its keys are those of a service; sweeps of `service` do not mean it."""
    text = """\
service: {name: redis}
client: {name: bench, kind: redis-benchmark, target_service: {name: redis}}
monitoring: {environment: {PROMETHEUS_RETENTION_TIME: 2d}, ports: [9090]}
sweep: {service.parameters.io_threads: [1, 2]}
"""
    found = [j for j in jobs_of("x.yaml", text) if j.name == "prometheus"]

    assert [(True, "prometheus", (9090,))] == [
        (j.spec.companion, j.kind, j.spec.ports) for j in found
    ]
    assert "--storage.tsdb.retention.time=2d" in found[0].script


@pytest.mark.real("prometheus")
def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    """Fixed hosts, durations and the files with targets stand in it as Prometheus wants them."""
    targets = (
        "[{host: 'fe80::1', port: 9100, path: /probe}, {host: n1, port: 1, job_name: \"a: 'b'\"}]"
    )
    spec = spec_of(
        "service: {name: prometheus, parameters: {scrape_interval: 500ms}, monitoring_targets: "
        f"{targets}}}",
        "prometheus",
    )
    (tmp_path / "prometheus.yml").write_text(prometheus_kind.configuration(spec))
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, True) == (done.returncode, "SUCCESS" in done.stdout), done


def test_grafana_has_a_password_that_nobody_wrote() -> None:
    """One is made for the run, unless the recipe says where it comes from; nobody looks without."""
    usual, own = (
        spec_of(f"service: {{name: grafana{more}}}", "grafana")
        for more in ("", ", secrets: {GF_SECURITY_ADMIN_PASSWORD: {credential: g}}")
    )
    scripts = [
        jobs_of("x.yaml", f"service: {{name: grafana{more}}}")[0].script
        for more in ("", ", parameters: {anonymous: true}")
    ]

    assert {"GF_SECURITY_ADMIN_PASSWORD": Secret(generate=24)} == usual.secrets
    assert {"GF_SECURITY_ADMIN_PASSWORD": Secret(credential="g")} == own.secrets
    assert [False, True] == ["GF_AUTH_ANONYMOUS_ENABLED=true" in script for script in scripts]


def test_the_report_tells_what_stood_in_for_cadvisor() -> None:
    """That the cluster has none is a notice, and so is a companion that failed: no error."""
    spec = spec_of("service: {name: redis, enable_cadvisor: true}")
    redis = JobRow(job=job(spec=spec), name="redis", well=True, history=())
    failed = replace(WATCHING, state=JobState.FAILED, why="EXITED")
    watcher = JobRow(job=failed, name="prometheus", well=False, history=(), cause="exit 1")
    found = notices(run(outcome=RunOutcome.PASSED), [redis, watcher], [])

    assert [("warn", "EXITED"), ("info", "no cadvisor")] == [(n.severity, n.code) for n in found]
    assert "only watched the run" in found[0].text
