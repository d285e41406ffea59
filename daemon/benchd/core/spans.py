"""The life of a job as spans of time, for the timeline of a report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from benchd.core.model import TERMINAL, Job, JobState, Readiness, Transition
from benchd.core.spec import Role


class Phase(StrEnum):
    """What a job does in one span."""

    WAITING = "waiting"  # benchd has it: its services are not ready, or a limit is reached
    QUEUED = "queued"  # Slurm has it
    STARTING = "starting"  # runs, does not answer yet
    READY = "ready"  # answers
    UNREADY = "unready"  # has stopped answering
    RUNNING = "running"  # a client at work
    MEASURING = "measuring"  # its measurement window, drawn over RUNNING


@dataclass(frozen=True, slots=True)
class Span:
    """One phase from ``start`` to ``end``, seconds since the epoch."""

    phase: Phase
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One job in the timeline."""

    name: str
    role: str
    state: str
    spans: tuple[Span, ...]
    measured: Span | None


_STATES = frozenset(str(s) for s in JobState)
_HEALTH = frozenset(str(r) for r in Readiness)
_ENDS = frozenset(str(s) for s in TERMINAL)


def spans(job: Job, history: Sequence[Transition], now: float) -> tuple[Span, ...]:
    """Return the job's phases in order, without gaps, from its creation to its end (or now).

    Slurm's own times are used where they are known: a poll learns of a start only afterwards.
    """
    end = job.ended_at if job.is_terminal and job.ended_at is not None else now
    state, health = str(JobState.CREATED), str(Readiness.UNKNOWN)
    marks: list[tuple[float, Phase]] = [(job.created_at, Phase.WAITING)]
    for at, word in _moves(job, history):
        if word in _ENDS:
            break
        if word in _STATES:
            state = word
            health = str(Readiness.STARTING) if word == JobState.RUNNING else health
        elif word in _HEALTH:
            health = word
        marks.append((at, _phase(job.role, state, health)))
    return _joined(marks, max(end, job.created_at))


def _moves(job: Job, history: Sequence[Transition]) -> list[tuple[float, str]]:
    """Return (time, word) of every move, with Slurm's time of the start where there is one."""
    moves = [(row.at, row.new) for row in history if row.old != row.new]
    words = [word for _, word in moves]
    started = job.started_at
    if started is None or words.count(JobState.RUNNING) > 1:
        return moves  # requeued: only benchd's own view tells the whole story
    if JobState.RUNNING in words:
        moves[words.index(JobState.RUNNING)] = (started, str(JobState.RUNNING))
    else:  # it was so short that no poll saw it run
        first = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
        moves.insert(first, (started, str(JobState.RUNNING)))
    return moves


def _phase(role: Role, state: str, health: str) -> Phase:
    if state == JobState.CREATED:
        return Phase.WAITING
    if state != JobState.RUNNING:
        return Phase.QUEUED
    if role is not Role.SERVICE:
        return Phase.RUNNING
    words = {str(Readiness.READY): Phase.READY, str(Readiness.UNREADY): Phase.UNREADY}
    return words.get(health, Phase.STARTING)


def _joined(marks: Sequence[tuple[float, Phase]], end: float) -> tuple[Span, ...]:
    """Make spans of marks: times only go forward, and neighbours of one phase are one."""
    found: list[Span] = []
    for i, (at, phase) in enumerate(marks):
        start = max(at, found[-1].end) if found else at
        stop = min(marks[i + 1][0], end) if i + 1 < len(marks) else end
        stop = max(stop, start)
        if found and found[-1].phase is phase:
            found[-1] = Span(phase, found[-1].start, stop)
        else:
            found.append(Span(phase, start, stop))
    return tuple(span for span in found if span.end > span.start)


def lane(
    name: str, job: Job, history: Sequence[Transition], times: Mapping[str, Any], end: float
) -> Lane:
    """Return a job's life with what it measured; ``times`` are those of its result, if any."""
    start, stop = _moment(times.get("measure_start")), _moment(times.get("measure_end"))
    measured = None
    if start is not None and stop is not None and stop > start:
        measured = Span(Phase.MEASURING, start, stop)
    return Lane(
        name=name,
        role=str(job.role),
        state=str(job.state),
        spans=_covering(spans(job, history, end), measured),
        measured=measured,
    )


def _covering(pieces: tuple[Span, ...], measured: Span | None) -> tuple[Span, ...]:
    """Let the last span reach to the end of the measurement: Slurm rounds down to seconds."""
    if not pieces or measured is None or not 0 < measured.end - pieces[-1].end <= 1:
        return pieces
    return (*pieces[:-1], replace(pieces[-1], end=measured.end))


def _moment(text: object) -> float | None:
    """Return an ISO 8601 time as seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def between(start: float | None, end: float | None) -> float | None:
    """Return the seconds between two moments, where both are known."""
    return None if start is None or end is None else max(end - start, 0.0)
