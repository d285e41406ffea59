"""Why a run ended as it did, with what is only known when everything is home. Pure.

The verdict on a run names jobs and counts results. What a client said last, and which flags made
results invalid, saves the reader the next question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from benchd.core.model import Job, JobState, RunOutcome
from benchd.core.numbers import Flag, Severity
from benchd.core.results import Result
from benchd.core.spec import Role
from benchd.core.tally import latest_attempts

FLAGS_NAMED = 3  # kinds of flags that are named; the report has all
# These say that the job failed and that nothing came of it: not why.
_FOLLOWS = frozenset({"job_failed", "no_work"})


def reason(
    outcome: RunOutcome,
    why: str | None,
    jobs: Sequence[Job],
    results: Iterable[Result],
    last_words: Mapping[str, str],
) -> str | None:
    """Return the sentence about a run with its cause. ``last_words``: token -> stderr's last."""
    clients = [job for job in latest_attempts(jobs) if job.role is Role.CLIENT]
    if why is None or outcome not in {RunOutcome.FAILED, RunOutcome.INVALID}:
        return why
    tokens = {job.token for job in clients}
    wrong = {each.job: _errors(each) for each in results if each.job in tokens}
    if outcome is RunOutcome.INVALID:
        cause = _kinds(flag.code for flags in wrong.values() for flag in flags)
    else:
        cause = _of_failure(why, clients, wrong, last_words)
    return f"{why}: {cause}" if cause else why


def _errors(result: Result) -> list[Flag]:
    """Return what makes a result invalid; what follows from it only where it stands alone."""
    errors = [flag for flag in result.validity.flags if flag.severity is Severity.ERROR]
    return [flag for flag in errors if flag.code not in _FOLLOWS] or errors


def _kinds(codes: Iterable[str]) -> str:
    """Name kinds of flags, the most frequent first."""
    counted = Counter(codes)
    named = [f"{code} ({n})" if n > 1 else code for code, n in counted.most_common(FLAGS_NAMED)]
    more = len(counted) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _of_failure(
    why: str,
    clients: Sequence[Job],
    wrong: Mapping[str, Sequence[Flag]],
    last_words: Mapping[str, str],
) -> str:
    """Return what the client that the verdict names said last, else what its result says."""
    for job in clients:
        if job.state is not JobState.FAILED or not why.startswith(f"client {job.name} {job.state}"):
            continue
        if words := last_words.get(job.token):
            return f"\N{LEFT DOUBLE QUOTATION MARK}{words}\N{RIGHT DOUBLE QUOTATION MARK}"
        flags = [flag for flag in wrong.get(job.token, ()) if flag.code not in _FOLLOWS]
        if flags:
            return ": ".join(part for part in (flags[0].code, flags[0].detail) if part)
    return ""
