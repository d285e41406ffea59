"""Tables: with rules and colour on a terminal, aligned plain text anywhere else."""

from __future__ import annotations

import os
import sys
import time
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
    "valid": "green",
    "invalid": "bold red",
    "finished": "dim",
}
SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"  # Python calls them unprintable
SHORTEN_LIMIT = 500  # ids; comparing each with each takes too long beyond
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
) -> None:
    """Print a table; columns in ``numbers`` are set flush right."""
    stream = out or sys.stdout
    cells = [["" if c is None else clean(c) for c in row] for row in rows]
    if not cells:
        print(empty, file=stream)
    elif on_terminal(stream):
        _rich(heads, cells, stream, set(numbers))
    else:
        _plain(heads, cells, stream, set(numbers))


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


def _rich(
    heads: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, numbers: set[int]
) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - 30 ms that only a terminal needs
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(c, style=COLOURS.get(c.partition(" ")[0], "")) for c in row))
    Console(file=out).print(table)


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
    """Return for each id its shortest beginning, cut at a dash, that no other one has.

    Run, role and name always stay, so that a job is never taken for its run.
    """
    if len(ids) > SHORTEN_LIMIT:
        return {name: name for name in ids}
    short: dict[str, str] = {}
    for name in ids:
        short[name] = next(
            (b for b in _beginnings(name) if sum(other.startswith(b) for other in ids) == 1), name
        )
    return short


def _beginnings(name: str) -> list[str]:
    """Return where an id may be cut: before point and repeat, replica, attempt."""
    parts = name.split("-")
    return ["-".join(parts[:n]) for n in range(len(parts) - 3, len(parts)) if n > 2]


def job_state(job: Mapping[str, Any]) -> str:
    """Write a job's state with what qualifies it."""
    words = [str(job["state"])]
    if job.get("readiness") not in {None, "UNKNOWN"}:
        words.append(str(job["readiness"]).lower())
    if job.get("substate"):
        words.append(str(job["substate"]))
    if job.get("why") and job["why"] != job["state"]:
        words.append(str(job["why"]))
    elif job.get("cancel_why") and job["state"] not in {"COMPLETED", "FAILED", "CANCELLED"}:
        words.append("ending")
    return " ".join(words)


def where(job: Mapping[str, Any]) -> str:
    """Write where a job runs: its endpoint, else its nodes, else Slurm's reason to wait."""
    endpoint = job.get("endpoint")
    if endpoint and job["state"] == "RUNNING":
        return f"{endpoint['host']}:{','.join(map(str, endpoint['ports']))}"
    return str(job.get("nodes") or (f"({job['reason']})" if job.get("reason") else ""))
