"""The report as one self-contained HTML file: no script, nothing loaded, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from benchd.core.headline import NONE, Column, figure, label, rough, span
from benchd.core.markup import Child, Markup, join, tag
from benchd.core.model import Job, JobState, Transition
from benchd.core.report import JobRow, Notice, Percentiles, Point, Report, Row, Spread
from benchd.core.sheet import STYLE
from benchd.core.spans import Phase
from benchd.core.spec import Role
from benchd.core.svg import bars, percentiles, timeline

LANES_SHOWN = 60  # jobs in the timeline: two pages of paper
POINTS_SHOWN = 40  # points in a chart
HISTORIES_SHOWN = 200  # jobs whose moves are listed; the database has all
RAW_SHOWN = 300  # characters of evidence in the history

_OUTCOMES = {"PASSED": "good", "FAILED": "bad", "INVALID": "bad", "CANCELLED": "warn"}
_KEY = (
    (Phase.WAITING, "waiting in benchd"),
    (Phase.QUEUED, "queued in Slurm"),
    (Phase.STARTING, "service starting"),
    (Phase.READY, "service ready"),
    (Phase.UNREADY, "service not answering"),
    (Phase.RUNNING, "client running"),
    (Phase.MEASURING, "measurement window"),
)


def render_html(report: Report) -> str:
    """Return the whole page."""
    title = f"{report.run.name}: {report.outcome} \N{EM DASH} benchd"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"benchd {report.version}"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "body",
        _header(report),
        _notices(report.notices),
        tag("main", *_sections(report)),
        tag(
            "footer",
            f"Made by benchd {report.version} on {_moment(report.generated_at)} from stored "
            "results; the files beside this report hold every number.",
        ),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(report: Report) -> Iterable[Markup]:
    if report.points:
        yield _summary(report)
        yield _charts(report)
    if report.lanes:
        yield _timeline(report)
    yield _jobs(report.jobs)
    yield _origin(report)


# --- top ----------------------------------------------------------------------------------------


def _header(report: Report) -> Markup:
    run = report.run
    facts = [
        ("Run", tag("code", run.id)),
        ("Cluster", run.cluster),
        ("Accepted", _moment(run.created_at)),
        ("Took" if run.finished_at else "So far", span(report.duration)),
        ("Measurements", _measurements(report)),
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("h1", run.name),
            _badge(report.outcome, _OUTCOMES.get(report.outcome, ""), large=True),
            class_="line",
        ),
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts),
            class_="facts",
        ),
    )


def _measurements(report: Report) -> Child:
    total = len(report.rows)
    if not total:
        return "none"
    invalid = total - report.valid
    words = join(f"{report.valid} valid")
    if invalid:
        words = join(words, " ", _badge(f"{invalid} invalid", "bad"))
    return words


def _badge(words: str, kind: str = "", *, large: bool = False) -> Markup:
    classes = " ".join(part for part in ("badge", kind, "large" if large else "") if part)
    return tag("span", words, class_=classes)


def _notices(notices: Sequence[Notice]) -> Markup:
    if not notices:
        return Markup("")
    items = [
        tag(
            "li",
            tag(
                "b",
                notice.code.replace("_", " "),
                f" \N{MULTIPLICATION SIGN}{notice.count}" if notice.count > 1 else "",
            ),
            tag("span", notice.text),
            class_=notice.severity,
        )
        for notice in notices
    ]
    return tag("ul", *items, class_="notices", aria_label="What to know before reading the numbers")


# --- numbers ------------------------------------------------------------------------------------


def _summary(report: Report) -> Markup:
    several = report.repeats > 1
    note = (
        "Median of the valid repeats, with the lowest and the highest below it."
        if several
        else "One measurement of each point."
    )
    heads = [_th("Point"), _th("Valid", number=True), *map(_column_head, report.columns)]
    rows = [_point_row(point) for point in report.points]
    parts: list[Child] = [
        tag("h2", "Results"),
        tag("p", note, class_="muted small"),
        _table(heads, rows),
    ]
    if several or any(not row.valid for row in report.rows):
        parts.append(_repeats(report))
    return tag("section", *parts)


def _column_head(column: Column) -> Markup:
    name = label(column.metric)
    statistic = "" if column.statistic == "value" else f" {column.statistic}"
    better = {"lower": " ↓", "higher": " ↑"}.get(column.better, "")
    unit = tag("span", f"{column.unit or ' '}{better}", class_="unit")
    return tag("th", f"{name}{statistic}", unit, class_="n", title=f"{column.better} is better")


def _point_row(point: Point) -> Markup:
    kind = "good" if point.valid == point.total else "bad"
    share = _badge(f"{point.valid} of {point.total}", kind)
    return tag(
        "tr",
        tag("td", point.name, class_="nowrap" if len(point.name) < 40 else None),
        tag("td", share, class_="n"),
        *(_spread_cell(spread) for spread in point.spreads),
    )


def _spread_cell(spread: Spread) -> Markup:
    if len(spread.samples) < 2:
        return tag("td", figure(spread.median), class_="n")
    around = f"{rough(spread.low)} to {rough(spread.high)}"
    return tag("td", figure(spread.median), tag("span", around, class_="spread"), class_="n")


def _repeats(report: Report) -> Markup:
    heads = [
        _th("Point"),
        _th("Repeat", number=True),
        _th("Verdict"),
        _th("Done", number=True),
        _th("Errors", number=True),
        _th("Window", number=True),
        *map(_column_head, report.columns),
    ]
    table = _table(heads, [_repeat_row(row) for row in report.rows])
    return tag("details", tag("summary", "Every repeat", tag("span", str(len(report.rows)))), table)


def _repeat_row(row: Row) -> Markup:
    word = "valid" if row.valid else "invalid"
    codes = ", ".join(code.replace("_", " ") for code in row.codes)
    attempt = f" (attempt {row.attempt})" if row.attempt > 1 else ""
    cells: list[Child] = [
        tag("td", row.point),
        tag("td", f"{row.repeat + 1}{attempt}", class_="n"),
        tag("td", _badge(word, "good" if row.valid else "bad"), f" {codes}" if codes else ""),
        tag("td", _count(row.ok), class_="n"),
        tag("td", _count(row.errors), class_="n"),
        tag("td", span(row.window), class_="n"),
        *(tag("td", figure(value), class_="n") for value in row.values),
    ]
    return tag("tr", *cells, class_=None if row.valid else "invalid")


def _count(number: int | None) -> str:
    return figure(None if number is None else float(number))


def _charts(report: Report) -> Markup:
    bar_charts: list[Markup] = []
    for i, column in enumerate(report.columns):
        rows = [(point.name, point.spreads[i]) for point in report.points[:POINTS_SHOWN]]
        if column.statistic == "value" and any(spread.median for _, spread in rows):
            note = ", ".join(part for part in (column.unit, _direction(column)) if part)
            chart = bars(rows, title=column.title, unit=column.unit)
            bar_charts.append(_figure(column.title, note, chart))
    spreads = [
        _figure(chart.title, f"{chart.unit}; {_written(chart)} in numbers", percentiles(chart))
        for chart in report.percentiles
    ]
    dots = (("p50", "median"), ("p90", "p90, p95"), ("p99", "p99 and beyond"))
    key = tag("div", *(_key(kind, words) for kind, words in dots), class_="key")
    cut = None
    if len(report.points) > POINTS_SHOWN:
        words = f"The first {POINTS_SHOWN} of {len(report.points)} points."
        cut = tag("p", words, class_="muted small")
    if report.repeats > 1:
        words = "Of each percentile, the median over the valid repeats."
        key = join(tag("p", words, class_="muted small"), key)
    return join(
        _gallery("Point by point", cut, bar_charts), _gallery("Distributions", key, spreads)
    )


def _gallery(title: str, above: Markup | None, figures: Sequence[Markup]) -> Markup | None:
    if not figures:
        return None
    return tag("section", tag("h2", title), above, tag("div", *figures, class_="charts"))


def _written(chart: Percentiles) -> str:
    names = {"50": "median"}
    return ", ".join(names.get(q, f"p{q}") for q in chart.written)


def _direction(column: Column) -> str:
    return f"{column.better} is better" if column.better else ""


def _figure(title: str, note: str, chart: Markup) -> Markup:
    caption = tag("figcaption", title, tag("span", note) if note else None)
    return tag("figure", caption, tag("div", chart, class_="scroll"))


def _key(kind: str, words: str) -> Markup:
    return tag("span", tag("i", class_=kind), words)


# --- how it came to be ----------------------------------------------------------------------------


def _timeline(report: Report) -> Markup:
    lanes = report.lanes[:LANES_SHOWN]
    seen = {piece.phase for lane in lanes for piece in lane.spans}
    seen |= {Phase.MEASURING} if any(lane.measured for lane in lanes) else set()
    start = report.run.created_at
    end = start + report.duration
    hidden = len(report.lanes) - len(lanes)
    return tag(
        "section",
        tag("h2", "Timeline"),
        tag("div", *(_key(k, words) for k, words in _KEY if k in seen), class_="key"),
        tag("div", timeline(lanes, start, end), class_="scroll"),
        tag("p", f"{hidden} more jobs are not drawn.", class_="muted small") if hidden else None,
    )


def _jobs(jobs: Sequence[JobRow]) -> Markup:
    heads = [
        _th("Job"),
        _th("State"),
        _th("Slurm"),
        _th("Where"),
        _th("Queued", number=True),
        _th("Ran", number=True),
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
        _table(heads, [_job_row(row) for row in jobs]),
        tag("h2", "History of each job") if histories else None,
        *histories,
    )


def _job_row(row: JobRow) -> Markup:
    job = row.job
    kind = "good" if row.well else "bad" if job.state is JobState.FAILED else ""
    why = _why(row)
    return tag(
        "tr",
        tag("td", row.name, tag("span", f"{job.role}, {job.kind}", class_="spread")),
        tag("td", _badge(str(job.state), kind), tag("span", why, class_="spread") if why else None),
        tag("td", job.slurm_id or NONE, class_="nowrap"),
        tag("td", _where(job)),
        tag("td", span(_between(job.submitted_at, job.started_at)), class_="n"),
        tag("td", span(_between(job.started_at, job.ended_at)), class_="n"),
    )


def _why(row: JobRow) -> str:
    job = row.job
    if row.well and job.role is Role.SERVICE and job.state is JobState.CANCELLED:
        return "stopped by benchd when its clients were done"
    if row.well:
        return ""
    return ": ".join(part for part in (job.why or "", job.detail or "") if part)


def _where(job: Job) -> str:
    if job.endpoint is not None and job.endpoint.ports:
        ports = ", ".join(map(str, job.endpoint.ports))
        return f"{job.nodes or job.endpoint.host}, port {ports}"
    return job.nodes or NONE


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(end - start, 0.0)


def _history(history: Sequence[Transition], start: float) -> Markup:
    heads = [_th("After", number=True), _th("Move"), _th("Because"), _th("Evidence")]
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
    return _table(heads, rows)


def _evidence(move: Transition) -> str:
    evidence = move.evidence
    parts = [evidence.source]
    if evidence.exit_status is not None:
        parts.append(f"exit {evidence.exit_status}")
    raw = " ".join(evidence.raw.replace("\x1f", " | ").split())
    parts.append(raw if len(raw) <= RAW_SHOWN else f"{raw[:RAW_SHOWN]}…")
    return "  ".join(part for part in parts if part) or NONE


def _origin(report: Report) -> Markup:
    rows = [tag("tr", tag("td", name), tag("td", value)) for name, value in report.provenance]
    table = tag("div", tag("table", tag("tbody", *rows), class_="facts-table"), class_="scroll")
    return tag(
        "section",
        tag("h2", "Origin"),
        tag("details", tag("summary", "Versions, places and parameters"), table),
        tag(
            "details",
            tag("summary", "Recipe", tag("span", report.run.recipe_path)),
            tag("pre", tag("code", report.run.recipe)),
        ),
    )


# --- pieces -------------------------------------------------------------------------------------


def _th(words: str, *, number: bool = False) -> Markup:
    return tag("th", words, scope="col", class_="n" if number else None)


def _table(heads: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("div", table, class_="scroll")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
