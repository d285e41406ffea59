"""The report as one self-contained HTML file: no script, nothing loaded, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchd.core.headline import Column, figure, label, rough, shown, span
from benchd.core.html_charts import chart_sections
from benchd.core.html_story import jobs_section, origin_section, timeline_section
from benchd.core.markup import Child, Markup, join, tag
from benchd.core.notices import Notice
from benchd.core.page import badge, coded, moment, table, th, whole_page
from benchd.core.reported import WITHIN, Point, Report, Row, Spread

_OUTCOMES = {"PASSED": "good", "FAILED": "bad", "INVALID": "bad", "CANCELLED": "warn"}


def render_html(report: Report) -> str:
    """Return the whole page."""
    title = f"{report.run.name}: {report.outcome} \N{EM DASH} benchd"
    made = f"Made by benchd {report.version} on {moment(report.generated_at)} from stored results; "
    made += f"`benchctl results {report.run.id} --json` has every number."
    footer = tag("footer", *coded(made))
    main = tag("main", *_sections(report))
    return whole_page(
        title, report.version, _header(report), _notices(report.notices), main, footer
    )


def _sections(report: Report) -> Iterable[Markup | None]:
    if report.points:
        yield _summary(report)
        yield from chart_sections(report)
    if report.lanes:
        yield timeline_section(report)
    yield jobs_section(report.jobs)
    yield origin_section(report)


# --- top ----------------------------------------------------------------------------------------


def _header(report: Report) -> Markup:
    run = report.run
    facts = [
        ("Run", tag("code", run.id)),
        ("Cluster", run.cluster),
        ("Accepted", moment(run.created_at)),
        ("Took" if run.finished_at else "So far", span(report.duration)),
        ("Measurements", _measurements(report)),
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("h1", run.name),
            badge(report.outcome, _OUTCOMES.get(report.outcome, ""), large=True),
            class_="line",
        ),
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts),
            class_="facts",
        ),
    )


def _measurements(report: Report) -> Child:
    if not report.wanted:
        return "none: services only"
    invalid = len(report.rows) - report.valid
    words = join(f"{report.done} of {report.wanted} done")
    if report.rows:
        words = join(words, f", {report.valid} valid")
    if invalid:
        words = join(words, " ", badge(f"{invalid} invalid", "bad"))
    return words


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
            tag("div", *_told(notice)),
            class_=notice.severity,
        )
        for notice in notices
    ]
    return tag("ul", *items, class_="notices", aria_label="What to know before reading the numbers")


def _told(notice: Notice) -> Iterable[Child]:
    """Yield what a notice says: the finding, how far beyond which limit, what to do."""
    yield from coded(notice.text)
    if notice.reach:
        yield tag("span", notice.reach, class_="reach")
    if notice.advice:
        yield tag("span", "What to do: ", *coded(notice.advice), class_="advice")


# --- numbers ------------------------------------------------------------------------------------


def _summary(report: Report) -> Markup:
    is_offered = any(point.offered for point in report.points)
    heads = [th("Point"), th("Valid", number=True), *map(_column_head, report.columns)]
    if is_offered:
        heads.insert(2, tag("th", "Offered", tag("span", "1/s", class_="unit"), class_="n"))
    rows = [_point_row(point, is_offered=is_offered) for point in report.points]
    parts: list[Child] = [
        tag("h2", "Results"),
        tag("p", report.note, class_="muted small"),
        table(heads, rows),
        *_per_gpu(report),
    ]
    if report.tells_repeats:
        parts.append(_repeats(report))
    return tag("section", *parts)


def _column_head(column: Column, of_what: str = "") -> Markup:
    name = f"{label(column.metric)}{of_what}"
    statistic = "" if column.statistic == "value" else f" {column.statistic}"
    better = {"lower": " ↓", "higher": " ↑"}.get(column.better, "")
    unit = tag("span", f"{shown(column.unit) or ' '}{better}", class_="unit")
    return tag("th", f"{name}{statistic}", unit, class_="n", title=f"{column.better} is better")


def _per_gpu(report: Report) -> Iterable[Markup]:
    rates, shares = report.per_gpu
    if not shares:
        return
    heads = [th("Point"), th("GPUs", number=True)]
    heads += [_column_head(column, " per GPU") for column in rates]
    rows = [
        tag(
            "tr",
            tag("td", point.name),
            tag("td", point.gpus, class_="n"),
            *(tag("td", figure(share), class_="n") for share in of_point),
        )
        for point, of_point in shares
    ]
    yield tag("h3", "Per GPU")
    yield table(heads, rows)


def _point_row(point: Point, *, is_offered: bool) -> Markup:
    kind = "good" if point.valid == point.total else "bad"
    share = badge(f"{point.valid} of {point.total}", kind)
    return tag(
        "tr",
        tag("td", point.name, class_="nowrap" if len(point.name) < 40 else None),
        tag("td", share, class_="n"),
        tag("td", figure(point.offered), class_="n") if is_offered else None,
        *(_spread_cell(spread) for spread in point.spreads),
    )


def _spread_cell(spread: Spread) -> Markup:
    parts = []
    if spread.around is not None:
        parts.append(_around(spread.around))
    if spread.share:
        parts.append(tag("span", spread.share, class_="spread partly"))
    return tag("td", figure(spread.median), *parts, class_="n")


def _around(interval: tuple[float | None, float | None]) -> Markup:
    return tag("span", " to ".join(map(rough, interval)), class_="spread")


def _repeats(report: Report) -> Markup:
    heads = [
        th("Point"),
        th("Repeat", number=True),
        th("Verdict"),
        th("Done", number=True),
        th("Errors", number=True),
        th("Window", number=True),
        *map(_column_head, report.columns),
    ]
    repeats = table(heads, [_repeat_row(row) for row in report.rows])
    parts: list[Child] = [
        tag("summary", "Every repeat", tag("span", str(len(report.rows)))),
        repeats,
    ]
    if report.is_sure_within:
        parts.insert(1, tag("p", WITHIN, class_="muted small"))
    return tag("details", *parts, class_="paper")


def _repeat_row(row: Row) -> Markup:
    word = "valid" if row.valid else "invalid"
    codes = ", ".join(code.replace("_", " ") for code in row.codes)
    attempt = f" (attempt {row.attempt})" if row.attempt > 1 else ""
    cells: list[Child] = [
        tag("td", row.point),
        tag("td", f"{row.repeat}{attempt}", class_="n"),
        tag("td", badge(word, "good" if row.valid else "bad"), f" {codes}" if codes else ""),
        tag("td", _count(row.ok), class_="n"),
        tag("td", _count(row.errors), class_="n"),
        tag("td", span(row.window), class_="n"),
        *(
            tag("td", figure(value), _around(within) if within else None, class_="n")
            for value, within in zip(row.values, row.within, strict=True)
        ),
    ]
    return tag("tr", *cells, class_=None if row.valid else "invalid")


def _count(number: int | None) -> str:
    return figure(None if number is None else float(number))
