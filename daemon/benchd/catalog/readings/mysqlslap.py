"""mysqlslap's CSV: seconds that all queries of a repetition took; no percentiles, no errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from benchd.catalog.readings import counters, histogram, status, tools
from benchd.catalog.readings.text import last_line, number, text, window
from benchd.core.numbers import flag
from benchd.core.results import Counts, Measured, Metric, Severity
from benchd.core.spec import JobSpec

# engine, load, average, least and most seconds of a repetition, clients, queries of each client
_COLUMNS = 7
# Statements of a repetition that are not counted: it makes a table, fills it with 100 rows, drops
# it again (--auto-generate-sql-write-number); and those of health checks and logging in.
_SLACK = 200


def _rows(said: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(said)) if len(row) == _COLUMNS]
    except csv.Error:
        return []


def _numbers(row: Sequence[str]) -> tuple[float, float, float, int] | None:
    values = [number(cell) for cell in row[2:]]
    mean, least, most, clients, each = values
    if mean is None or least is None or most is None or not clients or not each or not mean:
        return None
    return mean, least, most, int(clients * each)


def mysqlslap(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``--csv`` output: the one row that one set of parameters gives."""
    rows = [found for row in _rows(text(files, "result/mysqlslap.csv")) if (found := _numbers(row))]
    if len(rows) != 1:
        said = last_line(text(files, "err"))
        detail = f"mysqlslap left {len(rows)} rows, not one: {said or 'nothing was said'}"
        return Measured.nothing("no_result", detail)
    mean, least, most, queries = rows[0]
    iterations = int(spec.parameters.get("iterations", 3))
    total = queries * iterations
    server = status.server_metrics(files)
    counted = counters.grown(server, "Questions")
    slack = _SLACK * (iterations + 1)
    checked = counters.judged("mysqlslap", total, counted, what="queries", slack=slack)
    detail = "mysqlslap tells how long all queries took together: there are no percentiles"
    return Measured(
        metrics={
            "ops_s": histogram.rate("ops_s", queries / mean),
            "elapsed_s": Metric(
                formula="elapsed_s/v1",
                unit="s",
                better="lower",
                n=iterations,
                mean=mean,
                min=least,
                max=most,
            ),
        },
        counts=Counts(scheduled=total, issued=total, ok=total, errors=0, dropped=0, cancelled=0),
        workload={
            "kind": "mysql",
            "load": {"model": "closed", "concurrency": spec.parameters.get("concurrency", 8)},
            **spec.parameters,
            "seed": None,
        },
        times=window(files),
        flags=(
            flag("no_percentiles", Severity.INFO, detail=detail),
            *tools.troubles("mysqlslap", files, "mysqlslap.err", r"(?i)\berror\b|lost connection"),
            *checked,
        ),
        client=tools.client(
            files,
            "mysqlslap",
            co_safe=False,
            percentiles=(),
            raw_samples=False,
            errors_counted=True,
        ),
        server_metrics=server,
    )
