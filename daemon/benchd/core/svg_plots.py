"""Charts with two axes as inline SVG: curves, speed against latency, and the heat map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

from benchd.core.curves import Curves, HeatMap, Tradeoff
from benchd.core.headline import figure, rough
from benchd.core.markup import Markup, join, tag
from benchd.core.svg import AXIS, CHARACTER, TOP, WIDTH, Scale, figure_of, text, tip

HEIGHT = 200  # of the plot itself
LEFT = 58  # room for the numbers of the upright axis
KEY_ROW = 18  # one name in the list of curves
# Largest through smallest latency from which the quick points would lie on each other.
CROWDED = 8.0
BOX = 26  # height of a row of the heat map
SHADES = 8  # steps of its colour
BESIDE = 7  # from a point to its name
DEEP = 6  # from which step dark words are read better than light ones, on either ground


def curves(chart: Curves) -> Markup:
    """Draw one number over what is varied: a curve, and the range of its repeats at each point."""
    points = [point for curve in chart.curves for point in curve.points]
    across = Scale([x for x, *_ in points], LEFT, WIDTH - 16)
    up = Scale([high for *_, high in points], TOP + HEIGHT, TOP, may_be_log=False)
    parts = [_frame(across, up, chart.key)]
    if chart.knee is not None:
        x = across(chart.knee)
        parts.append(tag("line", class_="limit", x1=x, x2=x, y1=TOP, y2=TOP + HEIGHT))
        parts.append(text(f"knee at {figure(chart.knee)}", x + 4, TOP + 8, "tick"))
    for n, curve in enumerate(chart.curves):
        places = [(across(x), up(y)) for x, y, _, _ in curve.points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(tag("polyline", class_=f"curve s{n}", points=path))
        for (x, y), (load, value, low, high) in zip(places, curve.points, strict=True):
            if high > low:
                line = {"x1": x, "x2": x, "y1": up(low), "y2": up(high)}
                parts.append(tag("line", class_=f"whisker s{n}", **line))
            words = f"{curve.name + ', ' if curve.name else ''}{chart.key} {figure(load)}: "
            said = tip(f"{words}{figure(value)} {chart.unit}")
            parts.append(tag("circle", said, class_=f"spot s{n}", cx=x, cy=y, r=3.5))
    bottom = TOP + HEIGHT + AXIS + 16
    names = [curve.name for curve in chart.curves] if len(chart.curves) > 1 else []
    parts.append(_names(names, bottom))
    return figure_of(parts, WIDTH, bottom + KEY_ROW * len(names) + 4, chart.title)


def tradeoff(chart: Tradeoff) -> Markup:
    """Draw speed against latency: right and low is good, and the front is joined by a line."""
    limit = [] if chart.limit is None else [chart.limit]
    across = Scale([x for _, x, _, _ in chart.points], LEFT, WIDTH - 16, may_be_log=False)
    latencies = [y for *_, y, _ in chart.points] + limit
    up = Scale(latencies, TOP + HEIGHT, TOP, log_from=CROWDED)
    unit = f" [{chart.speed.unit}]" if chart.speed.unit else ""
    parts = [_frame(across, up, f"{chart.speed.title}{unit}")]
    if chart.limit is not None:
        y = up(chart.limit)
        parts.append(tag("line", class_="limit", x1=LEFT, x2=WIDTH - 16, y1=y, y2=y))
        words = f"limit {figure(chart.limit)} {chart.latency.unit}"
        parts.append(text(words, LEFT + 4, y - 8, "tick"))  # slow and early: no point is there
    front = sorted((x, y) for _, x, y, is_front in chart.points if is_front)
    line = [(across(x), up(y)) for x, y in front]
    path = " ".join(f"{x},{y}" for x, y in line)
    parts.append(tag("polyline", class_="curve front", points=path))
    for name, x, y, is_front in chart.points:
        words = f"{name}: {figure(x)} {chart.speed.unit}, {figure(y)} {chart.latency.unit}"
        kind = "spot s0" if is_front else "spot behind"
        parts.append(tag("circle", tip(words), class_=kind, cx=across(x), cy=up(y), r=4))
    spots = [(across(x), up(y)) for _, x, y, _ in chart.points]
    named = [(across(x), up(y), name) for name, x, y, is_front in chart.points if is_front]
    if chart.limit is not None:
        wide = len(f"limit {figure(chart.limit)} {chart.latency.unit}") * CHARACTER
        spots += [(LEFT + 4 + at, up(chart.limit) - 8) for at in range(0, round(wide), 8)]
    parts += _labels(named, [*spots, *_along(line)])
    return figure_of(parts, WIDTH, TOP + HEIGHT + AXIS + 18, "Speed against latency")


def _along(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield places on a line, near enough to each other that no name slips between them."""
    for (x, y), (to_x, to_y) in pairwise(line):
        steps = max(round(max(abs(to_x - x), abs(to_y - y)) / 4), 1)
        yield from (
            (x + (to_x - x) * n / steps, y + (to_y - y) * n / steps) for n in range(steps + 1)
        )


