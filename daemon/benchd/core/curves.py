"""What a sweep says as a whole: curves over what is varied, speed against latency, a heat map.

Each is made only where the recipe varied numbers: names have no order that could be drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchd.core.headline import DIAGNOSTICS, Column, cell_text, family, figure
from benchd.core.significance import knee

CURVES = 10  # numbers that are drawn over what is varied; every number is in the result files
SERIES = 8  # curves in one chart that can be told apart
FRONT_NAMED = 4  # points of the front that are named in a sentence
HEAT_MOST = 24  # rows or columns of a heat map that can be read
_SPEEDS = ("goodput", "docs_s", "req_s", "ops_s", "out_tok_s")
_LATENCIES = ("e2e_sched", "latency_sched", "ttft_sched", "e2e_service", "latency_service")

# What an axis is called where the name of the key says too little.
_AXES = {"rate": "offered rate [1/s]"}

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One number at one point of the sweep: the median of its valid repeats, and their range."""

    cell: Cell
    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How one number follows what is varied; ``points`` are x, median, lowest, highest."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One number over one varied key, a curve for each combination of the others."""

    title: str
    unit: str
    key: str
    curves: tuple[Curve, ...]
    left_out: int = 0
    knee: float | None = None  # of a speed with a single curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """Speed against latency: what no other point beats in both lies on the front."""

    speed: Column
    latency: Column
    points: tuple[tuple[str, float, float, bool], ...]  # name, speed, latency, on the front
    limit: float | None = None  # of the latency, when the workload has one

    @property
    def words(self) -> str:
        """What the front is and, with a limit, which point is the fastest within it."""
        front = [name for name, _, _, is_front in self.points if is_front]
        apart = (
            "; " if any(", " in name for name in front) else ", "
        )  # a point of two keys has commas
        said = f"No other point beats {apart.join(front[:FRONT_NAMED])}"
        said += f" and {len(front) - FRONT_NAMED} more" if len(front) > FRONT_NAMED else ""
        said += f" in both {_in_a_sentence(self.speed)} and {_in_a_sentence(self.latency)}."
        if self.limit is None:
            return said
        within = [(speed, name) for name, speed, late, _ in self.points if late <= self.limit]
        limit = f"the limit of {figure(self.limit)} {self.latency.unit}"
        if not within:
            return f"{said} None keeps {limit}."
        speed, name = max(within)
        return f"{said} The fastest within {limit}: {name}, {figure(speed)} {self.speed.unit}."


