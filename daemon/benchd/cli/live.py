"""The live view of a run on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchd.cli.follow import AWAY, trouble
from benchd.cli.paint import GAP, layout
from benchd.cli.tables import COLOURS, clean, job_state, short_ids, where
from benchd.core.headline import cell_text, span

ROWS = 24  # jobs shown at once at most; the live ones come first
AROUND = 6  # lines that are no jobs: headline, bar, the daemon, heads, how many more, the prompt
BAR = 32  # columns of the bar at most
_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
HEADS = ("job", "point", "state", "slurm", "where", "time")
SPARE = (4, 3, 1, 5)  # left out in this order on a narrow terminal; id and state always stay


def live(looks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Draw every look over the last one; return the last."""
    seen: Mapping[str, Any] = {}
    console = Console(file=sys.stdout)
    with Live(console=console, refresh_per_second=4, transient=False) as screen:
        for seen in looks:
            screen.update(picture(seen, time.time(), console.width, console.height))
    return seen


def picture(
    run: Mapping[str, Any], now: float, width: int = 80, height: int = 40
) -> RenderableType:
    """Return one picture of a run that fits the terminal: headline, progress, jobs."""
    jobs = run["job_list"]
    waiting = [j for j in jobs if j["state"] not in _ENDED]
    over = [j for j in jobs if j["state"] in _ENDED]
    shown = [*waiting, *reversed(over)][: max(min(ROWS, height - AROUND), 1)]
    short = short_ids([str(j["id"]) for j in jobs])
    parts: list[RenderableType] = [_headline(run, now), _progress(run, width)]
    if run.get("away"):
        parts.append(Text(AWAY, style="yellow"))
    elif run.get("trouble"):
        parts.append(Text(trouble(run["trouble"], now), style="yellow"))
    parts.append(_jobs(shown, short, now, width))
    if len(jobs) > len(shown):
        parts.append(Text(f"… and {len(jobs) - len(shown)} more", style="dim"))
    return Group(*parts)


def _headline(run: Mapping[str, Any], now: float) -> Text:
    word = str(run["outcome"] or run["phase"])
    return Text.assemble(
        (clean(run["name"]), "bold"),
        f"  {run['id']} on {run['cluster']}  ",
        (word, COLOURS.get(word, "bold cyan")),
        (f"  {span((run['finished'] or now) - run['created'])}", "dim"),
    )


def _progress(run: Mapping[str, Any], width: int) -> RenderableType:
    done, total = run["measurements"]["done"], run["measurements"]["total"]
    if not total:
        return Text("services only: they stay until they are cancelled", style="dim")
    grid = Table.grid(padding=(0, 1))
    count = f"{done}/{total}"
    room = width - len("measurements") - len(count) - 2
    bar = ProgressBar(total, done, width=max(min(BAR, room), 1))
    grid.add_row("measurements", bar, count)
    return grid


def _jobs(
    jobs: Sequence[Mapping[str, Any]], short: Mapping[str, str], now: float, width: int
) -> Table:
    rows = [
        (
            clean(short[str(job["id"])]),
            clean(cell_text(job["cell"])),
            clean(job_state(job)),
            clean(job["slurm_id"] or ""),
            clean(where(job)),
            _spent(job, now),
        )
        for job in jobs
    ]
    widths = layout(HEADS, rows, width, spare=SPARE) if rows else None
    chosen = list(widths or (0, 2))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for i in chosen:
        table.add_column(HEADS[i], no_wrap=True, justify="right" if HEADS[i] == "time" else "left")
    for job, row in zip(jobs, rows, strict=True):
        style = {"state": _colour(job), "job": ""}
        table.add_row(*(Text(row[i], style=style.get(HEADS[i], "dim")) for i in chosen))
    return table


def _spent(job: Mapping[str, Any], now: float) -> str:
    times = job["times"]
    since = times["started"] or times["submitted"]
    return span((times["ended"] or now) - since) if since else ""


def _colour(job: Mapping[str, Any]) -> str:
    word = job["readiness"] if job["state"] == "RUNNING" and job["readiness"] else job["state"]
    return COLOURS.get(str(word), "")
