"""What benchd itself knows against a number, and where it says the number comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchd.core.doubts import doubts
from benchd.core.model import Binding, JobState, ProbeAnswer, Verdict
from benchd.core.numbers import Severity
from benchd.core.origins import hardware, place_facts, resolved_sha256, service_facts, without_notes
from benchd.core.readiness import SPANS_KEPT, observe, unseen
from benchd.core.results import Measured, Metric, Window
from benchd.core.spec import HealthCheck
from benchd.fields import Resources
from support.builders import CREATED_AT as T0
from support.builders import client, service

GOOD = ProbeAnswer(verdict=Verdict.GOOD, detail="PONG", seconds=0.01)
NONE = ProbeAnswer(verdict=Verdict.NONE, detail="the link is down", seconds=0.01)
# Looked at every 5 s, for 2 s at most: up to 12 s between two looks are nothing to speak of.
REDIS = service(
    state=JobState.RUNNING, health_check=HealthCheck(type="redis", interval=5.0, timeout=2.0)
)


def bound(nodes: str) -> Binding:
    """Return what a client is bound to when its service runs on these nodes."""
    return Binding(
        name="redis", token=REDIS.token, generation=0, host="n1", ports=(6379,), nodes=nodes
    )


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ("n1", "n2", []),
        ("n[1-2]", "n[2-3]", [("same_node_client", Severity.INFO, 1)]),
        (None, "n1", []),
    ],
)
def test_a_client_beside_its_service_is_said(
    own: str | None, other: str, said: list[tuple[str, Severity, float]]
) -> None:
    """It is no mistake: the recipe may have wanted it; what nobody knows is not said."""
    found = doubts(client(nodes=own), (bound(other),), {}, {})
    assert said == [(each.code, each.severity, each.value) for each in found]


@pytest.mark.parametrize(
    ("script", "step"),
    [
        ((100, 160), None),
        ((100, 162), None),
        ((100, 163), 3.0),
        ((100, 3760), 3600.0),
        ((100, 40), -60.0),
    ],
)
def test_a_clock_that_was_set_is_seen_beside_slurms(
    script: tuple[int, int], step: float | None
) -> None:
    """The script's own times are of the node's clock; that Slurm saw a longer job is no wonder."""
    times = json.dumps({"started_at": script[0], "ended_at": script[1]}).encode()
    job = client(started_at=T0, ended_at=T0 + 60)
    found = doubts(job, (), {}, {"exit.json": times})
    assert ([] if step is None else [("clock_step", step)]) == [(f.code, f.value) for f in found]


@pytest.mark.parametrize(
    ("window", "samples", "said"),
    [
        (0.31, False, [("short_window", Severity.WARN, 0.31, 1.0)]),
        (1.0, False, []),
        (0.31, True, []),
        (None, False, []),
    ],
)
def test_a_tool_that_measured_for_next_to_no_time_is_said(
    window: float | None, samples: bool, said: list[tuple[str, Severity, float, float]]
) -> None:
    """Its start is much of the rate; where every request is known one can see for oneself."""
    measured = Measured(
        metrics={"req_s": Metric(formula="req_s/v1", unit="1/s", value=9.0)},
        times=Window(window_s=window),
        client={"tool": "redis-benchmark", "capabilities": {"raw_samples": samples}},
    )
    found = doubts(client(), (), {}, {}, measured)
    assert said == [(f.code, f.severity, f.value, f.limit) for f in found]


@pytest.mark.parametrize("text", [b"", b"[1]", b'{"started_at": "a", "ended_at": 1}', b"{"])
def test_an_exit_json_that_says_nothing_raises_no_doubt(text: bytes) -> None:
    """A job that was killed has none."""
    job = client(started_at=T0, ended_at=T0 + 60)
    assert () == doubts(job, (), {}, {"exit.json": text})


def test_the_time_without_a_look_is_told_in_seconds_of_the_measurement() -> None:
    """A look that our own trouble foiled is none; what lies outside does not count."""
    row = REDIS
    for at, answer in ((0, GOOD), (5, GOOD), (10, NONE), (20, NONE), (45, GOOD), (50, GOOD)):
        row = observe(row, answer, T0 + at)
    assert {"redis": (40.0, 12.0)} == unseen([row], T0, T0 + 60)
    assert {"redis": (15.0, 12.0)} == unseen([row], T0 + 30, T0 + 60)
    assert {"redis": (0.0, 12.0)} == unseen([row], T0 + 46, T0 + 60)
    (flag,) = doubts(client(), (), unseen([row], T0, T0 + 60), {})
    assert ("service_not_observed", Severity.WARN, 40.0, 12.0) == (
        *(flag.code, flag.severity, flag.value),
        flag.limit,
    )


def test_what_was_not_seen_stands_in_the_books_with_an_end() -> None:
    """A look that is missing up to now counts as well, and so many spans are kept, the last."""
    row = observe(REDIS, GOOD, T0)
    assert {"redis": (100.0, 12.0)} == unseen([row], T0, T0 + 100)
    for step in range(1, SPANS_KEPT + 3):
        row = observe(row, GOOD, T0 + 30 * step)
    spans = [(T0 + 30 * step, T0 + 30 * (step + 1)) for step in range(2, SPANS_KEPT + 2)]
    assert tuple(spans) == row.unseen
    assert {"redis": (0.0, 12.0)} == unseen([REDIS], T0, T0 + 100)  # it was never looked at


# --- origins ------------------------------------------------------------------------------------

NODE = {"node": "n1", "cpu": "EPYC 7452", "cores": 64, "mem_kib": 528_000_000, "kernel": "5.14.0"}
NODE |= {"given": 4, "in": "gpu,high,p200981"}
ABOUT = f"result/benchd-services/{REDIS.token}/"
GPUS = b"""NVIDIA A100-SXM4-40GB, 40960, 535.54, GPU-1
NVIDIA A100-SXM4-40GB, 40960, 535.54, GPU-2
Failed to initialize NVML
"""
FILES = {
    f"{ABOUT}benchd-node.json": json.dumps(NODE).encode(),
    f"{ABOUT}benchd-gpus.csv": GPUS,
    f"{ABOUT}benchd-version.txt": b"\n  Redis server v=7.0.15 \nmore\n",
    "result/benchd-node.json": json.dumps({**NODE, "node": "n2", "cpu": ""}).encode(),
    "result/numbers.json": b"{}",
}


def test_the_hardware_of_services_and_client_is_known() -> None:
    """Services first; GPUs that are alike are counted; what a node does not say is absent."""
    machine = {"kernel": "5.14.0", "cores": 64, "cores_given": 4, "mem_gib": 503.5}
    gpus = {"type": "NVIDIA A100-SXM4-40GB", "count": 2, "driver": "535.54", "mem_mib": 40960}
    gpus["uuids"] = ["GPU-1", "GPU-2"]
    served = {"node": "n1", "role": "service", "job": "redis", "cpu": "EPYC 7452", **machine}
    measured = {"node": "n2", "role": "client", **machine}
    assert ({**served, "gpus": [gpus]}, measured) == hardware([REDIS], FILES)
    assert () == hardware([REDIS], {"result/benchd-node.json": b'{"node":'})


def test_the_place_is_what_the_job_saw_or_else_what_was_asked_for() -> None:
    """Slurm's defaults are known only there."""
    jobs = {"service_job": {"id": "7", "nodes": "n1"}, "client_job": {"id": "8", "nodes": "n2"}}
    redis = replace(REDIS, slurm_id="7", nodes="n1")
    job = client(slurm_id="8", nodes="n2")
    seen = {"partition": "gpu", "qos": "high", "account": "p200981"}
    assert {**seen, **jobs} == place_facts(job, [redis], FILES)
    asked = redis.spec.model_copy(update={"resources": Resources(partition="cpu")})
    assert {"partition": "cpu", **jobs} == place_facts(job, [replace(redis, spec=asked)], {})


