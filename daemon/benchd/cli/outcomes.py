"""The numbers of runs: tables, CSV and reports, as ``benchctl`` shows them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from benchd.cli import benchstat, result_csv
from benchd.cli.commands import emit
from benchd.cli.tables import clean, show
from benchd.cli.wire import NO, OK, USAGE, Daemon, Stop, segment
from benchd.core.headline import Column, cell_text, columns, distinct, figure, number

_FORMS = {"": "html", ".html": "html", ".htm": "html", ".md": "markdown"}  # by ending
_OPTIONS = {"json": "--json", "csv": "--csv", "benchstat": "--benchstat", "output": "-o"}
COLUMNS_SHOWN = 6  # numbers beside each other that a terminal has room for; --csv has all


def results(daemon: Daemon, args: argparse.Namespace) -> int:
    """Show the numbers: a table, every number as CSV, or the documents as JSON."""
    one_form(args, "json", "csv", "benchstat")
    answer = daemon.get("/v1/results", run=args.of_run)
    documents = answer["results"]
    if args.json:
        return emit(answer)
    if args.csv:
        result_csv.write(documents)
        return OK
    if args.benchstat:
        _benchstat(documents)
        return OK
    if documents or not args.of_run:
        result_table(documents)
        return OK if documents else NO
    print(_none_of(daemon, args.of_run))
    return NO


def _none_of(daemon: Daemon, word: str) -> str:
    """Say why a run has no results, and where to look."""
    run = daemon.get(f"/v1/runs/{segment(word)}")
    if not run["outcome"]:
        return f"no results yet: run {run['id']} goes on: benchctl watch {run['id']}"
    why = f": {run['why']}" if run["why"] else ""
    said = f"run {run['id']} is {run['outcome']} without any result{why}"
    return clean(f"{said}: see benchctl show {run['id']}")


def result_table(documents: Sequence[Mapping[str, Any]]) -> None:
    """Print the most telling numbers of every result."""
    chosen = distinct(columns(documents), documents, COLUMNS_SHOWN)
    several = len({d["run"] for d in documents}) > 1
    heads = ["point", "repeat", "valid", "ok", "errors"]
    heads += [c.head for c in chosen]
    rows = [[*([d["run"]] if several else []), *_result_row(d, chosen)] for d in documents]
    first = 1 if several else 0
    show(
        ["run"] * first + heads,
        rows,
        empty="no results yet",
        numbers=[first + i for i in (1, 3, 4, *range(5, 5 + len(chosen)))],
        prose=(first, first + 2),
        # The columns come in the order of their importance; what went well can be left out first.
        spare=[first + i for i in (3, *range(4 + len(chosen), 6, -1), 4, 6)],
    )


def _result_row(document: Mapping[str, Any], chosen: Sequence[Column]) -> list[object]:
    counts, metrics = document.get("counts") or {}, document.get("metrics") or {}
    return [
        cell_text(document.get("cell") or {}),
        document.get("repeat"),
        validity_text(document),
        counts.get("ok"),
        counts.get("errors"),
        *(figure(number(metrics.get(c.metric) or {}, c.statistic), "") for c in chosen),
    ]


def validity_text(document: Mapping[str, Any]) -> str:
    """Write whether a result may be used, with the codes of what is wrong with it."""
    validity = document.get("validity") or {}
    codes = [
        str(f["code"])
        for f in validity.get("flags") or ()
        if f.get("severity") == ("warn" if validity.get("valid") else "error")
    ]
    word = "valid" if validity.get("valid") else "invalid"
    return f"{word} ({', '.join(codes)})" if codes else word


def _benchstat(documents: Sequence[Mapping[str, Any]]) -> None:
    """Print the telling numbers of every valid repeat, run by run."""
    valid = [d for d in documents if (d.get("validity") or {}).get("valid")]
    chosen = distinct(columns(valid), valid)
    run = None
    for d in sorted(valid, key=lambda document: str(document["run"])):
        if d["run"] != run:
            run = d["run"]
            print(benchstat.head(run))
        for column in chosen:
            value = number((d.get("metrics") or {}).get(column.metric) or {}, column.statistic)
            if value is not None:
                name = benchstat.name_of(column.metric, column.statistic, d.get("cell") or {})
                print(benchstat.line(name, value, column.unit))


def report(daemon: Daemon, args: argparse.Namespace) -> int:
    """Write the report of a run to a file, HTML or Markdown by its name; print its place."""
    form = form_of(args.output or "")
    run = daemon.get(f"/v1/runs/{segment(args.of_run)}")
    output = args.output or f"benchd-{run['id']}.html"
    text = daemon.text(f"/v1/runs/{segment(run['id'])}/report", format=form)
    if output == "-":
        sys.stdout.write(text)
        return OK
    path = written(text, output)
    if args.json:
        emit({"schema": "benchd.report/1", "run": run["id"], "path": str(path)})
    else:
        print(path)
    import webbrowser  # noqa: PLC0415 - 10 ms that only --open needs

    if args.open and not webbrowser.open(path.as_uri()):
        raise Stop(f"no browser was found: open {path} yourself", NO)
    return OK


def form_of(output: str) -> str:
    """Return the form of a document by the name of its file; without an ending it is a page."""
    ending = PurePath(output).suffix.lower()
    if ending not in _FORMS:
        known = ", ".join(sorted(filter(None, _FORMS)))
        raise Stop(
            f"-o {output}: nothing is written as {ending}: the ending is one of {known}", USAGE
        )
    return _FORMS[ending]


def one_form(args: argparse.Namespace, *names: str) -> None:
    """Refuse to answer in two forms at once: one of them would be forgotten."""
    asked = [_OPTIONS[name] for name in names if getattr(args, name)]
    if len(asked) > 1:
        raise Stop(f"{' and '.join(asked)} are asked for together: choose one", USAGE)


def written(text: str, output: str) -> Path:
    """Write a document where it was asked for; return the place."""
    path = Path(output).absolute()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(f"cannot write {path}: {error.strerror}: choose another with -o", NO) from error
    return path
