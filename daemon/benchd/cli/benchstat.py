"""The text format of Go's benchmarks, which benchstat and many others read: a line each repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchd.cli.tables import clean


def head(run: str) -> str:
    """Return the line that tells from which run the following ones are."""
    return clean(f"run: {run}")


def name_of(metric: str, statistic: str, cell: Mapping[str, Any]) -> str:
    """Name a number of a point: ``BenchmarkTtftSchedP99/rate=8``."""
    words = [metric, *([] if statistic == "value" else [statistic])]
    name = "".join(word.replace("_", " ").title().replace(" ", "") for word in words)
    point = (f"/{str(key).rpartition('.')[2]}={value}" for key, value in cell.items())
    return clean(f"Benchmark{name}{''.join(point)}".replace(" ", "_"))


def line(name: str, value: float, unit: str | None) -> str:
    """Write one repeat: name, iterations, value, unit."""
    return f"{name} 1 {value:.10g} {clean(unit or '1').replace(' ', '')}"
