"""Whether the repeats of a point tell of one thing: how widely their numbers differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from benchd.core.headline import Column

# Coefficient of variation (standard deviation through mean) of the repeats of a point beyond which
# that is said. With it the 95 % interval of the mean of three repeats reaches a quarter to either
# side (t 4.30 / sqrt 3), of five an eighth: no change of 5 %, which is what comparisons look for,
# can be found then.
LIMIT = 0.1
# Tails differ more by nature, and their own intervals tell of it.
_STATISTICS = frozenset({"value", "mean", "p50"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """A point whose repeats differ widely in a number: the one in which they do most."""

    point: str
    column: Column
    low: float
    high: float
    variation: float  # standard deviation through mean


def widest(
    columns: Sequence[Column], points: Iterable[tuple[str, Sequence[Sequence[float]]]]
) -> Iterator[Wide]:
    """Yield each point whose repeats differ widely. ``points``: name, samples of each column.

    Shares are left out: no errors but in one repeat is a wide spread of next to nothing.
    """
    for name, samples in points:
        found = [
            Wide(point=name, column=c, low=min(v), high=max(v), variation=stdev(v) / fmean(v))
            for c, v in zip(columns, samples, strict=True)
            if len(v) > 1 and c.unit != "1" and c.statistic in _STATISTICS and fmean(v) > 0
        ]
        most = max(found, key=lambda wide: wide.variation, default=None)
        if most is not None and most.variation > LIMIT:
            yield most
