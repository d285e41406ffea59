"""What it costs to refuse the worst that can lie in the inbox, beside reading a usual recipe.

Nothing here needs a Slurm: ``python tests/bench/bombs.py`` prints these lines alone.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 0)]

# ruff: noqa: E402 - the tests' support is importable only from here on
from figures import Figure

from benchd.catalog import CATALOG
from benchd.core.recipe import parse
from benchd.errors import RecipeError
from benchd.yamldoc import read
from support.bombs import BOMBS

ROUNDS = 5  # the best of them: what is asked is the work, not what else the machine did
REPO = Path(__file__).resolve().parents[2]


def reading(data: bytes) -> float:
    """Return the seconds of work that the reader takes for a text."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        with contextlib.suppress(RecipeError):
            read(data, "bomb.yaml", RecipeError)
        best = min(best, time.process_time() - start)
    return best


def judging(data: bytes) -> float:
    """Return the seconds until the whole answer is there: read, checked, every mistake said."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        with contextlib.suppress(RecipeError):
            parse(data, "bomb.yaml", CATALOG)
        best = min(best, time.process_time() - start)
    return best


def plainly(data: bytes) -> float:
    """Return the seconds that PyYAML's own safe loader takes for a usual recipe."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        best = min(best, time.process_time() - start)
    return best


def figures() -> list[Figure]:
    """Return the lines of the table."""
    usual = (REPO / "recipes" / "redis.yaml").read_bytes()
    worst = max(reading(data) for data in BOMBS.values())
    answer = max(judging(data) for data in BOMBS.values())
    base, what = plainly(usual) * 1000, "a recipe by PyYAML"
    return [
        Figure(
            f"worst of {len(BOMBS)} YAML bombs, refused by the reader", worst * 1000, "ms", 10.0
        ),
        Figure("the same, with every mistake said", answer * 1000, "ms", 100.0),
        Figure("a usual recipe, read", reading(usual) * 1000, "ms", 2.0, base, what),
    ]


if __name__ == "__main__":
    print(*figures(), sep="\n")
