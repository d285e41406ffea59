"""What reports cost: from stored results to both forms, of the largest run that is expected."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 0)]

# ruff: noqa: E402 - the tests' support is importable only from here on
from figures import Figure, median_of

from benchd.core.html import render_html
from benchd.core.markdown import render_markdown
from benchd.core.results import Result
from support.sweeps import report, swept

RESULTS, REPEATS = 1_000, 4
ROUNDS = 3  # odd; each takes seconds


def figures() -> list[Figure]:
    """Time a report of that many results, beside only reading their JSON."""
    jobs, results = swept(RESULTS // REPEATS, REPEATS)
    documents = [each.document() for each in results]

    def whole() -> float:
        began = time.perf_counter()
        told = report(jobs, [Result.model_validate_json(text) for text in documents])
        render_html(told)
        render_markdown(told)
        return time.perf_counter() - began

    def bare() -> float:
        began = time.perf_counter()
        for text in documents:
            json.loads(text)
        return time.perf_counter() - began

    what = f"report over {RESULTS} results"
    value, base = median_of(whole, ROUNDS), median_of(bare, ROUNDS)
    return [Figure(what, value, "s", 3.0, base, "reading their JSON")]


if __name__ == "__main__":
    print(*figures(), sep="\n")
