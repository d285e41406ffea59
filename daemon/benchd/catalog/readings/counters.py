"""The server's own counters: their growth in the window, and whether a client's count agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.core.numbers import flag
from benchd.core.results import Flag, Severity

# Share by which a client and its server may count differently. Health checks, logging in and what
# a tool prepares stay below it in any run of some thousand requests; tools that count wrongly were
# seen to be off by 20 % and more.
LIMIT = 0.02


def document(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, JsonValue]:
    """Return ``server_metrics`` of a result; nothing unless it was read before and after."""
    if not before or not after:
        return {}
    grown: dict[str, JsonValue] = {
        name: after[name] - before.get(name, 0.0) for name in sorted(after)
    }
    return {"before": {**before}, "after": {**after}, "delta": grown}


def grown(server: Mapping[str, JsonValue], name: str) -> float | None:
    """Return by how much a counter has grown; None where it is not known."""
    delta = server.get("delta")
    value = delta.get(name) if isinstance(delta, dict) else None
    return value if isinstance(value, int | float) else None


def judged(
    tool: str, said: int, counted: float | None, *, what: str, slack: float
) -> Iterator[Flag]:
    """Judge a client's count by its server's; nothing is said where they agree.

    ``what`` is counted; ``slack`` is how many of it nobody counts.
    """
    if counted is None:
        detail = f"the server's own count of {what} is not known: {tool} was not checked by it"
        yield flag("not_cross_checked", Severity.INFO, limit=LIMIT, detail=detail)
        return
    words = f"{tool} reports {said} {what}, the server counted {counted:.0f}"
    off = (counted - said) / said if said else 0.0
    if counted < 0:
        words = f"the server's count of {what} went back by {-counted:.0f}: it was started again"
        yield flag("server_restarted", Severity.ERROR, value=counted, limit=0, detail=words)
    elif counted < said * (1 - LIMIT):
        yield flag("counter_mismatch", Severity.ERROR, value=off, limit=LIMIT, detail=words)
    elif counted > said * (1 + LIMIT) + slack:
        words += ": somebody else used it too"
        yield flag("counter_mismatch", Severity.WARN, value=off, limit=LIMIT, detail=words)
