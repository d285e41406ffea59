"""The schedules of open loops, and what is made of what came of them."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.flags import KEPT
from benchd.core.numbers import bucket_counts
from benchd.ship.load import quality, summary
from benchd.ship.load.arrivals import Load, schedule
from benchd.ship.load.driving import Part, phase
from benchd.ship.load.sending import Stop
from benchd.ship.load.target import Target, Usage
from benchd.ship.load.work import Sample, Workload


def gaps(load: Load, count: int = 20_000) -> list[float]:
    """Return the gaps between arrivals."""
    return [b - a for a, b in itertools.pairwise(schedule(load, count, None))]


@pytest.mark.parametrize(
    ("load", "variation"),
    [
        (Load("constant", rate=50.0), 0.0),
        (Load("poisson", rate=50.0), 1.0),
        (Load("gamma", rate=50.0, burstiness=0.25), 2.0),
        (Load("gamma", rate=50.0, burstiness=4.0), 0.5),
        (Load("gamma", rate=50.0, burstiness=1.0), 1.0),
    ],
)
def test_gaps_have_their_distribution(load: Load, variation: float) -> None:
    """The mean gap is that of the rate, and its variation that of the model."""
    found = gaps(load)
    mean = statistics.fmean(found)
    assert mean == pytest.approx(1 / 50, rel=0.05)
    assert statistics.pstdev(found) / mean == pytest.approx(variation, abs=0.1)


def test_a_ramp_grows_evenly() -> None:
    """A ramp has as many arrivals in each second as the rate then says."""
    found = schedule(Load("ramp", rate=10.0, end_rate=110.0), None, 10.0)
    assert len(found) == pytest.approx(600, abs=1)
    for second, wanted in ((0, 15), (4, 55), (9, 105)):
        there = [offset for offset in found if second <= offset < second + 1]
        assert len(there) == pytest.approx(wanted, abs=1)


@given(
    seed=st.integers(0, 99),
    parts=st.integers(1, 7),
    model=st.sampled_from(["constant", "poisson", "gamma"]),
)
def test_parts_make_up_the_whole(seed: int, parts: int, model: str) -> None:
    """However many share a schedule, together they send it, each arrival once."""
    load = Load(model, rate=30.0, seed=seed)
    whole = schedule(load, 50, None)
    shares = [phase("measure", load, Stop(50, None), Part(n, parts)).plan for n in range(parts)]
    assert sorted(x for share in shares for x in share or ()) == list(whole)
    assert list(whole) == sorted(whole)
    assert list(schedule(load, 50, None, "warmup")) != list(whole) or model == "constant"


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    """Arrivals of a file are those in it, in order; nonsense is named with its line."""
    file = tmp_path / "trace"
    file.write_text('0.5\n{"offset": 0.25, "user": 3}\n\n2\n')
    assert list(schedule(Load("trace", trace=str(file)), None, None)) == [0.25, 0.5, 2.0]
    assert list(schedule(Load("trace", trace=str(file)), 1, None)) == [0.25]
    file.write_text("0.5\nsoon\n")
    with pytest.raises(Usage, match="line 2: 'soon' is neither seconds nor"):
        schedule(Load("trace", trace=str(file)), None, None)
    with pytest.raises(Usage, match="No such file"):
        schedule(Load("trace", trace=str(tmp_path / "none")), None, None)
    for bad in ("-1", "true", "NaN", '{"at": 3}', "[1]"):
        file.write_text(f"{bad}\n")
        with pytest.raises(Usage, match=r"line 1: .* is neither seconds nor"):
            schedule(Load("trace", trace=str(file)), None, None)
    file.write_text("\n")
    with pytest.raises(Usage, match="has no arrivals"):
        schedule(Load("trace", trace=str(file)), None, None)


def sample(sched: float, end: float, status: str = "ok", late: float = 0.0) -> Sample:
    """Return a request."""
    made = Sample("measure", 0, 0, sched)
    made.sent, made.first_byte, made.end, made.status = sched + late, end, end, status
    return made


def workload(*slos: str) -> Workload:
    """Return a workload of an open loop."""
    made = Workload(Target("h", 1, "", False), 1.0, "r")
    made.is_open = True
    made.slos = quality.parse(slos) if slos else []
    return made


def test_goodput_by_its_formula() -> None:
    """Good is what succeeded and met every objective; attainment is of what was sent."""
    dropped = Sample("measure", 0, 0, 2.0)
    dropped.status = "dropped"
    samples = [
        *(sample(0.0, 0.1), sample(1.0, 1.4, late=0.25), sample(2.0, 2.01, "http_5xx")),
        *(sample(3.0, 3.2), dropped),
    ]
    made = quality.metrics(samples, workload("latency_sched_ms<=300", "latency_service_ms<200.5"))
    assert made["slo_attainment"]["value"] == pytest.approx(2 / 4)
    assert made["goodput"]["value"] == pytest.approx(2 / 3.2)
    assert made["goodput"]["windows"]["steady"] == pytest.approx(1 / 3.0)
    assert made["concurrency"]["value"] == pytest.approx((0.1 + 0.15 + 0.01 + 0.2) / 3.2)
    assert made["send_lag"]["max"] == pytest.approx(250.0)
    counts = summary.counts(samples, 5)
    assert [counts[name] for name in ("issued", "ok", "errors", "dropped")] == [4, 3, 1, 1]


@pytest.mark.parametrize(
    ("growth", "expected"), [(0.0, False), (0.05, True), (-0.001, False), (None, None)]
)
def test_overload_is_noticed(growth: float | None, expected: Any) -> None:
    """A queue that grows to the end is noticed, and one that does not is not."""
    count = 200 if growth is not None else 5
    samples = [
        sample(n * 0.1, n * 0.1 + 0.3 + (growth or 0) * n + 0.01 * (n % 7)) for n in range(count)
    ]
    assert quality.is_growing(samples) is expected


def test_delivery_is_what_left() -> None:
    """The offered rate is the plan's, the achieved one that of the requests that left."""
    samples = [sample(n * 0.1, n * 0.1 + 0.5) for n in range(101)]
    for late in samples[51:]:
        late.sent, late.status = None, "dropped"
    made = quality.delivery(samples)
    assert made["offered_rate"] == pytest.approx(10.0)
    assert made["achieved_rate"] == pytest.approx(5.0)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50))