def _in_a_sentence(column: Column) -> str:
    """Return a title that does not begin a sentence; TTFT stays as it is."""
    title = column.title
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """One number over two varied keys."""

    title: str
    unit: str
    better: str
    across: str
    down: str
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    values: Mapping[tuple[float, float], float]  # (column, row) -> median


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Everything that is drawn of a sweep."""

    curves: tuple[Curves, ...] = ()
    tradeoff: Tradeoff | None = None
    heat: HeatMap | None = None


def charted(columns: Sequence[Column]) -> list[Column]:
    """Return the numbers worth a curve: of a latency that is told twice, the one from schedule."""
    known = {column.metric for column in columns}
    kept = [
        column
        for column in columns
        if family(column.metric) not in DIAGNOSTICS
        and (
            "_service" not in column.metric
            or column.metric.replace("_service", "_sched") not in known
        )
    ]
    return kept[:CURVES]


def sweep(
    columns: Sequence[Column],
    spots: Sequence[Sequence[Spot | None]],
    *,
    limits: Mapping[str, float] | None = None,
) -> Sweep:
    """Return what can be drawn. ``spots`` has, for each point, one number for each column.

    ``limits``: what a latency may be (its statistic's column title), from the workload's SLO.
    """
    known = [[spot for spot in row if spot is not None] for row in spots]
    cells = [row[0].cell for row in known if row]
    keys = _numeric_keys(cells)
    if not keys:
        return Sweep(tradeoff=_tradeoff(columns, spots, limits or {}))
    by_column = [[row[i] for row in spots] for i in range(len(columns))]
    return Sweep(
        curves=tuple(_curves(columns, by_column, keys)),
        tradeoff=_tradeoff(columns, spots, limits or {}),
        heat=_heat(columns, by_column, keys),
    )


def is_flat(column: Column, values: Sequence[float]) -> bool:
    """Tell whether a share is the same everywhere: that all were found needs no drawing."""
    return column.unit == "1" and len(set(values)) == 1


def _numeric_keys(cells: Sequence[Cell]) -> list[str]:
    """Return the varied keys whose values are numbers, the one with most values first."""
    values = {key: {cell.get(key) for cell in cells} for key in (cells[0] if cells else ())}
    numeric = [
        key
        for key, found in values.items()
        if len(found) > 1
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
    ]
    return sorted(numeric, key=lambda key: -len(values[key]))


def _curves(
    columns: Sequence[Column], by_column: Sequence[Sequence[Spot | None]], keys: Sequence[str]
) -> Iterator[Curves]:
    key = keys[0]
    for column, spots in zip(columns, by_column, strict=True):
        groups: dict[str, list[tuple[float, float, float, float]]] = {}
        for spot in filter(None, spots):
            rest = {name: value for name, value in spot.cell.items() if name != key}
            place = (float(spot.cell[key]), spot.value, spot.low, spot.high)
            groups.setdefault(_series(spot, rest), []).append(place)
        drawn = [Curve(name=n, points=tuple(sorted(p))) for n, p in groups.items() if len(p) > 1]
        values = [value for curve in drawn for _, *ends in curve.points for value in ends]
        if not any(values) or is_flat(column, values):
            continue  # nothing, or nothing but zeros: no errors are no curve
        alone = drawn[0].points if len(drawn) == 1 and family(column.metric) in _SPEEDS else ()
        yield Curves(
            title=column.title,
            unit=column.unit,
            key=_axis(key),
            curves=tuple(drawn[:SERIES]),
            left_out=max(len(drawn) - SERIES, 0),
            knee=knee([(x, y) for x, y, _, _ in alone]),
        )


def _axis(key: str) -> str:
    word = key.rpartition(".")[2]
    return _AXES.get(word, word)


def _series(spot: Spot, rest: Cell) -> str:
    client = spot.name.removesuffix(cell_text(spot.cell)).rstrip(": ")  # where there are several
    return ", ".join(part for part in (client, cell_text(rest)) if part)


def _tradeoff(
    columns: Sequence[Column],
    spots: Sequence[Sequence[Spot | None]],
    limits: Mapping[str, float],
) -> Tradeoff | None:
    speed = next((i for i, c in enumerate(columns) if family(c.metric) in _SPEEDS), None)
    tails = [
        (c.metric not in limits, _LATENCIES.index(family(c.metric)), c.metric, i)
        for i, c in enumerate(columns)
        if family(c.metric) in _LATENCIES and c.statistic != "value"
    ]
    if speed is None or not tails:
        return None
    first = min(tails)[:3]  # one with a limit, if there is any; the whole before a case of it
    latency = max(i for *rank, i in tails if tuple(rank) == first)  # the farthest tail of it
    found = [
        (fast.name, fast.value, slow.value)
        for row in spots
        if (fast := row[speed]) is not None and (slow := row[latency]) is not None
    ]
    if len(found) < 3:
        return None
    points = tuple(
        (name, x, y, not any(_beats(other, (x, y)) for _, *other in found)) for name, x, y in found
    )
    return Tradeoff(
        speed=columns[speed],
        latency=columns[latency],
        points=points,
        limit=limits.get(columns[latency].metric),
    )


def _beats(one: Sequence[float], other: tuple[float, float]) -> bool:
    """Tell whether one is as fast and as quick as the other, and better in one of the two."""
    return one[0] >= other[0] and one[1] <= other[1] and tuple(one) != other


def _heat(
    columns: Sequence[Column], by_column: Sequence[Sequence[Spot | None]], keys: Sequence[str]
) -> HeatMap | None:
    """Return the map of the first number, when exactly two keys are varied and all is numbers."""
    spots = [spot for spot in by_column[0] if spot is not None]
    if len(keys) != 2 or any(len(spot.cell) != 2 for spot in spots):
        return None
    across, down = keys
    columns_of = tuple(sorted({float(spot.cell[across]) for spot in spots}))
    rows = tuple(sorted({float(spot.cell[down]) for spot in spots}))
    places = {(float(s.cell[across]), float(s.cell[down])): s.value for s in spots}
    if max(len(columns_of), len(rows)) > HEAT_MOST or len(places) != len(spots):
        return None
    return HeatMap(
        title=columns[0].title,
        unit=columns[0].unit,
        better=columns[0].better,
        across=_axis(across),
        down=_axis(down),
        columns=columns_of,
        rows=rows,
        values=places,
    )
