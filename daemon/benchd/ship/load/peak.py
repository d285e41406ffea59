"""The highest rate at which the objectives are met: doubled until they are not, then halved in."""

from typing import Any, Awaitable, Callable, Dict, List, Optional, Sequence

from . import quality, summary
from .arrivals import Load
from .sending import Phase, Stop
from .work import NotReady, Sample, Workload

# Share of the requests of a step that must be good. A p99 has a hundredth of them beyond it.
SHARE = 0.99
# Share of the offered rate that must have been sent.
_DELIVERED = 0.98
# Seconds by which the last request of a step may be late, however short the step is.
_LATE = 0.05
# Steps up or down from the first rate, and between the last two: 2**20 is every rate there is,
# and six halvings of a doubling leave 1.6 % of it.
_DOUBLINGS = 20
_HALVINGS = 6
# How near the rates of a good and a bad step are when the search ends.
_NEAR = 1.03

Json = Dict[str, Any]
Try = Callable[[str, Load, Stop], Awaitable[Phase]]


class Search:
    """Tries rates, each for a while, and keeps what came of them."""

    def __init__(self, workload: Workload, load: Load, attempt: Try) -> None:
        self.workload = workload
        self.load = load._replace(model="poisson")
        self.attempt = attempt
        self.steps: List[Json] = []
        self.peak: Optional[float] = None

    async def find(self) -> Load:
        """Return the load at the highest rate that was good."""
        good: Optional[float] = None
        bad: Optional[float] = None
        rate = self.load.rate or 1.0
        for _ in range(_DOUBLINGS):
            if await self._is_good(rate):
                good = rate
                if bad is not None:
                    break
                rate *= 2.0
            else:
                bad = rate
                if good is not None:
                    break
                rate /= 2.0
        if good is None:
            message = "not even %.3g requests a second meet the objectives: %s"
            said = ", ".join(slo.text for slo in self.workload.slos)
            raise NotReady(message % (bad or rate, said))
        for _ in range(_HALVINGS):
            if bad is None or bad / good <= _NEAR:
                break
            middle = (good + bad) / 2.0
            if await self._is_good(middle):
                good = middle
            else:
                bad = middle
        self.peak = good
        return self.load._replace(rate=good)

    async def _is_good(self, rate: float) -> bool:
        name = "search-%d" % len(self.steps)
        load = self.load._replace(rate=rate)
        phase = await self.attempt(name, load, Stop(None, self.load.step_time))
        if phase.gone:
            raise NotReady(phase.gone)
        lags = sorted(s.begun - s.scheduled for s in phase.samples if s.begun is not None)
        step = dict(
            judged(phase.samples, self.workload),
            rate=rate,
            client_cpu=phase.cpu_share,
            send_lag_p99_ms=summary.percentile(lags, 99.0) * 1000.0 if lags else None,
        )
        self.steps.append(step)
        return bool(step["good"])

    def facts(self, samples: Sequence[Sample]) -> Json:
        """Return whether the peak was borne afterwards, too, and who could not do more.

        ``samples``: of the measurement at the peak.
        """
        above = [s for s in self.steps if not s["good"] and s["rate"] > (self.peak or 0.0)]
        lowest = min(above, key=lambda step: step["rate"]) if above else {}
        return {
            "peak_held": judged(samples, self.workload)["good"] if self.peak and samples else None,
            "peak_cpu_share": lowest.get("client_cpu"),
            "peak_send_lag_ms": lowest.get("send_lag_p99_ms"),
        }

    def described(self) -> Json:
        """Return every step, and what was found."""
        return {"peak_rate": self.peak, "share": SHARE, "steps": self.steps}


def judged(samples: Sequence[Sample], workload: Workload) -> Json:
    """Return how an open loop at one rate went, and whether that was good."""
    good = quality.good_ones(summary.issued(samples), workload)
    share = len(good) / float(len(samples)) if samples else 0.0
    delivery = quality.delivery(samples)
    offered, achieved = delivery["offered_rate"], delivery["achieved_rate"]
    is_sent = not offered or (achieved or 0.0) >= _DELIVERED * offered or _is_punctual(samples)
    is_even = not quality.is_growing(samples)
    return {
        "requests": len(samples),
        "good_share": share,
        "delivered": is_sent,
        "steady": is_even,
        # A rate so low that nothing came in a step is no bad one.
        "good": is_sent and is_even and (share >= SHARE or not samples),
    }


def _is_punctual(samples: Sequence[Sample]) -> bool:
    """Tell whether all were sent, and the last one hardly late."""
    begun = [s.begun for s in samples if s.begun is not None]
    last = max(s.scheduled for s in samples)
    return len(begun) == len(samples) and max(begun) - last <= _LATE
