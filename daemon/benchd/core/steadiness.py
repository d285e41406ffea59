"""Whether a service stayed what it was while it was measured. Pure.

The judgement rests on the transitions that were written at the time, by this daemon's clock; what
happened to the service before the client was sent or after it ended does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchd.core.model import Binding, Job, JobState, Readiness, Transition

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
            moved = row.old != row.new and row.new in UNSTEADY
            if moved and since <= row.at <= until:
                return f"{binding.name} went from {row.old} to {row.new} during the measurement"
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
