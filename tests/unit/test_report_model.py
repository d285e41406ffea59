"""From a run and its results to what a report says."""

from __future__ import annotations

import pytest

from benchd.core.html import render_html
from benchd.core.markdown import render_markdown
from benchd.core.model import Job, JobState, Run, RunOutcome, Transition
from benchd.core.notices import job_name
from benchd.core.report import build
from benchd.core.reported import Report
from benchd.core.results import Result
from support.builders import CREATED_AT, client, run, service
from support.documents import result, spread, value

NOW = CREATED_AT + 300.0
DONE: dict[str, object] = {"finished_at": CREATED_AT + 200, "outcome": RunOutcome.PASSED}
BROKEN = {"code": "service_not_steady", "severity": "error", "detail": "redis left READY"}
BUSY = {"code": "client_cpu", "severity": "warn", "detail": "the client used 90 % of a core"}


def made(jobs: list[Job], results: list[Result], of: Run | None = None) -> Report:
    return build(of or run(**DONE), jobs, results, {}, now=NOW)


def repeats(*numbers: float, bad: int | None = None) -> tuple[list[Job], list[Result]]:
    """Return one point measured several times; the repeat ``bad`` is invalid."""
    jobs = [client(repeat=i, cell={"client.parameters.pipeline": 16}) for i in range(len(numbers))]
    results = [
        result(job, metrics={"req_s": value(n)}, flags=(BROKEN,) if i == bad else ())
        for i, (job, n) in enumerate(zip(jobs, numbers, strict=True))
    ]
    return jobs, results


def test_a_point_is_the_median_of_its_valid_repeats() -> None:
    """Repeats of one point become median, lowest and highest; what is invalid is left out."""
    point = made(*repeats(100.0, 900.0, 120.0, 110.0, bad=1)).points[0]
    spread_ = point.spreads[0]
    assert (point.name, point.valid, point.total, spread_.median, spread_.low, spread_.high) == (
        "pipeline=16",
        3,
        4,
        110.0,
        100.0,
        120.0,
    )


def test_a_tail_of_some_repeats_says_of_how_many() -> None:
    """Where not every valid repeat has a p99, the page says of how many the number is."""
    jobs = [client(repeat=i) for i in range(3)]
    metrics = [spread(1.0, p99=10.0), spread(3.0, p99=20.0), spread(2.0)]
    results = [
        result(j, metrics={"latency_service": m}) for j, m in zip(jobs, metrics, strict=True)
    ]
    report = made(jobs, results)
    pages = [render_html(report), render_markdown(report)]
    assert (["", "2 of 3 repeats"], ["2 of 3 repeats" in page for page in pages]) == (
        [each.share for each in report.points[0].spreads],
        [True, True],
    )


def test_one_measurement_has_the_interval_within_it() -> None:
    """Without repeats each percentile has its own interval; with some, what they differ by."""
    jobs = [client(repeat=i) for i in range(2)]
    metric = spread(5.0, p99=9.0) | {"ci": {"n_eff": 80.0, "50": [4.5, 5.5], "99": None}}
    results = [result(j, metrics={"latency_service": metric}) for j in jobs]
    alone, both = made(jobs[:1], results[:1]), made(jobs, results)
    assert [r.points[0].spreads[0].interval for r in (alone, both)] == [(4.5, 5.5), None]
    pages = (render_html(alone), render_markdown(alone))
    assert ["4.50 to 5.50" in page for page in pages] == [True, True]


def test_a_point_without_valid_results_has_no_number() -> None:
    """When nothing is valid there is no number, rather than one that looks like a result."""
    report = made(*repeats(100.0, bad=0))
    assert (report.valid, report.points[0].spreads[0].median) == (0, None)


def test_a_retried_measurement_is_one_repeat() -> None:
    """The invalid first attempt is shown, but the point was measured once."""
    first = client(attempt=1, state=JobState.CANCELLED)
    again = client(attempt=2, state=JobState.COMPLETED)
    report = made([first, again], [result(first, flags=(BROKEN,)), result(again)])
    assert ([r.attempt for r in report.rows], report.points[0].total, report.points[0].valid) == (
        [1, 2],
        1,
        1,
    )


def test_points_stand_in_the_order_of_the_recipe() -> None:
    """Results arrive as they end; the table follows the sweep."""
    jobs = [client(point=p, cell={"pipeline": 4**p}) for p in (2, 0, 1)]
    assert [p.name for p in made(jobs, [result(j) for j in jobs]).points] == [
        "pipeline=1",
        "pipeline=4",
        "pipeline=16",
    ]


