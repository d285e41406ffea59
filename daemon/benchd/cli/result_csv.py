"""Every number of results as CSV: one a line, those of the steps of a load, too."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchd.core.headline import cell_text, number

_HEAD = ("run", "job", "point", "repeat", "valid", "metric", "statistic", "unit", "value")
# Beside its metrics: what a step was, and what came of it. Yes is 1 and no is 0.
_OF_STEP = (
    *("rate", "offered_rate", "achieved_rate", "concurrency", "window_s", "requests", "scheduled"),
    *("ok", "errors", "dropped", "good_share", "delivered", "steady", "good"),
)
_UNITS = {"rate": "1/s", "offered_rate": "1/s", "achieved_rate": "1/s", "window_s": "s"}


class _Number(NamedTuple):
    metric: str
    statistic: str
    unit: str | None
    value: float


def write(documents: Sequence[Mapping[str, Any]]) -> None:
    """Write every number of the results to standard output."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((*_HEAD, "step", "step_kind"))
    for d in documents:
        head = (d["run"], d["job"], cell_text(d.get("cell") or {}), d.get("repeat"))
        valid = str(bool((d.get("validity") or {}).get("valid"))).lower()
        for each in _of_result(d):
            writer.writerow((*map(_cell, head), valid, *each, "", ""))
        for n, step in enumerate(_steps(d)):
            which = (step.get("step", n), _cell(str(step.get("kind") or "search")))
            for each in _of_step(step):
                writer.writerow((*map(_cell, head), valid, *each, *which))


def _of_result(document: Mapping[str, Any]) -> Iterator[_Number]:
    """Yield every number of a result: what was counted, and what was measured."""
    for name, count in (document.get("counts") or {}).items():
        if isinstance(count, int):
            yield _Number("counts", name, None, count)
    window = number(document.get("times") or {}, "window_s")
    if window is not None:
        yield _Number("times", "window_s", "s", window)
    yield from _of_metrics(document.get("metrics") or {})


def _steps(document: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return the steps to saturation, or of the search for the highest good rate."""
    workload = document.get("workload") or {}
    for name in ("saturation", "search"):
        said = workload.get(name)
        steps = said.get("steps") if isinstance(said, Mapping) else None
        if isinstance(steps, list):
            return [step for step in steps if isinstance(step, Mapping)]
    return ()


def _of_step(step: Mapping[str, Any]) -> Iterator[_Number]:
    for name in _OF_STEP:
        value = step.get(name)
        if isinstance(value, int | float):
            yield _Number(
                "step", name, _UNITS.get(name), int(value) if isinstance(value, bool) else value
            )
    metrics = step.get("metrics")
    if isinstance(metrics, Mapping):
        yield from _of_metrics({n: m for n, m in metrics.items() if isinstance(m, Mapping)})


def _of_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[_Number]:
    for name, metric in metrics.items():
        unit = metric.get("unit")
        percentiles = [f"p{q}" for q in metric.get("percentiles") or {}]
        for statistic in ("value", "n", "mean", "stdev", "min", "max", *percentiles):
            value = number(metric, statistic)
            if value is not None:
                yield _Number(name, statistic, unit, value)
        for which, value in (metric.get("windows") or {}).items():
            if isinstance(value, int | float):
                yield _Number(name, f"value.{which}", unit, value)
        yield from _certainty(name, unit, metric.get("ci") or {})


def _certainty(name: str, unit: str | None, ci: Mapping[str, Any]) -> Iterator[_Number]:
    if number(ci, "n_eff") is not None:
        yield _Number(name, "n_eff", None, ci["n_eff"])
    for which, ends in ci.items():
        if isinstance(ends, list):
            statistic = which if which == "mean" else f"p{which}"
            for side, end in zip(("low", "high"), ends, strict=True):
                yield _Number(name, f"{statistic}.{side}", unit, end)


def _cell(value: object) -> object:
    """Return a value that a spreadsheet will not take for a formula."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"}:
        return f"'{value}"
    return value
