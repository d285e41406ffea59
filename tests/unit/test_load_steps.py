"""A load that goes from one user to saturation: what recipes may say, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.catalog.clients.own_load import shared_loads
from benchd.catalog.readings import load as read
from benchd.core import significance
from benchd.core.spec import Client, JobSpec, Role
from benchd.fields import Resources
from benchd.ship.load import saturate


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, []),
        ({"steps": 20, "step_time": 30, "slo": "latency_sched_ms<=9", "max_in_flight": 99}, []),
        ({"concurrency": 256, "arrivals": "constant", "warmup": 50}, []),
        ({"rate": 9}, ["rate: belongs to load: constant"]),
        ({"think_time": 1}, ["think_time: belongs to load: closed"]),
        ({"burstiness": 0.5}, ["burstiness: belongs to load: gamma"]),
        ({"requests": 9}, ["requests: each step of saturate lasts step_time"]),
        ({"duration": 9}, ["duration: each step of saturate lasts step_time"]),
        ({"nodes": 2}, ["load: saturate works on one node"]),
        ({"time": "00:02:00"}, ["load: 11 steps of 10 s take 132 s at least"]),
        ({"time": "00:02:00", "steps": 6}, []),
        ({"time": "00:02:00", "warmup": 5}, []),
        ({"load": "poisson", "rate": 9, "steps": 4}, ["steps: belongs to load: saturate"]),
        ({"load": "find-peak"}, ["load: find-peak needs slo"]),
    ],
)
def test_what_belongs_to_it(told: dict[str, Any], said: list[str]) -> None:
    """What a load in steps has no use for is refused with the reason, before anything runs."""
    outer = {key: told.pop(key) for key in ("nodes", "duration") if key in told}
    resources = Resources(time=told.pop("time", None))
    parameters = {"load": "saturate", **told}
    part = Client(name="c", kind="http-load", parameters=parameters, resources=resources, **outer)
    found = [f"{path[-1]}: {what}" for path, what in shared_loads(part)]
    assert [f[: len(s)] for f, s in zip(found, said, strict=True)] == said


def row(
    kind: str,
    offered: float,
    *,
    achieved: float = 0.0,
    answered: float | None = None,
    dropped: int = 0,
    **tails: float,
) -> Any:
    """Return a step, with the one tail of each metric that is known."""
    metrics = {
        name: {"formula": f"{name}/v1", "unit": "ms", "percentiles": {"50": tail, "99": tail}}
        for name, tail in tails.items()
    }
    throughput = {"formula": "req_s/v1", "unit": "1/s", "value": answered}
    sent = achieved or offered
    rates = {"rate": offered, "offered_rate": offered, "achieved_rate": sent}
    rates["delivered"] = sent == offered
    return {
        "step": 1,
        "kind": kind,
        "dropped": dropped,
        "metrics": metrics | {"req_s": throughput},
        **rates,
    }


def ceiling(answered: float, **tails: Any) -> Any:
    """Return the step of users who wait."""
    made = row("ceiling", 0.0, answered=answered, **tails)
    return {key: value for key, value in made.items() if "rate" not in key}


@pytest.mark.parametrize(
    ("steps", "reached", "expected"),
    [
        ([row("rate", 90, send_lag=9.9, latency_service=400)], True, {}),
        ([row("rate", 90, send_lag=10.1)], True, {"send_lag_p99": "warn"}),
        ([row("rate", 90, send_lag=20.1, latency_service=400)], True, {"send_lag_p99": "warn"}),
        ([row("rate", 90, achieved=88)], True, {"under_delivery": "error"}),
        ([row("rate", 90, achieved=88, dropped=2)], True, {}),
        (
            [row("rate", 90, achieved=88, dropped=2, send_lag=10.1)],
            True,
            {"send_lag_p99": "warn", "under_delivery": "error"},
        ),
        ([row("beyond", 90, achieved=60, send_lag=99)], True, {}),
        ([row("rate", 90, latency_service=1001)], True, {"short_steps": "warn"}),
        ([row("rate", 90)], False, {"ceiling_not_reached": "warn"}),
        ([row("rate", 90) | {"good": False}], True, {"no_good_step": "warn"}),
        ([row("rate", 90) | {"good": False}, row("rate", 50)], True, {}),
        ([row("rate", 50) | {"good": False}, row("rate", 90)], True, {"peak_not_held": "warn"}),
        ([row("rate", 90), row("beyond", 125)], True, {}),
        ([ceiling(100), row("rate", 90, answered=72.1), row("beyond", 125, answered=80)], True, {}),
        ([ceiling(100), row("rate", 90, answered=71.9)], True, {"slower_than_ceiling": "warn"}),
        ([ceiling(100), row("beyond", 125, answered=79)], True, {"slower_than_ceiling": "warn"}),
        ([ceiling(100), row("beyond", 125, answered=79, dropped=9)], True, {}),
        (
            [ceiling(100), row("rate", 90, answered=50, latency_service=2000)],
            True,
            {"short_steps": "warn", "slower_than_ceiling": "warn"},
        ),
        ([ceiling(100, latency_service=2000), row("rate", 90, answered=50)], True, {}),
        (["nonsense"], True, {"bad_result": "error"}),
    ],
)
def test_doubts_about_steps(steps: Any, reached: bool, expected: dict[str, str]) -> None:
    """A step that the client spoilt is said, and one that is too much on purpose is not."""
    load = {"model": "saturate", "step_time_s": 10.0}
    document = {
        "schema": "benchd.load/1",
        "facts": {"ceiling_reached": reached},
        "counts": dict.fromkeys(("scheduled", "issued", "ok"), 400),
        "workload": {"kind": "http", "load": load, "saturation": {"steps": steps}},
    }
    spec = JobSpec(role=Role.CLIENT, name="http-load", kind="http-load")
    measured = read({"result/result.json": json.dumps(document).encode()}, spec)
    assert {flag.code: str(flag.severity) for flag in measured.flags} == expected


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e6), st.floats(0.0, 1e6)), max_size=12, unique_by=lambda p: p[0]
    )
)
def test_the_client_finds_the_same_knee(points: list[tuple[float, float]]) -> None:
    """The knee in a result is the one that a report would draw."""
    assert saturate.knee(points) == significance.knee(points)


@pytest.mark.parametrize(
    ("floor", "ceiling", "expected"),
    [
        (10.0, 100.0, [40.0, 70.0, 100.0]),
        (
            100.0,
            100.0,
            [50.0, 75.0, 100.0],
        ),  # one user alone fills it: latencies below are worth it
        (120.0, 100.0, [50.0, 75.0, 100.0]),
    ],
)
def test_rates_between(floor: float, ceiling: float, expected: list[float]) -> None:
    """Rates lie evenly between the floor, or a share of the ceiling, and the ceiling."""
    assert saturate.rates(floor, ceiling, 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ((40.0, 60.0, 80.0, 82.0), 80.0),
        ((40.0, 60.0, 80.0, 100.0), None),  # straight
        ((20.0, 21.0, 5.0, 2.0), None),  # the client could not send so much, or the service broke
    ],
)
def test_a_knee_is_where_all_still_comes_back(
    answered: tuple[float, ...], expected: float | None
) -> None:
    """A curve that never rose with the rate has no knee, however it bends."""
    rows = [
        {"offered_rate": rate, "metrics": {"req_s": {"value": value}}}
        for rate, value in zip((40.0, 60.0, 80.0, 100.0), answered, strict=True)
    ]
    assert saturate._bend(rows) == expected
