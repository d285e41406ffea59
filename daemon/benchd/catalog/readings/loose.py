"""JSON that may be anything: readers that never fail, and give nothing for what is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from benchd.catalog.readings.text import MOST
from benchd.core.numbers import is_finite


def parsed(data: bytes | str) -> Mapping[str, JsonValue]:
    """Return a JSON object; an empty one for what is none."""
    try:
        return fields(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def fields(value: object) -> Mapping[str, JsonValue]:
    """Return an object's fields."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[JsonValue]:
    """Return the elements of a list."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return a number; None for what is none, or none to reckon with."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return float(value) if abs(value) < MOST else None
