"""Samples to numbers. A percentile with too few samples behind it is null, never a guess."""

import math
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

if TYPE_CHECKING:
    from .work import Sample

Json = Dict[str, Any]

# The smallest n with q**n <= 0.025, for which an order-statistic interval of 95 % exists.
NEEDED = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}
# Rows of the timeline at most; a longer run gets wider buckets.
_ROWS = 600


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
    )
    return metric


def rate(name: str, unit: str, value: Optional[float], better: str = "higher") -> Json:
    """Return one number that is no distribution."""
    return {"formula": name + "/v1", "unit": unit, "better": better, "value": value}


def window(samples: "Sequence[Sample]") -> Optional[float]:
    """Return the time from the first schedule to the last end."""
    ends = [s.end for s in samples if s.end is not None]
    return max(ends) - min(s.scheduled for s in samples) if ends else None


def issued(samples: "Sequence[Sample]") -> "List[Sample]":
    """Return the requests that were sent, or that nobody could be found to send to."""
    return [s for s in samples if s.sent is not None or s.status == "connect"]


def error_rate(samples: "Sequence[Sample]") -> Json:
    """Return the share of issued requests that failed."""
    tried = issued(samples)
    bad = [s for s in tried if not s.ok and s.status != "cancelled"]
    share = len(bad) / float(len(tried)) if tried else None
    return rate("error_rate", "1", share, "lower")


def counts(samples: "Sequence[Sample]", scheduled: int) -> Json:
    """Return where every scheduled request went."""
    ok = sum(1 for s in samples if s.ok)
    by_class: Dict[str, int] = {}
    first: Dict[str, str] = {}
    for sample in samples:
        if not sample.ok and sample.status != "cancelled":
            by_class[sample.status] = by_class.get(sample.status, 0) + 1
            first.setdefault(sample.status, "%s: %s" % (sample.status, sample.error))
    errors = sum(by_class.values())
    return {
        "scheduled": scheduled,
        "issued": len(samples),
        "ok": ok,
        "errors": errors,
        "dropped": 0,
        "cancelled": scheduled - ok - errors,
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
        row["errors"] += int(not sample.ok and sample.status != "cancelled")
    return rows


def timeline(samples: "Sequence[Sample]", zero: float, amount: str = "") -> Json:
    """Return what happened when: one row for each bucket of time."""
    ends = [s.end for s in samples if s.end is not None]
    if not ends:
        return {}
    bucket = max(1, int(math.ceil((max(ends) - zero) / _ROWS)))
    rows = [[index * bucket, 0, 0, 0, 0] for index in range(int((max(ends) - zero) / bucket) + 1)]
    for sample in samples:
        rows[max(0, int((sample.scheduled - zero) / bucket))][1] += 1
        if sample.end is not None:
            row = rows[int((sample.end - zero) / bucket)]
            row[2] += int(sample.ok)
            row[3] += int(not sample.ok and sample.status != "cancelled")
            row[4] += sample.amount if sample.ok else 0
    columns = ["t", "started", "ok", "errors"]
    if amount:
        columns.append(amount)
    width = len(columns)
    return {"bucket_s": bucket, "columns": columns, "rows": [row[:width] for row in rows]}
