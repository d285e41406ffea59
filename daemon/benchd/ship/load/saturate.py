"""From one user to more than the service bears: a floor, a ceiling, and rates between the two.

Each step is a phase of its own, with a warm-up of its own, and has numbers of its own. They are
never put together: latency at one rate and at another are no one distribution.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import quality, summary
from .arrivals import Load
from .peak import SHARE, Try, judged
from .sending import Phase, Stop
from .work import STEP, NotReady, Sample, Workload

# Share of a step's time that its warm-up takes, unless somebody says how many requests.
_WARMUP = 0.2
# The last rate, as a multiple of the ceiling: a curve shows that it bends only beyond the bend.
_BEYOND = 1.25
# Share of the offered rate that must be answered for the service to have kept up with it.
_KEPT_UP = 0.95
# The same share for a knee: where less comes back, the curve had bent before, if it ever rose.
_RISING = 0.8
# Share of the curve's height by which it must bend for there to be a knee.
_BEND = 0.05

# Facts that are compared with the service's own count.
_COUNTED = ("client_ops", "client_tokens", "unfinished")

Json = Dict[str, Any]


class Saturation:
    """Goes through the steps, and keeps what came of them."""

    def __init__(self, workload: Workload, load: Load, warmup: Optional[int], attempt: Try) -> None:
        """``warmup``: requests before each step; None: as many as fit into a share of its time."""
        self.workload = workload
        self.load = load
        self.warmup = warmup
        self.attempt = attempt
        self.rows: List[Json] = []
        self.every: List[Sample] = []
        self.sent: List[Sample] = []  # of warm-ups, too
        # What the service should have borne. That more fails is what is asked, and is in the rows.
        self.fair: List[Sample] = []
        self.warm: List[Sample] = []
        self.planned = 0

    async def climb(self) -> None:
        """Measure floor and ceiling, then one rate after another."""
        load = self.load
        floor = await self._closed("floor", 1)
        ceiling = await self._closed("ceiling", load.concurrency)
        for rate in rates(floor, ceiling, load.steps):
            await self._step("rate", load._replace(model=load.arrivals, rate=rate))
        await self._step("beyond", load._replace(model=load.arrivals, rate=_BEYOND * ceiling))

    async def _closed(self, kind: str, users: int) -> float:
        """Return how many requests a second so many users get answered."""
        samples = await self._step(kind, self.load._replace(model="closed", concurrency=users))
        found = _throughput(samples)["value"]
        if not found:
            bad = next((s for s in samples if s.is_bad), None)
            why = "%s: %s" % (bad.status, bad.error) if bad else "no answer at all"
            raise NotReady("with concurrency %d nothing succeeded: %s" % (users, why))
        return float(found)

    async def _step(self, kind: str, load: Load) -> List[Sample]:
        number, time = len(self.rows), self.load.step_time
        warm: List[Sample] = []
        if self.warmup != 0:
            stop = Stop(self.warmup, _WARMUP * time if self.warmup is None else None)
            warm = (await self.attempt("warmup-%d" % number, load, stop)).samples
        phase = await self.attempt("%s%d" % (STEP, number), load, Stop(None, time))
        self.sent += warm + phase.samples
        self.every += phase.samples
        if kind in ("floor", "rate"):
            self.fair += phase.samples
            self.warm += warm
            self.planned += phase.scheduled
        self.rows.append(self._row(kind, load, len(warm), phase))
        if phase.gone:
            raise NotReady(phase.gone)
        return phase.samples

    def _row(self, kind: str, load: Load, warm: int, phase: Phase) -> Json:
        samples = phase.samples
        self.workload.is_open = True  # what has no schedule is left out here
        counts = summary.counts(samples, phase.scheduled)
        row: Json = {
            "step": len(self.rows),
            "kind": kind,
            "begins_s": phase.started - self.every[0].scheduled if self.every else None,
            "window_s": summary.window(samples),
            "warmup_requests": warm,
        }
        for name in ("scheduled", "ok", "errors", "dropped", "by_class"):
            row[name] = counts[name]
        verdict = judged(samples, self.workload)
        if load.is_open:
            row.update(quality.delivery(samples), rate=load.rate, **verdict)
        else:
            row.update(concurrency=load.concurrency, good_share=verdict["good_share"])
        row["metrics"] = self._numbers(samples, load.is_open) if counts["ok"] else {}
        return row

    def _numbers(self, samples: List[Sample], is_open: bool) -> Json:
        """Return what was measured in a step; a closed loop has no numbers from a schedule."""
        aside = self._stepless()
        found = dict(self.workload.metrics(samples), **quality.metrics(samples, self.workload))
        found["req_s"] = _throughput(samples)
        for metric in found.values():
            metric.pop("hist", None)
        return {
            name: metric
            for name, metric in found.items()
            if metric.get("n") != 0
            and name not in aside
            and (is_open or not ("_sched" in name or name == "send_lag"))
        }

    def _stepless(self) -> Json:
        """Return the metrics that are there without any request: those are of no step."""
        found = self.workload.metrics([])
        return {n: m for n, m in found.items() if m.get("n") or m.get("value") is not None}

    def described(self) -> Json:
        """Return every step."""
        span = _WARMUP * self.load.step_time if self.warmup is None else None
        return {"warmup_s": span, "share": SHARE, "steps": self.rows}

    def metrics(self) -> Json:
        """Return what all steps together say, and nothing that would mix them."""
        found = self._stepless()
        opened = [row for row in self.rows if row.get("offered_rate") and row["ok"]]
        good = [row["offered_rate"] for row in opened if row["good"]]
        ceilings = [_answered(row) for row in self.rows if row["kind"] == "ceiling"]
        for name, value in (
            ("peak_rate", max(good) if good else None),
            ("knee_rate", _bend(opened)),
            ("ceiling_rate", ceilings[0] if ceilings else None),
        ):
            found[name] = summary.rate(name, "1/s", value)
        return found

    def facts(self) -> Json:
        """Return whether the service was ever asked for more than it can; and all that was sent.

        The service counts all of it, too, so what is compared with its own count is all of it.
        """
        last = [row for row in self.rows if row["kind"] == "beyond" and row["offered_rate"]]
        short = [_answered(row) < _KEPT_UP * row["offered_rate"] for row in last]
        found: Json = {"ceiling_reached": short[0] if short else None}
        sent = self.workload.facts(self.sent)
        found.update((name, sent[name]) for name in _COUNTED if name in sent)
        return found


def rates(floor: float, ceiling: float, count: int) -> List[float]:
    """Return so many rates, evenly from the floor (or a share of the ceiling) to the ceiling."""
    low = min(floor, ceiling / (count + 1.0))
    return [low + (ceiling - low) * (n + 1.0) / count for n in range(count)]


def _throughput(samples: Sequence[Sample]) -> Json:
    good = [s for s in samples if s.ok]
    return summary.rate_of("req_s", "1/s", good, summary.issued(samples))


def _answered(row: Json) -> float:
    found = row["metrics"].get("req_s") or {}
    return float(found.get("value") or 0.0)


def _bend(rows: Sequence[Json]) -> Optional[float]:
    """Return the knee, unless the service had been left behind there already."""
    answered = {row["offered_rate"]: _answered(row) for row in rows}
    found = knee(sorted(answered.items()))
    return found if found is not None and answered[found] >= _RISING * found else None


def knee(points: Sequence[Tuple[float, float]]) -> Optional[float]:
    """Return where more load stops paying: the rate farthest above the line from first to last.

    None when there are fewer than four points, or too little of a bend.
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
    return load if bend > _BEND else None
