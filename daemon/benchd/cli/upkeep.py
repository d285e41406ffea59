"""Commands beside the main path: drain, reap, adopt, gc."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchd.cli.commands import emit
from benchd.cli.tables import clean, count, show
from benchd.cli.wire import NO, OK, Daemon, segment

PATIENCE = 605.0  # seconds for what works on the clusters; the daemon itself gives up after 600
KEPT_FOR = "7d"  # how long the directory of a closed run is kept unless asked otherwise


def drain(daemon: Daemon, args: argparse.Namespace) -> int:
    """Let the daemon submit nothing new, or go on."""
    answer = daemon.post("/v1/drain", {"on": not args.off})
    if args.json:
        return emit(answer)
    if not answer["draining"]:
        print(f"submitting again: {count(answer['waiting'], 'job')} held back")
        return OK
    print(
        f"draining: {count(answer['sent'], 'job')} to be seen to the end, {answer['waiting']} "
        "waiting for `benchctl drain --off`"
    )
    return OK


def reap(daemon: Daemon, args: argparse.Namespace) -> int:
    """End jobs of our name that no book has as live, or list them."""
    daemon.patience = PATIENCE
    answer = daemon.post("/v1/reap", {"cluster": args.cluster, "dry_run": args.dry_run})
    status = NO if answer["unseen"] else OK
    if args.json:
        emit(answer)
        return status
    show(
        ("cluster", "slurm id", "state", "nodes", "job", "why", ""),
        [
            (
                row["cluster"],
                row["slurm_id"],
                row["state"],
                row["nodes"],
                row["token"],
                row["why"],
                "ended" if row["ended"] else "would be ended",
            )
            for row in answer["strays"]
        ],
        empty="no job of our name is in Slurm but in no book",
        prose=(5,),
        spare=(3, 2),
    )
    _unseen(answer["unseen"])
    return status


def _unseen(unseen: Mapping[str, str]) -> None:
    for cluster, why in unseen.items():
        print(f"benchctl: {cluster} was not seen: {clean(why)}", file=sys.stderr)


def adopt(daemon: Daemon, args: argparse.Namespace) -> int:
    """Take a job that Slurm has, and no book, back into the books."""
    daemon.patience = PATIENCE
    path = f"/v1/clusters/{segment(args.cluster)}/adopt"
    answer = daemon.post(path, {"slurm_id": args.slurm_id})
    if args.json:
        return emit(answer)
    for token in answer["jobs"]:
        print(f"adopted {token}")
    print(
        f"run {answer['run']} goes on with what is adopted; what it had not submitted when the "
        "books were lost is not made again: submit the recipe for that"
    )
    return OK


def gc(daemon: Daemon, args: argparse.Namespace) -> int:
    """Remove the directories on the clusters of runs whose results are home for long."""
    daemon.patience = PATIENCE
    body = {"older_than": args.older_than, "dry_run": args.dry_run}
    answer = daemon.post("/v1/gc", body)
    failed = [row for row in answer["runs"] if not row["run"]]
    status = NO if failed else OK
    if args.json:
        emit(answer)
        return status
    _old_runs([row for row in answer["runs"] if row["run"]])
    _unseen({row["cluster"]: row["kept"] for row in failed})
    return status


def _old_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    show(
        ("cluster", "run", "name", "directory"),
        [(row["cluster"], row["run"], row["name"], _fate(row)) for row in rows],
        empty="no run has a directory on a cluster",
        prose=(3,),
        spare=(2, 0),
    )


def _fate(row: Mapping[str, Any]) -> str:
    if row["kept"]:
        return f"kept: {row['kept']}"
    return "removed" if row["removed"] else "would be removed"