def test_errors_come_before_warnings_before_notes() -> None:
    """What invalidates stands first, each reason once with how often it occurred."""
    jobs = [client(repeat=i) for i in range(3)]
    results = [
        result(jobs[0], flags=(BUSY,)),
        result(jobs[1], flags=(BUSY,)),
        result(jobs[2], flags=(BROKEN,)),
    ]
    report = made(jobs, results, run(outcome=RunOutcome.INVALID, why="1 of 3", finished_at=NOW))
    assert [(n.severity, n.code, n.count) for n in report.notices] == [
        ("error", "invalid", 1),
        ("error", "service_not_steady", 1),
        ("warn", "client_cpu", 2),
        ("warn", "repeats missing", 1),
        ("info", "few repeats", 1),
    ]


@pytest.mark.parametrize(("count", "codes"), [(2, ["few repeats"]), (3, ["few repeats"]), (4, [])])
def test_too_few_repeats_for_a_comparison_are_said(count: int, codes: list[str]) -> None:
    """Below four valid repeats no comparison has a verdict, and the report says what helps."""
    assert [n.code for n in made(*repeats(*(100.0 + i for i in range(count)))).notices] == codes


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((14_686.0, 42_115.0), ["coefficient of variation 68.29 %; limit 10 %"]),
        ((100.0, 101.0, 109.0), []),
        ((0.0, 0.0), []),
        ((100.0,), []),
    ],
)
def test_repeats_that_differ_widely_are_said(numbers: tuple[float, ...], said: list[str]) -> None:
    """Beyond a coefficient of variation of a tenth the median of a point says little."""
    report = made(*repeats(*numbers))
    found = [n for n in report.notices if n.code == "repeats differ"]
    assert [n.reach for n in found] == said
    for notice in found:
        ends = "Requests of pipeline=16, 14\u202f686 to 42\u202f115 1/s"
        assert (notice.severity, ends in notice.text) == ("warn", True)
        assert "68.29 %" in render_html(report)
        assert "68.29 %" in render_markdown(report)


def test_what_repeats_another_number_is_not_drawn_either() -> None:
    """Operations that are the requests, one by one, have no column and no curve of their own."""
    jobs = [client(point=p, cell={"n": p}) for p in (1, 2, 3)]
    results = [
        result(j, metrics={"req_s": value(9.0 * j.point), "ops_s": value(9.0 * j.point)})
        for j in jobs
    ]
    report = made(jobs, results)
    titles = [c.title for c in report.columns], [c.title for c in report.sweep.curves]
    assert titles == (["Requests"], ["Requests"])


def test_what_is_always_the_same_has_no_range() -> None:
    """Repeats without an error have no interval of 0 to 0 below them."""
    report = made(*repeats(7.0, 7.0, 7.0))
    assert report.points[0].spreads[0].around is None
    assert "7 to 7" not in render_html(report) + render_markdown(report)


def test_one_repeat_is_said() -> None:
    """A run without repeats says that the spread is not known."""
    assert [n.code for n in made([client()], [result(client())]).notices] == ["one repeat"]


def test_an_unfinished_run_has_a_report_too() -> None:
    """A report of a run that goes on says so and counts the time until now."""
    report = made([service(), client()], [], run())
    assert (report.outcome, report.duration, report.notices[0].code) == (
        "in progress",
        300.0,
        "in progress",
    )


@pytest.mark.parametrize(
    ("attempts", "severity"),
    [
        ([service(attempt=1, state=JobState.FAILED, why="TIMEOUT")], "error"),
        (
            [
                service(attempt=1, state=JobState.FAILED, why="TIMEOUT"),
                service(attempt=2, state=JobState.RUNNING),
            ],
            "info",
        ),
    ],
)
def test_a_failure_weighs_less_once_it_was_tried_again(attempts: list[Job], severity: str) -> None:
    """A failed job is an error, unless a later attempt took its place."""
    notice = next(n for n in made(attempts, []).notices if n.code == "TIMEOUT")
    assert notice.severity == severity


def test_one_cause_is_told_once() -> None:
    """Jobs that failed alike are one notice with its last words; what follows from it is not."""
    jobs = [
        client(repeat=i, state=JobState.FAILED, why="FAILED", exit_code=127, slurm_id=str(i))
        for i in range(3)
    ]
    follows = ("job_failed", "no_work")
    flags = tuple({"code": c, "severity": "error", "detail": "it failed"} for c in follows)
    report = build(
        run(outcome=RunOutcome.FAILED, why="client redis-bench FAILED exit 127", finished_at=NOW),
        jobs,
        [result(job, flags=flags) for job in jobs],
        {},
        now=NOW,
        last_words={job.token: "exec: nosuchprogram: not found" for job in jobs},
    )
    notice = report.notices[0]
    words = ("exit status 127", "exec: nosuchprogram: not found")
    assert (1, 3, "error", [True, True]) == (
        len(report.notices),
        notice.count,
        notice.severity,
        [word in notice.text for word in words],
    )


