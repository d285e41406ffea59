"""What a load that went step by step says against itself: steps that were not what they should be.

Of a step that was too much on purpose nothing is said: that it fails is what was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from benchd.catalog.readings.text import of_planned
from benchd.core import flags as limits
from benchd.core.numbers import Flag, Metric, Severity, flag

# The whole of an answer, by workload; what a step must last a multiple of.
_WHOLE = ("e2e_service", "latency_service")


class _Step(BaseModel):
    """One row, as the load generator wrote it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    step: int
    kind: str
    rate: float | None = None
    offered_rate: float | None = None
    achieved_rate: float | None = None
    dropped: int = 0
    delivered: bool = True
    good: bool = True
    metrics: dict[str, Metric] = Field({})


def judged(workload: Mapping[str, JsonValue], *, ceiling_reached: bool | None) -> Iterator[Flag]:
    """Yield the flags of a result with steps; of another one, none."""
    said, load = workload.get("saturation"), workload.get("load")
    if not isinstance(said, dict) or not isinstance(load, dict):
        return
    try:
        steps = [_Step.model_validate(row) for row in _rows(said.get("steps"))]
    except ValidationError:
        yield flag("bad_result", Severity.ERROR, detail="the steps of the load cannot be read")
        return
    fair = [step for step in steps if step.kind in ("floor", "rate")]
    yield from _late(fair)
    yield from _undelivered(fair)
    yield from _short(fair, load.get("step_time_s"))
    tried = [step for step in fair if step.kind == "rate"]
    if tried and not any(step.good for step in tried):
        detail = "at no rate up to the ceiling were requests good: see the verdicts of the steps"
        yield flag("no_good_step", Severity.WARN, detail=detail)
    yield from _uneven(tried)
    yield from _slower(steps, load.get("step_time_s"))
    if ceiling_reached is False:
        detail = "more than what the users of the ceiling got answered was kept up with: the "
        detail += "service bears more than was asked of it"
        yield flag("ceiling_not_reached", Severity.WARN, detail=detail)


def _rows(said: JsonValue) -> Sequence[JsonValue]:
    return said if isinstance(said, list) else ()


def _late(steps: Sequence[_Step]) -> Iterator[Flag]:
    for step in steps:
        late, limit = _lateness(step)
        if late > limit:
            detail = f"step {step.step}: requests left later than planned (tail, ms)"
            yield flag("send_lag_p99", Severity.WARN, value=late, limit=limit, detail=detail)
            return


def _lateness(step: _Step) -> tuple[float, float]:
    """Return how late the requests of a step left, in ms, and how late they may."""
    late, median = _tail(step, "send_lag", "99", "95"), _median(step)
    return late or 0.0, max(limits.SEND_LAG, limits.OF_MEDIAN * (median or 0.0))


def _tail(step: _Step, name: str, *percentiles: str) -> float | None:
    """Return the farthest percentile of a metric that is known."""
    found = step.metrics.get(name)
    known = (found.percentiles or {}) if found else {}
    return next((value for q in percentiles if (value := known.get(q)) is not None), None)


def _median(step: _Step) -> float | None:
    """Return how long the median answer of a step took, in ms."""
    return next((m for name in _WHOLE if (m := _tail(step, name, "50")) is not None), None)


def _undelivered(steps: Sequence[_Step]) -> Iterator[Flag]:
    for step in steps:
        late, limit = _lateness(step)
        if step.delivered or not step.offered_rate or (step.dropped and late <= limit):
            continue
        achieved = step.achieved_rate or 0.0
        sent = achieved / step.offered_rate
        why = "the load generator could not send more"
        if step.dropped:
            why = "arrivals were dropped, and the load generator was late itself"
        detail = f"step {step.step}: {of_planned(achieved, step.offered_rate)}: {why}"
        yield flag(
            "under_delivery", Severity.ERROR, value=sent, limit=limits.DELIVERY, detail=detail
        )
        return


def _uneven(steps: Sequence[_Step]) -> Iterator[Flag]:
    """Yield that a rate below the highest good one was not good."""
    peak = max((step.offered_rate or 0.0 for step in steps if step.good), default=0.0)
    below = [step for step in steps if not step.good and (step.offered_rate or peak) < peak]
    if below:
        detail = f"step {below[0].step}: {below[0].offered_rate:.4g} requests a second were not "
        detail += f"good, though {peak:.4g} were"
        yield flag("peak_not_held", Severity.WARN, detail=detail)


def _slower(steps: Sequence[_Step], time: JsonValue) -> Iterator[Flag]:
    """Yield that arrivals got much less answered than the users of the ceiling did before."""
    ceiling = next((_answered(step) for step in steps if step.kind == "ceiling"), None)
    # Of rates beyond what is borne, it is the queue that takes so long.
    if not ceiling or any(_short([s for s in steps if s.kind in ("floor", "ceiling")], time)):
        return
    for step in steps:
        wanted = min(ceiling, step.offered_rate or 0.0)
        found = _answered(step)
        if found is None or not wanted or step.dropped or found >= limits.STEP_KEPT * wanted:
            continue
        detail = f"step {step.step}: {found:.4g} requests a second were answered, to waiting users "
        detail += f"{ceiling:.4g} before: the service got slower, or bears no queue"
        value = found / wanted
        yield flag(
            "slower_than_ceiling", Severity.WARN, value=value, limit=limits.STEP_KEPT, detail=detail
        )
        return


def _answered(step: _Step) -> float | None:
    found = step.metrics.get("req_s")
    return found.value if found else None


def _short(steps: Sequence[_Step], time: JsonValue) -> Iterator[Flag]:
    """Yield that a step ended before its answers could tell a rate."""
    whole = [median for step in steps if (median := _median(step)) is not None]
    if not isinstance(time, int | float) or not whole:
        return
    share = max(whole) / 1000 / time if time > 0 else 0.0
    if share > limits.STEP_SHARE:
        detail = f"half of the answers took over {share:.0%} of a step: rates of steps, and the "
        detail += "knee, are too low"
        yield flag(
            "short_steps", Severity.WARN, value=share, limit=limits.STEP_SHARE, detail=detail
        )
