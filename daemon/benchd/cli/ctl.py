"""``benchctl``: talks to the daemon over its socket. Standard library only, so that it starts fast.

Exit status: 0 yes, 1 the answer is no (a failed run, not found), 2 usage, 3 no daemon, 4 refused.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from benchd import __version__
from benchd.cli import catalog, commands, comparing, completion, follow, outcomes, upkeep
from benchd.cli.choices import ChoosingParser
from benchd.cli.start import INTERRUPTED
from benchd.cli.wire import OK, USAGE, Daemon, Stop

Command = Callable[[Daemon, argparse.Namespace], int]
# Help of what several commands take.
_THING = "the id of a run or job, or the beginning of one"
_JOB = "a job's id, the beginning of one, or its id in Slurm"
_CLUSTER = "its name in the configuration"
DIGITS = 16  # a number of so many is a typing error


def _name(text: str) -> str:
    """Return what a user calls a thing; nothing is no name."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty name")
    return text


def _whole(least: int) -> Callable[[str], int]:
    """Return what reads a whole number that is not below ``least``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < DIGITS and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return int(text)

    return read


def _assignment(text: str) -> str:
    key, equals, _value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing: write --set KEY=VALUE")
    return text


def _age(text: str) -> str:
    if re.fullmatch(r"[0-9.]+(ms|[smhd])", text) is None:
        what = f"{text!r} is not a duration; write for example 30s, 36h or 7d"
        raise argparse.ArgumentTypeError(what)
    return text


class _Parser(ChoosingParser):
    """Usage errors in one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise Stop(f"{message}: see {self.prog} --help", USAGE)


class _CommandLine:
    """Builds the parser: one short method for each command's arguments."""

    def __init__(self) -> None:
        self.root = _Parser(prog="benchctl", description="Steer a running benchd.")
        self.root.add_argument("--version", action="version", version=f"benchctl {__version__}")
        self.common(self.root, socket=None, as_json=False)
        self._commands = self.root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(self, name: str, run: Command, text: str) -> argparse.ArgumentParser:
        """Add one command."""
        sub = self._commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
        self.common(sub)
        sub.set_defaults(run=run)
        return sub

    @staticmethod
    def common(
        parser: argparse.ArgumentParser,
        *,
        socket: object = argparse.SUPPRESS,
        as_json: object = argparse.SUPPRESS,
    ) -> None:
        """Add what every command takes.

        What stands before the command's name must not be undone by a default after it: hence
        nothing is the default of a command.
        """
        parser.add_argument(
            "--socket", metavar="PATH", default=socket, help="the daemon's socket ($BENCHD_SOCKET)"
        )
        parser.add_argument(
            "--json", action="store_true", default=as_json, help="answer as JSON, with its schema"
        )


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    line = _CommandLine()
    line.add("status", commands.status, "the daemon, its clusters, and jobs by state")
    sub = line.add("submit", commands.submit, "hand recipes in; prints run ids")
    sub.add_argument("files", nargs="+", metavar="FILE", help="a recipe; - reads standard input")
    sub.add_argument(
        "--set",
        action="append",
        type=_assignment,
        metavar="KEY=VALUE",
        help="change a value of the recipe",
    )
    sub.add_argument("--wait", action="store_true", help="stay until every run is over")
    sub = line.add("runs", commands.runs, "the newest runs")
    sub.add_argument("--limit", type=_whole(1), default=50, metavar="N", help="how many (50)")
    for name in ("jobs", "services", "clients"):
        sub = line.add(name, commands.jobs, f"{name}, of one run or state if asked")
        sub.add_argument("--run", dest="of_run", type=_name, metavar="RUN", help="only of this run")
        sub.add_argument("--state", metavar="STATE", help="only in this state, e.g. RUNNING")
    line.add("show", commands.show_thing, "everything about one run or job").add_argument(
        "thing", type=_name, metavar="RUN|JOB", help=_THING
    )
    line.add(
        "why", commands.why, "how a job came to where it is, and what benchd waits for now"
    ).add_argument("job", type=_name, metavar="JOB", help=_JOB)
    _following(line)
    _acting(line)
    _keeping(line)
    _reading(line)
    return line.root


def _following(line: _CommandLine) -> None:
    sub = line.add("logs", follow.logs, "a job's output")
    sub.add_argument("job", type=_name, metavar="JOB", help=_JOB)
    sub.add_argument("-f", "--follow", action="store_true", help="go on until the job is over")
    sub.add_argument("--stderr", action="store_true", help="standard error instead of output")
    sub.add_argument("--tail", type=_whole(0), metavar="N", help="only the last N lines")
    sub = line.add("watch", follow.watch, "a run, live until it is over; its outcome is the status")
    sub.add_argument("of_run", nargs="?", type=_name, metavar="RUN", help="default: the newest")


