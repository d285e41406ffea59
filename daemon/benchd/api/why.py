"""``benchctl why``: how a job came to where it is, and what benchd waits for. Pure.

Every sentence rests on something stored: a transition with its evidence, or a field of the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from benchd.api.views import job_id
from benchd.core.attention import judged
from benchd.core.flagged import advice, reach
from benchd.core.kept import reread
from benchd.core.model import CancelWhy, Job, JobState, Readiness, Transition
from benchd.core.numbers import Severity
from benchd.core.restart import is_retried
from benchd.core.spec import Role
from benchd.core.tally import how_it_ended
from benchd.core.view import ended_well

EVIDENCE_LIMIT = 80  # characters of raw evidence in a sentence; --json carries all of it

_HAPPENED = {
    "created": "recorded from the recipe",
    "intended": "a submission is written down before it is sent",
    "collected": "what it left is home",
    "probed": "a look at its health",
    "submit_accepted": "Slurm accepted it",
    "submit_refused": "Slurm refused it",
    "try_expired": "that submission never became a job; another try may be made",
    "seen_pending": "Slurm has it in the queue",
    "seen_running": "its allocation is active",
    "seen_completed": "it ended with exit status 0",
    "seen_failed": "it ended without success",
    "seen_cancelled": "Slurm says that it was cancelled",
    "seen_twin": "a second submission of it ended without running; the first one is followed",
    "not_seen": "neither squeue nor a second witness knows it",
    "cancel_requested": "its end was asked for",
    "proved_absent": "it is proved that it never ran and never will",
}

_HEALTH = {
    ("STARTING", "READY"): "the service answers",
    ("READY", "UNREADY"): "the service no longer answers",
    ("UNREADY", "READY"): "the service answers again",
    ("UNKNOWN", "STARTING"): "the service was started; its first answer is awaited",
}

_ASKED = {
    CancelWhy.ASKED: "somebody asked for its end",
    CancelWhy.DONE: "nothing needs it any more",
    CancelWhy.SIBLING: "a job that it depends on ended or stopped answering",
    CancelWhy.NOT_READY: "it did not answer in time after its start",
    CancelWhy.UNHEALTHY: "it stopped answering and did not recover",
    CancelWhy.HOPELESS: "Slurm's reason for holding it back cannot go away by itself",
    CancelWhy.LIMIT: "it reached a limit of the recipe",
}

_VERDICTS = {
    Severity.ERROR: "Its result is not valid",
    Severity.WARN: "Its result is to be read with care",
}

_ADVICE = {
    "TIMEOUT": "its time limit was reached: raise resources.time, do less in one job, or set "
    "restart.more_time",
    "OUT_OF_MEMORY": "it used more memory than it had asked for: raise resources.mem, or set "
    "restart.more_memory",
    "NODE_FAIL": "the node failed, not the job: run `benchctl retry {id}`, which avoids that node",
    "LAUNCH_FAILED": "its node could not start it, not the job's fault: run `benchctl retry {id}`, "
    "which avoids that node",
    "NEVER_STARTED": "Slurm forgot it before it started, and it cannot start any more: run "
    "`benchctl retry {id}`",
    "BOOT_FAIL": "the node did not boot, not the job's fault: run `benchctl retry {id}`",
    "PREEMPTED": "a job of higher priority took its place: retry it, or use another qos",
    "DEADLINE": "Slurm's deadline for it passed before it ended",
    "LOST": "Slurm does not know it and it left no exit.json: see whether it ran, then "
    "`benchctl retry {id}`",
    "REFUSED": "correct what Slurm refused and submit the recipe again",
    "EXITED": "the service ended by itself although it was still needed: see `benchctl logs {id}`",
    "CANCELLED_BY_OTHER": "somebody cancelled it with scancel, not benchd, or Slurm did because "
    "its node could not start it (`sinfo -R`): if it was a mistake, run `benchctl retry {id}`",
    "WORKDIR_NOT_VISIBLE": "the compute node does not see `workdir`: set it to a directory on the "
    "shared file system, then run `benchd check`",
    "NOT_READY": "see `benchctl logs {id}` for why it does not answer; a slow start needs a larger "
    "health_check.start_period or retries",
    "UNHEALTHY": "see `benchctl logs {id}` and `benchctl logs {id} --stderr` around the time it "
    "fell silent",
    "HOPELESS": "change the resources, partition, qos or account in the recipe",
    "LIMIT": "raise `limits` in the recipe, or ask for less; where it was stop_on_failure, mend "
    "what failed first, then run `benchctl retry` on the run",
}


def _doubts(job: Job, document: str | None) -> Iterator[str]:
    """Yield what makes a result invalid or doubtful, each with what to do about it."""
    flags = reread(document, run="").validity.flags if document is not None else ()
    told = () if ended_well(job) else ("job_failed", "no_work")  # with the failure
    for severity, head in _VERDICTS.items():
        for each in flags:
            if each.severity is not severity or each.code in told:
                continue
            parts = (each.detail, reach(each.code, [each.value], [each.limit]))
            said = "; ".join(part for part in parts if part)
            yield f"{head}: {_sentence(f'{each.code}: {said}' if said else each.code)}"
            if words := advice(each.code):
                yield f"What to do: {_sentence(words)}"


def explain(
    job: Job,
    transitions: Sequence[Transition],
    now: float,
    waiting: str,
    *,
    last_words: str = "",
    document: str | None = None,
) -> list[str]:
    """Return the job's story in sentences: what it is, why and what helps, then how it came to it.

    ``waiting`` is the daemon's own word on what it waits for, or on what follows what is over;
    ``last_words`` the last line that a failed job wrote to stderr; ``document`` its result.
    """
    if job.is_terminal:
        follows = [f"Next: {_sentence(waiting)}"] if waiting else []
        reason = [*_ending(job, last_words), *_doubts(job, document), *follows]
    else:
        reason = _present(job, now, waiting)
    recorded = f"Recorded at {_clock(job.created_at)} from run {job.run_id}."
    moves = [_move(row, job.created_at) for row in transitions]
    return [_headline(job, now), *reason, recorded, *moves]


def _present(job: Job, now: float, waiting: str) -> list[str]:
    """Return what keeps a job where it is, and what it waits for."""
    lines = []
    if job.missing_since is not None:
        missing = _span(now - job.missing_since)
        lines.append(f"Slurm has not known it for {missing}; that alone moves nothing yet.")
    if job.cancel_why is not None:
        lines.append(f"Its end is wanted: {_ASKED[job.cancel_why]}.")
    if job.state is JobState.PENDING and job.reason:
        says = judged(job)
        lines.append(f"Slurm's reason for not starting it: {job.reason} (class {says.cls}).")
    lines.append(f"Now: {_sentence(waiting or 'the next answer of the cluster is awaited')}")
    return lines


def _headline(job: Job, now: float) -> str:
    what = f"{job.role} {job.name}"
    if job.spec.cell:
        what += " at " + ", ".join(f"{k}={v}" for k, v in job.spec.cell.items())
    place = f", Slurm job {job.slurm_id}" if job.slurm_id else ""
    place += f" on {job.nodes}" if job.nodes else ""
    word = job.why if job.why != job.state else how_it_ended(job)
    state = f"{job.state} ({word})" if word else str(job.state)
    if job.role is Role.SERVICE and job.state is JobState.RUNNING:
        state += f" and {_readiness(job)}"
    since = "" if job.is_terminal else f", {_span(now - job.created_at)} after it was recorded"
    return f"{what}, attempt {job.attempt}, is {state}{place}{since}."


def _readiness(job: Job) -> str:
    words = {
        Readiness.READY: "ready",
        Readiness.STARTING: "not answering yet",
        Readiness.UNREADY: "no longer answering",
        Readiness.UNKNOWN: "of unknown health",
    }
    return words[job.readiness]


def _move(row: Transition, start: float) -> str:
    happened = _HEALTH.get((row.old, row.new)) or _HAPPENED.get(
        row.trigger, row.trigger.replace("_", " ")
    )
    move = f"{row.old} → {row.new}" if row.old != row.new else f"still {row.new}"
    return f"+{_span(max(row.at - start, 0.0))}  {move}: {happened}{_evidence(row)}."


def _evidence(row: Transition) -> str:
    evidence = row.evidence
    parts = []
    if evidence.source:
        parts.append(_printable(evidence.source, 40))
    if evidence.exit_status is not None:
        parts.append(f"exit {evidence.exit_status}")
    if evidence.raw.strip():
        parts.append(f"“{_printable(evidence.raw, EVIDENCE_LIMIT)}”")
    return f" ({', '.join(parts)})" if parts else ""


def _ending(job: Job, last_words: str) -> list[str]:
    if job.state is JobState.COMPLETED:
        taken = ""
        if job.started_at is not None and job.ended_at is not None:
            taken = f" after {_span(job.ended_at - job.started_at)} of running"
        lines = [f"It completed{taken}; nothing is awaited."]
        if job.role is Role.CLIENT and job.collected_at is None:
            lines = [f"It completed{taken}.", "Now: what it measured is being brought home."]
        return lines
    if job.state is JobState.CANCELLED:
        if job.role is Role.IMAGE and job.cancel_why is CancelWhy.DONE and job.detail:
            return [f"It is over: {_sentence(job.detail)}"]
        why = _ASKED.get(job.cancel_why) if job.cancel_why else None
        return [f"It was cancelled by benchd: {why or 'its end was asked for'}."]
    return _failure(job, last_words)


def _failure(job: Job, last_words: str) -> list[str]:
    lines = [f"It failed: {_sentence(job.detail or _cause(job))}"]
    if last_words:
        lines.append(f"Its last line on stderr: “{last_words}”")
    if is_retried(job):
        return lines
    advice = _ADVICE.get(
        job.why or "", "see `benchctl logs {id}` and `benchctl logs {id} --stderr`"
    )
    return [*lines, f"What to do: {advice.replace('{id}', job_id(job.token))}."]


def _cause(job: Job) -> str:
    ended = how_it_ended(job)
    word = job.why if job.why != job.state else None
    if ended:
        return f"{word}, {ended}" if word else ended
    if job.cancel_why is not None:
        return f"{word or job.state}: {_ASKED[job.cancel_why]}"
    return word or job.slurm_state or "Slurm has no word for it"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _printable(text: str, limit: int) -> str:
    """Return one line without control characters: evidence comes from outside."""
    line = "".join(c if c.isprintable() else " " for c in text.strip().replace("\x1f", " | "))
    line = " ".join(line.split()).removesuffix(" |")
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _span(seconds: float) -> str:
    if seconds < 100:  # below this, tenths still tell something
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m{rest:02d}s" if hours else f"{minutes}m{rest:02d}s"
