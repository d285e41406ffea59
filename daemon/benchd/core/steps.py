"""A measurement that went step by step, to saturation: its table, and curves over the offered rate.

Such a result has no one distribution. Each of its steps has numbers of its own, and these are what
is drawn; what a step that was more than the service bears says is drawn as well, for it shows the
bend. Numbers of users who wait (floor and ceiling) have no offered rate, and stand in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchd.core.curves import Curve, Curves
from benchd.core.headline import NONE, figure, label, number

POINTS = 12  # points whose steps are told; more are in the result files
SERIES = 8  # repeats in one chart that can be told apart
# Latencies that are drawn, and those of them that stand in the table: the first one that is known.
_DRAWN = ("ttft_sched", "tpot", "e2e_sched", "latency_sched")
_TOLD = (("ttft_sched", "ttft_service"), ("latency_sched", "latency_service"))
_TAIL = ("99", "95", "90", "50")
_FOUND = ("knee_rate", "peak_rate", "ceiling_rate")
# What load a step with a rate is called; and what is said of steps that a service kept up with.
_OPEN = {"rate": "at a rate", "beyond": "at a rate, beyond the ceiling"}
_KEPT_UP = "kept up"
_KEY = "offered rate [1/s]"

Document = Mapping[str, Any]
Rows = Sequence[Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The steps of one point: a table of all repeats, and what is drawn of them."""

    point: str
    words: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    curves: tuple[Curves, ...]


def ladders(by_point: Mapping[str, Sequence[Document]]) -> Iterator[Ladder]:
    """Yield the ladder of each point whose valid results went step by step."""
    found = {point: [d for d in each if _rows(d)] for point, each in by_point.items()}
    for point, documents in [(p, each) for p, each in found.items() if each][:POINTS]:
        yield Ladder(
            point=point,
            words=(
                *(_words(document, len(documents)) for document in documents),
                *_how_latency_counts(documents),
            ),
            heads=("Repeat", "Load", *_heads(_latency(documents))),
            rows=tuple(_table(documents)),
            curves=tuple(_curves(documents)),
        )


def _rows(document: Document) -> list[Document]:
    """Return the steps of a result; none of one that is another."""
    said = (document.get("workload") or {}).get("saturation")
    steps = said.get("steps") if isinstance(said, Mapping) else None
    return [s for s in steps if isinstance(s, Mapping)] if isinstance(steps, list | tuple) else []


