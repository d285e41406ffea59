"""What recipes may say of the load of benchd's own generators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from benchd.catalog.clients.http_load import KIND
from benchd.catalog.clients.own_load import loads, model, shared_loads
from benchd.catalog.readings import load as read
from benchd.core.results import Flag
from benchd.core.spec import Client, JobSpec, Role
from benchd.ship.load import arrivals
from benchd.ship.load import loads as shipped
from benchd.ship.load.health import Watch


def client(nodes: int = 1, duration: int | None = None, **parameters: Any) -> Client:
    """Return a client as a recipe describes it."""
    return Client(
        name="http-load", kind="http-load", nodes=nodes, duration=duration, parameters=parameters
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rate": 5.0}, "belongs to load: constant, poisson, gamma, ramp, find-peak, not to"),
        ({"load": "poisson"}, "poisson needs rate"),
        (
            {"load": "poisson", "rate": 1, "concurrency": 3},
            "belongs to load: closed, saturate, not",
        ),
        ({"load": "poisson", "rate": 1, "burstiness": 0.5}, "belongs to load: gamma"),
        ({"load": "ramp", "rate": 1, "end_rate": 5}, "ramp needs the client's duration"),
        ({"load": "offline", "duration": 3}, "leave duration out"),
        ({"load": "poisson", "scenario": "server", "rate": 1}, "leave one of them out"),
        ({"scenario": "server"}, "poisson needs rate"),
        (
            {"load": "poisson", "rate": 40_000, "duration": 51},
            "2,040,000 requests: at most 2,000,000 are kept: a lower rate, or less time",
        ),
        ({"scenario": "multi-stream", "concurrency": 2}, "has a concurrency of its own"),
        ({"max_in_flight": 3}, "belongs to load: constant"),
        ({"slo": "ttft_sched_ms<=5"}, "a closed loop has no schedule"),
        ({"nodes": 4, "load": "poisson", "rate": 9, "max_in_flight": 3}, "cannot share"),
    ],
)
def test_impossible_loads(parameters: dict[str, Any], said: str) -> None:
    """A load that contradicts itself is refused before anything is submitted."""
    complaints = list(shared_loads(client(**parameters)))
    assert [what for _, what in complaints if said in what] != []


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"concurrency": 8, "think_time": 0.5},
        {"load": "gamma", "rate": 4, "burstiness": 0.5, "max_in_flight": 9},
        {"load": "ramp", "rate": 1, "end_rate": 9, "duration": 10},
        {"trace": "/data/arrivals.txt"},
        {"load": "constant", "rate": 40_000, "duration": 50},
        {"scenario": "offline", "requests": 10},
        {"scenario": "server", "rate": 3, "slo": "latency_sched_ms<=50, latency_service_ms<9"},
    ],
)
def test_possible_loads(parameters: dict[str, Any]) -> None:
    """What makes sense is taken, by the catalogue and by the load generator's own words."""
    made = client(**parameters)
    assert list(loads(made)) == []
    named = {one.name: one for one in KIND.parameters}
    assert [named[name].complaint(value) for name, value in made.parameters.items()] == [
        None for _ in made.parameters
    ]
    assert model(made.parameters) in arrivals.MODELS


def test_both_know_the_same_models() -> None:
    """The catalogue and the load generator agree on models, scenarios and what belongs to which."""
    named = {one.name: one for one in KIND.parameters}
    assert named["load"].choices == arrivals.MODELS
    assert named["scenario"].choices == tuple(arrivals.SCENARIOS)
    for name, preset in arrivals.SCENARIOS.items():
        assert model({"scenario": name}) == preset["load"]
    for name, models in shipped._ONLY:
        for one in arrivals.MODELS:
            given: dict[str, Any] = {name: 1, "load": one}
            refused = [at for at, _ in loads(client(**given)) if at == ("parameters", name)]
            assert bool(refused) == (one not in models)


