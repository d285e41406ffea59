"""What is known of a tool of others: which one ran, and what it can be trusted with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

from benchd.catalog.readings.text import text

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
    # path, image (empty on the host), and what it says of itself
    lines = text(files, "result/tool.txt").splitlines()
    version = next((found for line in lines[2:] if (found := _VERSION.search(line))), None)
    capabilities: dict[str, JsonValue] = {
        "co_safe": co_safe,
        "percentiles": [*percentiles],
        "raw_samples": raw_samples,
        "errors_counted": errors_counted,
    }
    return {
        "tool": name,
        "tool_version": version[0] if version else None,
        "path": lines[0] if lines else None,
        "source": ("image" if lines[1] else "host") if len(lines) > 1 else None,
        "co_safe": co_safe,
        "capabilities": capabilities,
    }


def seed(files: Mapping[str, bytes]) -> int | None:
    """Return the seed that a wrapper has chosen."""
    said = text(files, "result/seed.txt").strip()
    return int(said) if said.isdecimal() else None
