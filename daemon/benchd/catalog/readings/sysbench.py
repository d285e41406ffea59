"""sysbench's words: totals, the histogram of latencies, and what it says of each second."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters, histogram, status, tools
from benchd.catalog.readings.text import last_line, number, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

THREADS = 8  # connections where the recipe does not say
_INTERVAL = re.compile(
    r"\[ (\d+)s \] thds: (\d+) tps: ([\d.]+) qps: ([\d.]+) .*? lat \(ms,\d+%\): ([\d.]+) "
    r"err/s: ([\d.]+) reconn/s: ([\d.]+)"
)
# Statements that nobody counted: those of the health check, of the status, of logging in.
_SLACK = 200
_CLOSED = (
    "closed loop: when the server stalls the client stops sending, so the tail of the latencies is "
    "too good (coordinated omission); `rate` opens the loop"
)


def _said(output: str, label: str) -> float | None:
    match = re.search(rf"^ *{re.escape(label)}:? +([\d.]+)", output, re.MULTILINE)
    return number(match[1]) if match else None


def _whole(output: str, label: str) -> int:
    return int(_said(output, label) or 0)


def _timeline(output: str) -> dict[str, JsonValue]:
    rows: list[JsonValue] = [
        [int(m[1]), *(float(m[i]) for i in (3, 4, 5, 6))] for m in _INTERVAL.finditer(output)
    ]
    columns: list[JsonValue] = ["t", "ops_s", "queries_s", "p99_ms", "errors_s"]
    return {"bucket_s": 1, "columns": columns, "rows": rows} if rows else {}


def _histogram(output: str) -> dict[float, int]:
    """Return value -> count of the table that ``--histogram=on`` prints before the totals."""
    table = output.partition("Latency histogram")[2].partition("SQL statistics:")[0]
    return histogram.read(table.splitlines())


def _metrics(output: str, server: Mapping[str, JsonValue], *, is_open: bool) -> dict[str, Metric]:
    took = _said(output, "total time") or 0.0
    events, queries = _whole(output, "total number of events"), _whole(output, "queries")
    # With a rate, the time that a transaction waited for a thread is part of it.
    name = "latency_sched" if is_open else "latency_service"
    found = {
        "ops_s": histogram.rate("ops_s", events / took if took else None),
        "queries_s": histogram.rate("queries_s", queries / took if took else None),
        name: histogram.latency(
            name,
            _histogram(output),
            mean=_said(output, "avg"),
            min=_said(output, "min"),
            max=_said(output, "max"),
        ),
    }
    asked = counters.grown(server, "Innodb_buffer_pool_read_requests")
    missed = counters.grown(server, "Innodb_buffer_pool_reads")
    if asked and missed is not None:
        found["buffer_pool_hits"] = Metric(
            formula="buffer_pool_hits/v1", unit="1", better="higher", value=1.0 - missed / asked
        )
    return found


def _flags(output: str, server: Mapping[str, JsonValue], *, is_open: bool) -> Iterator[Flag]:
    if not is_open:
        yield flag("closed_loop", Severity.INFO, detail=_CLOSED)
    reconnects = _whole(output, "reconnects")
    if reconnects:
        detail = "connections were lost and made again in the measurement"
        yield flag("reconnects", Severity.WARN, value=reconnects, limit=0, detail=detail)
    queries, answered = _whole(output, "queries"), counters.grown(server, "Questions")
    yield from counters.judged("sysbench", queries, answered, what="queries", slack=_SLACK)
    fatal = [line for line in output.splitlines() if line.startswith(("FATAL:", "ALERT:"))]
    if fatal:
        detail = f"sysbench says: {fatal[0][:300]}"
        yield flag("tool_error", Severity.ERROR, value=len(fatal), limit=0, detail=detail)
    timed = sum(_histogram(output).values())
    if timed != _whole(output, "total number of events"):
        detail = "transactions in the histogram, of those that sysbench reports: percentiles miss"
        total = _whole(output, "total number of events")
        yield flag("incomplete", Severity.WARN, value=timed, limit=total, detail=detail)


def _counts(events: int, ignored: int, errors: str) -> Counts:
    return Counts(
        scheduled=events + ignored,
        issued=events + ignored,
        ok=events,
        errors=ignored,
        dropped=0,
        cancelled=0,
        by_class={"sql_error": ignored} if ignored else {},
        first_errors=(errors,) if errors else (),
    )


def sysbench(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read what ``sysbench ... run`` has printed, and compare it with the server's counters."""
    output = text(files, "result/sysbench.txt")
    rate = spec.parameters.get("rate")
    events = _whole(output, "total number of events")
    said = last_line(text(files, "err"))
    server = status.server_metrics(files)
    flags = list(_flags(output, server, is_open=bool(rate)))
    if not events:
        detail = f"sysbench finished no transaction: {said or 'it left no output'}"
        flags = [flag("no_result", Severity.ERROR, detail=detail)]
    threads = spec.parameters.get("threads", THREADS)
    load: dict[str, JsonValue] = {"model": "closed", "concurrency": threads}
    if rate:
        load = {"model": "open", "arrival": "poisson", "rate": rate}
    return Measured(
        metrics=_metrics(output, server, is_open=bool(rate)) if events else {},
        counts=_counts(events, _whole(output, "ignored errors"), said),
        workload={"kind": "mysql", "load": load, **spec.parameters, "seed": None},
        times=window(files),
        flags=tuple(flags),
        client=tools.client(
            files,
            "sysbench",
            co_safe=bool(rate),
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=False,
            errors_counted=True,
        ),
        service=_server(files),
        timeline=_timeline(output),
        server_metrics=server,
    )


def _server(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    version = status.pairs(text(files, "result/status-before.txt")).get("version")
    return {"version": version} if version else {}
