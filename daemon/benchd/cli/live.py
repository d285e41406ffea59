"""The live view of a run on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchd.cli.tables import COLOURS, clean, job_state, where
from benchd.core.headline import cell_text, span

ROWS = 24  # jobs shown at once: what a small terminal has room for; the live ones come first
_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


def live(looks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Draw every look over the last one; return the last."""
    seen: Mapping[str, Any] = {}
    with Live(refresh_per_second=4, transient=False) as screen:
        for seen in looks:
            screen.update(picture(seen, time.time()))
    return seen


def picture(run: Mapping[str, Any], now: float) -> RenderableType:
    """Return one picture of a run: headline, progress, jobs."""
    jobs = run["job_list"]
    waiting = [j for j in jobs if j["state"] not in _ENDED]
    over = [j for j in jobs if j["state"] in _ENDED]
    shown = [*waiting, *reversed(over)][:ROWS]
    parts: list[RenderableType] = [_headline(run, now), _progress(run), Text(), _jobs(shown, now)]
    if len(jobs) > len(shown):
        parts.append(Text(f"… and {len(jobs) - len(shown)} more", style="dim"))
    return Group(*parts)


def _headline(run: Mapping[str, Any], now: float) -> Text:
    word = str(run["outcome"] or run["phase"])
    line = Text.assemble(
        (clean(run["name"]), "bold"),
        f"  {run['id']} on {run['cluster']}  ",
        (word, COLOURS.get(word, "bold cyan")),
        (f"  {span((run['finished'] or now) - run['created'])}", "dim"),
    )
    if run["why"]:
        line.append(f"\n{clean(run['why'])}")
    return line


def _progress(run: Mapping[str, Any]) -> RenderableType:
    done, total = run["measurements"]["done"], run["measurements"]["total"]
    if not total:
        return Text("services only: they stay until they are cancelled", style="dim")
    grid = Table.grid(padding=(0, 1))
    grid.add_row("measurements", ProgressBar(total, done, width=32), f"{done}/{total}")
    return grid


def _jobs(jobs: Iterable[Mapping[str, Any]], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("job", "point", "state", "slurm", "where", "time"):
        table.add_column(
            head, no_wrap=head != "where", justify="right" if head == "time" else "left"
        )
    for job in jobs:
        state = job_state(job)
        name = f"{job['name']} {_ordinal(job)}"
        times = job["times"]
        since = times["started"] or times["submitted"]
        spent = span((times["ended"] or now) - since) if since else ""
        table.add_row(
            Text(clean(name)),
            Text(clean(cell_text(job["cell"])), style="dim"),
            Text(clean(state), style=_colour(job)),
            Text(clean(job["slurm_id"] or "")),
            Text(clean(where(job)), style="dim"),
            Text(spent, style="dim"),
        )
    return table


def _ordinal(job: Mapping[str, Any]) -> str:
    parts = [f"#{job['repeat'] + 1}"] if job["role"] == "client" else []
    if job["replica"]:
        parts.append(f"replica {job['replica'] + 1}")
    if job["attempt"] > 1:
        parts.append(f"attempt {job['attempt']}")
    return " ".join(parts)


def _colour(job: Mapping[str, Any]) -> str:
    word = job["readiness"] if job["state"] == "RUNNING" and job["readiness"] else job["state"]
    return COLOURS.get(str(word), "")
