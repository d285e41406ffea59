"""The report as Markdown: for a terminal, an issue, a merge request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from benchd.core.curves import HeatMap, Sweep
from benchd.core.distributions import Diagnostic, Percentiles, Pooled, explained
from benchd.core.headline import NONE, PERCENTILES, figure, label, span, with_unit
from benchd.core.intervals import Interval
from benchd.core.model import Job
from benchd.core.notices import JobRow
from benchd.core.reported import WITHIN, Report, Spread
from benchd.core.spans import between
from benchd.core.steps import Ladder
from benchd.core.tally import how_it_ended

_SIGNS = {"error": "**Error**", "warn": "**Warning**", "info": "Note"}


def render_markdown(report: Report) -> str:
    """Return the whole document."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterable[str]:
    run = report.run
    accepted = datetime.fromtimestamp(run.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield f"# {inline(run.name)}: {report.outcome}"
    yield ""
    yield (
        f"Run `{run.id}` on {inline(run.cluster)}, accepted {accepted}, "
        f"took {_plain(span(report.duration))}; "
        f"{report.done} of {report.wanted} measurements done, {report.valid} valid."
    )
    yield ""
    for notice in report.notices:
        times = f" (\N{MULTIPLICATION SIGN}{notice.count})" if notice.count > 1 else ""
        told = [notice.text, notice.reach, f"what to do: {notice.advice}" if notice.advice else ""]
        words = "; ".join(inline(part) for part in told if part)
        yield f"- {_SIGNS[notice.severity]} {inline(notice.code)}{times}: {words}"
    if report.notices:
        yield ""
    if report.points:
        yield from _results(report)
    yield from _jobs(report.jobs)
    yield "## Recipe"
    yield ""
    fence = _fence(run.recipe)
    yield f"{fence}yaml"
    yield run.recipe.rstrip("\n")
    yield fence
    yield ""
    yield "## Origin"
    yield ""
    for name, value in report.provenance:
        yield f"- {inline(name)}: {inline(value)}"
    yield f"- report: benchd {report.version}"


def _results(report: Report) -> Iterable[str]:
    yield "## Results"
    yield ""
    yield report.note
    yield ""
    more = [
        (name, values)
        for name, values in (
            ("Offered [1/s]", [point.offered for point in report.points]),
            ("GPUs", [point.gpus for point in report.points]),
        )
        if any(values)
    ]
    heads = ["Point", "Valid", *(name for name, _ in more)]
    heads += [c.head for c in report.columns]
    rows = [
        [
            point.name,
            f"{point.valid} of {point.total}",
            *(figure(values[i]) for _, values in more),
            *map(_spread, point.spreads),
        ]
        for i, point in enumerate(report.points)
    ]
    yield from table_lines(heads, rows, numbers=2)
    yield from _per_gpu(report)
    yield from _repeats(report)
    yield from _across(report.sweep)
    for ladder in report.ladders:
        yield from _ladder(ladder)
    yield from _percentiles(report.distributions.percentiles)
    yield from _pooled(report.distributions.pooled)
    yield from _causes(report.distributions.diagnostics)


def _per_gpu(report: Report) -> Iterable[str]:
    """Yield rates by GPU, where it is known how many there were."""
    rates, rows = report.per_gpu
    if not rows:
        return
    yield "### Per GPU"
    yield ""
    heads = ["Point", *(f"{c.title} per GPU [{c.unit}]" for c in rates)]
    yield from table_lines(heads, [[p.name, *map(figure, shares)] for p, shares in rows], numbers=1)


def _repeats(report: Report) -> Iterable[str]:
    """Yield every measurement with its verdict, as the page has them."""
    if not report.tells_repeats:
        return
    yield "### Every repeat"
    yield ""
    if report.is_sure_within:
        yield WITHIN
        yield ""
    heads = ["Point", "Repeat", "Verdict", "Done", "Errors", "Window"]
    heads += [c.head for c in report.columns]
    rows = [
        [
            row.point,
            f"{row.repeat}{f' (attempt {row.attempt})' if row.attempt > 1 else ''}",
            " ".join(["valid" if row.valid else "invalid", ", ".join(row.codes)]),
            *(NONE if n is None else figure(float(n)) for n in (row.ok, row.errors)),
            span(row.window),
            *map(_measured, row.values, row.within),
        ]
        for row in report.rows
    ]
    yield from table_lines(heads, rows, numbers=3)


def _measured(value: float | None, within: Interval | None) -> str:
    if within is None:
        return figure(value)
    return f"{figure(value)} ({figure(within[0])} to {figure(within[1])})"


def _spread(spread: Spread) -> str:
    parts = [spread.share] if spread.share else []
    if spread.around is not None:
        parts.insert(0, " to ".join(map(figure, spread.around)))
    return f"{figure(spread.median)} ({'; '.join(parts)})" if parts else figure(spread.median)


def _across(sweep: Sweep) -> Iterable[str]:
    """Yield what the sweep says as a whole: the front, and where more load stops paying."""
    said = [sweep.tradeoff.words] if sweep.tradeoff is not None else []
    said += [
        f"{chart.title}: beyond {chart.key} {figure(chart.knee)}, more of it hardly pays (knee)."
        for chart in sweep.curves
        if chart.knee is not None
    ]
    if said or sweep.heat is not None:
        yield "## Across the sweep"
        yield ""
    if said:
        yield from (f"- {inline(words)}" for words in said)
        yield ""
    if sweep.heat is not None:
        yield from _heat(sweep.heat)


def _heat(chart: HeatMap) -> Iterable[str]:
    """Yield one number over two varied keys."""
    title = with_unit(chart.title, chart.unit)
    yield inline(f"{title}: {chart.across} across, {chart.down} down.")
    yield ""
    rows = [
        [figure(row), *(figure(chart.values.get((column, row))) for column in chart.columns)]
        for row in reversed(chart.rows)
    ]
    yield from table_lines([chart.down, *map(figure, chart.columns)], rows, numbers=1)


def _percentiles(charts: Sequence[Percentiles]) -> Iterable[str]:
    """Yield the percentiles of single repeats, which the page draws."""
    if not charts:
        return
    yield "## Distributions"
    yield ""
    yield "Of each percentile, the median over the valid repeats."
    yield ""
    cells = [
        [with_unit(chart.title, chart.unit), point, *(figure(dict(m).get(q)) for q in PERCENTILES)]
        for chart in charts
        for point, m in chart.rows
    ]
    yield from table_lines(["Metric", "Point", *(f"p{q}" for q in PERCENTILES)], cells, numbers=2)


def _pooled(rows: Sequence[Pooled]) -> Iterable[str]:
    """Yield the percentiles over all repeats, with those of single ones beside them."""
    if not rows:
        return
    yield "### All repeats together"
    yield ""
    yield "Percentiles of all samples of a point [ms], from histograms: at most 5 % off."
    yield ""
    heads = ["Metric", "Point", "Repeats", "Samples", *(f"p{q}" for q in PERCENTILES)]
    cells = [
        [
            label(row.metric),
            row.point,
            str(row.repeats),
            figure(float(row.samples)),
            *map(figure, row.values),
            f"{figure(row.singles[0])} to {figure(row.singles[-1])}" if row.singles else NONE,
        ]
        for row in rows
    ]
    yield from table_lines([*heads, "p99 of each"], cells, numbers=2)


def _causes(rows: Sequence[Diagnostic]) -> Iterable[str]:
    """Yield what is no result, but tells why one is as it is."""
    if not rows:
        return
    yield "## Diagnostics"
    yield ""
    yield " ".join(explained(rows))
    yield ""
    heads = ["What", "Point", "Samples", "Mean", "p50", "p99", "Highest"]
    cells = [
        [
            with_unit(label(row.metric), row.unit),
            row.point,
            NONE if row.samples is None else figure(float(row.samples)),
            *map(figure, (row.mean, *row.percentiles, row.highest)),
        ]
        for row in rows
    ]
    yield from table_lines(heads, cells, numbers=2)


def _ladder(ladder: Ladder) -> Iterable[str]:
    """Yield a measurement that went step by step."""
    yield f"## Step by step: {inline(ladder.point)}"
    yield ""
    yield from (f"- {inline(words)}" for words in ladder.words)
    yield ""
    yield from table_lines(ladder.heads, ladder.rows, numbers=2)


def _jobs(jobs: Sequence[JobRow]) -> Iterable[str]:
    yield "## Jobs"
    yield ""
    rows = [
        [
            row.name,
            _state(row.job),
            row.job.slurm_id or NONE,
            row.job.nodes or NONE,
            span(between(row.job.submitted_at, row.job.started_at)),
            span(between(row.job.started_at, row.job.ended_at)),
            _detail(row),
        ]
        for row in jobs
    ]
    heads = ["Job", "State", "Slurm", "Nodes", "Queued", "Ran", "Detail"]
    yield from table_lines(heads, rows, numbers=7)


def _state(job: Job) -> str:
    return f"{job.state} ({job.why})" if job.why not in {None, str(job.state)} else str(job.state)


def _detail(row: JobRow) -> str:
    said = row.job.detail or how_it_ended(row.job)
    return "" if row.well else "; ".join(part for part in (said, row.last_words) if part)


def table_lines(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int
) -> Iterable[str]:
    """Yield a table; columns from ``numbers`` on are set flush right."""
    yield f"| {' | '.join(map(inline, heads))} |"
    yield f"|{'|'.join('---:' if i >= numbers else '---' for i in range(len(heads)))}|"
    for row in rows:
        yield f"| {' | '.join(inline(cell) for cell in row)} |"
    yield ""


def _plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")


def inline(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    line = " ".join(_plain(text).split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in line if c.isprintable())


def _fence(text: str) -> str:
    """Return a fence longer than any run of backticks in the text."""
    longest = max((len(run) for run in text.split() if set(run) == {"`"}), default=0)
    return "`" * max(3, longest + 1, 4 if "```" in text else 3)
