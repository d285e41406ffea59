"""redis-benchmark's CSV, compared with the server's own counters."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from benchd.catalog.readings import counters, redis_info, tools
from benchd.catalog.readings.text import last_line, number, text, window
from benchd.core.numbers import flag
from benchd.core.results import (
    SAMPLES_NEEDED,
    Counts,
    Flag,
    Measured,
    Metric,
    Severity,
)
from benchd.core.spec import JobSpec

# redis-benchmark's histogram ends here, in ms: a longer wait is reported as this (CONFIG in its
# source), so a maximum at the ceiling means "3 s or more".
_REDIS_CEILING_MS = 3000.0
# What it says when it fails; that it could not read the server's CONFIG is no failure.
_TROUBLE = r"^Error|NOAUTH|NOPERM|WRONGPASS|Could not connect|Connection refused"
# Commands on the server that nobody counted: PINGs of the health check, INFO, CONFIG GET.
_REDIS_SLACK = 100


def _slug(title: str) -> str:
    """``LRANGE_100 (first 100 elements)`` -> ``lrange_100``, ``MSET (10 keys)`` -> ``mset``."""
    return re.sub(r"[^a-z0-9]+", "_", title.split("(", maxsplit=1)[0].strip().lower()).strip("_")


def _lines(csv_text: str) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(csv_text)))
    except csv.Error:  # a field without end, a NUL byte: not what redis-benchmark writes
        return []


def _rows(csv_text: str) -> dict[str, dict[str, float | None]]:
    """Return slug of the test -> column -> number, for rows with a rate."""
    rows: dict[str, dict[str, float | None]] = {}
    for row in _lines(csv_text):
        numbers = {key: number(value) for key, value in row.items() if isinstance(value, str)}
        title = row.get("test")
        if isinstance(title, str) and _slug(title) and numbers.get("rps"):
            rows[_slug(title)] = numbers
    return rows


def _ran(csv_text: str) -> int:
    """Return how many tests ran; one may be run twice, as lpush is to fill a list for lrange."""
    return sum(1 for row in _lines(csv_text) if number(row.get("rps")))


def _latency(row: Mapping[str, float | None], requests: int) -> Metric:
    def of(column: str) -> float | None:
        return row.get(f"{column}_latency_ms")

    return Metric(
        formula="latency_service/v1",
        unit="ms",
        better="lower",
        n=requests,
        mean=of("avg"),
        min=of("min"),
        max=of("max"),
        percentiles={
            q: of(f"p{q}") if requests >= SAMPLES_NEEDED[q] else None for q in ("50", "95", "99")
        },
    )


def _rate(value: float | None) -> Metric:
    return Metric(formula="req_s/v1", unit="1/s", better="higher", value=value)


def _redis_metrics(
    rows: Mapping[str, Mapping[str, float | None]], requests: int
) -> dict[str, Metric]:
    if len(rows) == 1:
        (row,) = rows.values()
        return {"req_s": _rate(row["rps"]), "latency_service": _latency(row, requests)}
    metrics: dict[str, Metric] = {}
    for name, row in rows.items():
        metrics[f"req_s.{name}"] = _rate(row["rps"])
        metrics[f"latency_service.{name}"] = _latency(row, requests)
    seconds = math.fsum(requests / row["rps"] for row in rows.values() if row["rps"])
    metrics["req_s"] = _rate(requests * len(rows) / seconds if seconds else None)
    return metrics


def _checked(server: Mapping[str, JsonValue], ran: int, spec: JobSpec) -> Iterator[Flag]:
    """Compare what the client says it did with what the server says it was given."""
    tests = str(spec.parameters.get("tests", "set,get"))
    counted = redis_info.calls(server, pings="ping" in tests)
    # The last of each test's batches is sent whole.
    slack = _REDIS_SLACK + ran * int(spec.parameters.get("pipeline", 1))
    requests = ran * int(spec.parameters.get("requests", 100_000))
    yield from counters.judged("redis-benchmark", requests, counted, what="requests", slack=slack)
    failed = redis_info.failures(server)
    if failed:
        detail = "commands that the server answered with an error; they are in the rates"
        yield flag("server_errors", Severity.ERROR, value=failed, limit=0, detail=detail)


def _redis_flags(
    rows: Mapping[str, Mapping[str, float | None]], missing: Sequence[str]
) -> Iterator[Flag]:
    detail = (
        "closed loop: when the server stalls the client stops sending, so the tail of the "
        "latencies is too good (coordinated omission)"
    )
    yield flag("closed_loop", Severity.INFO, detail=detail)
    if missing:
        detail = f"no numbers for: {', '.join(missing)}"
        yield flag("incomplete", Severity.ERROR, value=len(missing), detail=detail)
    for name, row in rows.items():
        longest = row.get("max_latency_ms")
        if longest is not None and longest >= _REDIS_CEILING_MS:
            yield flag(
                "latency_clipped",
                Severity.WARN,
                value=longest,
                limit=_REDIS_CEILING_MS,
                detail=f"{name}: redis-benchmark counts every wait above 3 s as 3 s",
            )


def redis_benchmark(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``--csv`` output and compare it with the server's own counters."""

    def of(name: str, default: int) -> int:
        return int(spec.parameters.get(name, default))

    requests, tests = of("requests", 100_000), str(spec.parameters.get("tests", "set,get"))
    wanted = tests.split(",")
    said = text(files, "result/redis-benchmark.csv")
    rows, server = _rows(said), redis_info.server_metrics(files)
    missing = [t for t in wanted if not any(name.startswith(t) for name in rows)]
    errors = last_line(text(files, "result/redis-benchmark.err")) or last_line(text(files, "err"))
    flags = [*_redis_flags(rows, missing)]
    flags += tools.troubles("redis-benchmark", files, "redis-benchmark.err", _TROUBLE)
    if rows:
        flags += _checked(server, _ran(said), spec)
    else:
        detail = f"redis-benchmark measured nothing: {errors or 'it left no output'}"
        flags.append(flag("no_result", Severity.ERROR, detail=detail))
    workload: dict[str, JsonValue] = {
        "kind": "redis",
        "load": {"model": "closed", "concurrency": of("clients", 50)},
        "tests": [*wanted],
        "requests": requests,
        "data_size": of("data_size", 3),
        "pipeline": of("pipeline", 1),
        "keyspace": of("keyspace", 1_000_000),
        "seed": None,
    }
    return Measured(
        metrics=_redis_metrics(rows, requests) if rows else {},
        counts=Counts(
            scheduled=requests * (len(rows) + len(missing)),
            issued=requests * len(rows),
            ok=requests * len(rows),
            errors=None,  # not told: error replies count as answers, and are in the rates
            dropped=0,
            cancelled=requests * len(missing),
            first_errors=(errors,) if errors else (),
        ),
        workload=workload,
        times=window(files),
        flags=tuple(flags),
        client=tools.client(
            files,
            "redis-benchmark",
            co_safe=False,
            percentiles=("50", "95", "99"),
            raw_samples=False,
            errors_counted=False,
        ),
        service=redis_info.version(files),
        server_metrics=server,
    )
