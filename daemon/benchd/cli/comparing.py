"""``benchctl compare``: two runs or more, side by side."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from typing import Any

from benchd.cli import benchstat
from benchd.cli.commands import emit
from benchd.cli.outcomes import form_of, written
from benchd.cli.tables import clean, count, show
from benchd.cli.wire import NO, OK, REFUSED, Daemon
from benchd.core.headline import NONE, cell_text, changed, figure, with_unit

Side = Mapping[str, Any]


def compare(daemon: Daemon, args: argparse.Namespace) -> int:
    """Compare runs with the first; 1 if one is surely worse, 4 if unlike things were named."""
    asked = {
        "run": args.runs,
        "across": args.across or [],
        "metric": args.metric or [],
        "threshold": args.threshold,
    }
    answer = daemon.get("/v1/compare", **asked)
    others = answer["others"]
    status = NO if any(other["regressed"] for other in others) else OK
    if any(other["refused"] for other in others):
        status = REFUSED
    if args.output:
        text = daemon.text("/v1/compare", **asked, format=form_of(args.output))
        print(text, end="") if args.output == "-" else print(written(text, args.output))
    elif args.json:
        emit(answer)
    elif args.csv:
        _csv(answer)
    elif args.benchstat:
        _benchstat(answer)
    else:
        for place, other in enumerate(others):
            if place:
                print()
            _one(answer["base"], other)
    return status


def _one(base: Side, other: Side) -> None:
    """Print one comparison."""
    print(clean(f"base   {base['run']}  {base['name']}"))
    print(clean(f"other  {other['run']}  {other['name']}"))
    for key in other["across"]:
        print(clean(f"across {key}: they differ in it, and that is meant"))
    if other["refused"]:
        _refusal(other["refused"])
        return
    for note in other["notes"]:
        print(clean(f"note   {note}"))
    print()
    show(
        ("point", "number", "base", "other", "change", "95 %", "p", "verdict"),
        [_cells(row) for row in other["rows"]],
        empty="no point is in both with valid results",
        numbers=(2, 3, 4),
        prose=(0, 1, 7),
        spare=(6, 5),
    )


def _cells(row: Side) -> tuple[object, ...]:
    title = with_unit(row["title"], row["unit"])
    verdict = f"{row['verdict']}: {row['why']}" if row["why"] else row["verdict"]
    return (
        cell_text(row["cell"]),
        title,
        _side(row["base"]),
        _side(row["other"]),
        changed(row["change"], row["difference"]),
        " ... ".join(map(_percent, row["interval"])) if row["interval"] else NONE,
        NONE if row["p"] is None else f"{row['p']:.3f}",
        verdict,
    )


def _side(side: Side) -> str:
    """Write a median with the number of repeats behind it."""
    return f"{figure(side['median'], '')} (n={side['n']})"


def _percent(share: float | None) -> str:
    return NONE if share is None else changed(share, 0.0)


def _refusal(refused: list[Side]) -> None:
    """Say what differs, and how to compare all the same where that makes sense."""
    what = count(len(refused), "thing")
    print(f"\nnot compared: they differ in {what} beside their numbers", file=sys.stderr)
    for each in refused:
        print(clean(f"  {each['key']}: {each['base']} | {each['other']}"), file=sys.stderr)
    if any(each["fatal"] for each in refused):
        print(
            "their numbers mean different things, so no option will compare them", file=sys.stderr
        )
        return
    words = " ".join(f"--across {each['key']}" for each in refused)
    print(clean(f"if that is what you compare, say so: {words}"), file=sys.stderr)


def _csv(answer: Side) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head = ("base", "other", "point", "metric", "statistic", "unit", "base_n", "base_median")
    more = ("other_n", "other_median", "difference", "change", "low", "high", "p", "verdict")
    writer.writerow((*head, *more))
    for other in answer["others"]:
        for row in other["rows"]:
            low, high = row["interval"] or ("", "")
            writer.writerow(
                (
                    *(answer["base"]["run"], other["run"], cell_text(row["cell"])),
                    *(row["metric"], row["statistic"], row["unit"]),
                    *(row["base"]["n"], row["base"]["median"]),
                    *(row["other"]["n"], row["other"]["median"]),
                    *(row["difference"], row["change"], low, high, row["p"], row["verdict"]),
                )
            )


def _benchstat(answer: Side) -> None:
    """Print every repeat; the sides are told apart by a key."""
    others = answer["others"]
    # Each of the others may share other points with the base; what several share is said once.
    of_base = {_benchmark(row): row for other in others for row in other["rows"]}
    sides = [(answer["base"], "base", list(of_base.values()))]
    sides += [(other, "other", other["rows"]) for other in others]
    for side, label, rows in sides:
        print(benchstat.head(side["run"]))
        for row in rows:
            for value in row[label]["values"]:
                print(benchstat.line(_benchmark(row), value, row["unit"]))


def _benchmark(row: Side) -> str:
    return benchstat.name_of(row["metric"], row["statistic"], row["cell"])