@pytest.mark.parametrize(
    ("facts", "lag", "expected"),
    [
        ({"offered_rate": 100.0, "achieved_rate": 98.0}, 1.0, {}),
        ({"offered_rate": 100.0, "achieved_rate": 97.9}, 1.0, {"under_delivery": "error"}),
        ({"not_steady": True}, 1.0, {"not_steady": "warn"}),
        ({"not_steady": False}, 1.0, {}),
        ({}, 1.1, {"send_lag_p99": "info"}),
        ({}, 10.0, {"send_lag_p99": "info"}),
        ({}, 10.1, {"send_lag_p99": "warn"}),
        ({"client_ops": 1000, "server_ops": 1010}, 1.0, {}),
        ({"client_ops": 1000, "server_ops": 1011}, 1.0, {"counter_mismatch": "warn"}),
        ({"cpu_share": 0.80}, 1.0, {}),
        ({"cpu_share": 0.81}, 1.0, {"client_cpu": "error"}),
        ({"loop_lag_p99_ms": 5.0}, 1.0, {}),
        ({"loop_lag_p99_ms": 5.1}, 1.0, {"loop_lag_p99": "warn"}),
        ({"short_outputs": 20}, 1.0, {"short_output": "info"}),
        ({"short_outputs": 21}, 1.0, {"short_output": "warn"}),
        ({"ended_early": True}, 1.0, {"ended_early": "warn"}),
        ({"long_outputs": 1}, 1.0, {"long_output": "warn"}),
        ({"resent": 4}, 1.0, {"resent": "info"}),
        ({"resent": 5}, 1.0, {"resent": "warn"}),
        ({"peak_held": True, "peak_cpu_share": 0.80}, 1.0, {}),
        ({"peak_held": False}, 1.0, {"peak_not_held": "warn"}),
        ({"peak_held": True, "peak_cpu_share": 0.81}, 1.0, {"peak_of_client": "warn"}),
        ({"peak_cpu_share": 0.5, "peak_send_lag_ms": 10.0}, 1.0, {}),
        ({"peak_cpu_share": 0.5, "peak_send_lag_ms": 10.1}, 1.0, {"peak_of_client": "warn"}),
        ({"prompt_tokens_mean": 101.0}, 1.0, {}),
        ({"prompt_tokens_mean": 101.1}, 1.0, {"prompt_len_mismatch": "warn"}),
        ({"prompt_tokens_mean": 90.0}, 1.0, {"prompt_len_mismatch": "warn"}),
        ({"prompt_tokens_mean": 90.1}, 1.0, {"prompt_len_mismatch": "warn"}),
        ({"prompt_tokens_mean": 89.0}, 1.0, {"prompt_len_mismatch": "error"}),
        ({"start_spread_ms": 103.0, "clock_error_ms": 3.0}, 1.0, {}),
        ({"start_spread_ms": 104.0, "clock_error_ms": 3.0}, 1.0, {"start_spread": "warn"}),
    ],
)
def test_doubts_about_the_load(facts: dict[str, Any], lag: float, expected: dict[str, str]) -> None:
    """A load that was not the one that was asked for says so, at its limits."""
    assert said(facts, lag=lag) == expected


@pytest.mark.parametrize(
    ("median", "lag", "expected"),
    [
        (400.0, 10.0, {}),
        (400.0, 10.1, {"send_lag_p99": "info"}),
        (400.0, 20.1, {"send_lag_p99": "warn"}),
    ],
)
def test_a_late_client_is_judged_by_the_latency(
    median: float, lag: float, expected: dict[str, str]
) -> None:
    """Of a slow service its lateness hardly shows, though the schedule was not kept."""
    assert said({"loop_lag_p99_ms": 20.0}, median=median, lag=lag) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"99": None, "95": 10.1, "90": 9.0}, {"send_lag_p99": "warn"}),
        ({"99": None, "95": None, "90": 10.1}, {"send_lag_p99": "warn"}),
        ({"99": 0.5, "95": 10.1, "90": 10.1}, {}),
        ({"99": None, "95": None, "90": None, "50": 10.1}, {}),
    ],
)
def test_few_requests_can_be_late_too(
    known: dict[str, float | None], expected: dict[str, str]
) -> None:
    """Where there are too few requests for a p99, the farthest percentile that is known counts."""
    assert said({}, lags=known) == expected


@pytest.mark.parametrize(
    ("looks", "expected"),
    [(35, None), (36, 45.0), (72, 47.5), (368, 49.5)],
)
def test_a_short_measurement_can_be_late_too(looks: int, expected: float | None) -> None:
    """The lateness of the client's event loop is told of as few looks as tell anything."""
    watch = Watch()
    watch.lags = [0.05 * look / (looks - 1) for look in range(looks)]
    assert watch.lag_p99_ms == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("dropped", "cancelled", "expected"),
    [(40, 0, "warn"), (32, 8, "warn"), (31, 9, "error"), (0, 40, "error")],
)
def test_less_is_sent_than_planned(dropped: int, cancelled: int, expected: str) -> None:
    """What was dropped at max_in_flight is declared to be; what is missing otherwise is not."""
    counts: dict[str, Any] = {"scheduled": 400, "dropped": dropped, "cancelled": cancelled}
    found = said({"offered_rate": 100.0, "achieved_rate": 90.0}, **counts)
    assert found == {"under_delivery": expected}


