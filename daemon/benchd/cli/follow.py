"""What stays: the output of a job as it grows, and a run until it is over."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from benchd.cli.tables import ago, clean, job_state, on_terminal, short_ids
from benchd.cli.wire import NO, NO_DAEMON, OK, Daemon, Stop, segment

LOOK = 0.5  # seconds between two looks at a run: quick enough to feel live, 2 requests a second
LOG_LOOK = 2.0  # seconds between two looks at a growing log: each one is a command over SSH
PATIENCE = 60.0  # seconds for which a daemon may be away (a restart, an upgrade) while we watch
QUICK = 1.2  # seconds for an answer while we watch: with LOOK, silence is noticed within two
AWAY = "the daemon does not answer; waiting"
ANSWERS = "the cluster answers again"


def logs(daemon: Daemon, args: argparse.Namespace) -> int:
    """Print a job's output; with -f, go on until the job is over."""
    try:
        return _logs(daemon, args)
    except KeyboardInterrupt:
        if args.follow:
            with suppress(Stop):
                _goes_on(daemon.get(f"/v1/jobs/{segment(args.job)}")["run"])
        raise


def _logs(daemon: Daemon, args: argparse.Namespace) -> int:
    stream = "err" if args.stderr else "out"
    pieces = _pieces(daemon, args.job, stream, follow=args.follow)
    if not args.json:
        pieces = _with_notes(pieces)
    if args.tail is not None and not args.follow:
        text = "".join(piece["text"] for piece in pieces)
        _write(args, {"stream": stream}, _last_lines(text, args.tail))
        return OK
    if args.tail is not None:
        pieces = _from_tail(pieces, args.tail)
    for piece in pieces:
        _write(args, piece, piece["text"])
    return OK


