"""What to know before reading a number: one notice for one cause, the gravest first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchd.core.flagged import advice, reach
from benchd.core.headline import cell_text, figure, shown
from benchd.core.model import Job, JobState, Run, RunOutcome, Transition
from benchd.core.significance import FEWEST
from benchd.core.spec import Role
from benchd.core.variation import LIMIT, Wide
from benchd.core.view import slot_of

_SEVERITIES = ("error", "warn", "info")  # in the order of reading
_WORDS = {"error": "an error", "warn": "a warning", "info": "a note"}
# What is wrong with the result of a job because the job failed: the failure has its own notice.
# Requests that failed are no such thing: more often they are why the job did.
_FOLLOWS = frozenset({"job_failed", "no_work"})
NAMES_SHOWN = 3  # jobs of one notice that are named

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to know before reading a number."""

    severity: str  # error, warn, info
    code: str
    text: str
    count: int = 1  # how many results or jobs it concerns
    reach: str = ""  # what was measured and what its limit is, with their unit
    advice: str = ""  # what to do; words between backticks are what one writes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job with its history."""

    job: Job
    name: str
    well: bool
    history: tuple[Transition, ...]
    cause: str = ""  # how it ended, in words, when it did not end well
    last_words: str = ""  # the last line it wrote to stderr


def job_name(job: Job) -> str:
    """Return a job's name for people: what it is, which point, which repeat.

    Repeats and replicas count from 0, as they do in the names of jobs and in results.
    """
    parts = [job.name]
    if job.spec.cell:
        parts.append(cell_text(job.spec.cell))
    if job.role is Role.CLIENT:
        parts.append(f"repeat {job.repeat}")
    if job.replica:
        parts.append(f"replica {job.replica}")
    if job.attempt > 1:
        parts.append(f"attempt {job.attempt}")
    return " ".join(parts)


def notices(
    run: Run,
    jobs: Sequence[JobRow],
    documents: Sequence[Document],
    points: Sequence[tuple[str, int, int]] = (),
    wide: Sequence[Wide] = (),
) -> list[Notice]:
    """Return what a reader must know, the gravest first.

    ``points``: the name of each, how many of its repeats are valid, and how many there are;
    ``wide``: those of them whose repeats differ widely.
    """
    failures = list(_failures(jobs))
    failed = {row.job.token for row in jobs if row.job.state is JobState.FAILED}
    found = [*_outcome(run, failures), *failures, *_flags(documents, failed), *_stand_ins(jobs)]
    found += [*_variation(wide), *_repeats(points)]
    return sorted(found, key=lambda notice: _SEVERITIES.index(notice.severity))


def _variation(wide: Sequence[Wide]) -> Iterable[Notice]:
    """Yield that repeats of one point differ: no result is wrong, but their middle says little."""
    if not wide:
        return
    most = max(wide, key=lambda each: each.variation)
    unit = shown(most.column.unit)
    ends = f"{figure(most.low)} to {figure(most.high)}{f' {unit}' if unit else ''}"
    text = "repeats of one point differ widely, and their median says little; widest: "
    text += f"{most.column.title} of {most.point}, {ends}"
    yield Notice(
        severity="warn",
        code="repeats differ",
        text=text,
        count=len(wide),
        reach=f"coefficient of variation {figure(100 * most.variation)} %; limit {100 * LIMIT:g} %",
        advice="see over time and in the timeline what one of them met; measure longer, on nodes "
        "of your own (`resources.exclusive: true`), and raise `repeat`",
    )


