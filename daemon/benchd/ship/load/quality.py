"""How good the answers were, and whether the load was the one that was asked for."""

import math
import re
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence

from . import summary
from .target import Usage

if TYPE_CHECKING:
    from .work import Sample, Workload

Json = Dict[str, Any]

_SLO = re.compile(r"\s*([a-z][a-z0-9_]*)_ms\s*<=?\s*([0-9]+(?:\.[0-9]+)?)\s*")
# How far a slope must be from nothing, in standard errors: far more than the usual two, because
# requests that wait in the same queue are no independent samples.
_SURE = 5.0
# How many times what they were at the first arrival the fitted latency, and the requests in flight,
# must be at the last one: a queue without end grows from nothing.
_GROWN = 2.0
# What is said of an arrival that was not sent because the process was too far behind its schedule.
TOO_LATE = "too late: the load generator was more than 5 s behind its schedule"
# Samples below which no trend is looked for.
_TREND = 20


class Slo(NamedTuple):
    """One objective: a time of every good request, and how long it may be."""

    name: str
    limit_ms: float

    @property
    def text(self) -> str:
        """Return it as the command line has it."""
        return "%s_ms<=%g" % (self.name, self.limit_ms)


def parse(texts: Sequence[str], names: Sequence[str] = ("latency_sched",)) -> List[Slo]:
    """Return the objectives of ``--slo`` options, or raise ``Usage``.

    ``names``: those that there can be.
    """
    example = next((name for name in names if name.endswith("_sched")), names[0])
    found = []
    for text in ",".join(texts).split(","):
        match = _SLO.match(text)
        if match is None or match.end() != len(text):
            raise Usage("--slo %r: write it as %s_ms<=500" % (text, example))
        found.append(Slo(match.group(1), float(match.group(2))))
    return found


def check(slos: Sequence[Slo], workload: "Workload") -> None:
    """Refuse objectives that no request of this workload and load model has."""
    names = sorted(workload.quantities())
    for slo in slos:
        if slo.name not in names:
            message = "--slo %s: with this workload and load there are %s"
            raise Usage(message % (slo.text, ", ".join(name + "_ms" for name in names)))


def good_ones(samples: "Sequence[Sample]", workload: "Workload") -> "List[Sample]":
    """Return the requests that succeeded and met every objective; one that failed never did."""
    quantities = workload.quantities()
    wanted = [(slo, quantities[slo.name]) for slo in workload.slos]
    return [s for s in samples if s.ok and _is_met(s, wanted)]


def _is_met(sample: "Sample", wanted: Sequence[Any]) -> bool:
    for slo, read in wanted:
        value = read(sample)
        if value is None:
            # One token has no time for each token after the first, which is as good as none.
            if slo.name == "tpot":
                continue
            return False
        if value * 1000.0 > slo.limit_ms:
            return False
    return True


def metrics(samples: "Sequence[Sample]", workload: "Workload") -> Json:
    """Return what is said of every workload's load, beside the workload's own metrics."""
    tried = summary.issued(samples)
    found: Json = {"concurrency": _concurrency(tried)}
    if workload.is_open:
        lags = [s.begun - s.scheduled for s in tried if s.begun is not None]
        found["send_lag"] = summary.distribution("send_lag", lags)
    if workload.slos and tried:
        good = good_ones(tried, workload)
        found["goodput"] = summary.rate_of("goodput", "1/s", good, tried)
        share = len(good) / float(len(tried))
        found["slo_attainment"] = summary.rate("slo_attainment", "1", share)
    return found


def queries(samples: "Sequence[Sample]", size: int) -> Json:
    """Return the time of whole queries: requests that began together, until the last answer."""
    groups: Dict[int, List[Any]] = {}
    for sample in samples:
        groups.setdefault(sample.index // size, []).append(sample)
    times = [
        max(s.end for s in group) - min(s.sent for s in group)
        for group in groups.values()
        if len(group) == size and all(s.ok for s in group)
    ]
    return summary.distribution("query_latency", times)


def _concurrency(tried: "Sequence[Sample]") -> Json:
    """Return how many requests were in flight, weighted with time."""
    span = summary.window(tried)
    busy = sum(s.end - s.begun for s in tried if s.end is not None and s.begun is not None)
    metric = summary.rate("concurrency", "1", busy / span if span else None)
    del metric["better"]
    return metric


def facts(samples: "Sequence[Sample]", workload: "Workload", is_even: bool) -> Json:
    """Return whether an open loop was what it should be, and whether the service kept up."""
    found: Json = {"not_steady": is_growing(samples) if is_even else None}
    if workload.is_open:
        found.update(delivery(samples))
        found["too_late"] = sum(1 for s in samples if s.error == TOO_LATE)
    return found


def delivery(samples: "Sequence[Sample]") -> Json:
    """Return the rate that was offered, and the one at which requests really left."""
    sends = sorted(s.begun for s in samples if s.begun is not None)
    plans = sorted(s.scheduled for s in samples)
    if len(sends) < 2 or plans[-1] <= plans[0] or sends[-1] <= sends[0]:
        return {"offered_rate": None, "achieved_rate": None}
    # From the first planned moment: a late beginning is not to shorten the time.
    return {
        "offered_rate": (len(plans) - 1) / (plans[-1] - plans[0]),
        "achieved_rate": (len(sends) - 1) / (max(sends[-1], plans[-1]) - plans[0]),
    }


def is_growing(samples: "Sequence[Sample]") -> Optional[bool]:
    """Return whether latency and requests in flight both grow all the time: overload.

    None when there are too few requests to tell.
    """
    good = sorted((s for s in samples if s.ok and s.end is not None), key=lambda s: s.scheduled)
    if len(good) < _TREND:
        return None
    times = [s.scheduled for s in good]
    if times[-1] <= times[0]:
        return None
    latency = trend(times, [(s.end or 0.0) - s.scheduled for s in good])
    ends = sorted(s.end for s in samples if s.end is not None)
    flights, done = [], 0
    for number, sample in enumerate(good):
        while done < len(ends) and ends[done] <= sample.scheduled:
            done += 1
        flights.append(float(number - done))
    flight = trend(times, flights)
    for found in (latency, flight):
        if found is None or found.slope <= 0 or found.slope < _SURE * found.error:
            return False
    if latency is None or flight is None:
        return False
    return bool(
        latency.last > _GROWN * max(latency.first, 1e-9)
        and flight.last > _GROWN * max(flight.first, 1.0)
    )


class Trend(NamedTuple):
    """A straight line through points."""

    slope: float
    error: float
    first: float
    last: float


def trend(xs: Sequence[float], ys: Sequence[float]) -> Optional[Trend]:
    """Return the line of least squares, or None where there is none."""
    count = float(len(xs))
    mean_x, mean_y = math.fsum(xs) / count, math.fsum(ys) / count
    wide = math.fsum((x - mean_x) ** 2 for x in xs)
    if count < 3 or wide <= 0:
        return None
    points = [(x, ys[place]) for place, x in enumerate(xs)]
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / wide
    start = mean_y - slope * mean_x
    rest = math.fsum((y - start - slope * x) ** 2 for x, y in points)
    error = math.sqrt(rest / (count - 2.0) / wide)
    return Trend(slope, error, start + slope * xs[0], start + slope * xs[-1])
