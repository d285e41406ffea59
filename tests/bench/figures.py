"""What a measurement leaves: one line, with its limit and what the same costs without benchd."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 9  # odd, so that the median is one of them


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was measured, the limit, and what the same thing costs without benchd."""

    what: str
    value: float
    unit: str
    limit: float
    baseline: float | None = None
    baseline_what: str = ""

    @property
    def kept(self) -> bool:
        """Whether the limit was kept."""
        return self.value <= self.limit

    def __str__(self) -> str:
        verdict = "ok  " if self.kept else "OVER"
        line = f"{verdict} {self.what:<44} {self.value:9.3f} {self.unit:<3} (limit {self.limit:g})"
        if self.baseline:
            line += f"  {self.value / self.baseline:6.2f} x {self.baseline_what}"
            line += f" {self.baseline:.3f} {self.unit}"
        return line


def median_of(action: Callable[[], float], rounds: int = ROUNDS) -> float:
    """Return the median of some rounds, in seconds."""
    return statistics.median(action() for _ in range(rounds))
