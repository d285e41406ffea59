"""Whether two sets of measurements differ: an exact rank test, corrected for many questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

# Pairs of values up to which the exact distribution is reckoned; beyond, the normal approximation
# with the correction for ties is good to the third digit.
EXACT_PAIRS = 2_500
# Below this many values on either side no difference whatever is significant at 5 %: the smallest
# two-sided p is 2 / C(2n, n), which is 0.10 for three against three and 0.029 for four.
FEWEST = 4


def mann_whitney(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the two-sided p of the Mann-Whitney U test; exact for small samples, ties included.

    The exact distribution is that of the rank sum over all ways to split the pooled values, with
    middle ranks for ties. Twice the smaller tail, at most 1.
    """
    n, m = len(left), len(right)
    if not n or not m:
        raise ValueError("a test needs values on both sides")
    ranks = _doubled_ranks([*left, *right])
    observed = sum(ranks[:n])
    if n * m > EXACT_PAIRS:
        return _approximate(ranks, n, m, observed)
    ways = _rank_sums(ranks, n)
    every = math.comb(n + m, n)
    below = sum(count for value, count in ways.items() if value <= observed)
    above = sum(count for value, count in ways.items() if value >= observed)
    return min(1.0, 2 * min(below, above) / every)


def smallest_p(n: int, m: int) -> float:
    """Return the p of so many values against so many, when all of one side rank above the other."""
    return min(1.0, 2 / math.comb(n + m, n))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the middle rank of each value: whole numbers also where values are equal."""
    counts, first, place = Counter(values), {}, 1
    for value in sorted(counts):
        first[value] = 2 * place + counts[value] - 1
        place += counts[value]
    return [first[value] for value in values]


def _rank_sums(ranks: Sequence[int], chosen: int) -> Counter[int]:
    """Return, for every sum of so many ranks, in how many ways it comes about."""
    ways: list[Counter[int]] = [Counter() for _ in range(chosen + 1)]
    ways[0][0] = 1
    for rank in ranks:
        for size in range(chosen, 0, -1):
            for value, count in ways[size - 1].items():
                ways[size][value + rank] += count
    return ways[chosen]


def _approximate(ranks: Sequence[int], n: int, m: int, observed: int) -> float:
    size = n + m
    ties = sum(t**3 - t for t in Counter(ranks).values())
    variance = n * m / 12 * ((size + 1) - ties / (size * (size - 1)))
    if variance <= 0:
        return 1.0
    off = abs(observed / 2 - n * (size + 1) / 2) - 0.5  # continuity
    return min(1.0, math.erfc(max(off, 0.0) / math.sqrt(variance) / math.sqrt(2)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p values as they are when all questions are asked at once (Holm 1979)."""
    corrected, worst = {}, 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for place, (name, p) in enumerate(ordered):
        worst = max(worst, min(1.0, p * (len(ordered) - place)))
        corrected[name] = worst
    return corrected


def knee(points: Sequence[tuple[float, float]]) -> float | None:
    """Return where more load stops paying: the load farthest above the line from first to last.

    ``points`` are load and throughput. None when there are fewer than four, or the curve does not
    bend by a twentieth of its height: it has not saturated, or it was flat from the start.
    """
    ordered = sorted(points)
    if len(ordered) < 4:
        return None
    (x0, y0), (x1, y1) = ordered[0], ordered[-1]
    low, high = min(y for _, y in ordered), max(y for _, y in ordered)
    if x1 == x0 or high == low:
        return None
    above = [((y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0))) / (high - low), x) for x, y in ordered]
    bend, load = max(above)
    return load if bend > 0.05 else None
