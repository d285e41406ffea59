"""The server's own counters: their growth in the window, and whether a client's count agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from benchd.core.numbers import flag
from benchd.core.results import Flag, Severity

# Share by which a client and its server may count differently. Health checks, logging in and what
# a tool prepares stay below it in any run of some thousand requests; tools that count wrongly were
# seen to be off by 20 % and more.
LIMIT = 0.02
# When a process began, on a Prometheus page: no counter.
_BEGAN = "process_start_time_seconds"


def document(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, JsonValue]:
    """Return ``server_metrics`` of a result; nothing unless it was read before and after."""
    if not before or not after:
        return {}
    grown: dict[str, JsonValue] = {
        name: after[name] - before.get(name, 0.0) for name in sorted(after)
    }
    return {"before": {**before}, "after": {**after}, "delta": grown}


def of_targets(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> dict[str, JsonValue]:
    """Return ``server_metrics`` of all replicas together; nothing unless each of them has told."""
    if len(before) != len(after) or not all((*before, *after)):
        return {}
    return document(_sum(before), _sum(after))


def _sum(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if len(rows) == 1:
        return dict(rows[0])
    names = {name for row in rows for name in row if name != _BEGAN}
    return {name: sum(row.get(name, 0.0) for row in rows) for name in sorted(names)}


def restarted(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> Iterator[Flag]:
    """Say that a server was started again: a counter went back, or its process is another one."""
    for one, other in zip(before, after, strict=False):
        if not one or not other:
            continue
        back = [name for name, value in one.items() if other.get(name, 0.0) < value]
        if back or other.get(_BEGAN) != one.get(_BEGAN):
            name = back[0] if back else _BEGAN
            value = other.get(name, 0.0) - one.get(name, 0.0)
            words = f"{name} changed by {value:.10g}: the server was started again, or another one "
            words += "answers at this address"
            yield flag("server_restarted", Severity.ERROR, value=value, limit=0, detail=words)
            return


def grown(server: Mapping[str, JsonValue], name: str) -> float | None:
    """Return by how much a counter has grown; None where it is not known."""
    delta = server.get("delta")
    value = delta.get(name) if isinstance(delta, dict) else None
    return value if isinstance(value, int | float) else None


def judged(
    tool: str,
    said: int,
    counted: float | None,
    *,
    what: str,
    slack: float,
    code: str = "counter_mismatch",
    limit: float = LIMIT,
) -> Iterator[Flag]:
    """Judge a client's count by its server's; nothing is said where they agree.

    ``what`` is counted; ``slack`` is how many of it nobody counts.
    """
    if counted is None:
        detail = f"the server's own count of {what} is not known: {tool} was not checked by it"
        yield flag("not_cross_checked", Severity.INFO, limit=limit, detail=detail)
        return
    words = f"{tool} reports {said} {what}, the server counted {counted:.0f}"
    off = (counted - said) / said if said else 0.0
    if counted < 0:
        words = f"the server's count of {what} went back by {-counted:.0f}: it was started again"
        yield flag("server_restarted", Severity.ERROR, value=counted, limit=0, detail=words)
    elif counted < said * (1 - limit):
        severity = Severity.ERROR if counted < said * (1 - LIMIT) else Severity.WARN
        yield flag(code, severity, value=off, limit=limit, detail=words)
    elif counted > said * (1 + limit) + slack:
        words += ": somebody else used it too"
        yield flag(code, Severity.WARN, value=off, limit=limit, detail=words)
