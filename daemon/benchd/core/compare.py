"""Runs side by side: which numbers differ, how surely, and what must not be compared at all.

Two measurements are worth comparing when they differ in one thing, and that thing is meant. So
whatever else differs between two runs (the image, the model, the hardware, a parameter) refuses
the comparison until it is named; formulas, workloads and clients are never compared across.

A verdict needs both: a rank test that is significant after correction for all metrics of a cell,
and a difference of the medians beyond the threshold. That they are the same is said only when the
whole interval of their ratio lies within the threshold; everything else is inconclusive.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from benchd.core.headline import (
    DIAGNOSTICS,
    Column,
    cell_text,
    columns,
    distinct,
    family,
    number,
)
from benchd.core.intervals import Interval, mean_interval, median, median_change_interval
from benchd.core.significance import FEWEST, holm, mann_whitney, smallest_p
from benchd.core.unlike import (
    Difference,
    Document,
    differences,
    is_valid,
    lone_metrics,
    unused,
)

# A change of the median below this share is no news, however sure it is.
THRESHOLD = 0.05
ALPHA = 0.05
# Metrics of a cell that are judged unless others are asked for. Each further one makes every
# verdict harder: five repeats a side (smallest p 0.008) allow six.
JUDGED = 4
# What is judged beside them wherever there is any: trouble ranks last and matters all the same.
_TROUBLE = "error_rate"
POINTS_NAMED = 3  # points of one side only that a note names


class Verdict(StrEnum):
    """What can be said of a number in two runs."""

    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"  # of a number of which neither more nor less is better
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One number in one run: a value for each repeat."""

    values: tuple[float, ...]
    median: float
    interval: Interval | None  # of the mean, 95 %

    @classmethod
    def of(cls, values: Sequence[float]) -> Side:
        """Summarise the repeats."""
        return cls(values=tuple(values), median=median(values), interval=mean_interval(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of one cell, in both runs."""

    cell: Mapping[str, Any]
    column: Column
    base: Side
    other: Side
    difference: float  # of the medians, in the metric's unit
    change: float | None  # the same as a share of the base's; None when that is zero
    interval: Interval | None  # of that change, 95 %, by bootstrap
    p: float | None  # corrected for all rows of the cell; None when it was not asked
    verdict: Verdict = Verdict.INCONCLUSIVE
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A base run and another."""

    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...] = ()
    across: tuple[str, ...] = ()  # the differences that were meant
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Difference, ...]:
        """Return the differences that nobody named: there are no rows then."""
        return tuple(d for d in self.differences if d.fatal or d.key not in self.across)

    @property
    def regressed(self) -> bool:
        """Tell whether anything is surely worse."""
        return any(row.verdict is Verdict.WORSE for row in self.rows)

    @property
    def counts(self) -> dict[Verdict, int]:
        """Return how often each verdict was given, those that were."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in Verdict if found[verdict]}

    @property
    def reason(self) -> str:
        """Return why nothing can be said, where it is the same for all rows without a verdict."""
        unsure = [row.why for row in self.rows if row.verdict is Verdict.INCONCLUSIVE]
        return unsure[0] if len(unsure) > 1 and len(set(unsure)) == 1 else ""

    def why(self, row: Row) -> str:
        """Return what stands beside the verdict of a row: nothing that is said once for all."""
        return "" if row.why == self.reason else row.why


def compare(
    base: Sequence[Document],
    other: Sequence[Document],
    *,
    across: Collection[str] = (),
    metrics: Collection[str] = (),
    threshold: float = THRESHOLD,
) -> Comparison:
    """Compare the results of two runs, cell by cell.

    ``across`` names the differences that are meant; ``metrics`` which numbers are judged (by
    default the most telling ones).
    """
    unlike = differences(base, other)
    meant = tuple(d.key for d in unlike if d.key in across and not d.fatal)
    notes = [*unused(across, base, other)]
    found = Comparison(differences=unlike, across=meant, notes=tuple(notes))
    if found.refused:
        return found
    notes += [*_left_out("base", base), *_left_out("other", other), *lone_metrics(base, other)]
    notes += [*_doubted("base", base), *_doubted("other", other)]
    several = any(len(_clients(results)) > 1 for results in (base, other))
    sides = _by_cell(base, several=several), _by_cell(other, several=several)
    notes += _unmatched(*sides)
    rows: list[Row] = []
    for key, here in sides[0].items():
        if key in sides[1]:
            there = sides[1][key]
            rows += _judged_cell(here.cell, here.results, there.results, metrics, threshold)
    return replace(found, rows=tuple(rows), notes=tuple(notes))


def _left_out(side: str, results: Sequence[Document]) -> Iterator[str]:
    bad = sum(not is_valid(result) for result in results)
    if bad:
        yield f"{side}: {bad} of {len(results)} results are not valid and left out"


def _doubted(side: str, results: Sequence[Document]) -> Iterator[str]:
    """Yield what was to be read with care already, before it was compared."""
    valid = [result for result in results if is_valid(result)]
    found = Counter(code for result in valid for code in _warnings(result))
    if found:
        said = ", ".join(f"{code} ({count})" for code, count in sorted(found.items()))
        yield f"{side}: warnings in the {len(valid)} results compared: {said}"


def _warnings(result: Document) -> frozenset[str]:
    flags = (result.get("validity") or {}).get("flags") or ()
    return frozenset(str(flag.get("code")) for flag in flags if flag.get("severity") == "warn")


def _client(result: Document) -> str:
    return str(((result.get("provenance") or {}).get("client") or {}).get("name") or "")


def _clients(results: Iterable[Document]) -> frozenset[str]:
    return frozenset(_client(result) for result in results if is_valid(result))


class _Cell(NamedTuple):
    cell: Mapping[str, Any]  # its keys in the order of the recipe
    results: list[Document]


def _by_cell(results: Iterable[Document], *, several: bool) -> dict[str, _Cell]:
    """Return the valid results of each cell; where a run has ``several`` clients, of each."""
    cells: dict[str, _Cell] = {}
    for result in filter(is_valid, results):
        cell = dict(result.get("cell") or {})
        if several:
            cell["client"] = _client(result)
        key = json.dumps(cell, sort_keys=True)
        cells.setdefault(key, _Cell(cell, [])).results.append(result)
    return cells


def _unmatched(base: Mapping[str, _Cell], other: Mapping[str, _Cell]) -> Iterator[str]:
    for side, mine, theirs in (("base", base, other), ("other", other, base)):
        only = [each.cell for key, each in mine.items() if key not in theirs]
        if only:
            points = "1 point" if len(only) == 1 else f"{len(only)} points"
            named = [cell_text(cell) or "the one without a sweep" for cell in only[:POINTS_NAMED]]
            more = ["..."] if len(only) > POINTS_NAMED else []
            yield f"only in {side}: {points} ({'; '.join([*named, *more])})"


# --- numbers ------------------------------------------------------------------------------------


def _judged_cell(
    cell: Mapping[str, Any],
    base: Sequence[Document],
    other: Sequence[Document],
    metrics: Collection[str],
    threshold: float,
) -> list[Row]:
    """Judge one cell: its metrics are asked together, so together they are corrected."""
    sides: list[tuple[Column, Side, Side]] = []
    for column in _judged([*base, *other], metrics):
        values = [_values(column, results) for results in (base, other)]
        if all(values):
            sides.append((column, Side.of(values[0]), Side.of(values[1])))
    p_values = {
        f"{column.metric} {column.statistic}": mann_whitney(left.values, right.values)
        for column, left, right in sides
        if _is_enough(left, right)
    }
    corrected = holm(p_values)
    rows = [
        Row(
            cell=cell,
            column=column,
            base=left,
            other=right,
            difference=right.median - left.median,
            change=right.median / left.median - 1 if left.median else None,
            interval=(
                median_change_interval(left.values, right.values)
                if _is_enough(left, right)
                else None  # of so few values it would look like a certainty that there is not
            ),
            p=corrected.get(_name(column)),
        )
        for column, left, right in sides
    ]
    return [_judge(row, threshold, len(p_values)) for row in rows]


def _name(column: Column) -> str:
    return f"{column.metric} {column.statistic}"


def named(results: Sequence[Document]) -> list[str]:
    """Return what numbers are called: each metric, and each of its statistics that is known."""
    found = columns(results)
    names = [_name(column) for column in found if column.statistic != "value"]
    return [*dict.fromkeys(column.metric for column in found), *names]


def _judged(results: Sequence[Document], metrics: Collection[str]) -> list[Column]:
    found = columns(results)
    if metrics:
        return [column for column in found if column.metric in metrics or _name(column) in metrics]
    better = [c for c in found if c.better and family(c.metric) not in DIAGNOSTICS]
    told = distinct(better, results)
    trouble = [c for c in told[JUDGED:] if c.metric == _TROUBLE and any(_values(c, results))]
    return [*told[:JUDGED], *trouble]


def _values(column: Column, results: Sequence[Document]) -> list[float]:
    found = (
        number((result.get("metrics") or {}).get(column.metric) or {}, column.statistic)
        for result in results
    )
    return [value for value in found if value is not None]


def _is_enough(left: Side, right: Side) -> bool:
    return min(len(left.values), len(right.values)) >= FEWEST


def _judge(row: Row, threshold: float, asked: int) -> Row:
    """Return the row with its verdict, and the reason where it is none.

    ``asked``: how many numbers of the cell were tested together.
    """
    base, other = row.base, row.other
    if not _is_enough(base, other):
        few = min(len(base.values), len(other.values))
        return replace(row, why=f"{few} repeats: no verdict below {FEWEST} on both sides")
    if len({*base.values, *other.values}) == 1:
        return replace(row, verdict=Verdict.SAME)
    is_sure = row.p is not None and row.p < ALPHA
    # Of nothing, anything is more than every share.
    is_far = bool(row.difference) and (row.change is None or abs(row.change) > threshold)
    if is_sure and is_far:
        why = "the base is zero: no share of it, only the difference" if row.change is None else ""
        return replace(row, verdict=_direction(row.column, row.difference), why=why)
    if row.interval is not None and max(map(abs, row.interval)) <= threshold:
        why = f"a change, but below {threshold:.0%}" if is_sure else ""
        return replace(row, verdict=Verdict.SAME, why=why)
    return replace(row, why=_why(row, threshold, asked, is_sure=is_sure))


def _why(row: Row, threshold: float, asked: int, *, is_sure: bool) -> str:
    """Say why there is no verdict, and what helps."""
    if is_sure:
        return f"a change, and perhaps one beyond {threshold:.0%}: measure more"
    least = smallest_p(len(row.base.values), len(row.other.values)) * asked
    if least >= ALPHA:
        return f"{asked} numbers at once: p is never below {least:.2f}: more repeats, or --metric"
    return "the repeats differ as much as the runs do: measure more of them"


def _direction(column: Column, difference: float) -> Verdict:
    if column.better not in ("lower", "higher"):
        return Verdict.CHANGED
    return Verdict.BETTER if (difference > 0) == (column.better == "higher") else Verdict.WORSE
