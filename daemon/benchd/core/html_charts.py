"""The charts of the report page: across the sweep, point by point, distributions, over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchd.core.courses import Courses
from benchd.core.curves import Sweep, is_flat
from benchd.core.distributions import Diagnostic, Distributions, Percentiles, Pooled, explained
from benchd.core.headline import NONE, PERCENTILES, Column, figure, label, rough, shown, with_unit
from benchd.core.markup import Child, Markup, tag
from benchd.core.numbers import SAMPLES_NEEDED
from benchd.core.page import coded, key, table, th
from benchd.core.reported import Report
from benchd.core.steps import Ladder
from benchd.core.svg import bars, percentiles
from benchd.core.svg_courses import course
from benchd.core.svg_plots import curves, heat, tradeoff
from benchd.core.svg_tails import tails

POINTS_SHOWN = 40  # points in a chart
COURSES_OPEN = 2  # points whose courses are seen at once; the others unfold
_DOTS = (("p50", "median"), ("p90", "p90, p95"), ("p99", "p99 and beyond"))


def chart_sections(report: Report) -> Iterable[Markup | None]:
    """Yield everything that is drawn of the numbers."""
    yield _across(report.sweep)
    yield from map(_ladder, report.ladders)
    yield _point_by_point(report)
    yield _distributions(report)
    yield _over_time(report.courses)
    yield _causes(report.distributions.diagnostics)


def _across(sweep: Sweep) -> Markup | None:
    """Return what the sweep says as a whole."""
    figures: list[Markup] = []
    if sweep.tradeoff is not None:
        chart = sweep.tradeoff
        note = f"{chart.latency.unit}; the line joins what no other beats in both"
        title = f"{chart.latency.title} against speed"
        figures.append(_figure(title, note, tradeoff(chart)))
    for each in sweep.curves:
        more = f"; {each.left_out} more in the result files" if each.left_out else ""
        unit = f"{shown(each.unit)}, " if shown(each.unit) else ""
        figures.append(_figure(each.title, f"{unit}over {each.key}{more}", curves(each)))
    if sweep.heat is not None:
        figures.append(_figure(sweep.heat.title, shown(sweep.heat.unit), heat(sweep.heat)))
    words = _remark(sweep.tradeoff.words) if sweep.tradeoff is not None else None
    return _gallery("Across the sweep", figures, words)


def _ladder(ladder: Ladder) -> Markup:
    """Return a measurement that went step by step."""
    heads = [th(words, number=i > 1) for i, words in enumerate(ladder.heads)]
    rows = [
        tag("tr", *(tag("td", cell, class_="n" if i > 1 else None) for i, cell in enumerate(row)))
        for row in ladder.rows
    ]
    drawn = [_figure(c.title, f"{c.unit}, over {c.key}", curves(c)) for c in ladder.curves]
    title = tag("h2", f"Step by step: {ladder.point}")
    said = [_remark(words) for words in ladder.words]
    return tag("section", title, *said, _charts(drawn), table(heads, rows))


def _point_by_point(report: Report) -> Markup | None:
    figures: list[Markup] = []
    for i, column in enumerate(report.columns):
        rows = [(point.name, point.spreads[i]) for point in report.points[:POINTS_SHOWN]]
        values = [value for _, spread in rows for value in spread.samples]
        if column.statistic == "value" and any(values) and not is_flat(column, values):
            note = ", ".join(part for part in (shown(column.unit), _direction(column)) if part)
            chart = bars(rows, title=column.title, unit=shown(column.unit))
            figures.append(_figure(column.title, note, chart))
    cut = None
    if len(report.points) > POINTS_SHOWN:
        cut = _remark(f"The first {POINTS_SHOWN} of {len(report.points)} points.")
    return _gallery("Point by point", figures, cut)


# --- distributions ------------------------------------------------------------------------------


def _distributions(report: Report) -> Markup | None:
    """Return the tails, the percentiles of single repeats, and those of all of them together."""
    found: Distributions = report.distributions
    if not found.percentiles and not found.tails:
        return None
    parts: list[Child] = [tag("h2", "Distributions")]
    if found.tails:
        parts += [
            *_tail_words(found),
            _charts(_figure(t.title, "ms", tails(t)) for t in found.tails),
        ]
    if found.percentiles:
        parts.append(tag("h3", "Percentiles"))
        if report.repeats > 1:
            parts.append(_remark("Of each percentile, the median over the valid repeats."))
        parts.append(tag("div", *(key(kind, words) for kind, words in _DOTS), class_="key"))
        parts.append(
            _charts(
                _figure(
                    chart.title,
                    f"{chart.unit}; {_written(chart)} in numbers",
                    percentiles(_cut(chart)),
                )
                for chart in found.percentiles
            )
        )
    if found.pooled:
        parts += _pooled(found.pooled)
    return tag("section", *parts)


def _tail_words(found: Distributions) -> Iterable[Markup]:
    words = "How many took longer, all valid repeats together; each line up is a tenth of the rest."
    words += " Faint: too few samples are behind it for a percentile."
    left_out = max(chart.left_out for chart in found.tails)
    if left_out:
        words += f" {left_out} more points are not drawn."
    yield _remark(words)
    if any(chart.is_twofold for chart in found.tails):
        yield tag(
            "div",
            key("whole", "from the scheduled sending: what users wait"),
            key("broken", "from the actual sending: what the service takes"),
            class_="key",
        )


def _cut(chart: Percentiles) -> Percentiles:
    return Percentiles(title=chart.title, unit=chart.unit, rows=chart.rows[:POINTS_SHOWN])


def _pooled(rows: Sequence[Pooled]) -> Iterable[Markup]:
    yield tag("h3", "All repeats together")
    words = "Percentiles of all samples of a point, from histograms: at most 5 % off. "
    words += "Beside them the p99 of single repeats, lowest to highest."
    yield _remark(words)
    heads = [th("Metric"), th("Point"), th("Repeats", number=True), th("Samples", number=True)]
    heads += [tag("th", f"p{q}", tag("span", "ms", class_="unit"), class_="n") for q in PERCENTILES]
    heads.append(tag("th", "p99 of each", tag("span", "ms", class_="unit"), class_="n"))
    yield tag("div", table(heads, [_pooled_row(row) for row in rows]), class_="pooled")


def _pooled_row(row: Pooled) -> Markup:
    singles = NONE
    if row.singles:
        singles = " to ".join(dict.fromkeys((rough(row.singles[0]), rough(row.singles[-1]))))
    return tag(
        "tr",
        tag("td", label(row.metric), class_="nowrap"),
        tag("td", row.point),
        tag("td", row.repeats, class_="n"),
        tag("td", figure(float(row.samples)), class_="n"),
        *(
            tag("td", figure(value), class_="n", title=_insufficient(q) if value is None else None)
            for q, value in zip(PERCENTILES, row.values, strict=True)
        ),
        tag("td", singles, class_="n"),
    )


def _insufficient(q: str) -> str:
    return f"insufficient samples: {SAMPLES_NEEDED[q]} are needed"


# --- over time ----------------------------------------------------------------------------------


def _over_time(points: Sequence[Courses]) -> Markup | None:
    if not points:
        return None
    words = "What was done at each moment of the measurement, repeat by repeat."
    parts: list[Child] = [tag("h2", "Over time"), _remark(words)]
    if any(course.errors for point in points for course in point.courses):
        parts.append(tag("div", key("trouble", "errors"), class_="key"))
    for n, point in enumerate(points):
        drawn = [
            _figure(f"Repeat {one.repeat}", _errors(one.errors), course(one, point))
            for one in point.courses
        ]
        name = tag("summary", point.point, tag("span", point.unit))
        parts.append(
            tag("details", name, _charts(drawn, "many"), open=n < COURSES_OPEN, class_="paper")
        )
    return tag("section", *parts)


def _errors(errors: Sequence[tuple[float, float]]) -> str:
    count = sum(number for _, number in errors)
    return f"{figure(count)} error{'s' if count > 1 else ''}" if count else ""


# --- causes -------------------------------------------------------------------------------------


def _causes(rows: Sequence[Diagnostic]) -> Markup | None:
    """Return what is no result, but tells why one is as it is."""
    if not rows:
        return None
    heads = [th("What"), th("Point"), th("Samples", number=True)]
    heads += [th(words, number=True) for words in ("Mean", "p50", "p99", "Highest")]
    cells = [_cause(row) for row in rows]
    said = [_remark(words) for words in explained(rows)]
    return tag("section", tag("h2", "Diagnostics"), *said, table(heads, cells))


def _cause(row: Diagnostic) -> Markup:
    hidden = "in the result files" if row.is_partly else None
    numbers = (row.mean, *row.percentiles, row.highest)
    return tag(
        "tr",
        tag("td", with_unit(label(row.metric), row.unit), class_="nowrap"),
        tag("td", row.point),
        tag("td", NONE if row.samples is None else figure(float(row.samples)), class_="n"),
        *(tag("td", figure(n), class_="n", title=None if n else hidden) for n in numbers),
    )


# --- their frame --------------------------------------------------------------------------------


def _gallery(title: str, figures: Sequence[Markup], above: Markup | None = None) -> Markup | None:
    if not figures:
        return None
    return tag("section", tag("h2", title), above, _charts(figures))


def _charts(figures: Iterable[Markup], kind: str = "") -> Markup:
    return tag("div", *figures, class_=f"charts {kind}".rstrip())


def _remark(words: str) -> Markup:
    return tag("p", *coded(words), class_="muted small")


def _written(chart: Percentiles) -> str:
    names = {"50": "median"}
    return ", ".join(names.get(q, f"p{q}") for q in chart.written)


def _direction(column: Column) -> str:
    return f"{column.better} is better" if column.better else ""


def _figure(title: str, note: str, chart: Markup) -> Markup:
    caption = tag("figcaption", title, tag("span", note) if note else None)
    return tag("figure", caption, tag("div", chart, class_="scroll"))
