"""Tables: with rules and colour on a terminal, aligned plain text anywhere else."""

from __future__ import annotations

import os
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from benchd.core.headline import NONE

COLOURS = {
    "COMPLETED": "green",
    "PASSED": "bold green",
    "READY": "green",
    "RUNNING": "cyan",
    "PENDING": "yellow",
    "SUBMITTED": "yellow",
    "STARTING": "yellow",
    "UNREADY": "red",
    "FAILED": "bold red",
    "INVALID": "bold red",
    "CANCELLED": "dim",
    "up": "green",
    "local": "green",
    "down": "red",
    "paused": "yellow",
    "idle": "dim",
    "valid": "green",
    "invalid": "bold red",
    "finished": "dim",
}
SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"  # Python calls them unprintable
GAP = "  "  # between two columns of plain text


def on_terminal(out: TextIO) -> bool:
    """Tell whether a person looks at this output."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


def clean(text: object) -> str:
    """Return text without control characters: what comes from a cluster may hold escape codes."""
    return "".join(c if c.isprintable() or c in SPACES else "�" for c in str(text))


def show(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    out: TextIO | None = None,
    empty: str = "nothing",
    numbers: Sequence[int] = (),
    prose: Sequence[int] = (),
    spare: Sequence[int] = (),
) -> None:
    """Print a table; columns in ``numbers`` are set flush right.

    On a terminal only ``prose`` is broken into lines. Where the rest has no room, the columns in
    ``spare`` are left out, the first one first; then each row becomes a block of its own.
    """
    stream = out or sys.stdout
    cells = [["" if c is None else clean(c) for c in row] for row in rows]
    if not cells:
        print(empty, file=stream)
    elif not on_terminal(stream):
        _plain(heads, cells, stream, set(numbers))
    else:
        from benchd.cli.paint import paint  # noqa: PLC0415 - rich takes 30 ms

        paint(heads, cells, stream, numbers=set(numbers), prose=set(prose), spare=spare)


def _plain(
    heads: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, numbers: set[int]
) -> None:
    table = [[h.upper() for h in heads], *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    for row in table:
        line = GAP.join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(line.rstrip(), file=out)


def ago(at: float | None, now: float | None = None) -> str:
    """Write how long ago a moment was."""
    if at is None:
        return NONE
    seconds = max((time.time() if now is None else now) - at, 0.0)
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id its shortest beginning, cut at a dash, that means nothing else.

    Run, role and name always stay, so that a job is never taken for its run. A beginning that
    several attempts at the same thing share means the newest of them.
    """
    newest: dict[str, str] = {}
    for name in ids:
        slot = _slot(name)[0]
        newest[slot] = max(newest.get(slot, name), name, key=lambda n: _slot(n)[1])
    slots = sorted(newest)
    short: dict[str, str] = {}
    for name in ids:
        slot = _slot(name)[0]
        cuts = _beginnings(slot) if newest[slot] == name else []
        short[name] = next((b for b in cuts if _sharing(b, slots) == 1), name)
    return short


def _sharing(beginning: str, names: Sequence[str]) -> int:
    """Return how many of the sorted names begin so."""
    return bisect_left(names, f"{beginning}\U0010ffff") - bisect_left(names, beginning)


def _slot(name: str) -> tuple[str, int]:
    """Split an id into what is attempted and which attempt it is."""
    slot, mark, attempt = name.rpartition("-a")
    return (slot, int(attempt)) if mark and attempt.isdigit() else (name, 0)


def _beginnings(slot: str) -> list[str]:
    """Return where an id may be cut: before point and repeat, and before the replica."""
    parts = slot.split("-")
    return ["-".join(parts[:n]) for n in range(len(parts) - 2, len(parts) + 1) if n > 2]


def job_state(job: Mapping[str, Any]) -> str:
    """Write a job's state with what qualifies it."""
    words = [str(job["state"])]
    if job.get("readiness") not in {None, "UNKNOWN"}:
        words.append(str(job["readiness"]).lower())
    if job.get("substate"):
        words.append(str(job["substate"]))
    if job.get("why") and job["why"] != job["state"]:
        words.append(str(job["why"]))
    elif job["state"] == "FAILED" and (job.get("exit_code") or job.get("signal")):
        sort = "signal" if job.get("signal") else "exit"
        words.append(f"{sort} {job.get('signal') or job['exit_code']}")
    elif job.get("cancel_why") and job["state"] not in {"COMPLETED", "FAILED", "CANCELLED"}:
        words.append("ending")
    return " ".join(words)


def where(job: Mapping[str, Any]) -> str:
    """Write where a job runs: its endpoint, else its nodes, else Slurm's reason to wait."""
    endpoint = job.get("endpoint")
    if endpoint and job["state"] == "RUNNING":
        return f"{endpoint['host']}:{','.join(map(str, endpoint['ports']))}"
    return str(job.get("nodes") or (f"({job['reason']})" if job.get("reason") else ""))


def count(number: int, thing: str) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return f"{number} {thing}" + ("" if number == 1 else "s")
