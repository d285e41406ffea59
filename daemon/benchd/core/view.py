"""The world, arranged for the questions that planning asks. Pure.

A *slot* is one thing the recipe wants: a service replica, or one client of one point and repeat.
Its attempts are rows; only the latest counts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from benchd.core.effects import World
from benchd.core.model import CancelWhy, Job, JobState, Run
from benchd.core.spec import Role

Slot = tuple[str, Role, str, int, int, int]


def slot_of(job: Job) -> Slot:
    """Return what the recipe wants that this row is an attempt at."""
    return (job.run_id, job.role, job.name, job.point, job.repeat, job.replica)


@dataclass(frozen=True, slots=True)
class Index:
    """The world by slot, by service and by token; ``now`` in seconds since the epoch."""

    world: World
    now: float
    slots: dict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))
    # (run, name, point, repeat); the repeat is 0 where one job serves all repeats of its point
    services: dict[tuple[str, str, int, int], list[Job]] = field(
        default_factory=lambda: defaultdict(list)
    )
    external: dict[tuple[str, str], list[Job]] = field(default_factory=lambda: defaultdict(list))
    images: dict[tuple[str, str], Job] = field(default_factory=dict)  # (run, name) -> image job
    # token of a service -> end of its last measurement, where the recipe wants a pause after it
    measured: dict[str, float] = field(default_factory=dict)
    rows: dict[str, Job] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)


def index(world: World, now: float) -> Index:
    """Arrange the world; the latest attempt of every slot, in the order of the rows."""
    arranged = Index(world, now)
    arranged.runs.update((run.id, run) for run in world.runs)
    rows, attempts = arranged.rows, arranged.attempts
    for job in world.jobs:
        rows[job.token] = job
        attempts[job.run_id].append(job)
        if job.spec.cooldown and job.is_terminal and job.slurm_id is not None:
            ended = now if job.collected_at is None else job.collected_at
            for binding in job.bindings:
                before = arranged.measured.get(binding.token, ended)
                arranged.measured[binding.token] = max(before, ended)
    for run_id, own in attempts.items():
        latest = own if all(job.attempt == 1 for job in own) else _latest(own)
        arranged.slots[run_id] = latest
        for job in latest:
            if job.role is Role.SERVICE:
                arranged.services[job.run_id, job.name, job.point, job.repeat].append(job)
                arranged.external[job.cluster, job.name].append(job)
            elif job.role is Role.IMAGE:
                arranged.images[job.run_id, job.name] = job
    return arranged


def _latest(jobs: list[Job]) -> list[Job]:
    latest: dict[Slot, Job] = {}
    for job in jobs:
        slot = slot_of(job)
        if slot not in latest or latest[slot].attempt < job.attempt:
            latest[slot] = job
    return list(latest.values())


def ended_well(job: Job) -> bool:
    """Tell whether this row ended as benchd wanted it to."""
    done = job.cancel_why is CancelWhy.DONE
    return job.state is JobState.COMPLETED or (job.state is JobState.CANCELLED and done)


def is_uncollected(job: Job) -> bool:
    """Tell whether a client left something that is not home yet."""
    return job.is_terminal and job.slurm_id is not None and job.collected_at is None


def is_sent(job: Job) -> bool:
    """Tell whether Slurm has this row, or may have it: a try is under way or was accepted."""
    return job.is_live or (job.attempted_at is not None and not job.is_terminal)
