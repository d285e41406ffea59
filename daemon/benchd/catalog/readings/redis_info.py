"""What Redis counts itself, of two answers to ``INFO all``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters
from benchd.catalog.readings.text import number, text

_KEPT = (
    *("uptime_in_seconds", "total_commands_processed", "total_connections_received"),
    *("rejected_connections", "keyspace_hits", "keyspace_misses", "expired_keys"),
    *("evicted_keys", "used_memory", "used_memory_peak", "total_error_replies"),
    *("used_cpu_sys", "used_cpu_user"),
)
_COMMAND = re.compile(r"cmdstat_([^:|]+)(?:\|[^:]+)?:(.*)")
# Commands by which clients introduce themselves and others look after a server: no load.
_CARE = frozenset(
    {"info", "config", "hello", "auth", "acl", "client", "command", "select", "ping", "cluster"}
)


def facts(said: str) -> dict[str, str]:
    """Return key -> text of what INFO says."""
    pairs = (line.strip().split(":", 1) for line in said.splitlines() if ":" in line)
    return {key: value for key, value in pairs if not key.startswith("#")}


def _numbers(said: str) -> dict[str, float]:
    pairs = facts(said)
    found = {key: value for key in _KEPT if (value := number(pairs.get(key))) is not None}
    for line in said.splitlines():
        match = _COMMAND.match(line.strip())
        for what in ("calls", "failed_calls", "rejected_calls") if match else ():
            field = re.search(rf"\b{what}=(\d+)", match[2]) if match else None
            if match and field:
                key = f"{what}.{match[1]}"
                found[key] = found.get(key, 0.0) + float(field[1])
    return found


def server_metrics(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """Return the counters of before, after, and their growth; nothing where they are not known."""
    before, after = (
        _numbers(text(files, f"result/info-{when}.txt")) for when in ("before", "after")
    )
    return counters.document(before, after)


def version(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """Return the server's version, as a fact about the service."""
    said = facts(text(files, "result/info-before.txt")).get("redis_version")
    return {"version": said} if said else {}


def _of(server: Mapping[str, JsonValue], what: str, care: frozenset[str]) -> Iterator[float]:
    delta = server.get("delta")
    for key, value in delta.items() if isinstance(delta, dict) else ():
        kind, _, command = key.partition(".")
        if kind == what and command not in care and isinstance(value, int | float):
            yield value


def calls(server: Mapping[str, JsonValue], *, pings: bool = False) -> float | None:
    """Return how many commands the server was given, without those that only look after it."""
    care = _CARE - {"ping"} if pings else _CARE
    found = [*_of(server, "calls", care), *_of(server, "rejected_calls", care)]
    return sum(found) if found else counters.grown(server, "total_commands_processed")


def failures(server: Mapping[str, JsonValue]) -> int | None:
    """Return how many of them were answered by an error; None where it does not count them."""
    failed = [*_of(server, "failed_calls", _CARE)]
    return int(sum(failed) + sum(_of(server, "rejected_calls", _CARE))) if failed else None
