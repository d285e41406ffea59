"""Runs side by side: verdicts, what is refused, and how often a verdict is wrong."""

from __future__ import annotations

import math
from itertools import product
from random import Random
from typing import Any

import pytest

from benchd.core.compare import Verdict, compare
from benchd.core.headline import origin_text
from benchd.core.intervals import (
    mean_interval,
    median,
    median_change_interval,
    percentile_interval,
    t_quantile,
    with_intervals,
)
from benchd.core.numbers import effective_size, histogram, summarise
from benchd.core.significance import holm, knee, mann_whitney
from benchd.core.svg_forest import forest
from benchd.core.unlike import origin


def result(value: float, p50: float = 5.0, **said: Any) -> dict[str, Any]:
    """Return a result as its JSON has it."""
    return {
        "cell": said.get("cell", {}),
        "validity": {"valid": said.get("valid", True), "flags": said.get("flags", ())},
        "provenance": {
            "service": {
                "kind": "redis",
                "image": said.get("image", "redis:7"),
                "parameters": said.get("service", {}),
                "environment": said.get("environment", {}),
            },
            "client": {
                "name": said.get("client", "bench"),
                "kind": "redis-benchmark",
                "parameters": said.get("parameters", {}),
            },
        },
        "workload": {"kind": "redis", "prompt": {"sha256": said.get("dataset")}},
        "metrics": {
            "ops_s": {
                "formula": said.get("formula", "ops_s/v1"),
                "unit": said.get("unit", "1/s"),
                "better": "higher",
                "value": value,
            },
            "latency_service": {
                "formula": "latency_service/v1",
                "unit": "ms",
                "better": "lower",
                "n": 1000,
                "percentiles": {"50": p50},
            },
        },
    }


BASE = [result(100.0 + i, 5.0 + i / 100) for i in range(5)]


def verdicts(other: list[dict[str, Any]], **how: Any) -> list[str]:
    """Return what is said of both numbers."""
    return [str(row.verdict) for row in compare(BASE, other, **how).rows]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([result(100.0 + i, 5.0 + i / 100) for i in range(5)], ["same", "same"]),
        ([result(80.0 + i, 5.0 + i / 100) for i in range(5)], ["worse", "same"]),
        ([result(120.0 + i, 4.0 + i / 100) for i in range(5)], ["better", "better"]),
        ([result(100.0 + i, 6.0 + i / 100) for i in range(5)], ["same", "worse"]),
        # surely another number, and too near to matter
        ([result(104.9 + i / 100, 5.0 + i / 100) for i in range(5)], ["same", "same"]),
        # surely another number, by less than the threshold or by more
        ([result(v, 5.0) for v in (104.8, 105.9, 106.0, 109.0, 110.0)], ["inconclusive", "same"]),
        # far away, and too few to tell
        ([result(50.0 + i, 9.0) for i in range(3)], ["inconclusive", "inconclusive"]),
        # the repeats of one run lie on both sides of the other
        ([result(v, 5.0) for v in (60.0, 80.0, 102.0, 140.0, 160.0)], ["inconclusive", "same"]),
    ],
)
def test_a_verdict_is_given_only_when_it_is_sure(
    other: list[dict[str, Any]], expected: list[str]
) -> None:
    """Better and worse need a sure and large change, same needs a narrow one, few say nothing."""
    assert verdicts(other) == expected


def failing(rates: list[float], count: int = 5) -> list[dict[str, Any]]:
    """Return results with five telling numbers and, last of all, how many requests failed."""
    found = []
    for i, rate in enumerate(rates[:count]):
        made = result(100.0 + i, 5.0 + i / 100)
        speed = made["metrics"]["ops_s"]
        for times, name in enumerate(("req_s", "docs_s", "out_tok_s"), 2):
            made["metrics"][name] = {**speed, "value": times * speed["value"]}
        failed = {"formula": "error_rate/v1", "unit": "1", "better": "lower", "value": rate}
        found.append({**made, "metrics": {**made["metrics"], "error_rate": failed}})
    return found


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        # from nothing to something there is no share, and no doubt either
        ([0.0] * 5, [0.01, 0.012, 0.02, 0.03, 0.012], (0.012, None, "worse")),
        ([0.0] * 5, [0.0, 0.0, 0.0, 0.01, 0.02], (0.0, None, "inconclusive")),
        ([0.02, 0.01, 0.03, 0.04, 0.05], [0.0] * 5, (-0.03, -1.0, "better")),
        ([0.0] * 5, [0.0] * 5, None),  # no trouble is no question
    ],
)
def test_errors_are_judged_wherever_there_are_any(
    base: list[float], other: list[float], expected: tuple[float, float | None, str] | None
) -> None:
    """They rank last among the numbers, and a base of none has a difference and a verdict."""
    rows = compare(failing(base), failing(other)).rows
    errors = [row for row in rows if row.column.metric == "error_rate"]
    said = [(row.difference, row.change, str(row.verdict)) for row in errors]
    assert said == ([] if expected is None else [pytest.approx(expected)])


