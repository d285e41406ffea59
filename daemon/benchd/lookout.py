"""When services were looked at, and when nobody could: our own link, or this daemon, was away.

Kept in memory: what is asked is how long a measurement went unobserved, and that is asked when it
ends. A daemon that starts again knows from the books when the last look was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchd.core.model import Job, ProbeAnswer, Verdict
from benchd.core.readiness import DEFAULT_CHECK

# Services that are remembered; more have not been measured at once for as long as anybody asks.
MOST = 10_000


@dataclass(slots=True)
class Lookout:
    """The last look at each service, and the spans without one."""

    last: dict[str, float] = field(default_factory=dict)
    gaps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def looked(self, job: Job, answer: ProbeAnswer, now: float) -> None:
        """Note a look at a service as it was before; one that our own trouble foiled is none."""
        if answer.verdict is Verdict.NONE:
            return
        before = self._last_look(job)
        if before is not None and now - before > usual(job):
            self.gaps.setdefault(job.token, []).append((before, now))
        self.last.pop(job.token, None)
        self.last[job.token] = now
        while len(self.last) > MOST:
            oldest = next(iter(self.last))
            self.last.pop(oldest)
            self.gaps.pop(oldest, None)

    def unseen(
        self, services: Sequence[Job], since: float, until: float
    ) -> Mapping[str, tuple[float, float]]:
        """Return, by name, the seconds of a span in which nobody looked, and what is usual."""
        found: dict[str, tuple[float, float]] = {}
        for service in services:
            spans, last = list(self.gaps.get(service.token, ())), self._last_look(service)
            if last is not None and until - last > usual(service):
                spans.append((last, until))
            seconds = sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)
            found[service.name] = (seconds, usual(service))
        return found

    def _last_look(self, job: Job) -> float | None:
        """Return when a service was looked at last, as far as is known."""
        if job.token in self.last or job.next_probe_at is None:
            return self.last.get(job.token)
        return job.next_probe_at - (job.spec.health_check or DEFAULT_CHECK).interval


def usual(job: Job) -> float:
    """Return the longest pause between two looks that is no gap: one of them may be late."""
    check = job.spec.health_check or DEFAULT_CHECK
    return 2 * check.interval + check.timeout
