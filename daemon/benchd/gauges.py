"""What metrics and systemd show of the books: counted anew from time to time, not kept up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import structlog

from benchd.api.views import run_phase
from benchd.core.attention import Attention, attention, waiting
from benchd.core.model import Job, Readiness, Run
from benchd.core.spec import Role
from benchd.edge import notify
from benchd.edge.store import Store
from benchd.metrics import Metrics, replace_all
from benchd.site import Site

log = structlog.get_logger()


class Gauges:
    """Draws the gauges that are computed from the store rather than counted."""

    def __init__(self, *, store: Store, metrics: Metrics, sites: Mapping[str, Site]) -> None:
        self.store = store
        self.metrics = metrics
        self.sites = sites
        self._drawn: tuple[Sequence[Run], Sequence[Job]] | None = None
        self._warned: set[tuple[str, str]] = set()  # jobs and reasons that the log has told of

    async def draw(self) -> None:
        """Set them to what the store says now."""
        runs, jobs, _ = await self.store.world()
        if (runs, jobs) != self._drawn:  # the same records as before cost no more than a glance
            counts = await self.store.counts()
            replace_all(self.metrics.jobs, {tuple(key): float(n) for *key, n in counts})
            self._count(runs, jobs)
            self._warn(attention(jobs))
            self._drawn = runs, jobs
        links = {name: site.shell.report().state for name, site in self.sites.items()}
        said = ", ".join(f"{name} {state}" for name, state in links.items())
        notify.status(f"{sum(not j.is_terminal for j in jobs)} active; {said}")

    def _count(self, runs: Sequence[Run], jobs: Sequence[Job]) -> None:
        m = self.metrics
        own: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            own[job.run_id].append(job)
        phases = Counter(run_phase(run, own[run.id]) for run in runs)
        replace_all(m.runs, {(phase,): float(n) for phase, n in phases.items()})
        ready: dict[tuple[str, ...], float] = {}
        for job in jobs:
            if job.role is Role.SERVICE and not job.is_terminal:
                key = (job.cluster, job.kind)
                answers = job.readiness is Readiness.READY
                ready[key] = ready.get(key, 0.0) + (1.0 if answers else 0.0)
        replace_all(m.service_ready, ready)
        replace_all(m.jobs_waiting, {key: float(n) for key, n in waiting(jobs).items()})

    def _warn(self, found: Sequence[Attention]) -> None:
        """Log a job once when it begins to wait for a human."""
        for item in found:
            if (item.token, item.reason) not in self._warned:
                log.warning(
                    "job.blocked",
                    job=item.token,
                    cluster=item.cluster,
                    reason_class=str(item.cls),
                    reason=item.reason,
                    advice=item.advice,
                )
        self._warned = {(item.token, item.reason) for item in found}