def _repeats(points: Sequence[tuple[str, int, int]]) -> Iterable[Notice]:
    """Yield what is to be said of how often points were measured."""
    short = [f"{name} ({valid} of {total})" for name, valid, total in points if 0 < valid < total]
    if short:
        text = f"not every repeat is valid, and numbers are those of the others: {_listed(short)}"
        yield Notice(severity="warn", code="repeats missing", text=text, count=len(short))
    most = max((valid for _, valid, _ in points), default=0)
    if most and all(total == 1 for *_, total in points):
        text = "every point was measured once: nothing is known about the spread; "
        text += "`repeat: 3` in the recipe tells"
        yield Notice(severity="info", code="one repeat", text=text)
    elif 0 < most < FEWEST:
        text = f"no point has {FEWEST} valid repeats: a comparison with another run will be "
        text += "inconclusive; `repeat: 5` in the recipe decides"
        yield Notice(severity="info", code="few repeats", text=text)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _outcome(run: Run, failures: Sequence[Notice]) -> Iterable[Notice]:
    if run.outcome is None:
        text = "the run is not over: what is missing here may still come"
        yield Notice(severity="info", code="in progress", text=text)
        return
    told = run.outcome is RunOutcome.FAILED and any(n.severity == "error" for n in failures)
    if run.outcome is not RunOutcome.PASSED and run.why and not told:
        yield Notice(severity="error", code=str(run.outcome).lower(), text=run.why)


def _failures(jobs: Sequence[JobRow]) -> Iterable[Notice]:
    """Yield one notice for all jobs that ended for the same cause with the same last words."""
    newest: dict[object, int] = {}
    for row in jobs:
        slot = slot_of(row.job)
        newest[slot] = max(newest.get(slot, 0), row.job.attempt)
    alike: dict[tuple[bool, object], list[JobRow]] = {}
    for row in jobs:
        if row.job.state is JobState.FAILED:
            again = row.job.attempt < newest[slot_of(row.job)]
            key = (again, (row.job.name, row.job.why, row.cause, row.last_words))
            alike.setdefault(key, []).append(row)
    for (again, _cause), rows in alike.items():
        yield _failure(rows, again=again)


def _failure(rows: Sequence[JobRow], *, again: bool) -> Notice:
    first = rows[0]
    text = f"{_listed([row.name for row in rows])}: {first.cause}"
    if first.last_words:
        text += f"; its last line on stderr: \N{LEFT DOUBLE QUOTATION MARK}{first.last_words}"
        text += "\N{RIGHT DOUBLE QUOTATION MARK}"
    if again:
        text += "; it was tried again"
    job = first.job
    code = f"{job.role} failed" if job.why in {None, str(job.state)} else str(job.why)
    severity = "info" if again else "error"
    if job.spec.companion and not again:
        severity = "warn"
        text += "; it only watched the run, whose results stand"
    return Notice(severity=severity, code=code, text=text, count=len(rows))


def _stand_ins(jobs: Sequence[JobRow]) -> Iterable[Notice]:
    """Yield what the recipe asked for and the cluster has not, so that something else was taken."""
    taken = {
        (row.job.cluster, each.stands_for): row.job.name
        for row in jobs
        for each in row.job.spec.exporters
        if each.stands_for
    }
    for (cluster, wanted), name in taken.items():
        text = f"runtime.exporters of cluster {cluster} names no {wanted}: benchd's own exporter "
        text += f"told of {name} instead"
        yield Notice(severity="info", code=f"no {wanted}", text=text)


def _flags(documents: Sequence[Document], failed: set[str]) -> Iterable[Notice]:
    """Yield one notice for all flags of one kind, as grave as the gravest of them."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        follows = str(document.get("job")) in failed
        for flag in (document.get("validity") or {}).get("flags") or ():
            if follows and (flag["code"] in _FOLLOWS or flag["severity"] == "info"):
                continue
            grouped.setdefault(str(flag["code"]), []).append(flag)
    for code, flags in grouped.items():
        # Found in this order, the words are those of a grave one.
        flags.sort(key=lambda flag: _SEVERITIES.index(str(flag["severity"])))
        details = dict.fromkeys(str(flag.get("detail") or "") for flag in flags)
        different = [text for text in details if text]
        text = different[0] if different else code.replace("_", " ")
        if len(different) > 1:
            text += f" (and {len(different) - 1} more like it)"
        weights = Counter(_WORDS[str(flag["severity"])] for flag in flags)
        if len(weights) > 1:
            text += f"; {' and '.join(f'{n} as {word}' for word, n in weights.items())}"
        yield Notice(
            severity=str(flags[0]["severity"]),
            code=code,
            text=text,
            count=len(flags),
            reach=reach(code, [f.get("value") for f in flags], [f.get("limit") for f in flags]),
            advice=advice(code),
        )
