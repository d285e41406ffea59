"""What sbatch answered, and what a cluster says about itself.

Only a definite answer of sbatch counts. Whatever could mean that the job is in the queue although
sbatch failed is *ambiguous*: it is looked for, never just submitted again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from benchd.core.slurm_errors import ERRORS, Complaint, ErrorRow
from benchd.core.slurm_reasons import REASONS, ReasonClass, reason_class

_PARSABLE = re.compile(r"(?:Submitted batch job )?(?P<id>\d+)(?:;\S+| on cluster \S+)?", re.ASCII)


def printable(text: str, limit: int = 500) -> str:
    """Return text of Slurm's as one printable line; 500 characters hold any row or message."""
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:limit]


class SbatchKind(StrEnum):
    """Whether the job is in the queue: yes, no, or nobody knows."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class SbatchVerdict:
    """What sbatch's answer means. ``why`` is for the user and ends with the fix."""

    kind: SbatchKind
    slurm_id: str | None = None
    final: bool = False  # refused: the same script can never be accepted
    quota: str = ""  # refused: Slurm's word for the limit that your other jobs have used up
    why: str = ""
    fix: str = ""


# What Slurm itself calls a limit that it does not name.
_SOME_LIMIT: Final = "AccountingPolicy"
_LIMIT_LINE = re.compile(r"(?:sbatch: )?error: (?P<word>[A-Za-z]+)", re.ASCII)
# A complaint of the program that was asked, and not of a shell or a wire around it.
_OWN_WORDS = re.compile(r"sbatch: (error|fatal):|slurmrestd: error:")
# What stands before a complaint.
_AHEAD = re.compile(r"^((sbatch|slurmrestd): )?((error|fatal): )?(Batch job submission failed: )?")
# timeout's own statuses (time over, could not run, killed) and death by a signal: no answer.
_NO_ANSWER: Final = frozenset({124, 125, 137})


def classify_sbatch(rc: int | None, out: str, err: str) -> SbatchVerdict:
    """Return whether sbatch submitted. Only a definite answer counts; all else is ambiguous."""
    if rc == 0:
        lines = [line.strip() for line in out.split("\n") if line.strip()]
        match = _PARSABLE.fullmatch(lines[-1]) if lines else None
        if match is not None:
            return SbatchVerdict(kind=SbatchKind.ACCEPTED, slurm_id=match["id"])
        return _ambiguous("sbatch ended with status 0 but printed no job id")
    if rc is None:
        return _ambiguous("no answer of sbatch was recorded")
    if rc in _NO_ANSWER or rc > 255 or rc < 0 or 128 < rc < 160:
        return _ambiguous(f"sbatch was stopped (status {rc}) before it answered")
    said = _complaint(err)
    if not said:
        return _ambiguous(f"sbatch ended with status {rc} and said nothing")
    rows = [row for row in ERRORS if re.search(row.pattern, err, re.IGNORECASE)]
    if any(row.complaint is Complaint.AMBIGUOUS for row in rows):
        return _ambiguous(f"sbatch said: {said}")
    if rows:
        return _judged(rows[0], said, err)
    if _OWN_WORDS.search(err):
        # A complaint that we do not know, perhaps of the site's own filter: an answer all the same.
        return _refused(said, "ask the site if the message does not say enough")
    return _ambiguous(f"sbatch ended with status {rc} and said: {said}")


def _judged(row: ErrorRow, said: str, err: str) -> SbatchVerdict:
    """Return what a complaint means; where sbatch names the limit, that says more than the text."""
    limit = _named_limit(err)
    if limit is not None:
        verdict = reason_class(limit)
        never = verdict.cls is ReasonClass.NEVER
        why = f"{limit}: {verdict.meaning}"
        return _refused(why, verdict.fix, final=never, quota="" if never else limit)
    return _refused(
        said,
        row.fix,
        final=row.complaint is Complaint.PERMANENT,
        quota=_SOME_LIMIT if row.complaint is Complaint.QUOTA else "",
    )


def _named_limit(err: str) -> str | None:
    """Return the limit that sbatch names in a line of its own, as ``QOSMaxSubmitJobPerUserLimit``.

    Newer versions do so before they say that the job violates "some" limit.
    """
    for line in err.split("\n"):
        match = _LIMIT_LINE.fullmatch(line.strip())
        row = REASONS.get(match["word"].lower()) if match else None
        if row is not None and row.cls in (ReasonClass.QUOTA, ReasonClass.NEVER):
            return row.word
    return None


def _refused(said: str, fix: str, *, final: bool = False, quota: str = "") -> SbatchVerdict:
    why = f"Slurm refused the job: {said} ({fix})"
    return SbatchVerdict(kind=SbatchKind.REFUSED, final=final, quota=quota, why=why, fix=fix)


def _ambiguous(why: str) -> SbatchVerdict:
    fix = "benchd looks for the job by its name before it tries again"
    return SbatchVerdict(kind=SbatchKind.AMBIGUOUS, why=f"{why}; {fix}", fix=fix)


def _complaint(err: str) -> str:
    """Return the line of stderr that says why: the last error, else the last line."""
    lines = [line for line in (printable(line) for line in err.split("\n")) if line]
    errors = [line for line in lines if "error:" in line or "failed" in line]
    last = (errors or lines or [""])[-1]
    return _AHEAD.sub("", last)


# --- what a cluster says about itself ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmFacts:
    """What ``scontrol show config`` says, as far as it changes what we do. Times in seconds."""

    version: str = ""
    cluster: str = ""
    message_timeout: float = 10.0
    min_job_age: float = 300.0  # how long squeue still shows a job that ended
    kill_wait: float = 30.0  # from SIGTERM to SIGKILL
    accounting: bool = True  # False: sacct cannot answer, exit.json has to
    requeue: bool = True  # JobRequeue: what Slurm does when a script says nothing
    preempt_mode: str = ""
    max_job_count: int | None = None
    rate_limited: bool = False  # Slurm itself slows down who asks too often


def read_config(text: str) -> SlurmFacts:
    """Read ``scontrol show config``; what it does not say keeps Slurm's own default."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), value.strip())
    default = SlurmFacts()
    count = found.get("maxjobcount", "")
    storage = found.get("accountingstoragetype", "")
    return SlurmFacts(
        version=found.get("slurm_version", ""),
        cluster=found.get("clustername", ""),
        message_timeout=_seconds(found.get("messagetimeout"), default.message_timeout),
        min_job_age=_seconds(found.get("minjobage"), default.min_job_age),
        kill_wait=_seconds(found.get("killwait"), default.kill_wait),
        accounting=not storage.endswith("/none") and storage != "(null)",
        requeue=found.get("jobrequeue", "1") != "0",
        preempt_mode=found.get("preemptmode", ""),
        max_job_count=int(count) if count.isascii() and count.isdigit() else None,
        rate_limited="rl_enable" in found.get("slurmctldparameters", "").lower(),
    )


def _seconds(text: str | None, default: float) -> float:
    match = re.match(r"\d+", text or "", re.ASCII)
    return float(match[0]) if match else default