def test_what_no_repeat_could_decide_is_told_as_such() -> None:
    """Four repeats and four numbers have no verdict, and not because the repeats differ."""
    other = [dict(each) for each in failing([0.0] * 4)]
    for each in other:
        each["metrics"] = {**each["metrics"], "req_s": {**each["metrics"]["req_s"], "value": 50.0}}
    row = next(r for r in compare(failing([0.0] * 4), other).rows if r.column.metric == "req_s")
    assert (str(row.verdict), row.why) == (
        "inconclusive",
        "4 numbers at once: p is never below 0.11: more repeats, or --metric",
    )


def test_a_number_that_says_the_same_as_another_is_no_question_of_its_own() -> None:
    """Requests of one operation each are judged once, and leave room for what else there is."""
    runs = [failing([0.0] * 5) for _ in range(2)]
    for each in (*runs[0], *runs[1]):
        each["metrics"]["req_s"] = {**each["metrics"]["ops_s"], "formula": "req_s/v1"}
    assert [row.column.metric for row in compare(*runs).rows] == [
        "req_s",
        "docs_s",
        "out_tok_s",
        "latency_service",
    ]


def test_invalid_results_do_not_count() -> None:
    """What is not valid is left out, and that is said."""
    other = [result(80.0 + i, valid=i > 1) for i in range(7)]
    found = compare(BASE, other)
    assert (found.notes, [len(row.other.values) for row in found.rows]) == (
        ("other: 2 of 7 results are not valid and left out",),
        [5, 5],
    )


def test_what_was_doubted_before_is_said() -> None:
    """Warnings of the results compared stand beside the verdicts; what only informs does not."""
    flags = [{"code": "not_steady", "severity": "warn"}, {"code": "resent", "severity": "info"}]
    bad = result(80.0, valid=False, flags=[{"code": "dropped", "severity": "warn"}])
    other = [bad, result(80.0), *(result(80.0 + i, flags=flags) for i in range(4))]
    assert compare(BASE, other).notes == (
        "other: 1 of 6 results are not valid and left out",
        "other: warnings in the 5 results compared: not_steady (4)",
    )


@pytest.mark.parametrize(
    ("other", "across", "refused"),
    [
        ({"image": "redis:8"}, (), ["service.image"]),
        ({"image": "redis:8"}, ("service.image",), []),
        ({"parameters": {"clients": 9}}, ("service.image",), ["client.parameters.clients"]),
        ({"environment": {"IO": "4"}}, ("service.image",), ["service.environment.IO"]),
        ({"dataset": "ab12"}, (), ["workload.prompt.sha256"]),
        ({"formula": "ops_s/v2"}, ("formula.ops_s",), ["formula.ops_s"]),
        ({"unit": "1/ms"}, ("unit.ops_s",), ["unit.ops_s"]),
    ],
)
def test_unlike_things_are_refused_until_they_are_meant(
    other: dict[str, Any], across: tuple[str, ...], refused: list[str]
) -> None:
    """A difference beside the numbers has to be named; a different formula never will do."""
    found = compare(BASE, [result(100.0 + i, **other) for i in range(5)], across=across)
    assert ([d.key for d in found.refused], bool(found.rows)) == (refused, not refused)


def test_a_parameter_that_one_side_lacks_was_not_set() -> None:
    """What a recipe left to its default is said so, and not as if a record were missing."""
    (found,) = compare(BASE, [result(100.0, parameters={"clients": 9})]).refused
    assert (found.base, found.other) == ("not set", "9")


