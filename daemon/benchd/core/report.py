"""From a run, its jobs and its results to the model of a report. Pure; the forms are elsewhere.

The order is the reader's: how did it end, what is wrong with the numbers, the numbers, how the
time was spent, and how it all came to be. Warnings stand before numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchd import __version__
from benchd.core.charges import totals
from benchd.core.conditions import gpus, limits, offered_rate
from benchd.core.courses import courses
from benchd.core.curves import Spot, charted, sweep
from benchd.core.distributions import distributions
from benchd.core.headline import DIAGNOSTICS, Column, cell_text, columns, distinct, family, number
from benchd.core.intervals import Interval, mean_interval
from benchd.core.model import Job, Run, Transition
from benchd.core.notices import JobRow, job_name, notices
from benchd.core.reported import Point, Report, Row, Spread
from benchd.core.results import Result
from benchd.core.spans import lane
from benchd.core.spec import Role
from benchd.core.steps import ladders
from benchd.core.tally import cause, latest_attempts, progress
from benchd.core.variation import widest
from benchd.core.view import ended_well

COLUMNS_SHOWN = 8  # numbers beside each other in the summary; every number is in the result files
# Repeats from which an interval says more than the range: of two, it is wider than any finding.
FEWEST_FOR_INTERVAL = 3
VARIES = 4  # different values of one fact that are listed

Document = Mapping[str, Any]


def build(
    run: Run,
    jobs: Sequence[Job],
    results: Sequence[Result],
    histories: Mapping[str, Sequence[Transition]],
    *,
    now: float,
    last_words: Mapping[str, str] | None = None,
) -> Report:
    """Return the report of a run as it stands ``now``; it need not be over.

    ``last_words`` are the last lines that jobs wrote to stderr, by token.
    """
    documents = [_told(each) for each in results]
    clients = {job.token: job for job in jobs}
    documents.sort(key=lambda d: _place(d, clients.get(str(d["job"]))))
    several = len({job.name for job in jobs if job.role is Role.CLIENT}) > 1
    every = [c for c in columns(documents) if family(c.metric) not in DIAGNOSTICS]
    chosen = tuple(distinct(every, documents, COLUMNS_SHOWN))
    drawn = charted(distinct(every, documents))
    by_point = _by_point(documents, clients, several=several)
    rows = [_row(d, clients.get(str(d["job"])), chosen, several=several) for d in documents]
    end = run.finished_at if run.finished_at is not None else now
    words = last_words or {}
    job_rows = [_job_row(j, histories.get(j.token, ()), words.get(j.token, "")) for j in jobs]
    done, wanted = progress(latest_attempts(jobs))
    points = tuple(_points(rows, chosen, by_point))
    times = {str(document["job"]): document.get("times") or {} for document in documents}
    return Report(
        run=run,
        outcome=str(run.outcome) if run.outcome else "in progress",
        generated_at=now,
        version=__version__,
        duration=max(end - run.created_at, 0.0),
        notices=tuple(
            notices(
                run,
                job_rows,
                documents,
                [(p.name, p.valid, p.total) for p in points],
                list(widest(chosen, ((p.name, [s.samples for s in p.spreads]) for p in points))),
            )
        ),
        done=done,
        wanted=wanted,
        columns=chosen,
        points=points,
        rows=tuple(rows),
        distributions=distributions(by_point),
        courses=tuple(courses(by_point)),
        sweep=sweep(drawn, list(_spots(by_point, drawn)), limits=limits(documents)),
        ladders=tuple(ladders(by_point)),
        lanes=tuple(
            lane(row.name, row.job, row.history, times.get(row.job.token) or {}, end)
            for row in job_rows
        ),
        jobs=tuple(job_rows),
        provenance=(*_provenance(run, documents), *totals(jobs)),
    )


def _told(result: Result) -> dict[str, Any]:
    """Return a result as its JSON has it."""
    # Histograms and timelines are most of it, and JSON already.
    document = result.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={"timeline": True, "metrics": {"__all__": {"hist"}}},
    )
    metrics = document["metrics"]
    for name, metric in result.metrics.items():
        if metric.hist is not None:
            metrics[name]["hist"] = metric.hist
    return {**document, "timeline": result.timeline}


# --- numbers ------------------------------------------------------------------------------------


def _place(document: Document, job: Job | None) -> tuple[str, int, int, int]:
    """Return where a result stands among the others: as the recipe has it."""
    if job is None:
        return ("", 0, int(document.get("repeat") or 0), 0)
    return (job.name, job.point, job.repeat, job.attempt)


def _point_name(document: Document, job: Job | None, *, several: bool) -> str:
    name = cell_text(document.get("cell") or {})
    client = job.name if job is not None else "client"
    if several or not name:
        return f"{client}: {name}" if name else client
    return name


def _row(document: Document, job: Job | None, chosen: Sequence[Column], *, several: bool) -> Row:
    validity, counts = document.get("validity") or {}, document.get("counts") or {}
    metrics = document.get("metrics") or {}
    return Row(
        point=_point_name(document, job, several=several),
        cell=document.get("cell") or {},
        client=job.name if job is not None else "",
        repeat=int(document.get("repeat") or 0),
        attempt=job.attempt if job is not None else 1,
        valid=bool(validity.get("valid")),
        status=str(document.get("status") or ""),
        codes=tuple(str(f["code"]) for f in validity.get("flags") or () if f["severity"] != "info"),
        ok=counts.get("ok"),
        errors=counts.get("errors"),
        window=(document.get("times") or {}).get("window_s"),
        values=tuple(number(metrics.get(c.metric) or {}, c.statistic) for c in chosen),
        within=tuple(_within(metrics.get(c.metric) or {}, c.statistic) for c in chosen),
    )


def _within(metric: Document, statistic: str) -> Interval | None:
    """Return the interval that a result itself has of one of its numbers."""
    match (metric.get("ci") or {}).get(statistic.removeprefix("p")):
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
    return None


def _by_point(
    documents: Sequence[Document], jobs: Mapping[str, Job], *, several: bool
) -> dict[str, list[Document]]:
    """Return the valid results of each point."""
    found: dict[str, list[Document]] = {}
    for document in documents:
        if (document.get("validity") or {}).get("valid"):
            point = _point_name(document, jobs.get(str(document["job"])), several=several)
            found.setdefault(point, []).append(document)
    return found


def _points(
    rows: Sequence[Row], chosen: Sequence[Column], by_point: Mapping[str, Sequence[Document]]
) -> Iterable[Point]:
    for name in dict.fromkeys(row.point for row in rows):
        of_point = [row for row in rows if row.point == name]
        usable = [row for row in of_point if row.valid]
        yield Point(
            name=name,
            cell=of_point[0].cell,
            valid=len(usable),
            total=len({row.repeat for row in of_point}),
            spreads=tuple(
                _spread([row.values[i] for row in usable], [row.within[i] for row in usable])
                for i in range(len(chosen))
            ),
            offered=offered_rate(by_point.get(name, ())),
            gpus=gpus(by_point.get(name, ())),
        )


def _spread(values: Sequence[float | None], within: Sequence[Interval | None] = (None,)) -> Spread:
    """Summarise the valid repeats; a single one has the interval within it."""
    known = tuple(sorted(value for value in values if value is not None))
    if not known:
        return Spread(median=None, low=None, high=None, samples=(), of=len(values))
    interval = within[0] if len(values) == 1 else None
    return Spread(
        median=median(known),
        low=known[0],
        high=known[-1],
        samples=known,
        of=len(values),
        interval=_possible(mean_interval(known)) if len(known) >= FEWEST_FOR_INTERVAL else interval,
    )


def _possible(interval: Interval | None) -> Interval | None:
    """Return what of an interval can be: no number here is below zero."""
    return None if interval is None else (max(interval[0], 0.0), interval[1])


def _spots(
    by_point: Mapping[str, Sequence[Document]], drawn: Sequence[Column]
) -> Iterable[list[Spot | None]]:
    """Yield what is drawn of each point, one number for each column."""
    for name, documents in by_point.items():
        metrics = [document.get("metrics") or {} for document in documents]
        spreads = (
            _spread([number(m.get(c.metric) or {}, c.statistic) for m in metrics]) for c in drawn
        )
        yield [
            None
            if spread.median is None
            else Spot(
                cell=documents[0].get("cell") or {},
                name=name,
                value=spread.median,
                low=spread.samples[0],
                high=spread.samples[-1],
            )
            for spread in spreads
        ]


# --- time and origin ----------------------------------------------------------------------------


def _job_row(job: Job, history: Sequence[Transition], words: str) -> JobRow:
    return JobRow(
        job=job,
        name=job_name(job),
        well=ended_well(job),
        history=tuple(history),
        cause="" if ended_well(job) else cause(job),
        last_words=words,
    )


def _provenance(run: Run, documents: Sequence[Document]) -> Iterable[tuple[str, str]]:
    yield "recipe", f"{run.recipe_path}, sha256 {run.recipe_sha256}"
    yield "cluster", run.cluster
    found: dict[str, list[str]] = {}
    for document in documents:
        origin = document.get("provenance") or {}
        for part in ("benchd", "cluster", "service", "client"):
            for key, value in _flat(part, origin.get(part) or {}):
                values = found.setdefault(key, [])
                if value not in values:
                    values.append(value)
    for key, values in found.items():
        more = f" and {len(values) - VARIES} more" if len(values) > VARIES else ""
        yield key, ", ".join(values[:VARIES]) + more


def _flat(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}", inner)
    elif isinstance(value, list | tuple):
        yield prefix, " ".join(str(item) for item in value)
    elif value not in (None, ""):
        yield prefix, str(value)
