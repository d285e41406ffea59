"""Numbers out of the JSON of users' scripts, and what these say of their own failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchd.catalog.readings import script
from benchd.core.results import Measured, Severity, count_flags
from benchd.core.spec import JobSpec, Output, Role

ENDED = b'{"status": 0, "started_at": 1000, "ended_at": 1200}'


def measured(document: Any, spec: JobSpec | None = None, **more: bytes) -> Measured:
    """Return what is read of a script that left one document."""
    files = {"exit.json": ENDED, **more}
    if document is not None:
        files["result/out.json"] = json.dumps(document).encode()
    return script(files, spec or JobSpec(role=Role.CLIENT, name="x", kind="script"))


def errors(found: Measured) -> list[str]:
    """Return the codes of what makes the result invalid."""
    flags = (*found.flags, *count_flags(found.counts))
    return sorted(flag.code for flag in flags if flag.severity is Severity.ERROR)


def test_numbers_keep_the_names_of_their_author() -> None:
    """Conditions are no metrics, samples are left alone, and units follow from names."""
    found = measured(
        {
            "benchmark_config": {"num_requests": 10},
            "results": {
                "Latency Mean": 0.5,
                "p99_ms": 7,
                "requests_per_second": 12.5,
                "tests": {"SET": {"requests_per_second": 9}},
                "failed_requests": 0,
                "successful_requests": 10,
            },
            "operations": [{"operation": "insertion", "total_time": 3}],
            "raw_results": [{"latency": 1}, {"latency": 2}],
            "timestamp": 123,
        }
    )
    units = {name: metric.unit for name, metric in found.metrics.items()}
    assert {
        "results.latency_mean": "",
        "results.p99_ms": "ms",
        "results.requests_per_second": "1/s",
        "results.tests.set.requests_per_second": "1/s",
        "results.failed_requests": "",
        "results.successful_requests": "",
        "operations.insertion.total_time": "s",
        "elapsed_s": "s",
    } == units
    assert {"benchmark_config": {"num_requests": 10}} == found.workload["conditions"]
    assert (10, 0) == (found.counts.ok, found.counts.errors)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"rate": 5}, []),
        ({"rate": 5, "successful_requests": 10, "failed_requests": 0}, []),
        ({"rate": 5, "successful_requests": 0, "failed_requests": 10}, ["error_rate", "no_work"]),
        ({"rate": 5, "successful_clients": 8, "failed_clients": 2}, ["error_rate"]),
        ({"rate": 5, "success": False}, ["error_rate", "no_work"]),
        ({"rate": 5, "results": [{"success": False}, {"success": True}]}, ["error_rate"]),
        ({"rate": 5, "returncode": 1}, ["reported_failure"]),
        ({"rate": 5, "timed_out": True}, ["reported_failure"]),
        ({"said": "hello"}, ["no_metrics"]),
        (["nothing", "here"], ["no_metrics"]),
        (None, []),
    ],
)
def test_what_a_script_says_of_its_failures_is_believed(document: Any, expected: list[str]) -> None:
    """It ended with status 0 each time."""
    assert expected == errors(measured(document))


def test_a_file_that_was_promised_and_is_not_there_makes_it_invalid() -> None:
    """Of a script without any JSON only its time is known, and the last that it said."""
    promised = JobSpec(role=Role.CLIENT, name="x", kind="script", output=Output(file="/tmp/a.json"))
    found = measured(None, promised, err=b"Traceback ...\nKeyError: 'model'\n\n")
    assert ["no_output"] == errors(found)
    (detail,) = (flag.detail for flag in found.flags if flag.code == "no_output")
    assert detail.endswith(
        "/tmp/a.json was to be written; the last line on standard error: KeyError: 'model'"
    )


@pytest.mark.parametrize(
    "data", [b"{", b"[1e999]", b'{"a": NaN}', b"\xff", b'{"a": 1' + b"0" * 400 + b"}"]
)
def test_garbage_is_a_flag_and_never_an_exception(data: bytes) -> None:
    """What is no number, or too large, is left out."""
    found = measured(None, **{"result/out.json": data})
    assert ["elapsed_s"] == list(found.metrics)
    assert any(flag.code in {"bad_json", "no_metrics", "metrics_left_out"} for flag in found.flags)


def test_one_document_cannot_fill_the_store() -> None:
    """Of very many numbers the first are kept, and it is said that there were more."""
    found = measured({f"n{i}": i for i in range(500)})
    (flag,) = [each for each in found.flags if each.code == "metrics_left_out"]
    assert (201, 300) == (len(found.metrics), flag.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"error": "Connection refused", "req_s": 0}, "error is 'Connection refused'"),
        ({"results": {"errors": ["refused"], "req_s": 0}}, "results.errors has 1 entries"),
        ({"errors": {"timeout": 4}, "req_s": 0}, "errors has 1 entries"),
        ({"status": "FAILED", "total_time": 3}, "status is 'FAILED'"),
        ({"tests": [{"name": "a", "error": "no such key", "p50_ms": 0}]}, "tests.a.error is"),
        ({"success_rate": 0.0, "ops_per_sec": 12}, "success_rate is 0.0"),
        ({"read_error_rate": 1.0, "ops_per_sec": 12}, "read_error_rate is 1.0"),
        ({"failure_rate": 100, "ops_per_sec": 12}, "failure_rate is 100"),
    ],
)
def test_a_script_that_writes_down_its_failure_is_not_valid(document: Any, said: str) -> None:
    """It ended with status 0, and its numbers are of nothing."""
    found = measured(document)
    assert ["reported_failure"] == errors(found)
    assert said in found.flags[0].detail


@pytest.mark.parametrize(
    "document",
    [
        {"error": None, "errors": [], "status": "success", "req_s": 4},
        {"error": "", "exception": "None", "state": "ok", "req_s": 4},
        {"successful_requests": 99, "failed_requests": 1, "errors": ["timeout"], "req_s": 4},
        {"success_rate": 99.5, "error_rate": 0.5, "req_s": 4},
        {"errors": {"timeout": 0}, "req_s": 4},
        {"status": 200, "error_budget": 1, "req_s": 4},
    ],
)
def test_a_script_that_says_that_all_went_well_is_believed(document: Any) -> None:
    """Nor do single failures that it has counted spoil the rest."""
    assert [] == [code for code in errors(measured(document)) if code == "reported_failure"]


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        ({"total": {"ok": 10, "failed": 0}, "runs": {"a": {"x": {"ok": 4}}}}, (10, 0)),
        ({"successful": 10, "runs": {"a": {"successful": 5}, "b": {"successful": 5}}}, (10, 0)),
        ({"tests": {"set": {"ok": 4, "failed": 1}, "get": {"ok": 5}}}, (9, 1)),
        ({"successful": 10, "runs": {"a": {"failed": 3}}}, (10, 3)),
    ],
)
def test_a_sum_and_its_parts_are_counted_once(document: Any, counts: tuple[int, int]) -> None:
    """What stands further out is the sum; a failure that is told only further in is not lost."""
    found = measured({**document, "req_s": 4}).counts
    assert counts == (found.ok, found.errors)