SENT = {"offered_rate": 200_139.0, "achieved_rate": 4_921.0}


@pytest.mark.parametrize(
    ("facts", "lags", "expected"),
    [
        # Nine of ten were dropped at max_in_flight: of a punctual generator that is no error.
        ({}, {"99": 1.0}, {"under_delivery": "warn"}),
        ({}, {"99": 10.1}, {"under_delivery": "error", "send_lag_p99": "warn"}),
        ({}, {"90": 10.1}, {"under_delivery": "error", "send_lag_p99": "warn"}),
        (
            {"loop_lag_p99_ms": 5.1},
            {"99": 1.0},
            {"under_delivery": "error", "loop_lag_p99": "warn"},
        ),
        (
            {"too_late": 1},
            {"99": 1.0},
            {"under_delivery": "error", "generator_behind": "error"},
        ),
        # All were sent, but not in time: half of them later than they then took, or some.
        (
            {"achieved_rate": 200_000.0},
            {"50": 20.1, "99": 30.0},
            {"generator_behind": "error", "send_lag_p99": "warn"},
        ),
        ({"achieved_rate": 200_000.0}, {"50": 20.0, "99": 30.0}, {"send_lag_p99": "warn"}),
    ],
)
def test_what_a_late_generator_sends_is_not_valid(
    facts: dict[str, Any], lags: dict[str, float | None], expected: dict[str, str]
) -> None:
    """Whoever was behind its own schedule cannot say that the service dropped or was slow."""
    assert said(SENT | facts, lags=lags, scheduled=4000, dropped=3930) == expected


@pytest.mark.parametrize(
    ("lag", "blamed"), [(1.0, "the service did not keep up"), (99.0, "need not be the service's")]
)
def test_a_late_generator_does_not_blame_the_service(lag: float, blamed: str) -> None:
    """That latency grew is the service's doing only where requests left in time."""
    found = judged({"not_steady": True}, lag=lag)
    assert [blamed in flag.detail for flag in found if flag.code == "not_steady"] == [True]


def test_rates_are_told_in_plain_numbers() -> None:
    """A rate that was missed is told in whole numbers, in a sentence."""
    found = {flag.code: flag.detail for flag in judged(SENT)}
    assert found["under_delivery"] == (
        "4,921 of 200,139 planned requests a second were sent: the load generator could not send "
        "more"
    )


@pytest.mark.parametrize(
    ("model", "expected"), [("closed", {"closed_loop": "info"}), ("constant", {}), ("trace", {})]
)
def test_users_who_wait_spare_a_service(model: str, expected: dict[str, str]) -> None:
    """That a closed loop is one is said of our own load generator as of every other tool."""
    assert said({}, model=model) == expected


def said(facts: dict[str, Any], **more: Any) -> dict[str, str]:
    """Return code -> severity of what is said about a load with 400 good answers."""
    return {flag.code: str(flag.severity) for flag in judged(facts, **more)}


def judged(
    facts: dict[str, Any],
    *,
    median: float = 20.0,
    lag: float = 0.5,
    model: str = "poisson",
    lags: dict[str, float | None] | None = None,
    **counts: int,
) -> Sequence[Flag]:
    """Return what is said about a load with 400 good answers."""

    def metric(name: str, percentiles: dict[str, Any]) -> dict[str, Any]:
        return {"formula": f"{name}/v1", "unit": "ms", "n": 400, "percentiles": percentiles}

    document = {
        "schema": "benchd.load/1",
        "facts": facts,
        "workload": {"kind": "http", "load": {"model": model}},
        "counts": {**dict.fromkeys(("scheduled", "issued", "ok"), 400), **counts},
        "metrics": {
            "send_lag": metric("send_lag", lags or {"99": lag}),
            "latency_service": metric("latency_service", {"50": median}),
        },
    }
    spec = JobSpec(role=Role.CLIENT, name="llm", kind="llm-load", parameters={"prompt_tokens": 100})
    return read({"result/result.json": json.dumps(document).encode()}, spec).flags
