"""VectorDBBench's result: a real one, and such as are made by hand after its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import vectordbbench
from benchd.core.results import Measured, count_flags
from benchd.core.spec import JobSpec, Role

METRICS: dict[str, Any] = {
    "qps": 500.0,
    "recall": 0.9219,
    "load_duration": 17.575,
    "serial_latency_p99": 0.0028,
    "conc_num_list": [8],
    "conc_qps_list": [500.0],
    "conc_latency_p99_list": [0.0043],
    "conc_latency_avg_list": [0.0016],
}
USUAL = {"closed_loop": "info", "errors_uncounted": "warn", "not_cross_checked": "info"}
# Written by vectordb-bench 2.0.0 on a Chroma 1.5: 3,000 vectors of 64, two processes for 5 s.
REAL = Path(__file__).parent.parent / "data" / "vectordbbench-2.0.0-chroma.trimmed.json"


def read(label: str = ":)", err: bytes = b"", **metrics: object) -> Measured:
    """Read the file of one case that took 10 s."""
    case = {"metrics": {**METRICS, **metrics}, "label": label}
    files = {
        "result/vectordbbench.json": json.dumps({"results": [case]}).encode(),
        "result/vectordbbench.err": err,
    }
    spec = JobSpec(role=Role.CLIENT, name="v", kind="vectordbbench", duration=10)
    return vectordbbench(files, spec)


def codes(measured: Measured) -> dict[str, str]:
    """Return code -> severity."""
    flags = [*measured.flags, *count_flags(measured.counts)]
    return {flag.code: str(flag.severity) for flag in flags}


def test_a_real_case() -> None:
    """A case of 2.0.0 has percentiles of its searches at once, not those one after the other."""
    spec = JobSpec(role=Role.CLIENT, name="v", kind="vectordbbench", duration=5)
    measured = vectordbbench({"result/vectordbbench.json": REAL.read_bytes()}, spec)
    latency = measured.metrics["latency_service"]
    rounded = {q: round(value or 0, 2) for q, value in (latency.percentiles or {}).items()}
    assert (latency.n, rounded) == (2078, {"50": 4.01, "95": 8.47, "99": 11.82})
    assert measured.metrics["recall_at_k"].value == 1.0
    assert measured.metrics["elapsed_s.load"].value == 5.2046
    assert measured.workload["load"] == {"model": "closed", "concurrency": 2}
    assert codes(measured) == USUAL


def test_a_case_is_milliseconds_with_its_recall() -> None:
    """Its seconds are milliseconds here, and what it does not tell is null."""
    measured = read()
    latency = measured.metrics["latency_service"]
    assert (latency.n, latency.mean, latency.percentiles) == (
        5000,
        1.6,
        {"50": None, "95": None, "99": 4.3},
    )
    assert measured.metrics["recall_at_k"].value == 0.9219
    assert measured.metrics["req_s"].value == 500.0
    assert codes(measured) == USUAL


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (read(recall=0.0), {**USUAL, "no_recall": "error"}),
        (read(label="x"), {"no_result": "error", "no_work": "error"}),
        (read(conc_qps_list=[0.0]), {"no_result": "error", "no_work": "error"}),
        (read(conc_qps_list=[1.0, 2.0]), {"no_result": "error", "no_work": "error"}),
        (read(err=b"ERROR: collection is gone\n"), {**USUAL, "tool_error": "error"}),
    ],
)
def test_its_zeros_and_failures_are_no_numbers(
    measured: Measured, expected: dict[str, str]
) -> None:
    """A case that failed, found nothing or was not run is said, and its zeros are not numbers."""
    assert codes(measured) == expected


def test_few_searches_have_no_p99() -> None:
    """A p99 of fewer searches than it needs is null."""
    few = read(conc_qps_list=[30.0]).metrics["latency_service"]
    assert few.percentiles == {"50": None, "95": None, "99": None}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"results": [3]}', b'{"results": [{"metrics": 1}]}']
)
def test_garbage_is_no_exception(data: bytes) -> None:
    """Whatever comes home is read: garbage is no result."""
    spec = JobSpec(role=Role.CLIENT, name="v", kind="vectordbbench")
    assert "no_result" in codes(vectordbbench({"result/vectordbbench.json": data}, spec))
