"""pgbench's words: totals, and the latencies that its wrapper has counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters, histogram, status, tools
from benchd.catalog.readings.text import last_line, number, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

_PROGRESS = re.compile(
    r"progress: ([\d.]+) s, ([\d.]+) tps, lat ([\d.]+) ms stddev ([\d.]+)(?:, (\d+) failed)?"
)
_STDDEV = r"latency stddev = ([\d.]+)"
_CLOSED = (
    "closed loop: when the server stalls the client stops sending, so the tail of the latencies is "
    "too good (coordinated omission); `rate` opens the loop"
)


# Transactions that nobody counted: of the health check, of the status, of the server's own vacuum.
_SLACK = 100


def _said(output: str, pattern: str) -> float | None:
    match = re.search(rf"^{pattern}", output, re.MULTILINE)
    return number(match[1]) if match else None


def _latency(files: Mapping[str, bytes], name: str, **known: float | None) -> Metric:
    file = f"result/{name.replace('_', '-')}.txt"
    counts = histogram.read(text(files, file).splitlines())
    values = sorted(counts)
    ends = {"min": values[0], "max": values[-1]} if values else {}
    return histogram.latency(name, counts, **{**ends, **known})


def _metrics(output: str, files: Mapping[str, bytes], *, is_open: bool) -> dict[str, Metric]:
    # without the time that connecting took, which pgbench has left out already
    found = {"ops_s": histogram.rate("ops_s", _said(output, r"tps = ([\d.]+)"))}
    # where some failed, its own average is of these as well
    mean, spread = _said(output, r"latency average = ([\d.]+) ms$"), _said(output, _STDDEV)
    if is_open:
        found["latency_sched"] = _latency(files, "latency_sched", mean=mean, stdev=spread)
        found["latency_service"] = _latency(files, "latency_service")
    else:
        found["latency_service"] = _latency(files, "latency_service", mean=mean, stdev=spread)
    return found


def _flags(files: Mapping[str, bytes], done: int, *, is_open: bool) -> Iterator[Flag]:
    if not is_open:
        yield flag("closed_loop", Severity.INFO, detail=_CLOSED)
    counts = histogram.read(text(files, "result/latency-service.txt").splitlines())
    timed = sum(counts.values())
    if timed != done:
        detail = f"pgbench reports {done} transactions, but {timed} were timed"
        yield flag("incomplete", Severity.WARN, value=timed, limit=done, detail=detail)


def _checked(server: Mapping[str, JsonValue], done: int, spec: JobSpec) -> Iterator[Flag]:
    counted = counters.grown(server, "xact_commit")
    if str(spec.parameters.get("script", "")).startswith(("/", "$", "~")):
        counted = None  # one run of a script of somebody's own may be several transactions
    yield from counters.judged("pgbench", done, counted, what="transactions", slack=_SLACK)
    deadlocks = counters.grown(server, "deadlocks")
    if deadlocks:
        detail = "transactions that PostgreSQL ended because they waited for each other"
        yield flag("deadlocks", Severity.WARN, value=deadlocks, limit=0, detail=detail)


def _timeline(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    said = text(files, "result/pgbench.txt.err")
    rows: list[JsonValue] = [
        [*(number(m[i]) for i in (1, 2, 3)), int(number(m[5]) or 0)]
        for m in _PROGRESS.finditer(said)
    ]
    columns: list[JsonValue] = ["t", "ops_s", "mean_ms", "errors"]
    return {"bucket_s": 1, "columns": columns, "rows": rows} if rows else {}


def pgbench(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read what ``pgbench`` has printed, and what was counted of its transactions."""
    output = text(files, "result/pgbench.txt")
    done = int(_said(output, r"number of transactions actually processed: (\d+)") or 0)
    failed = int(_said(output, r"number of failed transactions: (\d+)") or 0)
    # too late to be sent at all, with a --latency-limit
    skipped = int(_said(output, r"number of transactions skipped: (\d+)") or 0)
    rate, said = spec.parameters.get("rate"), last_line(text(files, "err"))
    server = status.server_metrics(files)
    flags = [*_flags(files, done, is_open=bool(rate)), *_checked(server, done, spec)]
    flags += tools.troubles(
        "pgbench", files, "pgbench.txt.err", r"\b(FATAL|PANIC): |pgbench: error"
    )
    flags += tools.delivery("pgbench", rate, _said(output, r"tps = ([\d.]+)"), done, capped=True)
    if not done:
        detail = f"pgbench finished no transaction: {said or 'it left no output'}"
        flags = [flag("no_result", Severity.ERROR, detail=detail)]
    load: dict[str, JsonValue] = {
        "model": "closed",
        "concurrency": spec.parameters.get("clients", 8),
    }
    if rate:
        load = {"model": "open", "arrival": "poisson", "rate": rate}
    return Measured(
        metrics=_metrics(output, files, is_open=bool(rate)) if done else {},
        counts=Counts(
            scheduled=done + failed + skipped,
            issued=done + failed,
            ok=done,
            errors=failed,
            dropped=skipped,
            cancelled=0,
            by_class={"sql_error": failed} if failed else {},
            first_errors=(said,) if said else (),
        ),
        workload={"kind": "postgresql", "load": load, "seed": 0, **spec.parameters},
        times=window(files),
        flags=tuple(flags),
        client=tools.client(
            files,
            "pgbench",
            co_safe=bool(rate),
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=True,
            errors_counted=True,
        ),
        timeline=_timeline(files),
        server_metrics=server,
    )
