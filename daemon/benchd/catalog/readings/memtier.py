"""memtier's JSON: work counted from its seconds, latencies from its histograms, errors from words.

Its own rate is not used: it divides by a duration that was seen to be up to a second off, because
the durations of threads are averaged in two halves. Its whole seconds are counted instead; the
wrapper's clock has its start and its writing in it, which is a second or more. Its count has error
replies in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import JsonValue

from benchd.catalog.readings import counters, hdr, histogram, redis_info, tools
from benchd.catalog.readings.loose import fields, number, parsed
from benchd.catalog.readings.text import last_line, text, window
from benchd.catalog.readings.text import number as text_number
from benchd.core.numbers import counted, flag
from benchd.core.results import SAMPLES_NEEDED, Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

# Commands on the server that nobody counted: PINGs of the health check, INFO.
_SLACK = 100
# Share of GETs that may find nothing before it is another workload than the one that was meant.
_MISSES = 0.01
# Seconds by which the wrapper may have run longer than memtier's own seconds are many; beyond that
# it waited for answers in seconds that it has not written down.
_AROUND = 3.0
_CLOSED = (
    "closed loop: when the server stalls the client stops sending, so the tail of the latencies is "
    "too good (coordinated omission)"
)


def _parts(files: Mapping[str, bytes]) -> dict[str, Mapping[str, JsonValue]]:
    """Return Sets, Gets and Totals, as far as work was done."""
    all_stats = fields(parsed(files.get("result/memtier.json", b"")).get("ALL STATS"))
    found = {name: fields(all_stats.get(name)) for name in ("Sets", "Gets", "Totals")}
    return {name: part for name, part in found.items() if _done(part)}


def _done(part: Mapping[str, JsonValue]) -> int:
    """Return the work that was done: what is said of each second, added up."""
    return sum(_seconds(part).values())


def _seconds(part: Mapping[str, JsonValue]) -> dict[int, int]:
    """Return how much was done in each second that is written down."""
    said = fields(part.get("Time-Serie")).items()
    return {
        int(second): int(number(fields(row).get("Count")) or 0)
        for second, row in said
        if second.isascii() and second.isdigit() and len(second) < 10
    }


def _span(totals: Mapping[str, JsonValue], took: float | None) -> float | None:
    """Return the whole seconds of the measurement; the last one is cut by its end."""
    last = max(_seconds(totals), default=0)
    if not last or took is None or not last - 1 <= took <= last + 1 + _AROUND:
        return took
    return float(last)


def _rate(part: Mapping[str, JsonValue], span: float | None) -> float | None:
    """Return the work of a second, of whole seconds where those are what is measured."""
    counts = _seconds(part)
    whole = [count for second, count in counts.items() if span is None or second < span]
    return sum(whole) / span if span else None


def _latency(part: Mapping[str, JsonValue]) -> Metric:
    said = fields(part.get("Percentile Latencies"))
    packed = fields(said.get("Histogram log format")).get("Compressed Histogram")
    micros = hdr.decode(packed) if isinstance(packed, str) else {}
    known = {
        "mean": number(part.get("Average Latency")),
        "min": number(part.get("Min Latency")),
        "max": number(part.get("Max Latency")),
    }
    metric = histogram.latency(
        "latency_service", {value / 1000: count for value, count in micros.items()}, **known
    )
    if micros:
        hist = counted((value / 1000, count) for value, count in micros.items())
        return metric.model_copy(update={"hist": hist})
    n = _done(part)
    printed = {q: number(said.get(f"p{float(q):.2f}")) for q in SAMPLES_NEEDED}
    few = {q: printed[q] if n >= needed else None for q, needed in SAMPLES_NEEDED.items()}
    return metric.model_copy(update={"n": n, "percentiles": few})


def _metrics(
    parts: Mapping[str, Mapping[str, JsonValue]], share: float, span: float | None
) -> dict[str, Metric]:
    """Return rates and latencies; ``share`` of the work was good."""
    names = {"Totals": "", "Sets": ".set", "Gets": ".get"}
    found: dict[str, Metric] = {}
    for name, part in parts.items():
        # which command an error answered is not told, so only all together can be counted
        known = share if name == "Totals" or share == 1.0 else None
        rate = _rate(part, span)
        good = rate * known if rate is not None and known is not None else None
        found[f"req_s{names[name]}"] = histogram.rate("req_s", good)
        found[f"latency_service{names[name]}"] = _latency(part)
    hits, misses = (number(parts.get("Gets", {}).get(f"{what}/sec")) for what in ("Hits", "Misses"))
    if hits is not None and misses is not None and hits + misses > 0:
        found["hit_ratio"] = Metric(
            formula="hit_ratio/v1", unit="1", better="higher", value=hits / (hits + misses)
        )
    return found


def _said(files: Mapping[str, bytes], what: str) -> int:
    match = re.search(rf"^{what}: (\d{{1,15}})$", text(files, "result/memtier.err"), re.MULTILINE)
    return int(match[1]) if match else 0


def _flags(
    parts: Mapping[str, Mapping[str, JsonValue]], metrics: Mapping[str, Metric]
) -> Iterator[Flag]:
    yield flag("closed_loop", Severity.INFO, detail=_CLOSED)
    totals = parts["Totals"]
    said, done = number(totals.get("Count")), _done(totals)
    if said != done:
        detail = f"memtier reports {said or 0:.0f} requests, its seconds add up to {done}"
        yield flag("incomplete", Severity.ERROR, value=done, limit=said, detail=detail)
    hits = metrics["hit_ratio"].value if "hit_ratio" in metrics else None
    if hits is not None and 1 - hits > _MISSES:
        detail = "GETs that found nothing: fill the keys first (parameters.fill)"
        yield flag("misses", Severity.WARN, value=1 - hits, limit=_MISSES, detail=detail)
    if metrics["req_s"].value is None:
        detail = "when it began and ended is not known, and memtier's own duration is no measure"
        yield flag("no_window", Severity.WARN, detail=detail)


def memtier(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``--json-out-file``, and compare it with the server's own counters."""
    parts, server, at = _parts(files), redis_info.server_metrics(files), window(files)
    said = last_line(text(files, "err"))
    connections = _said(files, "connection errors")
    if "Totals" not in parts:
        reason = said or (f"{connections} connections failed" if connections else "no output")
        return Measured.nothing("no_result", f"memtier measured nothing: {reason}")
    done = _done(parts["Totals"])
    # Both may miss some: standard error is cut by a full disk, the server may have been asked late.
    errors = min(done, max(_said(files, "error replies"), redis_info.failures(server) or 0))
    span = _span(parts["Totals"], at.window_s)
    metrics = _metrics(parts, (done - errors) / done, span)
    flags = [*_flags(parts, metrics)]
    slack = _SLACK + int(spec.parameters.get("pipeline", 1))
    calls = redis_info.calls(server)
    flags += counters.judged("memtier", done, calls, what="requests", slack=slack)
    connections = max(connections, int(number(parts["Totals"].get("Connection Errors")) or 0))
    if connections:
        detail = "connections failed; memtier ends with status 0 all the same"
        flags.append(flag("conn_errors", Severity.ERROR, value=connections, limit=0, detail=detail))
    clients = int(spec.parameters.get("clients", 50)) * int(spec.parameters.get("threads", 4))
    return Measured(
        metrics=metrics,
        counts=Counts(
            scheduled=done,
            issued=done,
            ok=done - errors,
            errors=errors,
            dropped=0,
            cancelled=0,
            by_class={"error_reply": errors} if errors else {},
            first_errors=tuple(_first_error(files)) if errors else (),
        ),
        workload={
            "kind": "redis",
            "load": {"model": "closed", "concurrency": clients},
            **spec.parameters,
            "seed": None,
        },
        times=replace(at, window_s=span),
        flags=tuple(flags),
        client=tools.client(
            files,
            "memtier",
            co_safe=False,
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=False,
            errors_counted=False,
        ),
        service=redis_info.version(files),
        timeline=_timeline(parts["Totals"]),
        server_metrics=server,
    )


def _first_error(files: Mapping[str, bytes]) -> Iterator[str]:
    lines = text(files, "result/memtier.err").splitlines()
    yield from [line.strip()[:300] for line in lines if "error response" in line][:1]


def _timeline(part: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    rows: list[JsonValue] = []
    for second, said in fields(part.get("Time-Serie")).items():
        at, row = text_number(second), fields(said)
        # A second in which nothing was answered is the one to see: it has a count, and no times.
        if at is not None and number(row.get("Count")) is not None:
            rows.append([at, row.get("Count"), row.get("Average Latency"), row.get("p99.00")])
    columns: list[JsonValue] = ["t", "ops_s", "mean_ms", "p99_ms"]
    return {"bucket_s": 1, "columns": columns, "rows": rows} if rows else {}
