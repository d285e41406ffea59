"""Changes side by side: each with its interval, against the band in which a change is no news."""

from __future__ import annotations

from collections.abc import Sequence

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

VALUE = 76  # room for the change at the end of a row
NAMES = 420  # the most room that names get
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


def forest(rows: Sequence[Row], threshold: float) -> Markup:
    """Draw every change that is known, in the order of the rows."""
    drawn = [row for row in rows if row.change is not None]
    ends = [abs(end) for row in drawn for end in (row.change or 0.0, *(row.interval or ()))]
    reach: float = min(max([*ends, threshold * 2]), WIDEST) * 1.05
    longest = max((len(name_of(row)) for row in drawn), default=0)
    left = min(longest * CHARACTER + 22, NAMES)
    right = LONG_WIDTH - VALUE
    bottom = TOP + ROW * len(drawn)

    def x(change: float) -> float:
        part = (min(max(change, -reach), reach) + reach) / (2 * reach)
        return round(left + part * (right - left), 1)

    band = {"x": x(-threshold), "y": TOP, "height": bottom - TOP}
    width = round(x(threshold) - x(-threshold), 1)
    parts = [tag("rect", tip("no news"), class_="band", width=width, **band)]
    for tick in ticks(reach, 3):
        for side in dict.fromkeys((tick, -tick)):
            place = x(side)
            kind = "zero" if not side else "grid"
            parts.append(tag("line", class_=kind, x1=place, x2=place, y1=TOP, y2=bottom))
            words = percent(side).replace(".0%", "%") if side else "0"
            parts.append(text(words, place, bottom + 14, "tick", anchor="middle"))
    for i, row in enumerate(drawn):
        middle = TOP + ROW * i + ROW / 2
        room = int((left - 14) / CHARACTER)
        name = name_of(row)
        parts.append(text(shortened(name, room), left - 10, middle, "name", anchor="end"))
        if row.interval is not None:
            line = {"x1": x(row.interval[0]), "x2": x(row.interval[1]), "y1": middle, "y2": middle}
            parts.append(tag("line", class_=f"reach {row.verdict}", **line))
        said = tip(f"{name}: {percent(row.change)}, {row.verdict}")
        dot = {"cx": x(row.change or 0.0), "cy": middle, "r": DOT}
        parts.append(tag("circle", said, class_=f"verdict {row.verdict}", **dot))
        parts.append(text(percent(row.change), LONG_WIDTH - 4, middle, "value", anchor="end"))
    return figure_of(parts, LONG_WIDTH, bottom + AXIS, "Changes of the median", "chart long")