def _acting(line: _CommandLine) -> None:
    sub = line.add("cancel", commands.cancel, "end a run, a job, or everything")
    sub.add_argument("thing", nargs="?", type=_name, metavar="RUN|JOB", help=_THING)
    sub.add_argument("--all", action="store_true", help="every job of every run")
    text = "a new attempt of what failed, was ended, or has no valid result; the rest stays"
    sub = line.add("retry", commands.retry, text)
    sub.add_argument("thing", type=_name, metavar="RUN|JOB", help=_THING)
    sub = line.add("cluster", commands.clusters, "list, pause or resume clusters")
    actions = sub.add_subparsers(dest="action", metavar="list|pause|resume", required=True)
    listing = actions.add_parser("list", help="how each cluster is doing")
    pause = actions.add_parser("pause", help="send nothing to it")
    resume = actions.add_parser("resume", help="go on with it")
    for action in (listing, pause, resume):
        line.common(action)
    for action in (pause, resume):
        action.add_argument("name", type=_name, metavar="NAME", help=_CLUSTER)
    resume.add_argument(
        "--take-over", action="store_true", help="although another benchd has used its workdir"
    )


def _keeping(line: _CommandLine) -> None:
    sub = line.add("drain", upkeep.drain, "submit nothing new; what was sent is seen to its end")
    sub.add_argument("--off", action="store_true", help="submit again")
    sub = line.add("reap", upkeep.reap, "end jobs of our name that are in Slurm and in no book")
    sub.add_argument("cluster", nargs="?", type=_name, metavar="CLUSTER", help="default: all")
    sub.add_argument("--dry-run", action="store_true", help="only list them")
    sub = line.add("adopt", upkeep.adopt, "take such a job back into the books")
    sub.add_argument("cluster", type=_name, metavar="CLUSTER", help=_CLUSTER)
    sub.add_argument("slurm_id", type=_name, metavar="SLURM_ID", help="its id in Slurm")
    sub = line.add("gc", upkeep.gc, "remove directories on the clusters of runs that are over")
    sub.add_argument("--dry-run", action="store_true", help="only list them")
    sub.add_argument(
        "--older-than",
        type=_age,
        default=upkeep.KEPT_FOR,
        metavar="AGE",
        help=f"over for at least so long, e.g. 36h ({upkeep.KEPT_FOR})",
    )


def _reading(line: _CommandLine) -> None:
    sub = line.add("results", outcomes.results, "the numbers, of one run or of all")
    sub.add_argument("of_run", nargs="?", type=_name, metavar="RUN", help="default: all")
    sub.add_argument("--csv", action="store_true", help="every number, one a line; of steps, too")
    sub.add_argument("--benchstat", action="store_true", help="valid repeats, for benchstat")
    sub = line.add("compare", comparing.compare, "runs side by side; 1 if one is surely worse")
    sub.add_argument("runs", nargs="+", type=_name, metavar="RUN", help="the first is the base")
    sub.add_argument(
        "--across", action="append", metavar="KEY", help="a difference that is meant, repeatable"
    )
    sub.add_argument(
        "--metric", action="append", metavar="NAME", help="judge this number, repeatable"
    )
    sub.add_argument("--threshold", metavar="SHARE", help="what counts as a change (0.05)")
    sub.add_argument("--csv", action="store_true", help="a line for each number")
    sub.add_argument("--benchstat", action="store_true", help="every repeat, for benchstat")
    sub.add_argument(
        "-o", dest="output", metavar="FILE", help="*.html: a page; *.md: Markdown; -: to output"
    )
    sub = line.add("report", outcomes.report, "write a run's report; prints where it is")
    sub.add_argument("of_run", type=_name, metavar="RUN", help="its id or the beginning of it")
    sub.add_argument("--open", action="store_true", help="open it in the browser")
    sub.add_argument("-o", dest="output", metavar="FILE", help="*.html, *.md, or - for output")
    sub = line.add("catalog", catalog.catalog, "kinds of services and clients, and parameters")
    sub.add_argument("kind", nargs="?", type=_name, metavar="KIND", help="one of them, whole")
    sub = line.add("completion", _completion, "a script that lets a shell complete benchctl")
    sub.add_argument("shell", choices=list(completion.SHELLS), help="yours")


def _completion(_daemon: Daemon, args: argparse.Namespace) -> int:
    print(completion.script(args.shell, parser()), end="")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    as_json = "--json" in (sys.argv if argv is None else argv)
    try:
        args = parser().parse_args(argv)
        status: int = args.run(Daemon(args.socket), args)
        sys.stdout.flush()
    except Stop as stop:
        if as_json:
            said = {"schema": "benchd.error/1", "error": {"what": str(stop), "fix": ""}}
            print(json.dumps({**said, **(stop.answer or {})}))
        print(f"benchctl: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return status


if __name__ == "__main__":
    sys.exit(main())
