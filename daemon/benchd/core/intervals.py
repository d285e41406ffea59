"""How sure a number is: intervals for means, medians and percentiles, and how much samples count.

All intervals are two-sided at 95 %, and nothing is drawn: the same values give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from benchd.core.numbers import Metric, at_place, bucket_counts, is_finite, percentile

Interval = tuple[float, float]

LEVEL = 0.95
# Variance of a binomial distribution from which it is as good as normal, in whole ranks.
_LARGE = 2_000.0
# Quantile 0.975 of the normal distribution.
_NORMAL = 1.959964
# Chance below which a resampled median is left out: all of them together move no quantile.
_RARE = 1e-9
# Quantile 0.975 of Student's t for 1 to 30 degrees of freedom (any table of the distribution), and
# then for the next ones, between which 1/df is interpolated; the last is the normal distribution.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_T_FAR = ((30.0, 2.042), (40.0, 2.021), (60.0, 2.000), (120.0, 1.980), (math.inf, 1.960))


def t_quantile(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t distribution."""
    if freedom < 1:
        raise ValueError(f"{freedom} degrees of freedom: an interval needs two values or more")
    if freedom <= len(_T):
        return _T[freedom - 1]
    for (near, high), (far, low) in pairwise(_T_FAR):
        if freedom <= far:
            share = (1 / near - 1 / freedom) / (1 / near - 1 / far)
            return high + (low - high) * share
    return _T_FAR[-1][1]


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's interval for the mean of independent values; None below two."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1))
    reach = t_quantile(n - 1) * spread / math.sqrt(n)
    return mean - reach, mean + reach


def percentile_interval(
    ordered: Sequence[float], q: float, size: float | None = None
) -> Interval | None:
    """Return the order statistics between which the ``q``-th percentile lies with 95 %.

    Distribution-free: the number of values below the true percentile is binomial. ``size`` is how
    many independent values they are worth, when that is fewer; None when the tail is too thin.
    """
    places = _places(len(ordered), q, size)
    return None if places is None else (ordered[places[0]], ordered[places[1]])


def _places(n: int, q: float, size: float | None) -> tuple[int, int] | None:
    """Return the places, of ``n`` sorted values, between which the percentile lies."""
    worth = min(float(n), size) if size is not None else float(n)
    whole, share = math.floor(worth), q / 100
    if whole < 1:
        return None
    low, high = _ranks(whole, share)
    if low < 1 or high > whole:
        return None
    places = [round((rank - 0.5) / whole * n - 0.5) for rank in (low, high)]
    first, last = (min(max(place, 0), n - 1) for place in places)
    return first, last


def _ranks(n: int, p: float) -> tuple[int, int]:
    """Return the first and the last rank of the interval, from 1; one of them may not exist."""
    if p > 0.5:  # counted from the other end, where there are fewer
        low, high = _ranks(n, 1 - p)
        return n + 1 - high, n + 1 - low
    reach = _NORMAL * math.sqrt(n * p * (1 - p))
    if n * p * (1 - p) > _LARGE:
        return math.floor(n * p - reach), math.ceil(n * p + reach) + 1
    tail = (1 - LEVEL) / 2
    return _binomial_quantile(n, p, tail), _binomial_quantile(n, p, 1 - tail) + 1


def _binomial_quantile(n: int, p: float, level: float) -> int:
    """Return the smallest k with ``P(X <= k) >= level`` for X binomial."""
    if p <= 0 or p >= 1:
        return 0 if p <= 0 else n
    below, k = 0.0, 0
    logs = math.lgamma(n + 1)
    while True:
        log = logs - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        below += math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))
        if below >= level or k == n:
            return k
        k += 1


def with_intervals(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics with intervals, where it is known how many samples they are worth."""
    return {name: _with_intervals(metric) for name, metric in metrics.items()}


def _with_intervals(metric: Metric) -> Metric:
    """Fill ``ci``, of which whoever has the samples in their order says ``n_eff``.

    Those of percentiles come from the histogram, and hold the percentile itself at any rate.
    """
    said = (metric.ci or {}).get("n_eff")
    if isinstance(said, bool) or not isinstance(said, int | float) or not is_finite(said):
        return metric.model_copy(update={"ci": None})
    size = min(float(said), metric.n or 0.0)
    found: dict[str, JsonValue] = {"level": LEVEL, "method": "order-statistic, t; n_eff"}
    found["n_eff"] = size
    if size >= 2 and metric.mean is not None and metric.stdev is not None:
        reach = t_quantile(math.floor(size) - 1) * metric.stdev / math.sqrt(size)
        found["mean"] = [max(metric.mean - reach, 0.0), metric.mean + reach]  # none is negative
    hist = metric.hist or {}
    n = sum(count for _, count in bucket_counts(hist))
    for q, value in (metric.percentiles or {}).items():
        places = _places(n, float(q), size) if n and value is not None else None
        ends = [at_place(hist, place) for place in places or ()]
        known = [end for end in (value, *ends) if end is not None]
        found[q] = [min(known), max(known)] if len(known) == 3 else None
    return metric.model_copy(update={"ci": found})


def median(values: Sequence[float]) -> float:
    """Return the middle of some values."""
    return percentile(sorted(values), 50)


def median_change_interval(base: Sequence[float], other: Sequence[float]) -> Interval | None:
    """Return the bootstrap interval of ``median(other) / median(base) - 1``.

    Exact: not drawn, but reckoned from the chance of each value to be the median of a resample
    (Efron 1979, section 3). With few values it is optimistic all the same. None below two values,
    or when a resampled median may be zero or less, which has no ratio.
    """
    if min(len(base), len(other)) < 2 or min(base) <= 0:
        return None
    ratios = sorted(
        (there / here - 1, chance * share)
        for here, chance in _resampled_median(base)
        for there, share in _resampled_median(other)
    )
    tail = (1 - LEVEL) / 2
    return _quantile(ratios, tail), _quantile(ratios[::-1], tail)


def _quantile(weighted: Sequence[tuple[float, float]], level: float) -> float:
    below = 0.0
    for value, weight in weighted:
        below += weight
        if below >= level:
            return value
    return weighted[-1][0]


def _resampled_median(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return every median that a resample may have, with its chance; the rarest are left out."""
    ordered, n = sorted(values), len(values)
    half = n // 2
    if n % 2:
        upto = [1 - _binomial_below(n, i / n, half + 1) for i in range(n + 1)]
        chances = [(ordered[i], upto[i + 1] - upto[i]) for i in range(n)]
    else:
        chances = list(_even_medians(ordered, half))
    return [(value, chance) for value, chance in chances if chance > _RARE]


def _even_medians(ordered: Sequence[float], half: int) -> Iterator[tuple[float, float]]:
    """Yield what lies between the two middle values: one is at place i, the other at place j."""
    n, ways = len(ordered), math.comb(len(ordered), half)
    upto = [1 - _binomial_below(n, i / n, half) for i in range(n + 1)]
    low = [(i / n) ** half for i in range(n + 1)]
    for i in range(n):
        rest = upto[i + 1] - upto[i]
        for j in range(i + 1, n):
            chance = ways * (low[i + 1] - low[i]) * (low[n - j] - low[n - j - 1])
            rest -= chance
            yield (ordered[i] + ordered[j]) / 2, chance
        yield ordered[i], rest


def _binomial_below(n: int, p: float, k: int) -> float:
    """Return ``P(X < k)`` for X binomial."""
    return math.fsum(math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(k))
