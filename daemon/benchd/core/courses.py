"""How measurements went, second by second: work, requests in flight, and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchd.core.distributions import ByPoint
from benchd.core.numbers import is_finite

POINTS = 24  # points whose courses are drawn; more are in the result files
STEPS = 240  # moments in one drawing: two pixels each; longer courses are summed up
# What is done, in the order of preference: the column, whether it is a rate already, its unit.
_WORK = (
    ("out_tokens", False, "tokens/s"),
    ("ops", False, "operations/s"),
    ("ops_s", True, "operations/s"),
    ("ok", False, "requests/s"),
    ("finished", False, "requests/s"),
)
_ERRORS = (("errors", False), ("errors_s", True))
_FLIGHT = ("in_flight_avg", "in_flight")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One repeat: what was done at each moment (seconds since the start)."""

    repeat: int
    step: float  # seconds of one moment
    work: tuple[tuple[float, float], ...]  # a second
    errors: tuple[tuple[float, float], ...]  # how many; moments without are left out
    in_flight: tuple[tuple[float, float], ...]  # on average; empty when it was not recorded

    @property
    def end(self) -> float:
        """When it was over."""
        return self.work[-1][0] + self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Courses:
    """The repeats of one point, drawn to one scale."""

    point: str
    unit: str
    courses: tuple[Course, ...]


def courses(by_point: ByPoint) -> Iterator[Courses]:
    """Yield the courses of each point whose results have one."""
    for point, documents in list(by_point.items())[:POINTS]:
        found = [(unit, course) for d in documents for unit, course in _course(d)]
        units = dict.fromkeys(unit for unit, _ in found)
        for unit in units:
            of_unit = tuple(course for name, course in found if name == unit)
            yield Courses(point=point, unit=unit, courses=of_unit)


def _course(document: Document) -> Iterator[tuple[str, Course]]:
    """Yield the course of one result and the unit of its work; nothing where it says none."""
    said = document.get("timeline") or {}
    names, rows = said.get("columns"), said.get("rows")
    if not isinstance(names, list) or not isinstance(rows, list) or "t" not in names:
        return
    if not all(isinstance(name, str) for name in names):
        return
    step = said.get("bucket_s")
    step = float(step) if isinstance(step, int | float) and 0 < step < 1e9 else 1.0
    work = next(((name, is_rate, unit) for name, is_rate, unit in _WORK if name in names), None)
    # Of a second without an answer there are no latencies, and it is the one to see.
    drawn = {"t", *_FLIGHT, *(name for name, _ in _ERRORS), *(name for name, _, _ in _WORK)}
    used = [place for place, name in enumerate(names) if name in drawn]
    rows = [row for row in rows if _is_row(row, len(names), used)]
    if work is None or len(rows) < 2:
        return
    name, is_rate, unit = work
    many = -(-len(rows) // STEPS)
    moments = [rows[i : i + many] for i in range(0, len(rows), many)]
    at = names.index("t")

    def summed(column: str, *, is_rate: bool) -> Iterator[tuple[float, float]]:
        """Yield how much there was at each moment."""
        place = names.index(column)
        for moment in moments:
            times = step if is_rate else 1.0
            yield float(moment[0][at]), sum(float(row[place]) for row in moment) * times

    buckets = [float(len(moment)) for moment in moments]
    if not is_rate:
        buckets[-1] -= 1 - _measured(document, float(rows[-1][at]), step)
    done = tuple(
        (t, amount / (step * count))
        for (t, amount), count in zip(summed(name, is_rate=is_rate), buckets, strict=True)
    )
    bad = next(((n, r) for n, r in _ERRORS if n in names), None)
    errors = summed(bad[0], is_rate=bad[1]) if bad else ()
    flight = next((column for column in _FLIGHT if column in names), None)
    flown = summed(flight, is_rate=False) if flight else ()
    yield (
        unit,
        Course(
            repeat=int(document.get("repeat") or 0),
            step=step * many,
            work=done,
            errors=tuple((t, n) for t, n in errors if n > 0),
            in_flight=tuple((t, n / count) for (t, n), count in zip(flown, buckets, strict=False)),
        ),
    )


def _measured(document: Document, start: float, step: float) -> float:
    """Return how much of the last bucket was measured: the window seldom ends with a bucket.

    A tenth at least, so that the last few answers do not look like a flood.
    """
    window = (document.get("times") or {}).get("window_s")
    if isinstance(window, bool) or not isinstance(window, int | float):
        return 1.0
    return min(1.0, max((window - start) / step, 0.1))


def _is_row(row: object, width: int, used: Sequence[int]) -> bool:
    """Tell whether a row has a number in each column that is used: files may hold anything."""
    return (
        isinstance(row, Sequence)
        and len(row) == width
        and all(isinstance(v := row[i], int | float) and is_finite(v) and v >= 0 for i in used)
    )
