"""The health of a service: TABLE, and ``observe(job, answer, now) -> job``.

Readiness is not a state of the job. It exists while a service is RUNNING: the lifecycle sets
STARTING when a service enters RUNNING and UNKNOWN when it leaves it; between the two only this
file moves it. A probe that failed because of our own link is no verdict about the service and
moves nothing but the time of the next look. When the last one was made, and for how long none was,
stands in the books, so that a daemon that was killed knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transitions import Machine

from benchd.core.model import Job, ProbeAnswer, Readiness, Verdict
from benchd.core.spec import HealthCheck

UNKNOWN, STARTING, READY, UNREADY = Readiness

# Bad verdicts in a row before a READY service counts as UNREADY: one lost packet or one slow
# answer under full load is no outage.
FALL = 3
# Seconds a service may stay UNREADY before it is given up as UNHEALTHY.
UNREADY_GRACE = 60.0
# Spans without a look that are remembered of one service; a link that is away more often than that
# during one measurement has made itself heard in other ways.
SPANS_KEPT = 100

DEFAULT_CHECK = HealthCheck()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what was seen, from where, to where."""

    trigger: str
    source: Readiness
    target: Readiness
    text: str


TABLE: tuple[Row, ...] = (
    Row("good", STARTING, READY, "it answers"),
    Row("good", UNREADY, READY, "it answers again"),
    Row("fallen", READY, UNREADY, f"{FALL} bad verdicts in a row"),
)


class _Cursor:
    state: str
    trigger: Callable[..., bool]


def _machine() -> Machine:
    rows: list[dict[str, Any]] = [
        {"trigger": row.trigger, "source": row.source.value, "dest": row.target.value}
        for row in TABLE
    ]
    return Machine(
        model=None,
        states=[r.value for r in Readiness],
        initial=UNKNOWN.value,
        transitions=rows,
        auto_transitions=False,
    )


_MACHINE = _machine()


def _moved(readiness: Readiness, trigger: str) -> Readiness:
    if not any(row.trigger == trigger and row.source is readiness for row in TABLE):
        return readiness
    cursor = _Cursor()
    _MACHINE.add_model(cursor, initial=readiness.value)
    try:
        cursor.trigger(trigger)
        return Readiness(cursor.state)
    finally:
        _MACHINE.remove_model(cursor)


def observe(job: Job, answer: ProbeAnswer, now: float) -> Job:
    """Return the service as it is after one look at it. Only meaningful while it is RUNNING."""
    check = job.spec.health_check or DEFAULT_CHECK
    looked = replace(
        job, next_probe_at=now + check.interval, endpoint=answer.endpoint or job.endpoint
    )
    if answer.verdict is Verdict.NONE:
        return looked
    looked = _with_look(looked, now)
    if job.readiness is UNKNOWN:
        return looked
    if answer.verdict is Verdict.GOOD:
        streak, trigger = max(job.probe_streak, 0) + 1, "good"
    else:
        streak = min(job.probe_streak, 0) - 1
        trigger = "fallen" if streak <= -FALL else "bad"
    readiness = _moved(job.readiness, trigger)
    counts = answer.verdict is Verdict.BAD and not _in_start_period(job, check, now)
    looked = replace(
        looked, probe_streak=streak, probe_failures=job.probe_failures + (1 if counts else 0)
    )
    if readiness is job.readiness:
        return looked
    return replace(
        looked,
        readiness=readiness,
        readiness_since=now,
        ready_at=job.ready_at or (now if readiness is READY else None),
        detail=answer.detail if readiness is UNREADY else job.detail,
    )


def _in_start_period(job: Job, check: HealthCheck, now: float) -> bool:
    return now - (job.started_at or now) < check.start_period


def _with_look(job: Job, now: float) -> Job:
    """Return a service as it is after a look that said something, with the gap before, if any."""
    last = job.looked_at
    if last is None or now - last <= usual(job):
        return replace(job, looked_at=now)
    return replace(job, looked_at=now, unseen=(*job.unseen, (last, now))[-SPANS_KEPT:])


def told(old: Job, new: Job, answer: ProbeAnswer) -> str:
    """Return what a look showed, in words: what was answered, and how long nobody had looked."""
    if new.unseen == old.unseen:
        return answer.detail
    since, until = new.unseen[-1]
    return f"{answer.detail}; nobody had looked for {until - since:.1f} s"


def usual(job: Job) -> float:
    """Return the longest pause between two looks that is no gap: one of them may be late."""
    check = job.spec.health_check or DEFAULT_CHECK
    return 2 * check.interval + check.timeout


def unseen(
    services: Sequence[Job], since: float, until: float
) -> Mapping[str, tuple[float, float]]:
    """Return, by name, the seconds of a span in which nobody looked, and what is usual.

    Nobody could: our own link, or this daemon, was away.
    """
    found: dict[str, tuple[float, float]] = {}
    for service in services:
        spans, last = list(service.unseen), service.looked_at
        if last is not None and until - last > usual(service):
            spans.append((last, until))
        seconds = sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)
        found[service.name] = (seconds, usual(service))
    return found


def is_given_up(job: Job) -> bool:
    """Tell whether a STARTING service used up its probes."""
    check = job.spec.health_check or DEFAULT_CHECK
    return job.readiness is STARTING and job.probe_failures >= check.retries


def is_unhealthy(job: Job) -> bool:
    """Tell whether a service has been UNREADY beyond its grace, counted in looks that were made.

    A minute in which we could not look is not a minute in which it did not answer.
    """
    check = job.spec.health_check or DEFAULT_CHECK
    looks = -job.probe_streak - FALL
    return job.readiness is UNREADY and looks * max(check.interval, 1.0) >= UNREADY_GRACE
