"""Whatever a client left, its result can be made, written, read again and judged."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.model import JobState
from benchd.core.numbers import Flag, Metric, Severity, iso
from benchd.core.results import Counts, Measured, Result, Window, assemble
from support.builders import client, run

# Also what JSON allows and no clock, counter or terminal has.
anything = st.characters() | st.characters(categories=["Cs"])
text = st.text(anything, max_size=8)
floats = st.floats() | st.integers() | st.sampled_from([1e300, -1e15, 10**400, 1.8e15, -0.0])
counts = st.none() | st.integers() | st.sampled_from([0, 3, 10**400, -(10**5000)])
free = st.recursive(
    st.none() | st.booleans() | floats | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, free, max_size=3)
number = st.none() | st.floats()
metrics = st.builds(
    Metric,
    formula=text,
    unit=text,
    value=number,
    n=counts,
    mean=number,
    stdev=number,
    min=number,
    max=number,
    percentiles=st.none() | st.dictionaries(st.sampled_from(["50", "99"]) | text, number),
    hist=st.none() | objects,
    windows=st.none() | st.dictionaries(text, number, max_size=2),
)
measurements = st.builds(
    Measured,
    metrics=st.dictionaries(text, metrics, max_size=3),
    counts=st.builds(
        Counts,
        **dict.fromkeys(("scheduled", "issued", "ok", "errors", "dropped", "cancelled"), counts),
        by_class=st.dictionaries(text, st.integers() | st.just(10**5000), max_size=2),
        first_errors=st.lists(text, max_size=2).map(tuple),
    ),
    workload=objects,
    times=st.builds(
        Window,
        **dict.fromkeys(
            ("measure_start", "measure_end", "warmup_s", "window_s"), st.none() | floats
        ),
    ),
    flags=st.lists(
        st.builds(Flag, code=text, severity=st.sampled_from(Severity), value=number, detail=text),
        max_size=2,
    ).map(tuple),
    client=objects,
    service=objects,
    timeline=objects,
    partial=st.booleans(),
)


def made(measured: Measured) -> Result:
    """Return the result of a job that ended well."""
    return assemble(
        run=run(),
        job=client(state=JobState.COMPLETED, exit_code=0),
        bindings=(),
        services=(),
        measured=measured,
        service_steady=True,
        cluster={},
        versions={},
        files={},
        now=1_700_000_100.0,
    )


@given(measurements)
def test_every_measurement_becomes_a_document(measured: Measured) -> None:
    """No number, time, text or nesting that a client can leave keeps a result from being kept."""
    result = made(measured)
    document = result.document()
    json.loads(document, parse_constant=pytest.fail)
    assert document == Result.model_validate_json(document).document()


@given(floats)
def test_a_time_is_a_date_or_nothing(at: float) -> None:
    """A time outside of the calendar is None, every other one a date in UTC."""
    said = iso(at)
    assert said is None or (said.endswith("Z") and abs(at) < 1e12)


@pytest.mark.parametrize("at", [math.nan, math.inf, 1e300, 1.8e15, -1e12, 10**400])
def test_no_calendar_has_these_times(at: float) -> None:
    """Milliseconds for seconds, and worse, are no date."""
    assert iso(at) is None


def test_what_is_nested_deeper_than_anybody_reads_is_cut() -> None:
    """A result with a hundred levels of JSON is kept without the deepest."""
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {"a": deep}
    assert 31 * '{"a":' in made(Measured(workload=deep)).document()


def test_a_count_that_counts_nothing_is_named() -> None:
    """A number of requests beyond reason is null, and the result is not valid."""
    result = made(Measured(counts=Counts(scheduled=10**400, ok=1, by_class={"x": 10**400})))
    (bad,) = [each for each in result.validity.flags if each.code == "bad_number"]
    assert (None, {}, False) == (
        result.counts.scheduled,
        result.counts.by_class,
        result.validity.valid,
    )
    assert bad.detail.endswith("scheduled, by_class.x")
