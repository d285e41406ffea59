"""The later half of the report page: how the run came to its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchd.core.headline import NONE, span
from benchd.core.markup import Markup, tag
from benchd.core.model import Job, JobState, Transition
from benchd.core.notices import JobRow
from benchd.core.page import badge, key, table, th
from benchd.core.reported import Report
from benchd.core.spans import Phase, between
from benchd.core.spec import Role
from benchd.core.svg import timeline

LANES_SHOWN = 60  # jobs in the timeline: two pages of paper
HISTORIES_SHOWN = 200  # jobs whose moves are listed; the database has all
RAW_SHOWN = 300  # characters of evidence in the history

_KEY = (
    (Phase.WAITING, "waiting in benchd"),
    (Phase.QUEUED, "queued in Slurm"),
    (Phase.STARTING, "service starting"),
    (Phase.READY, "service ready"),
    (Phase.UNREADY, "service not answering"),
    (Phase.RUNNING, "client running"),
    (Phase.MEASURING, "measurement window"),
)


def timeline_section(report: Report) -> Markup:
    """Return the life of every job as a chart."""
    lanes = report.lanes[:LANES_SHOWN]
    seen = {piece.phase for lane in lanes for piece in lane.spans}
    seen |= {Phase.MEASURING} if any(lane.measured for lane in lanes) else set()
    start = report.run.created_at
    end = start + report.duration
    hidden = len(report.lanes) - len(lanes)
    return tag(
        "section",
        tag("h2", "Timeline"),
        tag("div", *(key(k, words) for k, words in _KEY if k in seen), class_="key"),
        tag("div", timeline(lanes, start, end), class_="scroll"),
        tag("p", f"{hidden} more jobs are not drawn.", class_="muted small") if hidden else None,
    )


def jobs_section(jobs: Sequence[JobRow]) -> Markup:
    """Return every job with its state and its history."""
    heads = [
        th("Job"),
        th("State"),
        th("Slurm"),
        th("Where"),
        th("Queued", number=True),
        th("Ran", number=True),
    ]
    histories = [
        tag(
            "details",
            tag("summary", row.name, tag("span", row.job.token)),
            _history(row.history, row.job.created_at),
        )
        for row in jobs[:HISTORIES_SHOWN]
        if row.history
    ]
    return tag(
        "section",
        tag("h2", "Jobs"),
        table(heads, [_job_row(row) for row in jobs]),
        tag("h2", "History of each job", class_="screen") if histories else None,
        *histories,
    )


def _job_row(row: JobRow) -> Markup:
    job = row.job
    kind = "good" if row.well else "bad" if job.state is JobState.FAILED else ""
    why = _why(row)
    return tag(
        "tr",
        tag("td", row.name, tag("span", f"{job.role}, {job.kind}", class_="spread")),
        tag("td", badge(str(job.state), kind), tag("span", why, class_="spread") if why else None),
        tag("td", job.slurm_id or NONE, class_="nowrap"),
        tag("td", _where(job)),
        tag("td", span(between(job.submitted_at, job.started_at)), class_="n"),
        tag("td", span(between(job.started_at, job.ended_at)), class_="n"),
    )


def _why(row: JobRow) -> str:
    job = row.job
    if row.well and job.role is Role.SERVICE and job.state is JobState.CANCELLED:
        return "stopped by benchd when its clients were done"
    if row.well:
        return (job.detail or "") if job.role is Role.IMAGE else ""
    if job.state is not JobState.FAILED and not job.why:
        return job.detail or ""
    return "; ".join(part for part in (row.cause, row.last_words) if part)


def _where(job: Job) -> str:
    if job.endpoint is not None and job.endpoint.ports:
        ports = ", ".join(map(str, job.endpoint.ports))
        return f"{job.nodes or job.endpoint.host}, port {ports}"
    return job.nodes or NONE


def _history(history: Sequence[Transition], start: float) -> Markup:
    heads = [th("After", number=True), th("Move"), th("Because"), th("Evidence")]
    rows = [
        tag(
            "tr",
            tag("td", span(max(move.at - start, 0.0)), class_="n"),
            tag(
                "td",
                f"{move.old} → {move.new}" if move.old != move.new else f"still {move.new}",
                class_="nowrap",
            ),
            tag("td", move.trigger.replace("_", " "), class_="nowrap"),
            tag("td", tag("code", _evidence(move))),
        )
        for move in history
    ]
    return table(heads, rows)


def _evidence(move: Transition) -> str:
    evidence = move.evidence
    parts = [evidence.source]
    if evidence.exit_status is not None:
        parts.append(f"exit {evidence.exit_status}")
    raw = " ".join(evidence.raw.replace("\x1f", " | ").split())
    parts.append(raw if len(raw) <= RAW_SHOWN else f"{raw[:RAW_SHOWN]}…")
    return "  ".join(part for part in parts if part) or NONE


def origin_section(report: Report) -> Markup:
    """Return versions, places, parameters and the recipe."""
    rows = [tag("tr", tag("td", name), tag("td", value)) for name, value in report.provenance]
    facts = tag("div", tag("table", tag("tbody", *rows), class_="facts-table"), class_="scroll")
    return tag(
        "section",
        tag("h2", "Origin"),
        tag("details", tag("summary", "Versions, places and parameters"), facts, class_="paper"),
        tag(
            "details",
            tag("summary", "Recipe", tag("span", report.run.recipe_path)),
            tag("pre", tag("code", report.run.recipe)),
            class_="paper",
        ),
    )
