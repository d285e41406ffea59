"""How a measurement went: work above, requests in flight below, errors as marks between."""

from __future__ import annotations

from collections.abc import Sequence

from benchd.core.courses import Course, Courses
from benchd.core.headline import figure, rough, span
from benchd.core.markup import Markup, tag
from benchd.core.svg import TOP, Scale, figure_of, text, ticks, time_ticks, tip

WIDTH = 380
LEFT = 50
RIGHT = WIDTH - 10
PANEL = 70  # height of one panel
HEAD = 16  # above a panel: what is drawn in it
GAP = 32  # between the panels: the errors' marks, and what is below them
MARK = 8  # height of a mark
EDGE = 24  # from the right: a moment written around it would be cut off


def course(one: Course, all_of_them: Courses) -> Markup:
    """Draw one repeat to the scale of all repeats of its point."""
    every = all_of_them.courses
    end = max(each.end for each in every)
    first = TOP + HEAD
    work = _up([v for each in every for _, v in each.work], first)
    parts: list[Markup] = []
    bottom = first + PANEL
    panels = [(one.work, work, first, all_of_them.unit, "s0")]
    if any(each.in_flight for each in every):
        second = bottom + GAP
        bottom = second + PANEL
        up = _up([v for each in every for _, v in each.in_flight], second)
        panels.append((one.in_flight, up, second, "in flight", "s3"))

    def across(at: float) -> float:
        return round(LEFT + at / end * (RIGHT - LEFT), 1)

    for tick in time_ticks(end, 5):
        x = across(tick)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=first, y2=bottom))
        anchor = "middle" if x < RIGHT - EDGE else "end"
        parts.append(text(span(tick) if tick else "0", x, bottom + 20, "tick", anchor=anchor))
    for points, up, top, unit, kind in panels:
        parts += _panel(points, up)
        places = " ".join(f"{across(at + one.step / 2):g},{up(v):g}" for at, v in points)
        parts.append(tag("polyline", class_=f"curve thinner {kind}", points=places))
        parts.append(text(unit, LEFT, top - HEAD / 2, "tick"))
    for at, count in one.errors:
        said = tip(f"{span(at)}: {figure(count)} error{'s' if count > 1 else ''}")
        box = {"x": across(at), "y": first + PANEL + 4, "height": MARK}
        wide = max(round(across(at + one.step) - across(at), 1), 2)
        parts.append(tag("rect", said, class_="trouble", width=wide, **box))
    title = f"{all_of_them.point}, repeat {one.repeat}: over time"
    return figure_of(parts, WIDTH, bottom + 30, title, "chart small")


def _up(values: Sequence[float], top: float) -> Scale:
    return Scale(values, top + PANEL, top, may_be_log=False)


def _panel(points: Sequence[tuple[float, float]], up: Scale) -> list[Markup]:
    """Return the lines of one panel with their numbers."""
    parts: list[Markup] = []
    for tick in ticks(up.high, 2) if points else ():
        y = up(tick)
        parts.append(tag("line", class_="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y))
        parts.append(text(rough(tick), LEFT - 6, y, "tick", anchor="end"))
    return parts
