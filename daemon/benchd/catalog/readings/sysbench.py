"""sysbench: totals as its hook has written them, or in its own words; histogram; each second."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from benchd.catalog.readings import counters, histogram, status, tools
from benchd.catalog.readings.loose import number, parsed
from benchd.catalog.readings.text import last_line, text, window
from benchd.catalog.readings.text import number as text_number
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Totals:
    """What came of it: seconds, how many of what, and ms."""

    took: float
    events: int
    queries: int
    ignored: int
    reconnects: int
    least: float | None
    mean: float | None
    most: float | None


def _totals(files: Mapping[str, bytes], output: str) -> _Totals:
    """Return what the hook has written; what sysbench says itself where no hook was called."""
    told = parsed(files.get("result/sysbench.json", b""))
    return _hooked(told) if told else _spoken(output)


def _hooked(told: Mapping[str, JsonValue]) -> _Totals:
    def whole(*names: str) -> int:
        return int(sum(max(number(told.get(name)) or 0.0, 0.0) for name in names))

    def ms(name: str) -> float | None:
        seconds = number(told.get(name))
        return seconds * 1000 if seconds is not None else None

    return _Totals(
        took=number(told.get("time_total")) or 0.0,
        events=whole("events"),
        queries=whole("reads", "writes", "other"),
        ignored=whole("errors"),
        reconnects=whole("reconnects"),
        least=ms("latency_min"),
        mean=ms("latency_avg"),
        most=ms("latency_max"),
    )


def _spoken(output: str) -> _Totals:
    def said(label: str) -> float | None:
        match = re.search(rf"^ *{re.escape(label)}:? +([\d.]+)", output, re.MULTILINE)
        return text_number(match[1]) if match else None

    def whole(label: str) -> int:
        return int(said(label) or 0)

    return _Totals(
        took=said("total time") or 0.0,
        events=whole("total number of events"),
        queries=whole("queries"),
        ignored=whole("ignored errors"),
        reconnects=whole("reconnects"),
        least=said("min"),
        mean=said("avg"),
        most=said("max"),
    )


def _timeline(output: str) -> dict[str, JsonValue]:
    rows: list[JsonValue] = [
        [text_number(m[i]) for i in (1, 3, 4, 5, 6)] for m in _INTERVAL.finditer(output)
    ]
    columns: list[JsonValue] = ["t", "ops_s", "queries_s", "p99_ms", "errors_s"]
    return {"bucket_s": 1, "columns": columns, "rows": rows} if rows else {}


def _histogram(output: str) -> dict[float, int]:
    """Return value -> count of the table that ``--histogram=on`` prints before the totals."""
    table = output.partition("Latency histogram")[2].partition("SQL statistics:")[0]
    return histogram.read(table.splitlines())


def _metrics(
    totals: _Totals, output: str, server: Mapping[str, JsonValue], *, is_open: bool
) -> dict[str, Metric]:
    took = totals.took
    # With a rate, the time that a transaction waited for a thread is part of it.
    name = "latency_sched" if is_open else "latency_service"
    found = {
        "ops_s": histogram.rate("ops_s", totals.events / took if took else None),
        "queries_s": histogram.rate("queries_s", totals.queries / took if took else None),
        name: histogram.latency(
            name,
            _histogram(output),
            mean=totals.mean,
            min=totals.least,
            max=totals.most,
        ),
    }
    asked = counters.grown(server, "Innodb_buffer_pool_read_requests")
    missed = counters.grown(server, "Innodb_buffer_pool_reads")
    if asked and missed is not None:
        found["buffer_pool_hits"] = Metric(
            formula="buffer_pool_hits/v1", unit="1", better="higher", value=1.0 - missed / asked
        )
    return found


def _flags(
    totals: _Totals, output: str, server: Mapping[str, JsonValue], *, is_open: bool
) -> Iterator[Flag]:
    if not is_open:
        yield flag("closed_loop", Severity.INFO, detail=_CLOSED)
    if totals.reconnects:
        detail = "connections were lost and made again in the measurement"
        yield flag("reconnects", Severity.WARN, value=totals.reconnects, limit=0, detail=detail)
    answered = counters.grown(server, "Questions")
    yield from counters.judged("sysbench", totals.queries, answered, what="queries", slack=_SLACK)
    fatal = [line for line in output.splitlines() if line.startswith(("FATAL:", "ALERT:"))]
    if fatal:
        detail = f"sysbench says: {fatal[0][:300]}"
        yield flag("tool_error", Severity.ERROR, value=len(fatal), limit=0, detail=detail)
    timed = sum(_histogram(output).values())
    if timed != totals.events:
        detail = "transactions in the histogram, of those that sysbench reports: percentiles miss"
        yield flag("incomplete", Severity.WARN, value=timed, limit=totals.events, detail=detail)


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
    totals = _totals(files, output)
    said = last_line(text(files, "err"))
    server = status.server_metrics(files)
    flags = list(_flags(totals, output, server, is_open=bool(rate)))
    achieved = totals.events / totals.took if totals.took else None
    flags += tools.delivery("sysbench", rate, achieved, totals.events, capped=True)
    if not totals.events:
        detail = f"sysbench finished no transaction: {said or 'it left no output'}"
        flags = [flag("no_result", Severity.ERROR, detail=detail)]
    threads = spec.parameters.get("threads", THREADS)
    load: dict[str, JsonValue] = {"model": "closed", "concurrency": threads}
    if rate:
        load = {"model": "open", "arrival": "poisson", "rate": rate}
    return Measured(
        metrics=_metrics(totals, output, server, is_open=bool(rate)) if totals.events else {},
        counts=_counts(totals.events, totals.ignored, said),
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
