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
    lines = text(files, "result/tool.txt").splitlines()
    version = _VERSION.search(lines[1]) if len(lines) > 1 else None
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
        "co_safe": co_safe,
        "capabilities": capabilities,
    }
