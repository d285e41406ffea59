"""slurmdbd: what sacct can tell, which may be behind what slurmctld knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchd.sim.nouns import Config, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One span of one job, as the database holds it."""

    id: int
    restarts: int
    name: str
    user: str
    uid: int
    account: str
    qos: str
    partition: str
    state: str
    raw_exit: int
    submit: float
    eligible: float | None
    start: float | None
    end: float | None
    nodes: tuple[str, ...]
    node_count: int
    cpus: int
    minutes: int | None
    reason: str
    cancelled_by: int | None
    workdir: str
    memory: str
    resources: Mapping[str, str]  # what it was given


class Accounting:
    """The job table of slurmdbd."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._versions: dict[tuple[int, int], list[tuple[float, Row]]] = {}

    def record(self, job: Job, now: float, *, word: str | None = None) -> None:
        """Note how the job stands. ``word``: the state to write instead of the job's own."""
        request = job.request
        state = word or job.base
        restarts = job.restarts - (1 if word else 0)  # the span that just ended
        if request.memory_mb is not None:
            memory = f"{request.memory_mb}M"
        else:
            memory = f"{(request.memory_per_cpu_mb or 100) * job.cpus}M"
        row = Row(
            id=job.id,
            restarts=restarts,
            name=request.name,
            user=job.user,
            uid=job.uid,
            account=request.account or job.user,
            qos=request.qos or "normal",
            partition=job.partition,
            state=state,
            raw_exit=job.raw_exit,
            submit=job.submit,
            eligible=job.eligible,
            start=None if state == "CANCELLED" and not job.grants else job.start,
            end=None if state in {"PENDING", "RUNNING"} else job.end,
            nodes=job.nodes,
            node_count=job.node_count,
            cpus=job.cpus,
            minutes=job.minutes,
            reason=job.reason if state == "PENDING" else "None",
            cancelled_by=job.cancelled_by if state == "CANCELLED" else None,
            workdir=request.chdir,
            memory=memory,
            resources=job.resources(self._config) if job.grants else {},
        )
        self._versions.setdefault((job.id, restarts), []).append((now, row))

    def rows(self, now: float, *, lag: float = 0.0, duplicates: bool = False) -> list[Row]:
        """Return what the database says now, oldest job first; the last span of each job only."""
        found: dict[tuple[int, int], Row] = {}
        for (job_id, restarts), versions in sorted(self._versions.items()):
            known = [row for at, row in versions if at + lag <= now]
            if known:
                found[job_id, restarts if duplicates else 0] = known[-1]
        return list(found.values())
