"""Samples to numbers. A percentile with too few samples behind it is null, never a guess."""

import math
import operator
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

if TYPE_CHECKING:
    from .work import Sample

Json = Dict[str, Any]

# The smallest n with q**n <= 0.025, for which an order-statistic interval of 95 % exists.
NEEDED = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}
# Rows of the timeline at most; a longer run gets wider buckets.
_ROWS = 600
# Significant digits of the bounds of a histogram's buckets: fine ones where that makes no more than
# so many of them, coarse ones otherwise.
_FINE, _COARSE, _MOST_FINE = 3, 2, 128


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return a percentile of sorted samples by linear interpolation (numpy type 7)."""
    place = (len(ordered) - 1) * q / 100.0
    low = int(math.floor(place))
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def distribution(name: str, samples: Sequence[float], n: Optional[int] = None) -> Json:
    """Return the summary of times in seconds, as milliseconds."""
    count = len(samples) if n is None else n
    metric: Json = {"formula": name + "/v1", "unit": "ms", "better": "lower", "n": count}
    if not samples:
        return metric
    ordered = sorted(x * 1000.0 for x in samples)
    mean = math.fsum(ordered) / len(ordered)
    spread = math.fsum((x - mean) ** 2 for x in ordered)
    metric.update(
        mean=mean,
        stdev=math.sqrt(spread / (len(ordered) - 1)) if len(ordered) > 1 else None,
        min=ordered[0],
        max=ordered[-1],
        percentiles={
            key: percentile(ordered, float(key)) if len(ordered) >= needed else None
            for key, needed in NEEDED.items()
        },
        hist=histogram(samples),
    )
    if n is None:
        metric["ci"] = {"n_eff": effective_size(samples)}
    return metric


def effective_size(samples: Sequence[float]) -> float:
    """Return how many independent samples a series in time order is worth: neighbours are alike."""
    count = len(samples)
    mean = math.fsum(samples) / count
    off = [x - mean for x in samples]
    total = math.fsum(x * x for x in off)
    if count < 3 or not total or min(samples) == max(samples):  # whose mean may be rounded
        return float(count)
    r = math.fsum(map(operator.mul, off, off[1:])) / total
    return min(float(count), max(1.0, count * (1 - r) / (1 + r))) if -1 < r < 1 else 1.0


def histogram(samples: Sequence[float]) -> Json:
    """Count seconds by buckets of microseconds, a hundredth or a tenth of their lower bound wide.

    A bound is a number of microseconds with all but its first digits set to zero: three digits
    are kept where that makes few buckets, and two otherwise.
    """
    whole = [max(0, int(round(sample * 1000.0 * 1000.0))) for sample in samples]
    counts = _counted(whole, _FINE)
    digits = _FINE if len(counts) <= _MOST_FINE else _COARSE
    if digits == _COARSE:
        counts = _counted(whole, _COARSE)
    buckets = [[bound, counts[bound]] for bound in sorted(counts)]
    return {"kind": "loglinear", "unit": "us", "digits": digits, "buckets": buckets}


def _counted(whole: Sequence[int], digits: int) -> Dict[int, int]:
    counts: Dict[int, int] = {}
    for us in whole:
        bound = us - us % 10 ** max(len(str(us)) - digits, 0)
        counts[bound] = counts.get(bound, 0) + 1
    return counts


def rate(name: str, unit: str, value: Optional[float], better: str = "higher") -> Json:
    """Return one number that is no distribution."""
    return {"formula": name + "/v1", "unit": unit, "better": better, "value": value}


def rate_of(
    name: str,
    unit: str,
    good: "Sequence[Sample]",
    tried: "Sequence[Sample]",
    amount: "Optional[Callable[[Sample], Optional[int]]]" = None,
) -> Json:
    """Return what succeeded in a second: of the whole window, and of the steady part of it.

    The whole window lasts from the first planned moment to the last end. The steady one ends with
    the last planned moment, so that waiting for the last answers is not in it; what an answer
    brought counts there for the share of the answer that came before.
    """
    span = window(tried)
    amounts = [1 if amount is None else (amount(s) or 0) for s in good]
    full = math.fsum(amounts) / span if span else None
    metric = rate(name, unit, full)
    first = min(s.scheduled for s in tried) if tried else 0.0
    last = max(s.scheduled for s in tried) if tried else 0.0
    steady = None
    if last > first:
        if amount is None:
            done = float(sum(1 for s in good if s.end is not None and s.end <= last))
        else:
            done = math.fsum(n * _before(good[place], last) for place, n in enumerate(amounts))
        steady = done / (last - first)
    metric["windows"] = {"full": full, "steady": steady}
    return metric


def _before(sample: "Sample", moment: float) -> float:
    """Return the share of an answer that was there at a moment, taken to come evenly."""
    start, end = sample.answer_began, sample.end
    if start is None or end is None:
        return 0.0
    if end <= moment:
        return 1.0
    return max(0.0, (moment - start) / (end - start)) if end > start else 0.0


def window(samples: "Sequence[Sample]") -> Optional[float]:
    """Return the time from the first schedule to the last end."""
    ends = [s.end for s in samples if s.end is not None]
    return max(ends) - min(s.scheduled for s in samples) if ends else None


def issued(samples: "Sequence[Sample]") -> "List[Sample]":
    """Return the requests that were sent, or that nobody could be found to send to."""
    return [s for s in samples if s.begun is not None or s.status == "connect"]


def error_rate(samples: "Sequence[Sample]") -> Json:
    """Return the share of issued requests that failed."""
    tried = issued(samples)
    bad = [s for s in tried if s.is_bad]
    share = len(bad) / float(len(tried)) if tried else None
    return rate("error_rate", "1", share, "lower")


def counts(samples: "Sequence[Sample]", scheduled: int) -> Json:
    """Return where every scheduled request went."""
    ok = sum(1 for s in samples if s.ok)
    dropped = sum(1 for s in samples if s.status == "dropped")
    by_class: Dict[str, int] = {}
    first: Dict[str, str] = {}
    for sample in samples:
        if sample.is_bad:
            by_class[sample.status] = by_class.get(sample.status, 0) + 1
            first.setdefault(sample.status, "%s: %s" % (sample.status, sample.error))
    errors = sum(by_class.values())
    return {
        "scheduled": scheduled,
        "issued": len(samples) - dropped,
        "ok": ok,
        "errors": errors,
        "dropped": dropped,
        "cancelled": scheduled - ok - errors - dropped,
        "by_class": by_class,
        "first_errors": [first[name] for name in sorted(first)],
    }


def by_target(samples: "Sequence[Sample]", urls: Sequence[str]) -> List[Json]:
    """Return what each of the targets was asked, and what came of it."""
    rows: List[Json] = [{"url": url, "issued": 0, "ok": 0, "errors": 0} for url in urls]
    for sample in samples:
        row = rows[sample.target]
        row["issued"] += 1
        row["ok"] += int(sample.ok)
        row["errors"] += int(sample.is_bad)
    return rows


def timeline(samples: "Sequence[Sample]", zero: float, amount: str = "") -> Json:
    """Return what happened when: one row for each bucket of time."""
    ends = [s.end for s in samples if s.end is not None]
    if not ends:
        return {}
    # Another node may have begun before this one did.
    zero = min([zero] + [s.scheduled for s in samples])
    bucket = max(1, int(math.ceil((max(ends) - zero) / _ROWS)))
    rows = [[index * bucket, 0, 0, 0, 0] for index in range(int((max(ends) - zero) / bucket) + 1)]
    for sample in samples:
        # what was planned after the last end was cancelled
        place = min(int((sample.scheduled - zero) / bucket), len(rows) - 1)
        rows[place][1] += int(sample.status != "dropped")
        if sample.end is not None:
            row = rows[int((sample.end - zero) / bucket)]
            row[2] += int(sample.ok)
            row[3] += int(sample.is_bad)
            row[4] += sample.amount if sample.ok else 0
    columns = ["t", "started", "ok", "errors"]
    if amount:
        columns.append(amount)
    width = len(columns)
    flights = _in_flight(samples, zero, bucket, len(rows))
    return {
        "bucket_s": bucket,
        "columns": columns + ["in_flight_avg"],
        "rows": [row[:width] + [round(flights[n], 4)] for n, row in enumerate(rows)],
    }


def _in_flight(samples: "Sequence[Sample]", zero: float, bucket: int, count: int) -> List[float]:
    """Return how many requests were in flight in each bucket, weighted with time."""
    busy = [0.0] * count
    for sample in samples:
        if sample.begun is None or sample.end is None:
            continue
        start, end = (sample.begun - zero) / bucket, (sample.end - zero) / bucket
        place = max(0, int(start))
        while place < count and place < end:
            busy[place] += min(end, place + 1.0) - max(start, place)
            place += 1
    return busy
