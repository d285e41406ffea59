"""``benchctl compare``: two runs or more, side by side."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from typing import Any

from benchd.cli import benchstat
from benchd.cli.commands import emit
from benchd.cli.outcomes import form_of, one_form, written
from benchd.cli.tables import clean, count, show
from benchd.cli.wire import NO, OK, REFUSED, Daemon
from benchd.core.headline import NONE, cell_text, changed, figure, origin_text, with_unit

Side = Mapping[str, Any]


def compare(daemon: Daemon, args: argparse.Namespace) -> int:
    """Compare runs with the first; 1 if one is surely worse, 4 if unlike things were named."""
    one_form(args, "output", "json", "csv", "benchstat")
    form = form_of(args.output) if args.output else ""
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
        text = daemon.text("/v1/compare", **asked, format=form)
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
    for label, side in (("base ", base), ("other", other)):
        print(clean(f"{label}  {side['run']}  {side['name']}"))
        print(clean(f"       {origin_text(side['origin'])}"))
    for each in other["differences"]:
        if each["meant"]:
            print(clean(f"across {_both(each)}"))
    for note in other["notes"]:
        print(clean(f"note   {note}"))
    if other["refused"]:
        _refusal(other["refused"])
        return
    if other["reason"]:
        print(clean(f"inconclusive, all that are: {other['reason']}"))
    print()
    # A number of repeats that all rows have stands in the head: it takes a tenth of a terminal.
    repeats = [{row[label]["n"] for row in other["rows"]} for label in ("base", "other")]
    alike = all(len(found) == 1 for found in repeats)
    sides = [
        f"{label} (n={min(found)})" if alike else label
        for label, found in zip(("base", "other"), repeats, strict=True)
    ]
    show(
        ("point", "number", *sides, "change", "95 %", "p", "verdict"),
        [_cells(row, other["reason"], alike=alike) for row in other["rows"]],
        empty="no point is in both with valid results",
        numbers=(2, 3, 4),
        prose=(0, 1, 7),
        spare=(6, 5),
    )
    if len(other["rows"]) > 1:
        told = ", ".join(f"{number} {verdict}" for verdict, number in other["verdicts"].items())
        print(f"\n{len(other['rows'])} numbers: {told}")


def _cells(row: Side, said: str, *, alike: bool) -> tuple[object, ...]:
    """``said``: a reason that stands above the table; ``alike``: so does the number of repeats."""
    title = with_unit(row["title"], row["unit"])
    why = "" if row["why"] == said else row["why"]
    verdict = f"{row['verdict']}: {why}" if why else row["verdict"]
    return (
        cell_text(row["cell"]),
        title,
        _side(row["base"], counted=not alike),
        _side(row["other"], counted=not alike),
        changed(row["change"], row["difference"]),
        " ... ".join(map(_percent, row["interval"])) if row["interval"] else NONE,
        NONE if row["p"] is None else f"{row['p']:.3f}",
        verdict,
    )


def _side(side: Side, *, counted: bool) -> str:
    """Write a median, with the number of repeats behind it unless they are told above."""
    return figure(side["median"], "") + (f" (n={side['n']})" if counted else "")


def _percent(share: float | None) -> str:
    return NONE if share is None else changed(share, 0.0)


def _both(difference: Side) -> str:
    """Write a difference with its two values."""
    return f"{difference['key']}: {difference['base']} | {difference['other']}"


def _refusal(refused: list[Side]) -> None:
    """Say what differs, and how to compare all the same where that makes sense."""
    never = "their numbers mean different things, so no option will compare them"
    clients = [each for each in refused if each["key"] == "client.kind"]
    rest = [each for each in refused if each not in clients]
    if clients:
        kinds = " | ".join(str(clients[0][side]) for side in ("base", "other"))
        print(file=sys.stderr)
        print(clean(f"not compared: different clients: {kinds}"), file=sys.stderr)
        print(never, file=sys.stderr)
        if rest:
            print("they differ in this, too:", file=sys.stderr)
    else:
        what = count(len(rest), "thing")
        print(f"\nnot compared: they differ in {what} beside their numbers", file=sys.stderr)
    for each in rest:
        print(clean(f"  {_both(each)}"), file=sys.stderr)
    if clients:
        return
    if any(each["fatal"] for each in refused):
        print(never, file=sys.stderr)
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
