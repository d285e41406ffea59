"""Clusters as ``benchctl`` shows them: what is used of its budgets, and what is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchd.cli.tables import ago, show
from benchd.core.headline import NONE, span

HEADS = ("cluster", "link", "circuit", "rpc/min", "logins", "sessions", "poll", "last poll", "next")


def table(rows: Sequence[Mapping[str, Any]], now: float) -> None:
    """Print one line for each cluster."""
    show(
        HEADS,
        [
            (
                c["name"],
                c["link"],
                c["circuit"],
                _used(c["rpcs_used"], c["rpcs_per_minute"]),
                _used(c["logins_today"], c["logins_per_day"]),
                _used(c["channels"], c["channel_limit"]),
                span(c["poll_interval"]),
                ago(c["last_poll_at"], now),
                outlook(c, now),
            )
            for c in rows
        ],
        empty="no cluster is configured",
        numbers=(3, 4, 5, 6, 7),
        prose=(8,),
        spare=(6, 5, 2, 4, 3, 7),
    )


def _used(number: float, limit: float | None) -> str:
    return NONE if limit is None else f"{number:.0f}/{limit:g}"


def outlook(cluster: Mapping[str, Any], now: float) -> str:
    """Say since when a cluster does not answer, why, and what happens next."""
    since, why, then = cluster["unreachable_since"], cluster["detail"], cluster["next"]
    if since is not None and not cluster["paused"]:
        why = f"no answer for {ago(since, now)}" + (f": {why}" if why else "")
    if "benchctl cluster resume" in why:
        then = ""  # it has been said
    return "; ".join(part for part in (why, then) if part)