def test_a_version_is_the_first_line_that_says_something() -> None:
    """A service that did not say one has none."""
    assert "Redis server v=7.0.15" == service_facts(REDIS, (), FILES)["version"]
    assert "version" not in service_facts(REDIS, (), {})


def test_the_environment_of_a_service_is_known_without_its_secrets() -> None:
    """What the recipe set is a fact about the service; what goes by the name of a secret is not."""
    said = {"OLLAMA_NUM_PARALLEL": "4", "HF_TOKEN": "hf_x", "HTTP_PROXY": "http://u:pw@n:1"}
    job = replace(REDIS, spec=REDIS.spec.model_copy(update={"environment": said}))
    hidden = {"HF_TOKEN": "[redacted]", "HTTP_PROXY": "http://u:[redacted]@n:1"}
    assert {**said, **hidden} == service_facts(job, (), {})["environment"]
    assert "environment" not in service_facts(REDIS, (), {})


def test_what_benchd_writes_is_no_result_of_the_clients() -> None:
    """A kind that reads all files among its results does not find ours."""
    assert {"result/numbers.json": b"{}"} == without_notes(FILES)


def test_the_resolved_hash_is_of_what_was_told() -> None:
    """Repeats share it; another parameter, of client or service, is another hash."""
    job = client(parameters={"clients": 1})
    same = resolved_sha256(replace(job, repeat=3, attempt=2), [REDIS])
    others = [client(parameters={"clients": 2}), job]
    told = [resolved_sha256(job, [REDIS]), same]
    more = [resolved_sha256(others[0], [REDIS]), resolved_sha256(job, [service(concurrent=True)])]
    assert 3 == len({*told, *more})
    assert told[0] == told[1]