def _metric(step: Document, name: str) -> Document:
    """Return a number of a step; nothing of what has another form: no schema is on workloads."""
    metrics = step.get("metrics")
    found = metrics.get(name) if isinstance(metrics, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(found.get("percentiles", {}), Mapping):
        return {}
    return found


def _repeat(document: Document) -> str:
    return str(int(document.get("repeat") or 0))


def _words(document: Document, several: int) -> str:
    """Return what the steps say together, in a sentence."""
    metrics = document.get("metrics") or {}
    told = {n: number(metrics.get(n) or {}, "value") for n in _FOUND}
    bend, peak, most = (told[name] for name in _FOUND)
    ceiling = next((s for s in _rows(document) if s.get("kind") == "ceiling"), {})
    users = ceiling.get("concurrency")
    said = f"Repeat {_repeat(document)}: " if several > 1 else ""
    said += f"{users} user{_many(users)}" if users else "The users of the ceiling"
    said += f", each asking again after its answer, got {figure(most)} answers a second (ceiling)"
    said += f"; requests were good up to {figure(peak)} a second" if peak is not None else ""
    if bend is None:
        return f"{said}; no knee is in the curve."
    return f"{said}; beyond {figure(bend)} a second, more of them hardly gave more answers (knee)."


def _how_latency_counts(documents: Sequence[Document]) -> Iterator[str]:
    """Yield from when the latencies of the table count, where that is not the same in all rows."""
    scheduled, service = _latency(documents)
    steps = [step for document in documents for step in _rows(document)]
    if {bool(_metric(s, scheduled)) for s in steps if _metric(s, service)} == {True, False}:
        name = label(scheduled).removesuffix(", scheduled")
        yield f"{name} counts from the sending for users, and from the schedule at a rate."


# --- the table ----------------------------------------------------------------------------------


def _latency(documents: Sequence[Document]) -> tuple[str, str]:
    """Return the latency of the table, from the schedule and from the sending."""
    steps = [step for document in documents for step in _rows(document)]
    return next((pair for pair in _TOLD if any(_metric(s, pair[1]) for s in steps)), _TOLD[-1])


def _heads(latency: tuple[str, str]) -> Iterator[str]:
    yield from ("Offered [1/s]", "Sent [1/s]", "Answered [1/s]", "Goodput [1/s]", "Errors")
    name = label(latency[0]).removesuffix(", scheduled")
    yield from (f"{name} p{q} [ms]" for q in ("50", "95", "99"))
    yield "Verdict"


def _table(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    latency = _latency(documents)
    for document in documents:
        for step in _rows(document):
            users = step.get("concurrency")
            whole = _metric(step, latency[0]) or _metric(step, latency[1])
            rates = (number(step, name) for name in ("offered_rate", "achieved_rate"))
            yield (
                _repeat(document),
                f"{users} user{_many(users)}" if users else _OPEN.get(str(step.get("kind")), NONE),
                *map(figure, rates),
                *(figure(number(_metric(step, m), "value")) for m in ("req_s", "goodput")),
                figure(number(step, "errors")),
                *(figure(number(whole, f"p{q}")) for q in ("50", "95", "99")),
                _verdict(step),
            )


def _many(count: object) -> str:
    return "" if count == 1 else "s"


def _verdict(step: Document) -> str:
    """Return whether the service bore a step, and if not, what it did."""
    if "concurrency" in step:
        return NONE
    said = {"delivered": "not all sent", "steady": "latency kept growing"}
    bad = [words for name, words in said.items() if step.get(name) is False]
    if not bad and step.get("good") is False:
        bad = ["too many errors" if step.get("errors") else "objectives missed"]
    return ", ".join(bad) or _KEPT_UP


# --- curves -------------------------------------------------------------------------------------


def _curves(documents: Sequence[Document]) -> Iterator[Curves]:
    for name in ("req_s", "goodput"):
        yield from _drawn(documents, name, "value", bends=name == "req_s")
    opened = [step for document in documents for step in _open(document)]
    for name in _DRAWN:
        known = [_metric(step, name) for step in opened]
        tail = next((q for q in _TAIL if all(number(m, f"p{q}") is not None for m in known)), None)
        for q in dict.fromkeys(("50", tail)):
            if q is not None and tail is not None:
                yield from _drawn(documents, name, f"p{q}")


def _open(document: Document) -> list[Document]:
    """Return the steps that have a rate and brought answers, in the order of the rates."""
    found = [s for s in _rows(document) if number(s, "offered_rate") and s.get("metrics")]
    return sorted(found, key=lambda step: float(step["offered_rate"]))


def _drawn(
    documents: Sequence[Document], name: str, statistic: str, *, bends: bool = False
) -> Iterator[Curves]:
    """Yield one number over the offered rate, a curve for each repeat."""
    curves = []
    for document in documents:
        places = [
            (float(step["offered_rate"]), value, value, value)
            for step in _open(document)
            if (value := number(_metric(step, name), statistic)) is not None
        ]
        if len(places) > 1:
            words = f"repeat {_repeat(document)}" if len(documents) > 1 else ""
            curves.append(Curve(name=words, points=tuple(places)))
    if not curves:
        return
    unit = next(
        str(metric.get("unit") or "")
        for document in documents
        for step in _open(document)
        if (metric := _metric(step, name))
    )
    alone = documents[0].get("metrics") or {} if bends and len(documents) == 1 else {}
    title = "Answered" if name == "req_s" else label(name)
    yield Curves(
        title=title if statistic == "value" else f"{title} {statistic}",
        unit=unit,
        key=_KEY,
        curves=tuple(curves[:SERIES]),
        left_out=max(len(curves) - SERIES, 0),
        knee=number(alone.get("knee_rate") or {}, "value"),
    )