def test_histograms_hold_every_sample(samples: list[float]) -> None:
    """A histogram has every sample, each in a bucket that begins at most a tenth below it."""
    counts = bucket_counts(summary.histogram(samples))
    assert sum(count for _, count in counts) == len(samples)
    bounds = [bound for bound, count in counts for _ in range(count)]
    for bound, value in zip(bounds, sorted(samples), strict=True):
        assert bound <= round(value * 1e6) <= max(bound * 1.1, bound + 1)


@pytest.mark.parametrize(
    ("load", "asked", "name", "kept"),
    [
        (Load("closed", concurrency=9), Stop(None, 300.0), "measure", KEPT),
        (Load("closed", concurrency=9), Stop(50, 300.0), "measure", 50),
        (Load("constant", rate=1e6), Stop(None, 2.5), "measure", KEPT),
        (Load("closed", concurrency=9), Stop(None, 300.0), "step-1", KEPT // 10),
        (Load("constant", rate=1e6), Stop(None, 2.5), "step-2", KEPT // 10),
    ],
)
def test_no_phase_has_more_requests_than_can_be_kept(
    load: Load, asked: Stop, name: str, kept: int
) -> None:
    """However long a measurement is to last, its parts have no more requests than the limit."""
    parts = [phase(name, load, asked, Part(place, 3)) for place in range(3)]
    assert kept == sum(len(p.plan) if p.plan is not None else p.stop.requests or 0 for p in parts)
