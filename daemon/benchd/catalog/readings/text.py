"""Small readers of what programs print: never an exception, None for what is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchd.core.results import Window

# Nothing that is counted or timed is more: a nanosecond of this day is 1.8e18.
MOST = 1e21


def text(files: Mapping[str, bytes], name: str) -> str:
    """Return a file as text; empty when it did not come home."""
    return files.get(name, b"").decode("utf-8", "replace")


def number(text: str | None) -> float | None:
    """Return a number, or None for what is none (``-nan``, empty, words)."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text or "")
    value = float(match[1]) if match else None
    return value if value is not None and value < MOST else None


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def window(files: Mapping[str, bytes]) -> Window:
    """Return when a wrapper says that its program began and ended."""
    start = number(text(files, "result/started.txt"))
    end = number(text(files, "result/ended.txt"))
    took = end - start if start is not None and end is not None else None
    return Window(measure_start=start, measure_end=end, window_s=took)


def of_planned(achieved: float, planned: float) -> str:
    """Return how much of a rate was sent, in words."""
    return f"{_plain(achieved)} of {_plain(planned)} planned requests a second were sent"


def _plain(value: float) -> str:
    """Return four digits, or all that a larger number has before its point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
