"""What a report says of a measurement that went step by step to saturation."""

from __future__ import annotations

from typing import Any

import pytest

from benchd.core.html import render_html
from benchd.core.markdown import render_markdown
from benchd.core.model import JobState
from benchd.core.report import build
from benchd.core.steps import ladders
from support.builders import CREATED_AT, client, run
from support.documents import result, spread, value

SERVED = 100.0  # requests a second that the service can


def step(rate: float, **over: Any) -> dict[str, Any]:
    """Return a step at a rate, as a service of that capacity answers it."""
    answered, late = min(rate, SERVED), 5.0 if rate <= SERVED else 80.0
    return {
        "kind": "rate" if rate <= SERVED else "beyond",
        "offered_rate": rate,
        "achieved_rate": rate,
        "errors": 0,
        "delivered": True,
        "steady": rate <= SERVED,
        "good": rate <= SERVED,
        "metrics": {"req_s": value(answered), "latency_sched": spread(late, p95=2 * late)},
        **over,
    }


CLOSED = [
    {"kind": kind, "concurrency": users, "errors": 0, "metrics": {"req_s": value(rate)}}
    for kind, users, rate in (("floor", 1, 20.0), ("ceiling", 64, SERVED))
]
STEPS = [*CLOSED, *(step(rate) for rate in (40.0, 60.0, 80.0, 100.0, 125.0))]
FOUND = {
    name: value(rate)
    for name, rate in (("knee_rate", 100), ("peak_rate", 100), ("ceiling_rate", 100))
}


def document(steps: Any, repeat: int = 0) -> dict[str, Any]:
    """Return a result with steps."""
    return {"repeat": repeat, "metrics": FOUND, "workload": {"saturation": {"steps": steps}}}


def test_rates_make_the_curves() -> None:
    """Answers and latencies are drawn over the offered rate, without those of users who wait."""
    (ladder,) = ladders({"a": [document(STEPS)], "b": [{"workload": {}}]})
    drawn = {chart.title: chart for chart in ladder.curves}
    assert list(drawn) == ["Answered", "Latency, scheduled p50", "Latency, scheduled p95"]
    assert [(x, y) for x, y, _, _ in drawn["Answered"].curves[0].points] == [
        (40.0, 40.0),
        (60.0, 60.0),
        (80.0, 80.0),
        (100.0, 100.0),
        (125.0, 100.0),
    ]
    assert (drawn["Answered"].knee, drawn["Answered"].key) == (100.0, "offered rate [1/s]")
    assert drawn["Latency, scheduled p95"].curves[0].points[-1][1] == 160.0
    assert [row[1] for row in ladder.rows][:3] == [
        "1 user",
        "64 users",
        "at a rate",
    ]
    assert ladder.rows[-1][1] == "at a rate, beyond the ceiling"
    assert [row[-1] for row in ladder.rows][-2:] == ["kept up", "latency kept growing"]


def test_the_steps_are_told_in_words() -> None:
    """Who got how many answers is said, and from when a latency counts where rows differ in it."""
    waiting = {"req_s": value(SERVED), "latency_service": spread(5.0)}
    users = [one | {"metrics": waiting} for one in CLOSED]
    timed = step(40.0)["metrics"]
    both = step(40.0, metrics=timed | {"latency_service": spread(5.0)})
    (ladder,) = ladders({"a": [document([*users, both])]})
    users, latency = ladder.words
    assert users == (
        "64 users, each asking again after its answer, got 100 answers a second (ceiling); "
        "requests were good up to 100 a second; beyond 100 a second, more of them hardly gave more "
        "answers (knee)."
    )
    assert latency == "Latency counts from the sending for users, and from the schedule at a rate."


def test_repeats_are_curves_of_their_own() -> None:
    """Repeats tried other rates, so nothing of theirs is averaged."""
    (ladder,) = ladders({"a": [document(STEPS), document(STEPS, repeat=1)]})
    assert [curve.name for curve in ladder.curves[0].curves] == ["repeat 0", "repeat 1"]
    assert (ladder.curves[0].knee, len(ladder.rows), len(ladder.words)) == (None, 14, 2)


@pytest.mark.parametrize(
    "steps",
    [
        "nonsense",
        [3, None],
        [{"offered_rate": "fast", "metrics": []}],
        [step(1.0, metrics={"req_s": 3, "latency_sched": {"percentiles": [1]}}), step(2.0)],
    ],
)
def test_odd_steps_are_no_trouble(steps: Any) -> None:
    """What is no number is not drawn, and stops no report."""
    assert all(not ladder.curves for ladder in ladders({"a": [document(steps)]}))


def test_both_forms_tell_the_steps() -> None:
    """Page and Markdown have the table and what was found; the page draws it, too."""
    job = client(state=JobState.COMPLETED)
    measured = result(job, metrics=FOUND, workload={"saturation": {"steps": STEPS}})
    report = build(run(), [job], [measured], {}, now=CREATED_AT + 60)
    page, text = render_html(report), render_markdown(report)
    for form in (page, text):
        assert "Step by step: " in form
        assert "requests were good up to 100 a second; beyond 100 a second" in form
    assert ("knee at 100" in page, "| 125 | 125 | 100 |" in text) == (True, True)