def test_what_spoilt_a_failed_job_is_told() -> None:
    """Requests that failed are why a client did, and the report says so beside its exit status."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=1)
    flags = [{"code": c, "severity": "error", "detail": c} for c in ("job_failed", "no_work")]
    cause = {"code": "error_rate", "severity": "error", "detail": "80 of 80 failed: 80 timeout"}
    report = made([job], [result(job, flags=(*flags, {**cause, "value": 1.0, "limit": 0.01}))])
    assert [(n.code, n.text, n.reach) for n in report.notices if n.code != "client failed"] == [
        ("error_rate", cause["detail"], "100\u00a0% of the requests; limit 1\u00a0%")
    ]


def test_a_flag_stands_in_one_box_with_its_numbers_and_what_to_do() -> None:
    """A warning here and a note there are one notice: how many of each, from what to what."""
    jobs = [client(repeat=i) for i in range(3)]
    late = [(0.4, 0.003, "info"), (12.5, 10.0, "warn"), (0.5, 0.003, "info")]
    results = [
        result(
            job,
            flags=(
                {
                    "code": "send_lag_p99",
                    "severity": severity,
                    "value": value_,
                    "limit": limit,
                    "detail": "requests left late",
                },
            ),
        )
        for job, (value_, limit, severity) in zip(jobs, late, strict=True)
    ]
    report = made(jobs, results)
    found = [n for n in report.notices if n.code == "send_lag_p99"]
    assert [(n.severity, n.count, n.text, n.reach) for n in found] == [
        (
            "warn",
            3,
            "requests left late; 1 as a warning and 2 as a note",
            "0.400 to 12.50\u00a0ms; limit 0.003 to 10\u00a0ms",
        )
    ]
    pages = [render_html(report), render_markdown(report)]
    words = ("0.400 to 12.50", "a node of its own, or more")
    assert [[word in page for word in words] for page in pages] == [[True, True], [True, True]]


def test_a_run_that_measured_nothing_says_so() -> None:
    """What failed or was cancelled counts among the wanted measurements, not the done ones."""
    states = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
    jobs = [client(repeat=i, state=state) for i, state in enumerate(states)]
    report = made(jobs, [result(jobs[0])])
    pages = [render_html(report), render_markdown(report)]
    assert (1, 3, [True, True]) == (report.done, report.wanted, ["1 of 3" in p for p in pages])


def test_percentiles_are_medians_over_repeats() -> None:
    """Of each percentile the middle repeat is drawn; one that a repeat lacks is left out."""
    jobs = [client(repeat=i) for i in range(3)]
    metrics = [spread(1.0, p99=10.0), spread(3.0, p99=20.0), spread(2.0)]
    results = [
        result(j, metrics={"latency_service": m}) for j, m in zip(jobs, metrics, strict=True)
    ]
    assert made(jobs, results).distributions.percentiles[0].rows == (
        ("redis-bench", (("50", 2.0),)),
    )


def test_facts_that_differ_are_listed_together() -> None:
    """Provenance names every value once."""
    jobs = [client(repeat=i) for i in range(2)]
    results = [
        result(job, provenance={"service": {"nodes": f"n{i}", "image": "redis:7"}})
        for i, job in enumerate(jobs)
    ]
    facts = dict(made(jobs, results).provenance)
    assert (facts["service.nodes"], facts["service.image"]) == ("n0, n1", "redis:7")


def test_a_job_is_named_by_what_tells_it_apart() -> None:
    """Point, repeat, replica and attempt appear only where they say something."""
    names = [
        job_name(service()),
        job_name(service(replica=1, attempt=2)),
        job_name(client(cell={"client.parameters.pipeline": 4}, repeat=1)),
    ]
    assert names == ["redis", "redis replica 1 attempt 2", "redis-bench pipeline=4 repeat 1"]


def test_a_measurement_window_reaches_its_lane_end() -> None:
    """Slurm's end is rounded down to a second; the lane still covers the whole window."""
    job = client(state=JobState.COMPLETED, started_at=CREATED_AT + 10, ended_at=CREATED_AT + 20)
    times = {
        "measure_start": "2023-11-14T22:13:31.000Z",
        "measure_end": "2023-11-14T22:13:40.500Z",
    }
    moves = [
        Transition(token=job.token, at=CREATED_AT + 11, trigger="t", old="PENDING", new="RUNNING")
    ]
    report = build(run(**DONE), [job], [result(job, times=times)], {job.token: moves}, now=NOW)
    lane = report.lanes[0]
    assert (lane.measured is not None, lane.spans[-1].end - CREATED_AT) == (True, 20.5)
