"""Changes side by side: each with its interval, against the band in which a change is no news."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchd.core.compare import Row
from benchd.core.headline import NONE, cell_text, changed
from benchd.core.markup import Markup, tag
from benchd.core.svg import (
    AXIS,
    CHARACTER,
    LONG_WIDTH,
    ROW,
    TOP,
    figure_of,
    shortened,
    text,
    ticks,
    tip,
)

VALUE = 90  # room for the change at the end of a row, and for an arrow before it
NAMES = 420  # the most room that names get; longer ones are broken into lines
LINE = 14  # from one line of a name to the next
WIDEST = 4.0  # changes beyond +400 % end at the edge: they would squeeze the others into a line
DOT = 4.5


def percent(share: float | None) -> str:
    """Write a change."""
    return NONE if share is None else changed(share, 0.0)


def share(of_all: float) -> str:
    """Write a share."""
    return f"{100 * of_all:g} %"


def name_of(row: Row) -> str:
    """Name a row: what was measured, and at which point of the sweep."""
    cell = cell_text(row.cell)
    return f"{row.column.title}, {cell}" if cell else row.column.title


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From changes to places; what lies below ``low`` or above ``high`` ends at the edge."""

    left: float
    right: float
    low: float
    high: float

    def __call__(self, change: float) -> float:
        part = (min(max(change, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.left + part * (self.right - self.left), 1)


def forest(rows: Sequence[Row], threshold: float) -> Markup:
    """Draw every change that is known, in the order of the rows."""
    drawn = [row for row in rows if row.change is not None]
    ends = [end for row in drawn for end in (row.change or 0.0, *(row.interval or ()))]
    longest = max((len(name_of(row)) for row in drawn), default=0)
    left = min(longest * CHARACTER + 22, NAMES)
    names = [_lines(name_of(row), int((left - 14) / CHARACTER)) for row in drawn]
    reach: float = min(max(threshold * 2, *map(abs, ends)), WIDEST) * 1.05
    # Nothing positive gets less by more than all of it.
    low = -min(reach, 1.05) if min(ends) >= -1 else -reach
    x = _Axis(left=left, right=LONG_WIDTH - VALUE, low=low, high=reach)
    heights = [ROW + LINE * (len(lines) - 1) for lines in names]
    bottom = TOP + sum(heights)
    band = {"x": x(-threshold), "y": TOP, "height": bottom - TOP}
    width = round(x(threshold) - x(-threshold), 1)
    parts = [tag("rect", tip("no news"), class_="band", width=width, **band), *_grid(x, bottom)]
    for i, (row, lines) in enumerate(zip(drawn, names, strict=True)):
        middle = TOP + sum(heights[:i]) + heights[i] / 2
        first = middle - LINE * (len(lines) - 1) / 2
        for n, line in enumerate(lines):
            parts.append(text(line, left - 10, first + LINE * n, "name", anchor="end"))
        parts += _marks(row, x, middle)
        parts.append(text(percent(row.change), LONG_WIDTH - 4, middle, "value", anchor="end"))
    return figure_of(parts, LONG_WIDTH, bottom + AXIS, "Changes of the median", "chart long")


def _lines(name: str, room: int) -> list[str]:
    """Break a name between its parts, so that nothing of it is left out."""
    lines: list[str] = []
    for part in name.split(", "):
        if lines and len(lines[-1]) + len(part) + 2 < room:
            lines[-1] += f", {part}"
        else:
            lines[-1:] = [f"{line}," for line in lines[-1:]]
            lines.append(shortened(part, room - 1))
    return lines


def _grid(x: _Axis, bottom: float) -> Iterator[Markup]:
    for tick in ticks(x.high, 3):
        for side in (each for each in dict.fromkeys((tick, -tick)) if each >= x.low):
            place = x(side)
            kind = "zero" if not side else "grid"
            yield tag("line", class_=kind, x1=place, x2=place, y1=TOP, y2=bottom)
            words = percent(side).replace(".0%", "%") if side else "0"
            yield text(words, place, bottom + 14, "tick", anchor="middle")


def _marks(row: Row, x: _Axis, middle: float) -> Iterator[Markup]:
    """Draw a change and its interval; an arrow stands where one of them goes on beyond the edge."""
    change = row.change or 0.0
    low, high = row.interval or (change, change)
    words = f"{name_of(row)}: {percent(change)}, {row.verdict}"
    if row.interval is not None:
        line = {"x1": x(low), "x2": x(high), "y1": middle, "y2": middle}
        yield tag("line", class_=f"reach {row.verdict}", **line)
        words += f", 95 %: {percent(low)} to {percent(high)}"
    if x.low <= change <= x.high:
        dot = {"cx": x(change), "cy": middle, "r": DOT}
        yield tag("circle", tip(words), class_=f"verdict {row.verdict}", **dot)
    for edge, is_beyond, sign in (
        (x.left, min(low, change) < x.low, -1),
        (x.right, max(high, change) > x.high, 1),
    ):
        if is_beyond:
            shape = f"M{edge + 9 * sign} {middle}l{-9 * sign} -5v10z"
            yield tag("path", tip(words), class_=f"verdict beyond {row.verdict}", d=shape)
