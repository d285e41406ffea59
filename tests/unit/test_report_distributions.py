"""What a report says of distributions, of the course of measurements, and of their conditions."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchd.core.conditions import gpus, limits, offered_rate
from benchd.core.courses import courses
from benchd.core.curves import Spot, charted, sweep
from benchd.core.distributions import distributions
from benchd.core.headline import Column
from benchd.core.html import render_html
from benchd.core.markdown import render_markdown
from benchd.core.model import JobState
from benchd.core.numbers import histogram, summarise
from benchd.core.report import build
from benchd.core.svg_courses import course
from benchd.core.svg_tails import tails
from support.builders import CREATED_AT, client, run
from support.documents import result, value

Document = dict[str, Any]


def latency(name: str, samples: list[float]) -> Document:
    """Return a latency with its histogram, as the load generator writes it."""
    metric = summarise(samples, formula=f"{name}/v1").model_dump(mode="json")
    return {**metric, "hist": histogram(samples, digits=2)}


def measured(*repeats: list[float], **more: object) -> list[Document]:
    """Return the results of one point: the same waits from schedule, and a tenth in service."""
    return [
        {
            "repeat": i,
            "metrics": {
                "e2e_sched": latency("e2e_sched", samples),
                "e2e_service": latency("e2e_service", [x / 10 for x in samples]),
            },
            **more,
        }
        for i, samples in enumerate(repeats)
    ]


FAST, SLOW = [10.0] * 200, [10.0] * 170 + [500.0] * 30


def test_repeats_are_pooled_and_not_averaged() -> None:
    """A p99 that no repeat has enough samples for comes from all together, others stay unknown."""
    pooled = distributions({"p": measured(FAST, SLOW)}).pooled[0]
    assert (pooled.repeats, pooled.samples, pooled.values, pooled.singles) == (
        2,
        400,
        (10.5, 10.5, 505.0, 505.0, None),
        (),
    )


def test_the_spread_of_single_repeats_stands_beside_the_pooled_tail() -> None:
    """The p99 of each repeat is kept as it was, lowest first."""
    found = distributions({"p": measured(SLOW * 2, FAST * 2)}).pooled[0]
    assert found.singles == (10.0, 500.0)


def test_without_histograms_nothing_is_pooled() -> None:
    """One repeat without a histogram is enough: half of the samples is not all of them."""
    documents = measured(FAST, SLOW)
    del documents[1]["metrics"]["e2e_sched"]["hist"]
    found = distributions({"p": documents})
    assert ([p.metric for p in found.pooled], len(found.tails)) == (["e2e_service"], 1)


def test_repeats_without_a_common_percentile_have_no_row() -> None:
    """A point of which no percentile is known of every repeat is not drawn; the others are."""
    told = {"a": ("50", "99"), "b": ("50", "50")}
    points = {
        point: [
            {"metrics": {"e2e_sched": {"unit": "ms", "percentiles": {q: 1.0}}}} for q in repeats
        ]
        for point, repeats in told.items()
    }
    (chart,) = distributions(points).percentiles
    assert ("b", (("50", 1.0),)) == (*chart.rows[0],)
    assert () == distributions({"a": points["a"]}).percentiles


def test_a_tail_says_how_many_took_longer() -> None:
    """From the schedule and from the sending in one chart; shares are of all repeats together."""
    (chart,) = distributions({"p": measured(FAST, SLOW)}).tails
    assert (chart.title, [(t.is_after, t.steps) for t in chart.tails]) == (
        "End-to-end",
        [(False, ((10.0, 1.0), (500.0, 0.075))), (True, ((1.0, 1.0), (50.0, 0.075)))],
    )


def test_a_tail_is_drawn_as_far_as_samples_are_behind_it() -> None:
    """What fewer than four samples say is drawn faint, and marked so for each curve."""
    (chart,) = distributions({"p": measured([10.0, 20.0] * 50 + [30.0, 40.0, 50.0])}).tails
    drawn = [e.get("class") or "" for e in ET.fromstring(tails(chart)).iter("polyline")]
    assert drawn == ["curve s0", "curve s0 thin", "curve s0 after", "curve s0 after thin"]


def test_what_only_helps_to_find_causes_stands_apart() -> None:
    """Times between chunks are no result: told over all repeats, by what the samples vouch for."""
    gaps = {"icl": latency("icl", [2.0] * 300 + [8.0] * 100)}
    kept = {"workload": {"record_chunks": True}}
    documents = {
        "p": [{"metrics": gaps}, {"metrics": {"icl": latency("icl", [6.0] * 400)}}],
        "kept": [{"metrics": {**gaps, "concurrency": {"unit": "1", "value": 1.5}}, **kept}],
    }
    found = distributions(documents)
    said = [(d.metric, d.point, d.samples, d.mean, *d.percentiles) for d in found.diagnostics]
    assert (found.percentiles, found.pooled, said) == (
        (),
        (),
        [
            ("concurrency", "kept", None, 1.5, None, None),
            ("icl", "p", 800, 4.75, None, None),
            ("icl", "kept", 400, 3.5, 2.0, 8.0),
        ],
    )


def test_times_between_chunks_are_not_hidden_from_a_report() -> None:
    """Both forms name them among the diagnostics, and no column of the results is theirs."""
    job = client(state=JobState.COMPLETED)
    metrics = {"req_s": value(2.0), "tpot": latency("tpot", [2.0] * 400)}
    metrics["icl"] = latency("icl", [2.0] * 400)
    report = build(run(), [job], [result(job, metrics=metrics)], {}, now=CREATED_AT + 9)
    pages = [render_html(report), render_markdown(report)]
    parts = [page.partition("Diagnostics") for page in pages]
    assert [("Inter-chunk latency" in a, "Inter-chunk latency" in b) for a, _, b in parts] == [
        (False, True)
    ] * 2


TIMELINE = {
    "bucket_s": 2,
    "columns": ["t", "started", "ok", "errors", "out_tokens", "in_flight_avg"],
    "rows": [[0, 4, 3, 0, 60, 1.5], [2, 4, 2, 1, 40, 3.0]],
}


def test_a_course_is_told_by_the_second() -> None:
    """Tokens become a rate; errors are counted, and only where there are any."""
    (point,) = courses({"p": measured(FAST, timeline=TIMELINE)})
    (one,) = point.courses
    assert (point.unit, one.work, one.errors, one.in_flight) == (
        "tokens/s",
        ((0.0, 30.0), (2.0, 20.0)),
        ((2.0, 1.0),),
        ((0.0, 1.5), (2.0, 3.0)),
    )
    kinds = [e.get("class") for e in ET.fromstring(course(one, point)).iter() if e.get("class")]
    assert [kinds.count(k) for k in ("trouble", "curve thinner s0", "curve thinner s3")] == [1] * 3


def test_a_measurement_that_ends_within_a_bucket_does_not_seem_to_slow_down() -> None:
    """What was done in the last bucket counts for the part of it that was measured."""
    times = {"window_s": 3.0}
    (point,) = courses({"p": measured(FAST, timeline=TIMELINE, times=times)})
    assert (point.courses[0].work, point.courses[0].in_flight) == (
        ((0.0, 30.0), (2.0, 40.0)),
        ((0.0, 1.5), (2.0, 6.0)),
    )


def test_a_second_without_an_answer_is_drawn() -> None:
    """It has no latency, and what was done in it is nothing."""
    columns = ["t", "ops_s", "mean_ms"]
    rows = [[0, 90, 1.0], [1, 0, None], [2, 90, 1.0]]
    timeline = {"bucket_s": 1, "columns": columns, "rows": rows}
    (point,) = courses({"p": measured(FAST, timeline=timeline)})
    assert [(0.0, 90.0), (1.0, 0.0), (2.0, 90.0)] == list(point.courses[0].work)


@pytest.mark.parametrize(
    "odd",
    [
        {"rows": [[0, 1]]},
        {"columns": ["t", ["ops_s"], {}], "rows": [[0, 1, 2], [1, 1, 2]]},
        {"rows": [[0, 4, 3, 0, "many", 1], [0, 4, 3, 0, None, 1]]},
        {"columns": ["started", "ok"]},
        {"columns": "t"},
        {},
    ],
)
def test_a_timeline_that_is_none_is_not_drawn(odd: Document) -> None:
    """Whatever files hold, there is a drawing of numbers or none."""
    timeline = {**TIMELINE, **odd} if odd else {}
    assert list(courses({"p": measured(FAST, timeline=timeline)})) == []


@pytest.mark.parametrize(
    ("origin", "count"),
    [
        ({"hardware": [{"role": "service", "gpus": [{"count": 4}]}, {"role": "client"}]}, 4),
        ({"services": [{"tres": "cpu=8,gres/gpu=2,gres/gpu:a100=2"}, {"tres": "gres/gpu=2"}]}, 4),
        ({"cluster": {"service_job": {"tres": "cpu=64,gres/gpu:a100=4"}}}, 4),
        ({"hardware": [{"role": "client", "gpus": [{"count": 4}]}]}, None),
        # the first of two nodes, and two jobs that share one
        ({"hardware": [{"gpus": [{"count": 4}]}], "services": [{"nodes": "g[1-2]"}]}, None),
        ({"hardware": [{"gpus": [{"count": 2, "uuids": ["GPU-1", "GPU-2"]}]}] * 2}, 2),
        ({}, None),
    ],
)
def test_gpus_are_those_of_the_services(origin: Document, count: int | None) -> None:
    """What was seen on their nodes counts first, then what Slurm gave; else it is not known."""
    assert gpus([{"provenance": origin}, {"provenance": origin}]) == count


def test_objectives_are_numbers_by_name() -> None:
    """What another release or program has written there is none."""
    said = [{"ttft_ms": 9, "share": 0.9}, "ttft_ms<=9", [], {"tpot_ms": "x"}, None]
    assert limits([{"workload": {"slo": each}} for each in said]) == {"ttft": 9.0}


def test_an_offered_rate_is_one_that_all_repeats_had() -> None:
    """Closed loops offer none, and repeats that differ offer none together."""
    loads = [{"workload": {"load": {"rate": rate}}} for rate in (8, 8.0, 4, None)]
    assert [offered_rate(loads[i:j]) for i, j in ((0, 2), (0, 3), (3, 4), (0, 0))] == [
        8.0,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        ({"load": {"model": "constant", "rate": 5.0}}, 5.0),
        ({"load": {"model": "find-peak", "rate": 1.0}, "search": {"peak_rate": 64.0}}, 64.0),
        ({"load": {"model": "find-peak", "rate": 1.0}}, None),
        ({"load": {"model": "ramp", "rate": 1.0, "end_rate": 9.0}}, None),
    ],
)
def test_a_rate_at_which_a_load_only_begins_is_not_offered(
    workload: dict[str, Any], expected: float | None
) -> None:
    """A search offered what it found, and a ramp no single rate."""
    assert expected == offered_rate([{"workload": workload}])


def test_reports_tell_offered_rate_gpus_and_the_fastest_within_the_limit() -> None:
    """Both forms have the conditions of each point, rates by GPU, and what keeps the SLO."""
    jobs, results = [], []
    for point, rate in enumerate((4, 8, 16)):
        job = client(cell={"client.parameters.rate": rate}, state=JobState.COMPLETED)
        jobs.append(job := client(cell={"client.parameters.rate": rate}, point=point))
        metrics = {
            "req_s": value(rate * 1.0),
            "e2e_sched": latency("e2e_sched", [float(rate) * 10] * 400),
        }
        results.append(
            result(
                job,
                id=f"r{point}",
                metrics=metrics,
                workload={"load": {"model": "open", "rate": rate}, "slo": {"e2e_sched_ms": 100}},
                provenance={"hardware": [{"gpus": [{"count": 4}]}]},
            )
        )
    report = build(run(), jobs, results, {}, now=CREATED_AT + 9)
    best = "The fastest within the limit of 100 ms: rate=8, 8 1/s."
    page, markdown = render_html(report), render_markdown(report)
    assert [word in page for word in (best, "Per GPU", "Offered", "offered rate [1/s]")] == [
        True
    ] * 4
    assert [word in markdown for word in (best, "GPUs", "| rate=8 | 1 of 1 | 8 | 4 | 8 |")] == (
        [True] * 3
    )


def test_a_latency_told_twice_has_one_curve() -> None:
    """Of scheduled and service latency the scheduled one is drawn over what is varied."""
    names = ("req_s", "e2e_sched", "e2e_service", "tpot", "icl")
    columns = [Column((i, name, 0), name, "p50", "ms", "lower") for i, name in enumerate(names)]
    assert [column.metric for column in charted(columns)] == ["req_s", "e2e_sched", "tpot"]


def test_the_whole_latency_stands_against_speed_and_no_case_of_it() -> None:
    """How long inserts took says nothing of the queries whose speed it is."""
    names = (("ops_s", "value"), ("latency_service", "p99"), ("latency_service.insert", "mean"))
    columns = [Column((i, n, 0), n, s, "ms", "") for i, (n, s) in enumerate(names)]
    spots = [
        [Spot(cell={"n": n}, name=str(n), value=n, low=n, high=n) for _ in names] for n in (1, 2, 3)
    ]
    found = sweep(columns, spots).tradeoff
    assert found is not None
    assert found.latency.metric == "latency_service"


def test_the_latency_with_a_limit_stands_against_speed() -> None:
    """An SLO on the first token makes it the latency of the trade-off, whatever else there is."""
    names = (("req_s", "value"), ("ttft_sched", "p99"), ("e2e_sched", "p99"))
    columns = [Column((i, n, 0), n, s, "ms", "") for i, (n, s) in enumerate(names)]
    spots = [
        [Spot(cell={"n": n}, name=str(n), value=n, low=n, high=n) for _ in names] for n in (1, 2, 3)
    ]
    found = sweep(columns, spots, limits={"ttft_sched": 2.0}).tradeoff
    assert found is not None
    assert (found.latency.metric, found.limit) == ("ttft_sched", 2.0)
