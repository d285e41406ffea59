"""What databases count themselves, as the wrappers of their load generators note it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters
from benchd.catalog.readings.text import number, text

# Told by the same query and no counter.
_OTHERS = frozenset({"version", "running", "server_version_num"})


def pairs(said: str) -> dict[str, str]:
    """Return name -> text of lines with a tab."""
    found = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return {key: value.strip() for key, value in found}


def _counters(files: Mapping[str, bytes], name: str) -> dict[str, float]:
    said = pairs(text(files, f"result/{name}"))
    numbers = {key: number(value) for key, value in said.items() if key not in _OTHERS}
    return {key: value for key, value in numbers.items() if value is not None}


def server_metrics(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """Return the counters of before, after, and their growth; nothing where they are not known."""
    before, after = (_counters(files, f"status-{when}.txt") for when in ("before", "after"))
    return counters.document(before, after)
