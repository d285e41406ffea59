"""Charts as inline SVG. No colour is named here: classes are, so that the page's style decides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchd.core.distributions import Percentiles
from benchd.core.headline import figure, span
from benchd.core.markup import Markup, join, tag
from benchd.core.reported import Spread
from benchd.core.spans import Lane, Phase, Span

# All lengths in user units, which are CSS pixels at full width.
WIDTH = 520
LABEL = 220  # the most room that names get, left of the plot
VALUE = 72  # room for a number at the end of a row
ROW = 24
TOP = 8
AXIS = 26  # room for the ticks below
CHARACTER = 7.0  # average width of a letter at 12 px, in wide fonts such as DejaVu Sans
LONG_WIDTH = 1040  # the timeline is as wide as the page
LONG_LABEL = 290
LANE = 22
LOG_FROM = 20.0  # largest through smallest value from which a scale is logarithmic
_STEPS = (1.0, 2.0, 5.0, 10.0)
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


class Scale:
    """From values to places between ``left`` and ``right``; linear from 0, or logarithmic."""

    def __init__(
        self,
        values: Sequence[float],
        left: float,
        right: float,
        *,
        may_be_log: bool = True,
        log_from: float = LOG_FROM,
    ) -> None:
        top = max(values, default=1.0) or 1.0
        low = min((v for v in values if v > 0), default=top)
        self.left, self.right = left, right
        self.is_log = may_be_log and top / low >= log_from
        if self.is_log:
            self.low, self.high = 10.0 ** math.floor(math.log10(low)), top * 1.05
        else:
            self.low, self.high = 0.0, top * 1.02

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        if self.is_log:
            value = max(value, self.low)
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = value / self.high
        return round(self.left + part * (self.right - self.left), 1)

    def ticks(self) -> list[float]:
        """Return round values to write below the axis."""
        if not self.is_log:
            return ticks(self.high, 5)
        first, last = round(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def ticks(top: float, most: int) -> list[float]:
    """Return at most ``most`` + 1 round values from 0 to ``top``."""
    unit = 10.0 ** math.floor(math.log10(top / most))
    step = next(s * unit for s in _STEPS if top / (s * unit) <= most)
    return [i * step for i in range(int(top / step) + 1)]


def time_ticks(seconds: float, most: int = 8) -> list[float]:
    """Return at most ``most`` + 1 round moments from 0 to ``seconds``."""
    if seconds < 1:
        return ticks(max(seconds, 0.001), most)
    step = next((s for s in _TIME_STEPS if seconds / s <= most), None)
    step = step or _TIME_STEPS[-1] * math.ceil(seconds / _TIME_STEPS[-1] / most)
    return [float(i * step) for i in range(int(seconds // step) + 1)]


def bars(rows: Sequence[tuple[str, Spread]], *, title: str, unit: str) -> Markup:
    """Draw one number point by point: a bar to the median, a dot for each repeat."""
    values = [v for _, spread in rows for v in spread.samples]
    left = _label_room([name for name, _ in rows])
    scale = Scale(values, left, WIDTH - VALUE, may_be_log=False)
    parts: list[Markup] = [_grid(scale, len(rows))]
    for i, (name, spread) in enumerate(rows):
        middle = TOP + ROW * i + ROW / 2
        parts.append(_name(name, left - 10, middle))
        if spread.median is None:
            parts.append(text("no valid result", left + 6, middle, "muted"))
            continue
        length = max(round(scale(spread.median) - left, 1), 1)
        parts.append(tag("rect", class_="bar", x=left, y=middle - 6, width=length, height=12, rx=2))
        if len(spread.samples) > 1:
            parts += [
                tag("circle", tip(f"{figure(v)} {unit}"), class_="dot", cx=scale(v), cy=middle, r=3)
                for v in spread.samples
            ]
        parts.append(text(figure(spread.median), WIDTH - 4, middle, "value", anchor="end"))
    return figure_of(parts, WIDTH, TOP + ROW * len(rows) + AXIS, title)


def percentiles(chart: Percentiles) -> Markup:
    """Draw distributions point by point: a mark for each percentile, the median strongest."""
    values = [value for _, marks in chart.rows for _, value in marks]
    left = _label_room([name for name, _ in chart.rows])
    scale = Scale(values, left, WIDTH - VALUE - VALUE * (len(chart.written) > 1))
    parts: list[Markup] = [_grid(scale, len(chart.rows))]
    for i, (name, marks) in enumerate(chart.rows):
        middle = TOP + ROW * i + ROW / 2
        parts.append(_name(name, left - 10, middle))
        places = [scale(value) for _, value in marks]
        parts.append(tag("line", class_="range", x1=places[0], x2=places[-1], y1=middle, y2=middle))
        for (q, value), place in reversed(list(zip(marks, places, strict=True))):
            words = tip(f"p{q}: {figure(value)} {chart.unit}")
            kind = f"mark p{q.replace('.', '')}"
            radius = 5 if q == "50" else 4
            parts.append(tag("circle", words, class_=kind, cx=place, cy=middle, r=radius))
        for n, q in enumerate(reversed(chart.written)):
            number = figure(dict(marks)[q])
            parts.append(text(number, WIDTH - 4 - VALUE * n, middle, "value", anchor="end"))
    return figure_of(parts, WIDTH, TOP + ROW * len(chart.rows) + AXIS, chart.title)


def _label_room(names: Sequence[str]) -> float:
    """Return where the plot begins, so that names fit if they can."""
    longest = max((len(name) for name in names), default=0)
    return min(max(round(longest * CHARACTER + 22), 70), LABEL)


def timeline(lanes: Sequence[Lane], start: float, end: float) -> Markup:
    """Draw the life of every job, one lane each, in seconds since the run was accepted."""
    length = max(end - start, 0.001)
    wide = LONG_WIDTH - LONG_LABEL - 12

    def place(at: float) -> float:
        return round(LONG_LABEL + min(max(at - start, 0.0), length) / length * wide, 1)

    height = TOP + LANE * len(lanes)
    parts: list[Markup] = []
    for tick in time_ticks(length):
        x = place(start + tick)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=TOP, y2=height))
        parts.append(text(span(tick) if tick else "0", x, height + 14, "tick", anchor="middle"))
    for i, lane in enumerate(lanes):
        middle = TOP + LANE * i + LANE / 2
        parts.append(_name(lane.name, LONG_LABEL - 12, middle))
        for each in lane.spans:
            thick = 2 if each.phase is Phase.WAITING else 12
            parts.append(_block(each, place, middle, thick, start))
        if lane.measured is not None:
            parts.append(_block(lane.measured, place, middle, 6, start))
        if lane.state == "FAILED" and lane.spans:
            x = place(lane.spans[-1].end)
            cross = f"M{x - 4} {middle - 4}l8 8m0 -8l-8 8"
            parts.append(tag("path", tip("failed"), class_="cross", d=cross))
    return figure_of(parts, LONG_WIDTH, height + AXIS, "Timeline of the jobs", "chart long")


def _block(piece: Span, place: object, middle: float, thick: float, zero: float) -> Markup:
    assert callable(place)  # noqa: S101 - the closure of timeline()
    left, right = place(piece.start), place(piece.end)
    words = f"{piece.phase}: {span(piece.end - piece.start)}, from {span(piece.start - zero)}"
    width = max(round(right - left, 1), 1.5)
    top = middle - thick / 2
    kind = f"phase {piece.phase}"
    return tag("rect", tip(words), class_=kind, x=left, y=top, width=width, height=thick, rx=1.5)


def _grid(scale: Scale, rows: int) -> Markup:
    bottom = TOP + ROW * rows
    parts = []
    for tick in scale.ticks():
        x = scale(tick)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=TOP, y2=bottom))
        parts.append(text(figure(tick), x, bottom + 14, "tick", anchor="middle"))
    return join(*parts)


def _name(name: str, x: float, y: float) -> Markup:
    """Write a name that ends at ``x``, shortened to its room; all of it in the tip."""
    short = shortened(name, int((x - 4) / CHARACTER))
    attributes = {"class_": "name", "x": x, "y": y, "text_anchor": "end", "dy": "0.35em"}
    return tag("text", tip(name) if short != name else None, short, **attributes)


def shortened(name: str, room: int) -> str:
    """Return a name of so many letters, whose beginning and end tell it from others."""
    if len(name) <= room:
        return name
    tail = max(room // 3, 1)
    return f"{name[: max(room - tail - 1, 0)]}…{name[-tail:]}"


def text(words: str, x: float, y: float, kind: str, *, anchor: str | None = None) -> Markup:
    """Write words whose middle line is at ``y``."""
    return tag("text", words, class_=kind, x=x, y=y, text_anchor=anchor, dy="0.35em")


def tip(words: str) -> Markup:
    """Return what is shown when the pointer rests on something."""
    return tag("title", words)


def figure_of(
    parts: Sequence[Markup], width: float, height: float, title: str, kind: str = "chart"
) -> Markup:
    """Put parts together to one drawing."""
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", *parts, class_=kind, viewBox=box, role="img", aria_label=title)
