"""The job state machine: one TABLE, and ``advance(job, event, now, rules) -> job``.

Theory of operation
-------------------
A job has exactly one of seven states. An *event* is something that was learned: an answer of
``sbatch``, a row of ``squeue`` or ``sacct``, the absence of one that two witnesses confirm, or a
request to cancel. ``advance`` looks for the first row of TABLE whose trigger and source match and
whose guard holds, and returns a new record; nothing else in benchd changes a state.

Three rules make the table short:

1. A query that failed produces no event. Not knowing is not failing.
2. Words of Slurm that say "still alive" (COMPLETING, SIGNALING, anything unknown) are no move.
3. Terminal states accept nothing. A retry is a new job row, never a resurrection; the only way
   back is row 5, because Slurm itself can requeue a running job.

What is *not* a state lives beside it: readiness, what we want (``cancel_why``), the write-ahead
mark (``attempted_at``), visibility (``missing_since``) and the sub-state. Their coupling to the
state is written in ``_recorded`` and nowhere else.

``transitions.Machine`` is used synchronously, with a throw-away cursor as model and callbacks that
do no I/O; its asynchronous sibling swallows task cancellation (``AsyncMachine`` 0.9.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from transitions import EventData, Machine, MachineError

from benchd.core.model import (
    FAULTS,
    LIVE,
    CancelWhy,
    Event,
    Job,
    JobState,
    Readiness,
    SubState,
    Trigger,
)
from benchd.core.spec import Role
from benchd.core.usage import together
from benchd.errors import BenchdError

CREATED, SUBMITTED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED = JobState
_LIVE = tuple(s for s in JobState if s in LIVE)

# First pause after a refusal that may pass (seconds); doubled each time up to the longest. A quota
# clears when another job ends, which takes minutes rather than seconds.
REFUSAL_PAUSE = 15.0
REFUSAL_PAUSE_MAX = 600.0


class IllegalMove(BenchdError):
    """No row of the table accepts this event in this state; nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the guards need to know beside job, event and now. Times in seconds."""

    patience: float = 600.0  # unknown to both witnesses for this long means LOST
    refusals: int = 8  # refusals in a row before the job is given up
    # The same while a limit of the user's is why: a day, at one every ten minutes. It clears when
    # other jobs end; but Slurm's words may also mean that the job is over what one job may have.
    quota_refusals: int = 150
    open_ended: bool = False  # a service of a run without clients: its time limit is its end


Guard = Callable[[Job, Event, float, Rules], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. ``target`` None means: recorded, no move."""

    number: str
    trigger: Trigger
    sources: tuple[JobState, ...]
    target: JobState | None
    text: str
    guard: Guard | None = None


def _is_final(job: Job, event: Event, now: float, rules: Rules) -> bool:
    limit = rules.refusals if event.reason is None else rules.quota_refusals
    return event.final or job.submit_failures + 1 >= limit


