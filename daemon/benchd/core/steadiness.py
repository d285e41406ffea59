"""Whether a service stayed what it was while it was measured. Pure.

The judgement rests on the transitions that were written at the time, by this daemon's clock; what
happened to the service before the client was sent or after it ended does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchd.core.model import Binding, Job, JobState, Readiness, Transition

# How a restart looks when no poll saw the gap, and how a suspension looks: seen running, again.
SEEN_AGAIN = "seen_running"
# A bound service was READY and RUNNING, so any move to one of these ends the steady span.
UNSTEADY = frozenset(
    {str(r) for r in Readiness if r is not Readiness.READY}
    | {str(s) for s in JobState if s is not JobState.RUNNING}
)


def unsteady(
    bindings: Sequence[Binding],
    histories: Mapping[str, Iterable[Transition]],
    since: float,
    until: float,
) -> str | None:
    """Return a sentence about the first service that did not stay READY in the span, or None."""
    for binding in bindings:
        for row in histories.get(binding.token, ()):
            if not since <= row.at <= until:
                continue
            if row.old != row.new and row.new in UNSTEADY:
                return f"{binding.name} went from {row.old} to {row.new} during the measurement"
            if row.old == row.new and row.trigger == SEEN_AGAIN:
                return f"{binding.name} was restarted or suspended during the measurement"
    return None


def restarted(
    bindings: Sequence[Binding], services: Sequence[Job], until: float | None
) -> str | None:
    """Return a sentence about a service whose present span began before the client's end, or None.

    Both times are Slurm's, so they can be compared whatever our own clock says.
    """
    rows = {service.token: service for service in services}
    for binding in bindings:
        service = rows.get(binding.token)
        if service is None or service.generation == binding.generation:
            continue
        if until is None or service.started_at is None or service.started_at <= until:
            spans = f"span {service.generation} instead of {binding.generation}"
            return f"{binding.name} was restarted by Slurm during the measurement ({spans})"
    return None


def span(job: Job, history: Iterable[Transition]) -> tuple[float, float]:
    """Return when a client could have measured: from its submission to its known end."""
    since, until = job.created_at, job.ended_at or job.created_at
    for row in history:
        if row.old == row.new:
            continue
        if row.new == JobState.SUBMITTED:
            since = row.at
        until = max(until, row.at)
    return since, until
