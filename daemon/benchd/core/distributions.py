"""What a report says of latencies as distributions: percentiles, tails, and repeats put together.

The repeats of a point are separate measurements. Their percentiles are never averaged: the median
of them is shown and called so, and the percentiles of all samples together come from histograms,
which lose nothing when they are merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from benchd.core.headline import DIAGNOSTICS, PERCENTILES, family, label, number, rank
from benchd.core.numbers import bucket_counts, merged, percentile_of

CHARTS = 6  # distributions that are told; more are in the result files
SERIES = 8  # points in one chart whose curves can be told apart
POINTS = 40  # points whose repeats are put together in the table
# Samples below which a tail is anecdote: an interval for a percentile needs about 3.7 samples
# beyond it, so beyond the fourth-largest none is estimable.
FEWEST_BEHIND = 4
_SIDES = ("_sched", "_service")
# Gaps between chunks are in the samples one by one only where the workload says so.
_GAPS = ("icl", "itl")

Document = Mapping[str, Any]
ByPoint = Mapping[str, Sequence[Document]]  # the valid results of each point


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """The distribution of one metric, point by point."""

    title: str
    unit: str
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]  # point -> (percentile, value) ...

    @property
    def written(self) -> tuple[str, ...]:
        """The percentiles to write as numbers: the lowest and the farthest that all points have."""
        common = [q for q in PERCENTILES if all(q in dict(marks) for _, marks in self.rows)]
        return tuple(dict.fromkeys((common[0], common[-1]))) if common else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How long all requests of a point took: which share of them took so long, or longer."""

    point: str
    series: int  # points have the same number, hence colour, in all charts
    is_after: bool  # from the actual sending, where there is one from the schedule too
    steps: tuple[tuple[float, float], ...]  # latency in ms, share of samples; shares fall
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """One latency: curves of all points, from the scheduled and from the actual sending."""

    title: str
    tails: tuple[Tail, ...]
    left_out: int = 0  # points that are not drawn

    @property
    def is_twofold(self) -> bool:
        """Whether there are curves of both kinds."""
        return any(tail.is_after for tail in self.tails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """All samples of a point's repeats as one, and what single repeats say of the tail."""

    metric: str
    point: str
    repeats: int
    samples: int
    values: tuple[float | None, ...]  # for each of PERCENTILES; None: insufficient samples
    singles: tuple[float, ...]  # the p99 of each repeat that has one, ascending


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """What helps to find causes, over all repeats of a point: a distribution, or a mere mean."""

    metric: str
    unit: str
    point: str
    samples: int | None
    mean: float | None
    percentiles: tuple[float | None, float | None]  # p50, p99
    highest: float | None
    is_partly: bool = False  # the samples do not hold it one by one, so only the mean is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Everything that is said of distributions."""

    percentiles: tuple[Percentiles, ...] = ()
    tails: tuple[Tails, ...] = ()
    pooled: tuple[Pooled, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


def distributions(by_point: ByPoint) -> Distributions:
    """Return what the valid results of each point say."""
    hists = _hists(by_point)
    return Distributions(
        percentiles=tuple(_percentiles(by_point)),
        tails=tuple(_tails(hists, list(by_point))),
        pooled=tuple(_pooled(by_point, hists)),
        diagnostics=tuple(sorted(_diagnostics(by_point), key=lambda each: rank(each.metric))),
    )


# --- the median over repeats --------------------------------------------------------------------


def _percentiles(by_point: ByPoint) -> Iterator[Percentiles]:
    """Yield the distributions of valid results; of each percentile, the median over repeats."""
    found: dict[str, dict[str, list[Document]]] = {}
    for point, documents in by_point.items():
        for document in documents:
            for name, metric in (document.get("metrics") or {}).items():
                if family(name) not in DIAGNOSTICS and any(
                    number(metric, f"p{q}") is not None for q in PERCENTILES
                ):
                    found.setdefault(name, {}).setdefault(point, []).append(metric)
    for name in sorted(found, key=rank)[:CHARTS]:
        marks = {point: _marks(metrics) for point, metrics in found[name].items()}
        # Repeats may have no percentile in common.
        rows = tuple((point, known) for point, known in marks.items() if known)
        unit = str(next(iter(found[name].values()))[0].get("unit") or "")
        if rows:
            yield Percentiles(title=label(name), unit=unit, rows=rows)


def _marks(metrics: Sequence[Document]) -> tuple[tuple[str, float], ...]:
    """Return each percentile that every repeat knows, as the median over them."""
    marks: list[tuple[str, float]] = []
    for q in PERCENTILES:
        values = [value for m in metrics if (value := number(m, f"p{q}")) is not None]
        if len(values) == len(metrics):
            marks.append((q, median(values)))
    return tuple(marks)


# --- all samples together -----------------------------------------------------------------------

Hists = Mapping[str, Mapping[str, Document]]  # metric -> point -> histogram of all its repeats


def _hists(by_point: ByPoint) -> Hists:
    """Return the merged histograms of latencies, the most telling metric first."""
    found: dict[str, dict[str, Document]] = {}
    for point, documents in list(by_point.items())[:POINTS]:
        metrics = [document.get("metrics") or {} for document in documents]
        for name in metrics[0] if metrics else ():
            if family(name) in DIAGNOSTICS:
                continue
            of_all = [metric.get(name) or {} for metric in metrics]
            if all(each.get("unit") == "ms" for each in of_all):
                whole = merged([each.get("hist") for each in of_all])
                if whole is not None:
                    found.setdefault(name, {})[point] = whole
    return {name: found[name] for name in sorted(found, key=rank)[:CHARTS]}


def _pooled(by_point: ByPoint, hists: Hists) -> Iterator[Pooled]:
    """Yield the percentiles over all repeats, of points that have several."""
    for name, points in hists.items():
        for point, hist in points.items():
            metrics = [document["metrics"][name] for document in by_point[point]]
            if len(metrics) < 2:
                continue
            singles = (number(metric, "p99") for metric in metrics)
            yield Pooled(
                metric=name,
                point=point,
                repeats=len(metrics),
                samples=sum(count for _, count in bucket_counts(hist)),
                values=tuple(percentile_of(hist, float(q)) for q in PERCENTILES),
                singles=tuple(sorted(value for value in singles if value is not None)),
            )


def _stem(metric: str) -> str:
    """Return the metric's name without the moment from which it is counted."""
    for side in _SIDES:
        metric = metric.replace(side, "", 1)
    return metric


def _tails(hists: Hists, points: Sequence[str]) -> Iterator[Tails]:
    """Yield one chart for each latency; from the schedule and from the sending in the same."""
    charts: dict[str, list[str]] = {}
    for name in hists:
        charts.setdefault(_stem(name), []).append(name)  # the scheduled one ranks first
    for names in list(charts.values())[:CHARTS]:
        drawn = [
            _tail(point, series, hists[name][point], is_after=name != names[0])
            for series, point in enumerate(points[:SERIES])
            for name in names
            if point in hists[name]
        ]
        if drawn:
            title = label(names[0])
            if len(names) > 1:
                title = title.replace(", scheduled", "").replace(", service", "")
            left_out = max(len(points) - SERIES, 0)
            yield Tails(title=title, tails=tuple(drawn), left_out=left_out)


def _tail(point: str, series: int, hist: Document, *, is_after: bool) -> Tail:
    counts = bucket_counts(hist)
    total = left = sum(count for _, count in counts)
    steps: list[tuple[float, float]] = []
    for bound, count in counts:
        # No sample below the bound is in this bucket or a later one: the share is exact.
        steps.append((max(bound, 1) / 1000, left / total))
        left -= count
    return Tail(
        point=point,
        series=series,
        is_after=is_after,
        steps=tuple(steps),
        samples=total,
    )


# --- causes -------------------------------------------------------------------------------------


def _diagnostics(by_point: ByPoint) -> Iterator[Diagnostic]:
    """Yield what is measured to find causes, of each point."""
    for point, documents in list(by_point.items())[:POINTS]:
        found: dict[str, list[Document]] = {}
        for document in documents:
            for name, metric in (document.get("metrics") or {}).items():
                if family(name) in DIAGNOSTICS:
                    found.setdefault(name, []).append(metric)
        kept = all((d.get("workload") or {}).get("record_chunks") is True for d in documents)
        for name, metrics in found.items():
            yield _diagnostic(name, point, metrics, is_partly=family(name) in _GAPS and not kept)


def _diagnostic(
    name: str, point: str, metrics: Sequence[Document], *, is_partly: bool
) -> Diagnostic:
    unit = str(metrics[0].get("unit") or "")
    values = [value for m in metrics if (value := number(m, "value")) is not None]
    if values:
        return Diagnostic(
            metric=name,
            unit=unit,
            point=point,
            samples=None,
            mean=fmean(values),
            percentiles=(None, None),
            highest=None,
        )
    means = [(n, mean) for m in metrics if (n := m.get("n")) and (mean := number(m, "mean"))]
    samples = sum(n for n, _ in means)
    highest = [value for m in metrics if (value := number(m, "max")) is not None]
    return Diagnostic(
        metric=name,
        unit=unit,
        point=point,
        samples=samples,
        mean=sum(n * mean for n, mean in means) / samples if samples else None,
        percentiles=(None, None) if is_partly else (_of_all(metrics, "50"), _of_all(metrics, "99")),
        highest=None if is_partly else max(highest, default=None),
        is_partly=is_partly,
    )


def _of_all(metrics: Sequence[Document], q: str) -> float | None:
    """Return a percentile of all samples together: of one repeat, as it is."""
    if len(metrics) == 1:
        return number(metrics[0], f"p{q}")
    whole = merged([metric.get("hist") for metric in metrics])
    return percentile_of(whole, float(q)) if whole is not None else None


def explained(rows: Sequence[Diagnostic]) -> Iterator[str]:
    """Yield what to know before reading them."""
    yield "These are no results: they help to find causes. All valid repeats of a point together."
    if any(family(row.metric) in _GAPS for row in rows):
        words = (
            "A chunk may hold several tokens, so the time between chunks is that of a token only "
        )
        yield f"{words}where there are as many of both (inter-token latency); else see TPOT."
    if any(row.is_partly for row in rows):
        words = (
            "Percentiles of these gaps are in the result files: the samples hold them one by one "
        )
        yield f"{words}only with `record_chunks: true`."