def _with_notes(pieces: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say on stderr why there is no output, each time that the reason changes."""
    said = ""
    for piece in pieces:
        if piece["note"] not in {"", said}:
            said = piece["note"]
            print(f"benchctl: {clean(said)}", file=sys.stderr, flush=True)
        yield piece


def _goes_on(run: str) -> None:
    """Say after Ctrl-C that only the looking ended."""
    after = "\n" if sys.stderr.isatty() else ""  # the terminal has written ^C
    print(f"{after}benchctl: the run goes on; benchctl watch {run} looks again", file=sys.stderr)


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
    try:
        if args.json:
            return _watch_json(daemon, run)
        if on_terminal(sys.stdout):
            from benchd.cli.live import live  # noqa: PLC0415 - rich takes 50 ms to load

            seen = live(looks(daemon, run))
            print("\n".join(ending(seen)))
            return verdict(seen)
        return until_over(daemon, run, quiet=False)
    except KeyboardInterrupt:
        _goes_on(run)
        raise


def _newest(daemon: Daemon) -> str:
    runs = daemon.get("/v1/runs", limit=1)["runs"]
    if not runs:
        raise Stop("there is no run to watch: benchctl submit FILE", NO)
    return str(runs[0]["id"])


def looks(
    daemon: Daemon, run: str, check: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """Yield the run again and again, the last time when it is over; ``check`` may end it.

    While the daemon does not answer, what was seen last comes with ``"away"`` true. A daemon that
    has never answered is not waited for.
    """
    path, last = f"/v1/runs/{segment(run)}", None
    away_since: float | None = None
    daemon.patience = QUICK
    while True:
        asked = time.monotonic()
        try:
            seen = daemon.get(path)
        except Stop as stop:
            now = time.monotonic()
            if last is None or stop.status != NO_DAEMON:
                raise
            away_since = away_since or asked
            left = PATIENCE - (now - away_since)
            if left <= 0:
                raise Stop(f"{stop} (waited {PATIENCE:.0f} s for it)", stop.status) from stop
            daemon.patience = min(daemon.patience * 2, max(left, QUICK))  # it may only be slow
            yield {**last, "away": True}
        else:
            last, away_since = seen, None
            daemon.patience = max(QUICK, 3 * (time.monotonic() - asked))
            yield {**seen, "away": False}
            if seen["outcome"] is not None:
                return
        check()
        time.sleep(LOOK)


def _answers(seen: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the daemon said; say on stderr when it falls silent, and when it is back."""
    was_away = False
    for look in seen:
        is_away = look.pop("away")
        if is_away is not was_away:
            words = AWAY if is_away else "the daemon answers again"
            print(f"benchctl: {words}", file=sys.stderr, flush=True)
        was_away = is_away
        if not is_away:
            yield look


def verdict(run: Mapping[str, Any]) -> int:
    """Return the exit status that a run's outcome means."""
    return OK if run["outcome"] == "PASSED" else NO


def ending(run: Mapping[str, Any]) -> list[str]:
    """Return the last lines about a run that is over: its outcome, and the first reason."""
    done, total = run["measurements"]["done"], run["measurements"]["total"]
    lines = [f"{run['outcome']}  {run['name']}  {run['id']}  {done}/{total} measurements done"]
    failed = [job for job in run["job_list"] if job["state"] == "FAILED"]
    if run["outcome"] == "PASSED":
        return [clean(line) for line in lines]
    because = f"because: {run['why'] or 'nothing is known'}"
    if failed:
        words = run["last_words"].get(failed[0]["token"])
        short = short_ids([str(job["id"]) for job in run["job_list"]])
        because += f", “{words}”" if words and words not in because else ""
        because += f"; see benchctl why {short[str(failed[0]['id'])]}"
    lines.append(because)
    return [clean(line) for line in lines]


def until_over(daemon: Daemon, run: str, *, quiet: bool) -> int:
    """Wait for the end of a run, one line for each change unless ``quiet``."""
    before: dict[str, str] = {}
    seen: dict[str, Any] = {}
    for seen in _answers(looks(daemon, run)):
        if not quiet:
            for line in changes(seen, before):
                print(line, flush=True)
    return verdict(seen)


def changes(run: Mapping[str, Any], before: dict[str, str]) -> list[str]:
    """Return a line for everything that differs from ``before``, which is brought up to date."""
    lines = []
    short = short_ids([str(job["id"]) for job in run["job_list"]])
    for job in run["job_list"]:
        state = job_state(job)
        if before.get(job["id"]) != state:
            before[job["id"]] = state
            detail = f": {job['detail']}" if job["detail"] and job["state"] == "FAILED" else ""
            lines.append(clean(f"{job['role']:<8} {short[job['id']]}  {state}{detail}"))
    why = (run.get("trouble") or {}).get("why", "")
    if before.get("trouble", "") != why:
        before["trouble"] = why
        lines.append(trouble(run["trouble"], time.time()) if why else ANSWERS)
    phase = run["outcome"] or run["phase"]
    done = run["measurements"]
    word = f"{phase}, {done['done']} of {done['total']} measurements done"
    if before.get("") != word:
        before[""] = word
        why = f": {run['why']}" if run["why"] else ""
        lines.append(clean(f"run      {run['id']}  {word}{why}"))
    return lines


def trouble(cluster: Mapping[str, Any], now: float) -> str:
    """Say since when a run's cluster does not answer, why, and when it is tried next."""
    since, next_at = cluster["since"], cluster["next_at"]
    silent = f"no answer from {cluster['cluster']} for {ago(since, now)}" if since else "waiting"
    then = "" if next_at is None else f"; next try in {max(0.0, next_at - now):.0f} s"
    return clean(f"{silent}: {cluster['why']}{then}")


def _watch_json(daemon: Daemon, run: str) -> int:
    last, seen = "", {}
    for seen in _answers(looks(daemon, run)):
        text = json.dumps(seen, ensure_ascii=False)
        if text != last:
            print(text, flush=True)
            last = text
    return verdict(seen)