def test_a_swept_name_of_the_client_hides_no_difference_of_the_service() -> None:
    """A parameter of the same name that another part has is compared all the same."""
    runs = [
        [result(100.0, cell={"threads": n}, parameters={"threads": n}, service={"threads": own})]
        for n, own in ((1, 4), (1, 8))
    ]
    assert ["service.parameters.threads"] == [d.key for d in compare(*runs).refused]


def test_clients_of_one_run_are_not_thrown_together() -> None:
    """Where a run has several clients, each is compared with the one of its name."""
    base = [result(v + i, client=c) for i in range(5) for c, v in (("a", 100.0), ("b", 900.0))]
    other = [result(v + i, client=c) for i in range(5) for c, v in (("a", 50.0), ("b", 900.0))]
    rows = [row for row in compare(base, other).rows if row.column.metric == "ops_s"]
    assert [({"client": "a"}, 5, "worse"), ({"client": "b"}, 5, "same")] == [
        (row.cell, len(row.base.values), str(row.verdict)) for row in rows
    ]


def test_every_difference_has_both_values_also_those_that_are_meant() -> None:
    """What is compared on purpose stays in the comparison, with what it is on each side."""
    other = [result(80.0 + i, image="redis:8") for i in range(5)]
    found = compare(BASE, other, across=("service.image", "client.kind"))
    assert ([(d.key, d.base, d.other) for d in found.differences], found.across, found.notes) == (
        [("service.image", "redis:7", "redis:8")],
        ("service.image",),
        ("they do not differ in client.kind: --across client.kind changes nothing",),
    )


def test_other_clients_come_first_and_without_what_follows() -> None:
    """Formulas, units and parameters of another client are no differences of their own."""
    other = result(100.0, image="redis:8", unit="1/ms", parameters={"clients": 9})
    other["provenance"]["client"]["kind"] = "redis-load"
    assert [(d.key, d.fatal) for d in compare(BASE, [other]).refused] == [
        ("client.kind", True),
        ("service.image", False),
    ]


def test_a_metric_of_one_side_is_named_and_refuses_nothing() -> None:
    """What only one run has measured is not compared, and the rest is."""
    other = [result(100.0 + i) for i in range(5)]
    for each in other:
        each["metrics"]["goodput"] = {**each["metrics"]["ops_s"], "formula": "goodput/v1"}
    found = compare(BASE, other)
    assert (found.notes, [row.column.metric for row in found.rows]) == (
        ("measured only in other: goodput",),
        ["ops_s", "latency_service"],
    )


@pytest.mark.parametrize(("repeats", "is_known"), [(2, False), (3, False), (4, True)])
def test_no_interval_stands_where_no_verdict_can(repeats: int, is_known: bool) -> None:
    """Of fewer repeats than a verdict needs an interval would only look like certainty."""
    found = compare(BASE[:repeats], [result(80.0 + i) for i in range(repeats)])
    assert [row.interval is not None for row in found.rows] == [is_known, is_known]


def test_a_reason_that_all_have_is_said_once() -> None:
    """Rows without a verdict for one reason leave it to the whole, which counts the verdicts."""
    cells = [{"value_size": 10, "clients": n} for n in (1, 2)]
    base = [result(100.0 + i, cell=cell) for cell in cells for i in range(2)]
    found = compare(base, base)
    assert ([list(row.cell) for row in found.rows][:1], found.reason, found.counts) == (
        [["value_size", "clients"]],  # in the order of the recipe
        "2 repeats: no verdict below 4 on both sides",
        {Verdict.INCONCLUSIVE: 4},
    )
    assert {found.why(row) for row in found.rows} == {""}


def test_a_run_tells_where_it_comes_from() -> None:
    """Cluster, first and last moment, versions and recipe come from the valid results."""
    documents = []
    for minute, version, valid in ((5, "1.0", True), (1, "1.1", True), (0, "0.9", False)):
        made = result(1.0, valid=valid)
        made["provenance"] |= {
            "cluster": {"name": "alpha"},
            "benchd": {"version": version},
            "recipe": {"name": "r", "path": "r.yaml", "sha256": "ab"},
        }
        start, end = (f"2026-11-02T10:{m:02}:00.000Z" for m in (minute, minute + 1))
        documents.append({**made, "times": {"measure_start": start, "measure_end": end}})
    assert origin_text(origin(documents)) == (
        "cluster alpha, measured 2026-11-02 10:01:00 to 2026-11-02 10:06:00 UTC, "
        "benchd 1.0, 1.1, recipe r.yaml ab"
    )


