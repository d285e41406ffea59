"""What stays: the output of a job as it grows, and a run until it is over."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchd.cli.tables import clean, job_state, on_terminal
from benchd.cli.wire import NO, NO_DAEMON, OK, Daemon, Stop, segment

LOOK = 0.5  # seconds between two looks at a run: quick enough to feel live, 2 requests a second
LOG_LOOK = 2.0  # seconds between two looks at a growing log: each one is a command over SSH
PATIENCE = 60.0  # seconds for which a daemon may be away (a restart, an upgrade) while we watch


def logs(daemon: Daemon, args: argparse.Namespace) -> int:
    """Print a job's output; with -f, go on until the job is over."""
    stream = "err" if args.stderr else "out"
    pieces = _pieces(daemon, args.job, stream, follow=args.follow)
    if args.tail is not None and not args.follow:
        text = "".join(piece["text"] for piece in pieces)
        _write(args, {"stream": stream}, _last_lines(text, args.tail))
        return OK
    if args.tail is not None:
        pieces = _from_tail(pieces, args.tail)
    for piece in pieces:
        _write(args, piece, piece["text"])
    return OK


def _pieces(daemon: Daemon, word: str, stream: str, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield the log piece by piece; an empty piece each time that the end was reached."""
    offset, path = 0, f"/v1/jobs/{segment(word)}/logs"
    while True:
        piece = daemon.get(path, stream=stream, offset=offset)
        yield piece
        offset = piece["next_offset"]
        if piece["text"]:
            continue
        if not follow or piece["over"]:
            return
        time.sleep(LOG_LOOK)


def _from_tail(pieces: Iterator[dict[str, Any]], lines: int) -> Iterator[dict[str, Any]]:
    """Yield only the last lines of what is there already, then everything that comes."""
    text = ""
    for piece in pieces:
        text += piece["text"]
        if not piece["text"]:
            yield {**piece, "text": _last_lines(text, lines)}
            break
    yield from pieces


def _last_lines(text: str, number: int) -> str:
    return "".join(deque(text.splitlines(keepends=True), maxlen=number))


def _write(args: argparse.Namespace, piece: Mapping[str, Any], text: str) -> None:
    if args.json:
        print(json.dumps({"schema": "benchd.log/1", **piece, "text": text}, ensure_ascii=False))
    elif on_terminal(sys.stdout):
        # A job's output may hold escape codes that would take over the terminal.
        sys.stdout.write("".join(c if c in "\n\t" or c.isprintable() else "" for c in text))
    else:
        sys.stdout.write(text)
    sys.stdout.flush()


def watch(daemon: Daemon, args: argparse.Namespace) -> int:
    """Show a run live until it is over; its outcome is the exit status."""
    run = args.of_run or _newest(daemon)
    if args.json:
        return _watch_json(daemon, run)
    if on_terminal(sys.stdout):
        from benchd.cli.live import live  # noqa: PLC0415 - rich takes 50 ms to load

        return verdict(live(looks(daemon, run)))
    return until_over(daemon, run, quiet=False)


def _newest(daemon: Daemon) -> str:
    runs = daemon.get("/v1/runs", limit=1)["runs"]
    if not runs:
        raise Stop("there is no run to watch: benchctl submit FILE", NO)
    return str(runs[0]["id"])


def looks(
    daemon: Daemon, run: str, check: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """Yield the run again and again, the last time when it is over; ``check`` may end it."""
    path, away_since = f"/v1/runs/{segment(run)}", None
    while True:
        try:
            seen = daemon.get(path)
        except Stop as stop:
            if stop.status != NO_DAEMON:
                raise
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE:
                raise
        else:
            away_since = None
            yield seen
            if seen["outcome"] is not None:
                return
        check()
        time.sleep(LOOK)


def verdict(run: Mapping[str, Any]) -> int:
    """Return the exit status that a run's outcome means."""
    return OK if run["outcome"] == "PASSED" else NO


def until_over(daemon: Daemon, run: str, *, quiet: bool) -> int:
    """Wait for the end of a run, one line for each change unless ``quiet``."""
    before: dict[str, str] = {}
    seen: dict[str, Any] = {}
    for seen in looks(daemon, run):
        if not quiet:
            for line in changes(seen, before):
                print(line, flush=True)
    return verdict(seen)


def changes(run: Mapping[str, Any], before: dict[str, str]) -> list[str]:
    """Return a line for everything that differs from ``before``, which is brought up to date."""
    lines = []
    for job in run["job_list"]:
        state = job_state(job)
        if before.get(job["id"]) != state:
            before[job["id"]] = state
            detail = f": {job['detail']}" if job["detail"] and job["state"] == "FAILED" else ""
            lines.append(clean(f"{job['role']:<8} {job['id']}  {state}{detail}"))
    phase = run["outcome"] or run["phase"]
    done = run["measurements"]
    word = f"{phase}, {done['done']} of {done['total']} measurements done"
    if before.get("") != word:
        before[""] = word
        why = f": {run['why']}" if run["why"] else ""
        lines.append(clean(f"run      {run['id']}  {word}{why}"))
    return lines


def _watch_json(daemon: Daemon, run: str) -> int:
    last, seen = "", {}
    for seen in looks(daemon, run):
        text = json.dumps(seen, ensure_ascii=False)
        if text != last:
            print(text, flush=True)
            last = text
    return verdict(seen)
