"""Samples to numbers. A percentile with too few samples behind it is null, never a guess."""

import math
import random
from typing import Any, Dict, List, Optional, Sequence

from .llm import Sample

Json = Dict[str, Any]

# The smallest n with q**n <= 0.025, for which an order-statistic interval of 95 % exists.
NEEDED = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}
# Gaps between chunks that are kept; of more, a uniform sample (8 bytes each: 8 MB).
_KEPT_GAPS = 1000000
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


class Gaps:
    """Times between chunks, all of them or a uniform sample."""

    def __init__(self) -> None:
        self.kept: List[float] = []
        self.seen = 0
        self._draw = random.Random(0)  # noqa: S311 - which gaps are kept is no secret

    def add(self, gaps: Sequence[float]) -> None:
        """Take the gaps of one answer."""
        for gap in gaps:
            self.seen += 1
            if len(self.kept) < _KEPT_GAPS:
                self.kept.append(gap)
            else:
                place = int(self._draw.random() * self.seen)
                if place < _KEPT_GAPS:
                    self.kept[place] = gap


def _rate(name: str, unit: str, value: Optional[float], better: str = "higher") -> Json:
    return {"formula": name + "/v1", "unit": unit, "better": better, "value": value}


def window(samples: Sequence[Sample]) -> Optional[float]:
    """Return the time from the first schedule to the last end."""
    ends = [s.end for s in samples if s.end is not None]
    return max(ends) - min(s.scheduled for s in samples) if ends else None


def metrics(samples: Sequence[Sample], gaps: Gaps) -> Json:
    """Return every metric of the measured requests; latencies are those of successes."""
    good = [s for s in samples if s.ok]
    issued = [s for s in samples if s.sent is not None or s.status == "connect"]
    bad = [s for s in issued if not s.ok and s.status != "cancelled"]
    span = window(issued) or None
    tokens = sum(s.tokens or 0 for s in good)
    found: Json = {
        "ttft_service": distribution("ttft_service", _spans(good, "sent", "first")),
        "e2e_service": distribution("e2e_service", _spans(good, "sent", "last")),
        "tpot": distribution("tpot", _tpots(good)),
        "icl": distribution("icl", gaps.kept, gaps.seen),
        "req_s": _rate("req_s", "1/s", len(good) / span if span else None),
        "out_tok_s": _rate("out_tok_s", "tok/s", tokens / span if span else None),
        "error_rate": _rate(
            "error_rate", "1", len(bad) / float(len(issued)) if issued else None, "lower"
        ),
    }
    return found


def _spans(samples: Sequence[Sample], start: str, end: str) -> List[float]:
    pairs = [(getattr(s, start), getattr(s, end)) for s in samples]
    return [b - a for a, b in pairs if a is not None and b is not None]


def _tpots(samples: Sequence[Sample]) -> List[float]:
    """Time for each token after the first; one single chunk tells nothing about it."""
    return [
        (s.last - s.first) / (s.tokens - 1)
        for s in samples
        if s.last is not None
        and s.first is not None
        and s.tokens is not None
        and s.tokens >= 2
        and s.chunks >= 2
    ]


def counts(samples: Sequence[Sample], scheduled: int) -> Json:
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


def timeline(samples: Sequence[Sample], zero: float) -> Json:
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
            row[4] += (sample.tokens or 0) if sample.ok else 0
    columns = ["t", "started", "ok", "errors", "out_tokens"]
    return {"bucket_s": bucket, "columns": columns, "rows": rows}
