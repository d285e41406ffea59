"""What a reader is told of the flags that results have: how far beyond which limit, what to do.

Pure. What each kind of flag means is in ``benchd.core.flags``; here are the units of its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchd.core.flags import FLAGS
from benchd.core.flags_words import Doubt
from benchd.core.headline import figure

_EVERY = {code: doubt for section in FLAGS.values() for code, doubt in section.items()}
# Of value and limit of each flag that has them; what begins with % is kept as a share of one.
UNITS = {
    "cache_hit_rate": "% of the tokens",
    "client_cpu": "% of a core",
    "clock_step": "s",
    "coarse_clock": "s",
    "conn_errors": "connections",
    "counter_mismatch": "%",
    "counts_mismatch": "requests",
    "deadlocks": "deadlocks",
    "dropped": "arrivals",
    "ended_early": "requests",
    "error_rate": "% of the requests",
    "insufficient_samples": "samples",
    "latency_clipped": "ms",
    "long_output": "% of the answers",
    "loop_lag_p99": "ms",
    "misses": "% of the reads",
    "no_work": "requests",
    "nodes_missing": "nodes",
    "peak_not_held": "% of the requests",
    "peak_of_client": "% of a core",
    "prompt_len_mismatch": "%",
    "reconnects": "connections",
    "replica_idle": "replicas",
    "resent": "% of the requests",
    "generator_behind": "ms",
    "send_lag_p99": "ms",
    "server_errors": "errors",
    "service_not_observed": "s",
    "short_output": "% of the answers",
    "short_steps": "% of a step",
    "short_window": "s",
    "slower_than_ceiling": "% of the rate",
    "start_spread": "ms",
    "stored_mismatch": "documents",
    "token_mismatch": "%",
    "tokens_estimated": "answers",
    "under_delivery": "% of the planned rate",
    "warmup_errors": "requests",
}
# Of these a number without a unit says all: they count what their words name.
COUNTS = frozenset(
    {
        "bad_metrics",
        "bad_number",
        "client_*",
        "incomplete",
        "lists_left_alone",
        "metrics_left_out",
        "not_recomputed",
        "recounted",
        "same_node_client",
        "server_restarted",
        "spark_uneven",
        "tool_error",
    }
)
# The exit status is no quantity, and its words name it.
NO_QUANTITY = frozenset({"job_failed"})


def doubt(code: str) -> Doubt | None:
    """Return what there is to say about a flag; None of one that is not known (any more)."""
    starts = (known for known in _EVERY if known.endswith("*") and code.startswith(known[:-1]))
    return _EVERY.get(code) or next((_EVERY[known] for known in starts), None)


def advice(code: str) -> str:
    """Return what to do about a flag; words between backticks are what one writes."""
    found = doubt(code)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", found.advice) if found is not None else ""


def reach(code: str, values: Sequence[float | None], limits: Sequence[float | None]) -> str:
    """Write values and limits of flags of one kind with their unit; empty where there are none."""
    known = [value for value in values if value is not None]
    if not known or code in NO_QUANTITY:
        return ""
    unit = UNITS.get(code, "")
    said = _between(known, unit)
    bounds = [limit for limit in limits if limit is not None]
    short = "%" if unit.startswith("%") else unit if unit in {"ms", "s"} else ""
    return f"{said}; limit {_between(bounds, short)}" if bounds else said


def _between(numbers: Sequence[float], unit: str) -> str:
    scale = 100.0 if unit.startswith("%") else 1.0
    ends = dict.fromkeys(figure(scale * each) for each in (min(numbers), max(numbers)))
    return f"{' to '.join(ends)}\N{NO-BREAK SPACE}{unit}" if unit else " to ".join(ends)