def _may_end_well(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return job.role is not Role.SERVICE or job.cancel_requested_at is not None


def _asked(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return job.cancel_why is not None and job.cancel_why not in FAULTS


def _asked_for_fault(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return job.cancel_why in FAULTS


def _time_was_its_end(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return rules.open_ended and job.role is Role.SERVICE and event.word == "TIMEOUT"


def _out_of_patience(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return job.missing_since is not None and now - job.missing_since > rules.patience


def _gone_as_asked(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return _out_of_patience(job, event, now, rules) and _asked(job, event, now, rules)


def _never_sent(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return not job.is_attempted


def _cancel_wanted(job: Job, event: Event, now: float, rules: Rules) -> bool:
    return job.cancel_requested_at is not None


_T = Trigger
_OURS, _FAULT = "we asked, through no fault of it", "we asked because of a fault of it"

# First matching row wins. docs/reference/states.md is drawn from this table.
TABLE: tuple[Row, ...] = (
    Row("1", _T.SUBMIT_ACCEPTED, (CREATED,), SUBMITTED, "Slurm has it: an id, or found by name"),
    Row("2", _T.SUBMIT_REFUSED, (CREATED,), FAILED, "refused for good, or too often", _is_final),
    Row("3", _T.SUBMIT_REFUSED, (CREATED,), None, "refused for now: back off"),
    Row("3a", _T.TRY_EXPIRED, (CREATED,), None, "this try never became a job: next try"),
    Row("4", _T.SEEN_PENDING, (SUBMITTED, PENDING), PENDING, "queued"),
    Row("5", _T.SEEN_PENDING, (RUNNING,), PENDING, "requeued or preempted by Slurm"),
    Row("6", _T.SEEN_RUNNING, _LIVE, RUNNING, "its allocation is active"),
    Row("7", _T.SEEN_COMPLETED, _LIVE, COMPLETED, "no service, or a stopped one", _may_end_well),
    Row("8", _T.SEEN_COMPLETED, _LIVE, FAILED, "EXITED: a service nobody asked to stop"),
    Row("9", _T.SEEN_FAILED, _LIVE, CANCELLED, _OURS, _asked),
    Row("9", _T.SEEN_CANCELLED, _LIVE, CANCELLED, _OURS, _asked),
    Row("10", _T.SEEN_FAILED, _LIVE, FAILED, _FAULT, _asked_for_fault),
    Row("10", _T.SEEN_CANCELLED, _LIVE, FAILED, _FAULT, _asked_for_fault),
    Row("11", _T.SEEN_CANCELLED, _LIVE, FAILED, "CANCELLED_BY_OTHER: nobody here asked"),
    Row("11a", _T.SEEN_TWIN, _LIVE, None, "a twin ended; follow the holder of the claim"),
    Row("11b", _T.SEEN_FAILED, _LIVE, COMPLETED, "TIMEOUT without clients", _time_was_its_end),
    Row("12", _T.SEEN_FAILED, _LIVE, FAILED, "Slurm's own word: nobody asked"),
    Row("13", _T.NOT_SEEN, _LIVE, CANCELLED, "gone beyond patience, as asked", _gone_as_asked),
    Row("13", _T.NOT_SEEN, _LIVE, FAILED, "gone: LOST, or NEVER_STARTED", _out_of_patience),
    Row("14", _T.NOT_SEEN, _LIVE, None, "two witnesses do not know it: wait"),
    Row("15", _T.CANCEL_REQUESTED, (CREATED,), CANCELLED, "never sent", _never_sent),
    Row("15", _T.PROVED_ABSENT, (CREATED,), CANCELLED, "sealed, and not in Slurm", _cancel_wanted),
    Row("16", _T.CANCEL_REQUESTED, (CREATED, *_LIVE), None, "cancelled until it is gone"),
)


class _Cursor:
    """The throw-away model of one ``advance``: remembers which row matched.

    It is never added to the machine, which would dress it with a method for every trigger: most of
    the cost of an event.
    """

    def __init__(self, state: JobState) -> None:
        self.state = state.value
        self.row: Row | None = None


def _condition(row: Row) -> Callable[[EventData], bool]:
    def matches(data: EventData) -> bool:
        job, event, now, rules = data.args
        if row.guard is not None and not row.guard(job, event, now, rules):
            return False
        cast("_Cursor", data.model).row = row
        return True

    return matches


def _machine() -> Machine:
    rows: list[dict[str, Any]] = [
        {
            "trigger": row.trigger.value,
            "source": [s.value for s in row.sources],
            "dest": row.target.value if row.target else "=",
            "conditions": _condition(row),
        }
        for row in TABLE
    ]
    return Machine(
        model=None,
        states=[s.value for s in JobState],
        initial=CREATED.value,
        transitions=rows,
        auto_transitions=False,
        send_event=True,
    )


_MACHINE = _machine()


def match(job: Job, event: Event, now: float, rules: Rules) -> Row:
    """Return the row that accepts the event; raise ``IllegalMove`` when none does."""
    cursor = _Cursor(job.state)
    try:
        _MACHINE.events[event.trigger.value].trigger(cursor, job, event, now, rules)
    except MachineError as error:
        message = f"{job.token}: {event.trigger} is not possible in {job.state}"
        raise IllegalMove(message) from error
    if cursor.row is None:
        message = f"{job.token}: no row accepts {event.trigger} in {job.state}"
        raise IllegalMove(message)
    return cursor.row


def advance(job: Job, event: Event, now: float, rules: Rules) -> Job:
    """Return the job as it is after the event. Pure: the same arguments give the same record.

    Raises ``IllegalMove`` when no row accepts the event, as for every event in a terminal state.
    """
    row = match(job, event, now, rules)
    changed = _RECORD[event.trigger](job, event, now)
    target = row.target or job.state
    generation = max(changed.generation, event.generation or 0)  # runs may pass between two looks
    changed = replace(changed, state=target, generation=generation)
    if target in (COMPLETED, FAILED, CANCELLED):
        changed = _ended(changed, row, event, now)
    return changed


# --- what each trigger leaves in the record ---------------------------------------------------


def _accepted(job: Job, event: Event, now: float) -> Job:
    return replace(
        job,
        slurm_id=event.slurm_id,
        submitted_at=now,
        submit_failures=0,
        reason=None,
        missing_since=None,
    )


def _refused(job: Job, event: Event, now: float) -> Job:
    pause = min(REFUSAL_PAUSE * 2**job.submit_failures, REFUSAL_PAUSE_MAX)
    return replace(
        job,
        submit_failures=job.submit_failures + 1,
        not_before=now + pause,
        attempted_at=None,  # this try is settled: the next one gets a directory of its own
        bindings=(),  # and measures what answers by then
        detail=event.why,
        reason=event.reason,
    )


def _expired(job: Job, event: Event, now: float) -> Job:
    return replace(job, attempted_at=None, bindings=())


def _pending(job: Job, event: Event, now: float) -> Job:
    same = job.state is PENDING and job.reason == event.reason
    seen = replace(
        job,
        slurm_state=event.word,
        reason=event.reason,
        reason_since=job.reason_since if same else now,
        substate=event.substate,
        missing_since=None,
    )
    if job.state is not RUNNING:
        return seen
    generation = max(job.generation + 1, event.generation or 0)
    # As Slurm itself does: what it requeues has been submitted now.
    again = replace(seen, generation=generation, submitted_at=now, started_at=None, nodes=None)
    return replace(_not_running(again), used=None)


def _running(job: Job, event: Event, now: float) -> Job:
    generation = max(job.generation, event.generation or 0)
    seen = replace(
        job,
        slurm_state=event.word,
        reason=None,
        substate=event.substate,
        missing_since=None,
        nodes=event.nodes or job.nodes,
        generation=generation,
        started_at=job.started_at or event.started_at or now,
        used=job.used if job.state is RUNNING else event.used,
    )
    restarted = job.state is RUNNING and generation > job.generation
    if restarted:
        seen = replace(_not_running(seen), started_at=event.started_at or now, used=event.used)
    if job.role is Role.SERVICE and (restarted or job.state is not RUNNING):
        return replace(
            seen,
            readiness=Readiness.STARTING,
            readiness_since=now,
            probe_streak=0,
            probe_failures=0,
            looked_at=None,  # nobody missed it while it waited in the queue
            next_probe_at=now,
        )
    if job.substate is SubState.SUSPENDED and event.substate is not SubState.SUSPENDED:
        # Nobody looked meanwhile: its grace begins anew.
        return replace(seen, probe_streak=0, readiness_since=job.readiness_since and now)
    return seen


def _over(job: Job, event: Event, now: float) -> Job:
    return replace(
        job,
        slurm_state=event.word,
        reason=event.reason or None,
        nodes=event.nodes or job.nodes,
        exit_code=event.exit_code,
        signal=event.signal,
        started_at=event.started_at or job.started_at,
        ended_at=event.ended_at or now,
        used=together(job.used, event.used),
        missing_since=None,
    )


def _twin(job: Job, event: Event, now: float) -> Job:
    # Another id's requeues are not this one's.
    return replace(job, slurm_id=event.slurm_id, generation=0, missing_since=None, used=None)


def _missing(job: Job, event: Event, now: float) -> Job:
    return replace(job, missing_since=job.missing_since or now)


def _wanted(job: Job, event: Event, now: float) -> Job:
    if job.cancel_requested_at is not None:
        return job
    return replace(
        job,
        cancel_requested_at=now,
        cancel_why=event.cancel_why or CancelWhy.ASKED,
        detail=event.why or job.detail,
    )


_RECORD: dict[Trigger, Callable[[Job, Event, float], Job]] = {
    Trigger.SUBMIT_ACCEPTED: _accepted,
    Trigger.SUBMIT_REFUSED: _refused,
    Trigger.TRY_EXPIRED: _expired,
    Trigger.SEEN_PENDING: _pending,
    Trigger.SEEN_RUNNING: _running,
    Trigger.SEEN_COMPLETED: _over,
    Trigger.SEEN_FAILED: _over,
    Trigger.SEEN_CANCELLED: _over,
    Trigger.SEEN_TWIN: _twin,
    Trigger.NOT_SEEN: _missing,
    Trigger.CANCEL_REQUESTED: _wanted,
    Trigger.PROVED_ABSENT: lambda job, _event, _now: job,
}


def _not_running(job: Job) -> Job:
    """Readiness and endpoint belong to one span of RUNNING; outside of it they say nothing."""
    return replace(
        job,
        readiness=Readiness.UNKNOWN,
        readiness_since=None,
        ready_at=None,
        probe_streak=0,
        probe_failures=0,
        next_probe_at=None,
        endpoint=None,
    )


def _ended(job: Job, row: Row, event: Event, now: float) -> Job:
    kept_endpoint, kept_ready = job.endpoint, job.ready_at
    over = replace(
        _not_running(job),
        endpoint=kept_endpoint,  # where it answered is part of a result's provenance
        ready_at=kept_ready,
        substate=SubState.NONE,
        ended_at=job.ended_at or event.ended_at or now,
    )
    return replace(over, why=_why(job, row, event))


def _why(job: Job, row: Row, event: Event) -> str | None:
    """Return our word for how the job ended; None when it simply completed."""
    fixed = {"2": "REFUSED", "8": "EXITED", "11": "CANCELLED_BY_OTHER"}
    if row.number in fixed:
        return fixed[row.number]
    if row.number == "12":
        return event.why or event.word or "FAILED"
    if row.number == "13" and row.target is FAILED:
        return event.why or "LOST"
    if row.target is COMPLETED:
        return "TIMEOUT" if row.number == "11b" else None
    return str(job.cancel_why) if job.cancel_why else None