@pytest.mark.parametrize("slow", [3.0, 40.0])
def test_the_chart_cuts_no_name_and_marks_what_goes_on(slow: float) -> None:
    """Long names are broken into lines, and an interval beyond the edge ends in an arrow."""
    cell = {"a_rather_long_parameter": 10000, "another_long_parameter": 64, "and_one": "x"}
    runs = [[result(100.0, v + i, cell=cell) for i in range(5)] for v in (5.0, 5.0 * slow)]
    drawn = forest(compare(*runs).rows, 0.05)
    names = [f"{key}={value}" for key, value in cell.items()]
    assert ([drawn.count(name) >= 4 for name in names], "beyond" in drawn) == (
        [True] * 3,  # in a line and in a tip of both rows
        slow > 5,
    )


def test_clients_of_another_name_are_compared() -> None:
    """Where each run has one client, it does not matter what it is called."""
    found = compare(BASE, [result(101.0 + i, client="other") for i in range(5)])
    assert [{}, {}] == [row.cell for row in found.rows]


def test_cells_are_matched_by_what_they_vary() -> None:
    """A swept parameter tells cells apart; those of one run only are named."""
    base = [result(100.0 + i, cell={"pipeline": p}) for i in range(4) for p in (1, 16)]
    other = [result(100.0 + i, cell={"pipeline": p}) for i in range(4) for p in (16, 64)]
    found = compare(base, other)
    assert ([row.cell for row in found.rows], found.notes) == (
        [{"pipeline": 16}, {"pipeline": 16}],
        ("only in base: 1 point (pipeline=1)", "only in other: 1 point (pipeline=64)"),
    )


def _noisy(random: Random, factor: float = 1.0) -> list[dict[str, Any]]:
    return [
        result(1000 * factor * random.gauss(1, 0.03), 5.0 / factor * random.gauss(1, 0.03))
        for _ in range(5)
    ]


def _one_of_four(random: Random, factor: float = 1.0) -> list[dict[str, Any]]:
    """Return repeats with four numbers, each with its own noise; one of them has the factor."""
    found = _noisy(random)
    for made in found:
        speed = made["metrics"]["ops_s"]
        more = {"req_s": factor * random.gauss(1, 0.03), "out_tok_s": random.gauss(1, 0.03)}
        made["metrics"] |= {name: {**speed, "value": value} for name, value in more.items()}
    return found


def test_the_same_thing_measured_twice_is_seldom_called_worse() -> None:
    """Of 200 pairs of equal runs with 3 % noise, at most one in twenty is called a regression."""
    random = Random(20)
    found = sum(compare(_one_of_four(random), _one_of_four(random)).regressed for _ in range(200))
    assert found <= 10


def test_a_tenth_less_is_mostly_found() -> None:
    """Of 200 pairs in which one of four numbers is 10 % lower, at 3 % noise, 80 % are found."""
    random = Random(21)
    found = sum(
        compare(_one_of_four(random), _one_of_four(random, 0.9)).regressed for _ in range(200)
    )
    assert found >= 160


@pytest.mark.parametrize(
    ("left", "right", "p"),
    [
        # 2 / C(2n, n): everything on one side
        ((1, 2, 3), (4, 5, 6), 2 / 20),
        ((1, 2, 3, 4), (5, 6, 7, 8), 2 / 70),
        ((1, 2, 3, 4, 5), (6, 7, 8, 9, 10), 2 / 252),
        ((1, 2, 3), (1, 2, 3), 1.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),
        # ties over the sides, counted by hand: 14 of the 70 splits have a rank sum as small
        ((1, 1, 2, 3), (1, 4, 4, 5), 14 / 70),
    ],
)
def test_the_rank_test_is_exact(
    left: tuple[float, ...], right: tuple[float, ...], p: float
) -> None:
    """The p values of small samples are those of counting all splits, ties included."""
    assert mann_whitney(left, right) == pytest.approx(p)


def test_the_approximation_meets_the_exact_test() -> None:
    """Where samples get large, the approximation goes on where the exact test ends."""
    random = Random(3)
    left = [random.gauss(0, 1) for _ in range(50)]
    right = [random.gauss(0.4, 1) for _ in range(50)]
    more = [*right, random.gauss(0.4, 1)]  # one value more, and it is approximated
    assert mann_whitney(left, right) == pytest.approx(mann_whitney(left, more), abs=0.02)