def _labels(
    places: Sequence[tuple[float, float, str]], drawn: Sequence[tuple[float, float]]
) -> list[Markup]:
    """Name points where there is room: never over each other, nor over what is ``drawn``."""
    parts: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for x, y, name in sorted(places):
        wide = len(name) * CHARACTER
        for level, is_left in product((y - 11, y + 11, y, y + 22, y - 22), (False, True)):
            start = x - BESIDE - wide if is_left else x + BESIDE
            end = start + wide
            if start < LEFT or end > WIDTH or not TOP + 6 <= level <= TOP + HEIGHT - 6:
                continue
            if any(start < to and at < end and abs(level - h) < 14 for at, to, h in taken):
                continue
            if any(start - 4 < at < end + 4 and abs(level - h) < 9 for at, h in drawn):
                continue
            taken.append((start, end, level))
            anchor = {"anchor": "end"} if is_left else {}
            parts.append(text(name, x - BESIDE if is_left else x + BESIDE, level, "tick", **anchor))
            break  # where there is no room at all, the tip of the point still names it
    return parts


def heat(chart: HeatMap) -> Markup:
    """Draw one number over two varied keys: the darker, the better."""
    low, high = min(chart.values.values()), max(chart.values.values())
    wide = (WIDTH - LEFT - 16) / len(chart.columns)
    parts: list[Markup] = []
    for j, row in enumerate(reversed(chart.rows)):
        top = TOP + BOX * j
        parts.append(text(figure(row), LEFT - 8, top + BOX / 2, "tick", anchor="end"))
        for i, column in enumerate(chart.columns):
            value = chart.values.get((column, row))
            x = round(LEFT + wide * i, 1)
            if value is None:
                continue
            share = (value - low) / (high - low) if high > low else 0.5
            shade = round((1 - share if chart.better == "lower" else share) * (SHADES - 1))
            words = f"{chart.across} {figure(column)}, {chart.down} {figure(row)}: {figure(value)}"
            box = {"x": x, "y": top, "width": round(wide - 1, 1), "height": BOX - 1}
            parts.append(tag("rect", tip(f"{words} {chart.unit}"), class_=f"heat h{shade}", **box))
            if wide > 44:
                ink = "onheat" if shade >= DEEP else "value"
                place = (round(x + wide / 2, 1), top + BOX / 2)
                parts.append(text(rough(value), *place, ink, anchor="middle"))
    bottom = TOP + BOX * len(chart.rows)
    for i, column in enumerate(chart.columns):
        x = round(LEFT + wide * (i + 0.5), 1)
        parts.append(text(figure(column), x, bottom + 12, "tick", anchor="middle"))
    parts.append(text(f"{chart.across} across, {chart.down} up", LEFT, bottom + 30, "tick"))
    return figure_of(
        parts, WIDTH, bottom + 40, f"{chart.title} over {chart.across} and {chart.down}"
    )


def _frame(across: Scale, up: Scale, below: str) -> Markup:
    """Draw the grid with its numbers, and say what the level axis is."""
    parts: list[Markup] = []
    for tick in up.ticks():
        y = up(tick)
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - 16, y1=y, y2=y))
        parts.append(text(rough(tick), LEFT - 8, y, "tick", anchor="end"))
    for tick in across.ticks():
        x = across(tick)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=TOP, y2=TOP + HEIGHT))
        parts.append(text(rough(tick), x, TOP + HEIGHT + 12, "tick", anchor="middle"))
    middle = (LEFT + WIDTH - 16) / 2
    parts.append(text(below, middle, TOP + HEIGHT + 30, "tick", anchor="middle"))
    return join(*parts)


def _names(names: Sequence[str], top: float) -> Markup:
    parts: list[Markup] = []
    for n, name in enumerate(names):
        y = top + KEY_ROW * n + 6
        parts.append(tag("circle", class_=f"spot s{n}", cx=LEFT + 4, cy=y, r=4))
        parts.append(text(name or "all", LEFT + 16, y, "tick"))
    return join(*parts)
