"""Distributions with both axes logarithmic, so that the tail is not squeezed into a corner."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchd.core.distributions import FEWEST_BEHIND, Tail, Tails
from benchd.core.headline import figure, rough
from benchd.core.markup import Markup, join, tag
from benchd.core.svg import AXIS, TOP, WIDTH, figure_of, text, tip

HEIGHT = 220  # of the plot itself
LEFT = 58  # room for the percentiles
RIGHT = WIDTH - 16
KEY_ROW = 18  # one name in the list of curves
NEAR = 1.0  # steps of a curve that are nearer than this, in pixels, are one
_MOST_TICKS = 8  # numbers below the plot that do not run into each other
_PERCENTILES = ("0", "50", "90", "99", "99.9", "99.99", "99.999", "99.9999")


class _Logarithmic:
    """Latencies from left to right, shares from bottom to top: a tenth of the rest is one step."""

    def __init__(self, tails: Sequence[Tail]) -> None:
        times = [time for tail in tails for time, _ in tail.steps]
        self.low, self.high = min(times) / 1.05, max(times) * 1.05
        rarest = min(share for tail in tails for _, share in tail.steps)
        self.decades = max(-math.log10(rarest), 1.0) * 1.02

    def x(self, time: float) -> float:
        part = math.log(time / self.low) / math.log(self.high / self.low)
        return round(LEFT + part * (RIGHT - LEFT), 1)

    def y(self, share: float) -> float:
        return round(TOP + HEIGHT * (1 + math.log10(share) / self.decades), 1)

    def times(self) -> list[float]:
        """Return round latencies: 1, 2, 5 of each power of ten, or the powers alone."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
            ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) <= _MOST_TICKS:
                return ticks
        return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]

    def shares(self) -> list[tuple[str, float]]:
        """Return percentiles, and which share of the samples lies beyond."""
        beyond = [(name, 1 - float(name) / 100) for name in _PERCENTILES]
        return [(name, share) for name, share in beyond if -math.log10(share) <= self.decades]


def tails(chart: Tails) -> Markup:
    """Draw which share of the requests took how long; faint where hardly any is behind it."""
    scale = _Logarithmic(chart.tails)
    parts: list[Markup] = [_frame(scale)]
    for tail in chart.tails:
        parts += _curve(scale, tail)
    names = {tail.series: tail.point for tail in chart.tails}
    bottom = TOP + HEIGHT + AXIS + 16
    if len(names) > 1:
        for row, (series, name) in enumerate(names.items()):
            y = bottom + KEY_ROW * row + 6
            parts.append(tag("circle", class_=f"spot s{series}", cx=LEFT + 4, cy=y, r=4))
            parts.append(text(name, LEFT + 16, y, "tick"))
        bottom += KEY_ROW * len(names)
    return figure_of(parts, WIDTH, bottom + 4, f"{chart.title}: distribution with its tail")


def _curve(scale: _Logarithmic, tail: Tail) -> list[Markup]:
    """Return the curve as far as enough samples are behind it, and the rest of it."""
    kind = f"curve s{tail.series}" + (" after" if tail.is_after else "")
    sure = [step for step in tail.steps if step[1] * tail.samples >= FEWEST_BEHIND]
    rest = tail.steps[max(len(sure) - 1, 0) :]
    side = ", from the actual sending" if tail.is_after else ""
    said = tip(f"{tail.point}{side}: {figure(float(tail.samples))} samples")
    drawn = [(sure, kind), (rest, f"{kind} thin")]
    return [
        tag("polyline", said, class_=name, points=_path(scale, steps))
        for steps, name in drawn
        if len(steps) > 1
    ]


def _path(scale: _Logarithmic, steps: Sequence[tuple[float, float]]) -> str:
    places: list[tuple[float, float]] = []
    for step, (time, share) in enumerate(steps):
        x, y = scale.x(time), scale.y(share)
        is_end = step in (0, len(steps) - 1)
        if is_end or max(abs(x - places[-1][0]), abs(y - places[-1][1])) >= NEAR:
            places.append((x, y))
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _frame(scale: _Logarithmic) -> Markup:
    parts: list[Markup] = []
    for name, share in scale.shares():
        y = scale.y(share)
        parts.append(tag("line", class_="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y))
        parts.append(text(f"p{name}", LEFT - 8, y, "tick", anchor="end"))
    for time in scale.times():
        x = scale.x(time)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=TOP, y2=TOP + HEIGHT))
        parts.append(text(rough(time), x, TOP + HEIGHT + 12, "tick", anchor="middle"))
    middle = (LEFT + RIGHT) / 2
    parts.append(text("ms", middle, TOP + HEIGHT + 30, "tick", anchor="middle"))
    return join(*parts)
