"""What is known of a tool of others: which one ran, and what it can be trusted with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings.loose import number
from benchd.catalog.readings.text import of_planned, text
from benchd.core import flags as limits
from benchd.core.numbers import flag
from benchd.core.results import Flag, Severity

_DIGITS = 20  # of a seed
_TRACEBACK = "Traceback (most recent call last)"
_VERSION = re.compile(r"\d+(?:\.\d+)+[^\s,)]*")


def client(
    files: Mapping[str, bytes],
    name: str,
    *,
    co_safe: bool,
    percentiles: tuple[str, ...],
    raw_samples: bool,
    errors_counted: bool,
) -> dict[str, JsonValue]:
    """Return ``provenance.client``: the tool as its preflight met it, and its capabilities.

    ``co_safe``: latencies hold when the server stalls; ``errors_counted``: a failed request never
    counts as a good one.
    """
    capabilities: dict[str, JsonValue] = {
        "co_safe": co_safe,
        "percentiles": [*percentiles],
        "raw_samples": raw_samples,
        "errors_counted": errors_counted,
    }
    return {
        "tool": name,
        **place(files, "tool.txt"),
        "co_safe": co_safe,
        "capabilities": capabilities,
    }


def place(files: Mapping[str, bytes], name: str) -> dict[str, JsonValue]:
    """Return which program it was and where it was found, as the job has noted before it ran."""
    # path, image (empty on the host), and what it says of itself
    lines = text(files, f"result/{name}").splitlines()
    version = next((found for line in lines[2:] if (found := _VERSION.search(line))), None)
    return {
        "tool_version": version[0] if version else None,
        "path": lines[0] if lines else None,
        "source": ("image" if lines[1] else "host") if len(lines) > 1 else None,
    }


def troubles(
    tool: str, files: Mapping[str, bytes], name: str, pattern: str = r"(?!)"
) -> Iterator[Flag]:
    """Say that a tool has reported an error: a line of the pattern, or a traceback of Python's.

    Whatever its status was, and whatever numbers it has printed.
    """
    lines = [line.rstrip() for line in text(files, f"result/{name}").splitlines()]
    found = [line.strip() for line in lines if re.search(pattern, line)]
    for at, line in enumerate(lines):
        if _TRACEBACK in line:  # what it is about stands behind the indented lines
            after = (each for each in lines[at + 1 :] if each and not each.startswith(" "))
            found.append(next(after, line).strip())
    if found:
        detail = f"{tool} says: {found[0][:300]}"
        yield flag("tool_error", Severity.ERROR, value=len(found), limit=0, detail=detail)


def delivery(
    tool: str, wanted: object, achieved: float | None, sent: int, *, capped: bool
) -> Iterator[Flag]:
    """Say that a tool has sent less than the rate it was told.

    ``capped``: so many in flight at most were asked for, so the others waited. Random arrivals are
    a few more or less: three standard deviations are chance.
    """
    rate = number(wanted)
    if not rate or achieved is None or sent < 2:
        return
    share = achieved / rate
    if share >= limits.DELIVERY - 3 / math.sqrt(sent):
        return
    why = "the others waited for a place" if capped else f"{tool} could not send more"
    detail = f"{of_planned(achieved, rate)}: {why}"
    severity = Severity.WARN if capped else Severity.ERROR
    yield flag("under_delivery", severity, value=share, limit=limits.DELIVERY, detail=detail)


def seed(files: Mapping[str, bytes]) -> int | None:
    """Return the seed that a wrapper has chosen."""
    said = text(files, "result/seed.txt").strip()
    return int(said) if said.isdecimal() and len(said) <= _DIGITS else None