def test_many_questions_make_each_answer_less_sure() -> None:
    """Holm's correction multiplies the smallest most, and never turns the order around."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 10), (2, 20), (4, 38), (8, 45), (16, 46), (32, 46)], 8),
        ([(1, 10), (2, 20), (3, 30), (4, 40)], None),  # has not saturated
        ([(1, 10), (2, 10), (3, 10), (4, 10)], None),  # was flat from the start
        ([(1, 10), (2, 20), (3, 21)], None),  # too few to tell
    ],
)
def test_the_knee_is_where_more_load_stops_paying(
    points: list[tuple[float, float]], expected: float | None
) -> None:
    """A knee is found in a curve that bends, and in no other."""
    assert knee(points) == expected


def test_intervals_have_their_textbook_values() -> None:
    """Student's interval, order statistics and effective size agree with hand reckoning."""
    assert (t_quantile(4), t_quantile(60)) == (2.776, 2.0)
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0]) or (0.0, 0.0)
    assert (round(low, 3), round(high, 3)) == (1.037, 4.963)
    # the 40th and 61st of a hundred bound the median (Conover, Practical Nonparametric Statistics)
    assert percentile_interval([float(i) for i in range(1, 101)], 50) == (40.0, 61.0)
    assert effective_size([1.0, -1.0] * 20) == 40.0
    assert effective_size([float(i) for i in range(40)]) < 3.0


@pytest.mark.parametrize(("q", "needed"), [(50, 6), (90, 36), (95, 72), (99, 368)])
def test_a_percentile_has_an_interval_only_with_enough_samples(q: int, needed: int) -> None:
    """The limits are those at which percentiles are given at all."""
    values = [float(i) for i in range(needed)]
    assert (percentile_interval(values[:-1], q), percentile_interval(values, q) is not None) == (
        None,
        True,
    )


@pytest.mark.parametrize(
    ("likeness", "least", "most"),
    [(0.0, 0.93, 0.98), (0.9, 0.90, 0.99)],  # of a sample to the one before it; both for 95 %
)
def test_an_interval_within_a_measurement_holds_what_is_true(
    likeness: float, least: float, most: float
) -> None:
    """Of 400 series nineteen in twenty have their true median in the interval, alike or not."""
    random, found = Random(7), 0
    for _ in range(400):
        samples, last = [], random.gauss(0, 1)
        for _ in range(300):
            last = likeness * last + math.sqrt(1 - likeness**2) * random.gauss(0, 1)
            samples.append(100 + 10 * last)
        made = summarise(samples, formula="e2e_service/v1")
        told = with_intervals({"m": made.model_copy(update={"hist": histogram(samples)})})["m"].ci
        low, high = (told or {})["50"]
        found += low <= 100 <= high
    assert least <= found / 400 <= most


def test_intervals_of_large_measurements_are_quick_and_go_on() -> None:
    """Beyond a few thousand samples the ranks come from the normal distribution, without a jump."""
    spans = []
    for n in (7_900, 8_100):  # variances just below and above the change
        low, high = percentile_interval(range(n), 50) or (0, 0)
        spans.append((high - low) / math.sqrt(n))
    assert spans[0] == pytest.approx(spans[1], rel=0.02)


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ((3.0, 4.0, 5.0), (6.0, 7.0, 9.0)),
        ((3.0, 4.0, 5.0, 8.0), (6.0, 7.0, 9.0, 9.5)),
        ((1.0, 2.0), (5.0, 6.0, 7.0)),
    ],
)
def test_the_bootstrap_is_that_of_all_resamples(
    base: tuple[float, ...], other: tuple[float, ...]
) -> None:
    """The interval of a change is what making every possible resample gives."""
    ratios = sorted(
        median(again) / median(first) - 1
        for first in product(base, repeat=len(base))
        for again in product(other, repeat=len(other))
    )
    low = ratios[math.ceil(0.025 * len(ratios)) - 1]
    high = ratios[len(ratios) - math.ceil(0.025 * len(ratios))]
    assert median_change_interval(base, other) == pytest.approx((low, high))


def test_a_verdict_word_is_what_scripts_read() -> None:
    """The words of verdicts are part of the JSON."""
    assert [str(v) for v in Verdict] == ["better", "worse", "changed", "same", "inconclusive"]
