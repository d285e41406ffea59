"""sysbench's words: totals, the histogram of latencies, and what it says of each second."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import histogram
from benchd.catalog.readings.text import last_line, number, text, window
from benchd.core.numbers import flag
from benchd.core.results import Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

THREADS = 8  # connections where the recipe does not say
_INTERVAL = re.compile(
    r"\[ (\d+)s \] thds: (\d+) tps: ([\d.]+) qps: ([\d.]+) .*? lat \(ms,\d+%\): ([\d.]+) "
    r"err/s: ([\d.]+) reconn/s: ([\d.]+)"
)
# Statements that nobody counted: those of the health check, of the status, of logging in.
_SLACK = 200
# Share by which the server may have answered more than sysbench asked.
_TOLERANCE = 0.01
_CLOSED = (
    "closed loop: when the server stalls the client stops sending, so the tail of the latencies is "
    "too good (coordinated omission); `rate` opens the loop"
)


def _said(output: str, label: str) -> float | None:
    match = re.search(rf"^ *{re.escape(label)}:? +([\d.]+)", output, re.MULTILINE)
    return number(match[1]) if match else None


def _whole(output: str, label: str) -> int:
    return int(_said(output, label) or 0)


def _status(said: str) -> dict[str, str]:
    pairs = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return {key: value.strip() for key, value in pairs}


def _grown(files: Mapping[str, bytes], name: str) -> float | None:
    """Return by how much a counter of the server has grown in the measurement."""
    before = number(_status(text(files, "result/status-before.txt")).get(name))
    after = number(_status(text(files, "result/status-after.txt")).get(name))
    return after - before if before is not None and after is not None else None


def _timeline(output: str) -> dict[str, JsonValue]:
    rows: list[JsonValue] = [
        [int(m[1]), *(float(m[i]) for i in (3, 4, 5, 6))] for m in _INTERVAL.finditer(output)
    ]
    columns: list[JsonValue] = ["t", "ops_s", "queries_s", "p99_ms", "errors_s"]
    return {"bucket_s": 1, "columns": columns, "rows": rows} if rows else {}


def _metrics(output: str, files: Mapping[str, bytes], *, is_open: bool) -> dict[str, Metric]:
    took = _said(output, "total time") or 0.0
    events, queries = _whole(output, "total number of events"), _whole(output, "queries")
    # With a rate, the time that a transaction waited for a thread is part of it.
    name = "latency_sched" if is_open else "latency_service"
    found = {
        "ops_s": histogram.rate("ops_s", events / took if took else None),
        "queries_s": histogram.rate("queries_s", queries / took if took else None),
        name: histogram.latency(
            name,
            histogram.read(output.partition("Latency histogram")[2].splitlines()),
            mean=_said(output, "avg"),
            min=_said(output, "min"),
            max=_said(output, "max"),
        ),
    }
    asked = _grown(files, "Innodb_buffer_pool_read_requests")
    missed = _grown(files, "Innodb_buffer_pool_reads")
    if asked and missed is not None:
        found["buffer_pool_hits"] = Metric(
            formula="buffer_pool_hits/v1", unit="1", better="higher", value=1.0 - missed / asked
        )
    return found


def _flags(output: str, files: Mapping[str, bytes], *, is_open: bool) -> Iterator[Flag]:
    if not is_open:
        yield flag("closed_loop", Severity.INFO, detail=_CLOSED)
    reconnects = _whole(output, "reconnects")
    if reconnects:
        detail = "connections were lost and made again in the measurement"
        yield flag("reconnects", Severity.WARN, value=reconnects, limit=0, detail=detail)
    queries, answered = _whole(output, "queries"), _grown(files, "Questions")
    if answered is None:
        detail = "the server's own count is not known (no mariadb or mysql beside the client)"
        yield flag("not_cross_checked", Severity.INFO, detail=detail)
        return
    said = f"sysbench reports {queries} queries, the server answered {answered:.0f}"
    off = (answered - queries) / queries if queries else 0.0
    if answered < queries * (1 - _TOLERANCE):
        yield flag(
            "server_count_mismatch", Severity.ERROR, value=off, limit=_TOLERANCE, detail=said
        )
    elif answered > queries * (1 + _TOLERANCE) + _SLACK:
        detail = f"{said}: somebody else used it too"
        yield flag("foreign_load", Severity.WARN, value=off, limit=_TOLERANCE, detail=detail)


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
    flags = list(_flags(output, files, is_open=bool(rate)))
    if not events:
        detail = f"sysbench finished no transaction: {said or 'it left no output'}"
        flags = [flag("no_result", Severity.ERROR, detail=detail)]
    version = re.search(r"^sysbench (\S+)", output)
    threads = spec.parameters.get("threads", THREADS)
    load: dict[str, JsonValue] = {"model": "closed", "concurrency": threads}
    if rate:
        load = {"model": "open", "arrival": "poisson", "rate": rate}
    return Measured(
        metrics=_metrics(output, files, is_open=bool(rate)) if events else {},
        counts=_counts(events, _whole(output, "ignored errors"), said),
        workload={"kind": "mysql", "load": load, **spec.parameters, "seed": None},
        times=window(files),
        flags=tuple(flags),
        client={
            "tool": "sysbench",
            "tool_version": version[1] if version else None,
            "co_safe": bool(rate),
        },
        service=_server(files),
        timeline=_timeline(output),
    )


def _server(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    version = _status(text(files, "result/status-before.txt")).get("version")
    return {"version": version} if version else {}
