"""Histograms of latencies: counted, put together, and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.numbers import SAMPLES_NEEDED, histogram, merged, percentile, percentile_of
from benchd.ship.load import summary

LATENCIES = st.lists(st.floats(0.001, 60_000.0), min_size=1, max_size=60)


def test_bounds_have_two_digits_and_a_microsecond_at_least() -> None:
    """A sample counts at its first two digits; what is alike is counted together."""
    assert histogram([41.234, 41.9, 0.412, 0.007, 0.0, 1.15], digits=2) == {
        "kind": "loglinear",
        "unit": "us",
        "digits": 2,
        "buckets": [[0, 1], [7, 1], [410, 1], [1100, 1], [41_000, 2]],
    }


@given(LATENCIES)
def test_a_percentile_is_five_percent_off_at_most(values: list[float]) -> None:
    """What is read from a histogram is within 5 % (or half a microsecond) of the samples' own."""
    samples = values * (SAMPLES_NEEDED["99"] // len(values) + 1)
    hist, ordered = histogram(samples), sorted(samples)
    for q in ("50", "90", "95", "99"):
        true, read = percentile(ordered, float(q)), percentile_of(hist, float(q))
        assert read == pytest.approx(true, rel=0.0501, abs=0.000_51)


@given(LATENCIES, LATENCIES)
def test_merging_loses_nothing(left: list[float], right: list[float]) -> None:
    """The histogram of all samples is that of the parts put together, at the coarsest digits."""
    whole = histogram([*left, *right], digits=2)
    assert merged([histogram(right, digits=3), histogram(left, digits=2)]) == whole


def test_a_narrow_distribution_is_counted_finely() -> None:
    """A third digit comes with few buckets; where it would take too many there are two."""
    narrow = [20.0 + k / 100 for k in range(200)]
    wide = [1.0 + k for k in range(200)]
    assert [histogram(s)["digits"] for s in (narrow, wide)] == [3, 2]


@pytest.mark.parametrize("q", SAMPLES_NEEDED)
def test_too_few_samples_have_no_percentile(q: str) -> None:
    """A percentile comes with the number of samples that makes it estimable, and not before."""
    needed = SAMPLES_NEEDED[q]
    few, enough = histogram([5.0] * (needed - 1)), histogram([5.0] * needed)
    assert (percentile_of(few, float(q)), percentile_of(enough, float(q))) == (None, 5.005)


@pytest.mark.parametrize("samples", [[0.0, 1.15, 1.16, 82.5], [k / 7 for k in range(400)]])
def test_the_load_generator_counts_alike(samples: list[float]) -> None:
    """What stands alone on a node makes the histogram that is made here: they can be merged."""
    assert summary.histogram([sample / 1000 for sample in samples]) == histogram(samples)


ODD = histogram([1.0])


@pytest.mark.parametrize(
    "other",
    [None, {}, ODD | {"digits": "3"}, ODD | {"unit": "ms"}, ODD | {"buckets": [["a", 1]]}],
    ids=["none", "empty", "digits", "unit", "buckets"],
)
def test_what_is_unlike_is_not_merged(other: dict[str, object] | None) -> None:
    """Without a histogram of every repeat there is none of all of them."""
    assert merged([ODD, other]) is None  # type: ignore[list-item]  # what files may hold
