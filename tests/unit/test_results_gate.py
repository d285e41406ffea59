"""The gate: what makes a result invalid, and what is only worth a flag."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchd.core.model import Binding, JobState
from benchd.core.results import Counts, Flag, Measured, Metric, Result, Severity, assemble
from support.builders import client, run, service

GOOD = Counts(scheduled=100, issued=100, ok=100, errors=0, dropped=0, cancelled=0)


def result(
    counts: Counts = GOOD,
    *,
    job: dict[str, Any] | None = None,
    steady: bool = True,
    **measured: Any,
) -> Result:
    """Return the result of a client job that ended well, changed by what the test is about."""
    bound = service(ready_at=1_700_000_050.0)
    binding = Binding(name="redis", token=bound.token, generation=0, host="n1", ports=(6379,))
    ended = {"state": JobState.COMPLETED, "exit_code": 0, "bindings": (binding,), **(job or {})}
    return assemble(
        run=run(),
        job=client(**ended),
        bindings=(binding,),
        services=(bound,),
        measured=Measured(counts=counts, **measured),
        service_steady=steady,
        service_detail="" if steady else "redis restarted",
        cluster={"slurm_version": "22.05.8"},
        versions={"version": "0.1"},
        files={"result/a.txt": b"a"},
        now=1_700_000_100.0,
    )


def severities(made: Result) -> dict[str, str]:
    """Return code -> severity of the flags."""
    return {flag.code: str(flag.severity) for flag in made.validity.flags}


def test_good_measurement_is_valid() -> None:
    """A measurement that did its work on a steady service is valid, without a flag."""
    made = result(metrics={"req_s": Metric(formula="req_s/v1", unit="1/s", value=10.0)})
    assert (made.validity.valid, severities(made), made.status) == (True, {}, "ok")


def test_errors_that_nobody_counted_are_no_mismatch() -> None:
    """Of a tool that takes error replies for answers their number is not known, and not 0."""
    made = result(GOOD.model_copy(update={"errors": None}))
    assert (made.validity.valid, severities(made), made.counts.errors) == (True, {}, None)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"steady": False}, "service_not_steady"),
        ({"partial": True}, "partial"),
        ({"job": {"exit_code": 3}}, "job_failed"),
        ({"job": {"signal": 9}}, "job_failed"),
        ({"job": {"state": JobState.FAILED, "why": "TIMEOUT"}}, "job_failed"),
        ({"job": {"state": JobState.CANCELLED}}, "job_failed"),
        ({"counts": Counts()}, "no_work"),
        (
            {"counts": GOOD.model_copy(update={"ok": 0, "cancelled": 100})},
            "no_work",
        ),
        ({"counts": GOOD.model_copy(update={"ok": 99})}, "counts_mismatch"),
        ({"counts": GOOD.model_copy(update={"dropped": None})}, "counts_mismatch"),
        ({"counts": GOOD.model_copy(update={"ok": 98, "errors": None})}, "counts_mismatch"),
        ({"counts": GOOD.model_copy(update={"ok": 101, "errors": -1})}, "counts_mismatch"),
        ({"counts": GOOD.model_copy(update={"ok": 98, "errors": 2})}, "error_rate"),
        ({"metrics": {"x": Metric(formula="x/v1", unit="s", value=math.nan)}}, "bad_number"),
        ({"metrics": {"x": Metric(formula="x/v1", unit="s", max=math.inf)}}, "bad_number"),
        ({"metrics": {"x": Metric(formula="x/v1", unit="s", mean=-1.0)}}, "bad_number"),
        (
            {"metrics": {"x": Metric(formula="x/v1", unit="s", percentiles={"50": -0.1})}},
            "bad_number",
        ),
        ({"flags": (Flag(code="own", severity=Severity.ERROR),)}, "own"),
    ],
)
def test_invalid(over: dict[str, Any], code: str) -> None:
    """Each of these makes a result invalid and says so by name."""
    made = result(**over)
    assert (made.validity.valid, severities(made)[code]) == (False, "error")


@pytest.mark.parametrize(
    ("over", "code", "severity"),
    [
        ({"counts": GOOD.model_copy(update={"ok": 99, "errors": 1})}, "error_rate", "warn"),
        ({"counts": GOOD.model_copy(update={"ok": 99, "dropped": 1})}, "dropped", "warn"),
        (
            {"metrics": {"x": Metric(formula="x/v1", unit="s", n=9, percentiles={"90": None})}},
            "insufficient_samples",
            "info",
        ),
    ],
)
def test_flagged_but_valid(over: dict[str, Any], code: str, severity: str) -> None:
    """Each of these is a flag that leaves the result valid."""
    made = result(**over)
    assert (made.validity.valid, severities(made)) == (True, {code: severity})


def test_error_rate_names_classes() -> None:
    """The flag for errors has the rate, the limit and the classes."""
    counts = GOOD.model_copy(
        update={"ok": 90, "errors": 10, "by_class": {"timeout": 4, "conn_lost": 6}}
    )
    flag = result(counts).validity.flags[0]
    expected = (0.1, 0.01, "10 of 100 failed: 6 conn_lost, 4 timeout")
    assert (flag.value, flag.limit, flag.detail) == expected


def test_bad_numbers_become_null() -> None:
    """NaN, infinite and negative numbers are null in the result, and good ones beside them stay."""
    metric = Metric(
        formula="x/v1",
        unit="ms",
        n=3,
        mean=math.nan,
        min=-1.0,
        max=5.0,
        percentiles={"50": math.inf, "90": 4.0},
    )
    made = result(metrics={"x": metric}).metrics["x"]
    expected = (3, None, None, 5.0, {"50": None, "90": 4.0})
    assert (made.n, made.mean, made.min, made.max, made.percentiles) == expected


def test_a_cancelled_job_is_not_a_failed_one() -> None:
    """The status tells a cancelled measurement from a failed one."""
    states = [JobState.CANCELLED, JobState.FAILED]
    assert [result(job={"state": s}).status for s in states] == ["cancelled", "failed"]


def test_nothing_measured_keeps_its_reason() -> None:
    """A job that left nothing has an invalid result that says what is missing."""
    bare = Measured.nothing("no_result", "the load generator left no result.json")
    made = result(bare.counts, flags=bare.flags)
    assert severities(made) == {"no_result": "error", "no_work": "error"}
