"""Statistics: percentiles as numpy computes them, and only where the samples carry them."""

from __future__ import annotations

import pytest

from benchd.core.results import percentile, summarise


@pytest.mark.parametrize(
    ("samples", "q", "expected"),
    [
        ([1.0], 50, 1.0),
        ([1.0, 2.0], 50, 1.5),
        ([1.0, 2.0, 3.0, 4.0], 25, 1.75),
        ([10.0, 20.0, 30.0, 40.0, 50.0], 90, 46.0),
        ([float(x) for x in range(101)], 99, 99.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
    ],
)
def test_percentile_interpolates(samples: list[float], q: float, expected: float) -> None:
    """A percentile lies between the two samples around it, in proportion."""
    assert percentile(samples, q) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "known"),
    [
        (5, set()),
        (6, {"50"}),
        (35, {"50"}),
        (36, {"50", "90"}),
        (71, {"50", "90"}),
        (72, {"50", "90", "95"}),
        (367, {"50", "90", "95"}),
        (368, {"50", "90", "95", "99"}),
        (3687, {"50", "90", "95", "99"}),
        (3688, {"50", "90", "95", "99", "99.9"}),
    ],
)
def test_percentiles_need_samples(n: int, known: set[str]) -> None:
    """A percentile that too few samples carry is null, whatever could be computed."""
    metric = summarise([float(x) for x in range(n)], formula="x/v1")
    assert metric.percentiles is not None
    assert {key for key, value in metric.percentiles.items() if value is not None} == known


def test_summary_of_samples() -> None:
    """A summary has mean, sample standard deviation and extremes."""
    metric = summarise([3.0, 1.0, 2.0], formula="x/v1", unit="ms")
    assert (metric.n, metric.mean, metric.stdev, metric.min, metric.max) == (3, 2.0, 1.0, 1.0, 3.0)


def test_summary_of_nothing() -> None:
    """Without samples every number is null, never 0."""
    metric = summarise([], formula="x/v1")
    assert (metric.n, metric.mean, metric.stdev, metric.percentiles) == (0, None, None, None)


def test_one_sample_has_no_spread() -> None:
    """One sample has a mean but no standard deviation."""
    assert summarise([4.0], formula="x/v1").stdev is None
