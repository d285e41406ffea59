"""Counted latencies to a metric: what tools print as a histogram, or count for us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchd.catalog.readings.text import MOST
from benchd.core.numbers import counted
from benchd.core.results import SAMPLES_NEEDED, Metric


def read(lines: Iterable[str]) -> dict[float, int]:
    """Return value -> count of lines such as ``1.925 |**** 58`` or ``1.925 58``."""
    counts: dict[float, int] = {}
    for line in lines:
        words = line.replace("|", " ").replace("*", " ").split()
        if len(words) != 2:
            continue
        try:
            value, count = float(words[0]), int(words[1])
        except ValueError:
            continue
        if 0 <= value < MOST and 0 < count < MOST:
            counts[value] = counts.get(value, 0) + count
    return counts


def percentile(counts: Mapping[float, int], q: float) -> float | None:
    """Return the smallest value that a share of ``q`` percent does not exceed."""
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen * 100.0 >= q * total:
            return value
    return None


def latency(name: str, counts: Mapping[float, int], **known: float | None) -> Metric:
    """Return a latency in ms; ``known`` is what the tool tells exactly: mean, min, max, stdev."""
    total = sum(counts.values())
    percentiles = {
        q: percentile(counts, float(q)) if total >= needed else None
        for q, needed in SAMPLES_NEEDED.items()
    }
    return Metric(
        formula=f"{name}/v1",
        unit="ms",
        better="lower",
        n=total,
        percentiles=percentiles,
        mean=known.get("mean"),
        min=known.get("min"),
        max=known.get("max"),
        stdev=known.get("stdev"),
        hist=counted(counts.items()) if counts else None,
    )


def rate(name: str, value: float | None, unit: str = "1/s") -> Metric:
    """Return a rate."""
    return Metric(formula=f"{name}/v1", unit=unit, better="higher", value=value)
