"""VectorDBBench's result file: one case at one concurrency, with its recall.

It writes 0 for what it has not measured, and searches that fail are logged and dropped, so how many
failed is not known. Of latencies it tells a mean and up to three percentiles, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters, histogram, tools
from benchd.catalog.readings.loose import fields, number, parsed, rows
from benchd.catalog.readings.text import last_line, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

SECONDS = 30  # of searches, where the client has no `duration`
_PERCENTILES = ("50", "95", "99")  # that its releases tell; older ones the last alone
_TROUBLE = r"ERROR|search_embedding error"
_GOOD = ":)"  # what it calls a case that went well


def _first(metrics: Mapping[str, JsonValue], name: str) -> float | None:
    """Return what is told of the one concurrency; its zeros are no measurements."""
    values = rows(metrics.get(name))
    return number(values[0]) or None if len(values) == 1 else None


def _metrics(told: Mapping[str, JsonValue], searches: int) -> dict[str, Metric]:
    mean = _first(told, "conc_latency_avg_list")
    seconds = {q: _first(told, f"conc_latency_p{q}_list") for q in _PERCENTILES}
    percentiles = {
        q: value * 1000 if value is not None and searches >= SAMPLES_NEEDED[q] else None
        for q, value in seconds.items()
    }
    recall, load = number(told.get("recall")) or None, number(told.get("load_duration")) or None
    return {
        "req_s": histogram.rate("req_s", _first(told, "conc_qps_list")),
        "latency_service": Metric(
            formula="latency_service/v1",
            unit="ms",
            better="lower",
            n=searches,
            mean=mean * 1000 if mean is not None else None,
            percentiles=percentiles,
        ),
        "recall_at_k": Metric(formula="recall_at_k/v1", unit="1", better="higher", value=recall),
        "elapsed_s.load": Metric(formula="elapsed_s/v1", unit="s", better="lower", value=load),
    }


def _flags(metrics: Mapping[str, Metric], files: Mapping[str, bytes]) -> Iterator[Flag]:
    detail = "closed loop: when the server stalls the client stops sending (coordinated omission)"
    yield flag("closed_loop", Severity.INFO, detail=detail)
    detail = "searches that failed are dropped by VectorDBBench: how many did is not known"
    yield flag("errors_uncounted", Severity.WARN, detail=detail)
    yield from counters.judged("VectorDBBench", 0, None, what="searches", slack=0)
    if metrics["recall_at_k"].value is None:
        detail = "no recall: a latency says nothing without the share of the truth that was found"
        yield flag("no_recall", Severity.ERROR, detail=detail)
    yield from tools.troubles("VectorDBBench", files, "vectordbbench.err", _TROUBLE)


def vectordbbench(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read the file of the one case that was run."""
    cases = rows(parsed(files.get("result/vectordbbench.json", b"")).get("results"))
    said = last_line(text(files, "err")) or "nothing was said"
    if len(cases) != 1:
        detail = f"VectorDBBench left {len(cases)} cases, not one: {said}"
        return Measured.nothing("no_result", detail)
    case = fields(cases[0])
    told = fields(case.get("metrics"))
    rate = _first(told, "conc_qps_list")
    if case.get("label") != _GOOD or rate is None:
        detail = f"VectorDBBench calls the case {case.get('label')!r}, with no searches: {said}"
        return Measured.nothing("no_result", detail)
    seconds = spec.duration or SECONDS
    searches = round(rate * seconds)
    metrics = _metrics(told, searches)
    return Measured(
        metrics=metrics,
        # of its own rate and duration: it tells no number
        counts=Counts(
            scheduled=searches, issued=searches, ok=searches, errors=None, dropped=0, cancelled=0
        ),
        workload={
            "kind": "vectors",
            "load": {"model": "closed", "concurrency": _whole(told)},
            **spec.parameters,
            "seed": None,
        },
        times=window(files),
        flags=tuple(_flags(metrics, files)),
        client=tools.client(
            files,
            "vectordbbench",
            co_safe=False,
            percentiles=_PERCENTILES,
            raw_samples=False,
            errors_counted=False,
        ),
    )


def _whole(told: Mapping[str, JsonValue]) -> int | None:
    users = _first(told, "conc_num_list")
    return int(users) if users is not None else None
