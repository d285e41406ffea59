"""What a report says: its points, its measurements, and everything beside them. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchd.core.courses import Courses
from benchd.core.curves import Sweep
from benchd.core.distributions import Distributions
from benchd.core.headline import Column
from benchd.core.intervals import Interval
from benchd.core.model import Run
from benchd.core.notices import JobRow, Notice
from benchd.core.spans import Lane
from benchd.core.steps import Ladder

# What stands below the numbers of single measurements.
WITHIN = (
    "With a percentile stands its 95 % interval within that one measurement. Requests that follow "
    "each other are alike and count for fewer; how other measurements differ, only repeats tell."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement: one point, one repeat."""

    point: str
    cell: Mapping[str, Any]
    client: str
    repeat: int
    attempt: int
    valid: bool
    status: str
    codes: tuple[str, ...]
    ok: int | None
    errors: int | None
    window: float | None
    values: tuple[float | None, ...]  # one for each column
    within: tuple[Interval | None, ...]  # of each of them, inside this one measurement, 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One number over the repeats of a point."""

    median: float | None
    low: float | None
    high: float | None
    samples: tuple[float, ...]
    of: int = 0  # valid repeats; fewer samples than these: not every one has the number
    interval: Interval | None = None  # of the mean, 95 %; of a single repeat, within it

    @property
    def around(self) -> Interval | None:
        """What the number lies within; None where nothing is known, or all are the same."""
        ends = self.interval
        if ends is None and len(self.samples) > 1:
            ends = (self.samples[0], self.samples[-1])
        return None if ends is None or ends[0] == ends[1] else ends

    @property
    def share(self) -> str:
        """Of how many repeats the number is, where some of them do not have it."""
        if not 0 < len(self.samples) < self.of:
            return ""
        return f"{len(self.samples)} of {self.of} repeats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination of the sweep, for one client: what its valid repeats say."""

    name: str
    cell: Mapping[str, Any]
    valid: int
    total: int
    spreads: tuple[Spread, ...]  # one for each column
    offered: float | None = None  # requests a second
    gpus: int | None = None  # of the services


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report says."""

    run: Run
    outcome: str  # an outcome, or "in progress"
    generated_at: float
    version: str
    duration: float
    notices: tuple[Notice, ...]
    done: int  # measurements that were made
    wanted: int  # measurements that the recipe asks for
    columns: tuple[Column, ...]
    points: tuple[Point, ...]
    rows: tuple[Row, ...]
    distributions: Distributions
    courses: tuple[Courses, ...]
    sweep: Sweep
    ladders: tuple[Ladder, ...]
    lanes: tuple[Lane, ...]
    jobs: tuple[JobRow, ...]
    provenance: tuple[tuple[str, str], ...]

    @property
    def valid(self) -> int:
        """How many results may be used."""
        return sum(row.valid for row in self.rows)

    @property
    def repeats(self) -> int:
        """The largest number of repeats of any point."""
        return max((point.total for point in self.points), default=0)

    @property
    def tells_repeats(self) -> bool:
        """Whether single measurements say more than the summary does."""
        return self.repeats > 1 or any(not row.valid for row in self.rows)

    @property
    def is_sure_within(self) -> bool:
        """Whether any measurement has intervals of its own."""
        return any(within for row in self.rows for within in row.within)

    @property
    def per_gpu(self) -> tuple[list[Column], list[tuple[Point, list[float | None]]]]:
        """Rates by GPU, where it is known how many there were: other sizes can be compared."""
        rates = [i for i, column in enumerate(self.columns) if column.unit.endswith("/s")]
        rows = [
            (
                point,
                [
                    None if (whole := point.spreads[i].median) is None else whole / point.gpus
                    for i in rates
                ],
            )
            for point in self.points
            if point.gpus and rates
        ]
        return [self.columns[i] for i in rates], rows

    @property
    def note(self) -> str:
        """What stands in the summary, in words."""
        if self.repeats < 2:
            within = f" {WITHIN}" if self.is_sure_within else ""
            return f"One measurement of each point.{within}"
        around = "the lowest and the highest of them"
        spreads = [spread for point in self.points for spread in point.spreads]
        if any(spread.interval and len(spread.samples) > 1 for spread in spreads):
            around = "the 95 % interval of the mean (of two repeats, both)"
        return f"Median of the valid repeats; with it, {around}."
