"""Any command: exit status, wall time, and the metrics it may have written itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from benchd.catalog.readings.text import last_line, text
from benchd.core.numbers import flag
from benchd.core.results import Counts, Flag, Measured, Metric, Severity, Window
from benchd.core.spec import JobSpec

# A metrics.json may name so many metrics, so that one file cannot fill the store.
_MAX_METRICS = 200
# Seconds of wall time below which a clock of whole seconds is off by more than 1 %.
_COARSE_BELOW = 100
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")


def _object(data: bytes) -> dict[str, JsonValue]:
    """Return a JSON object, or nothing for what is none."""
    try:
        value: JsonValue = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _own_metrics(files: Mapping[str, bytes]) -> tuple[dict[str, Metric], list[Flag]]:
    """Read what a command wrote to ``metrics.json``; what is wrong in it is named and left out."""
    data = files.get("result/metrics.json")
    if data is None:
        return {}, []
    said = _object(data).get("metrics")
    if not isinstance(said, dict):
        what = 'metrics.json is not {"metrics": {name: {"value": number, "unit": text}}}'
        return {}, [flag("bad_metrics", Severity.WARN, detail=what)]
    metrics: dict[str, Metric] = {}
    wrong: list[str] = []
    for name, entry in list(said.items())[:_MAX_METRICS]:
        metric = _own_metric(entry)
        if metric is None or not _METRIC_NAME.fullmatch(name) or name == "elapsed_s":
            wrong.append(name[:64])
        else:
            metrics[name] = metric.model_copy(update={"formula": f"{name}/own"})
    if len(said) > _MAX_METRICS:
        wrong.append(f"{len(said) - _MAX_METRICS} more than {_MAX_METRICS}")
    if not wrong:
        return metrics, []
    detail = f"left out of metrics.json: {', '.join(wrong[:10])}"
    return metrics, [flag("bad_metrics", Severity.WARN, value=len(wrong), limit=0, detail=detail)]


def _own_metric(entry: JsonValue) -> Metric | None:
    if not isinstance(entry, dict):
        return None
    value, unit, better = entry.get("value"), entry.get("unit"), entry.get("better")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return None
    if isinstance(value, int) and abs(value) > 2**63:  # a float could not hold it
        return None
    if not isinstance(unit, str) or not re.fullmatch(r"[ -~]{0,32}", unit):
        return None
    return Metric(
        formula="own",
        unit=unit,
        better=better if better == "lower" or better == "higher" else None,  # noqa: PLR1714 - for mypy
        value=value,
    )


def command(files: Mapping[str, bytes], _spec: JobSpec) -> Measured:
    """Read exit status, wall time and the command's own metrics."""
    left = _object(files.get("exit.json", b""))
    status, start, end = (left.get(key) for key in ("status", "started_at", "ended_at"))
    metrics, flags = _own_metrics(files)
    window = Window()
    if isinstance(start, int | float) and isinstance(end, int | float):
        took = end - start
        is_coarse = isinstance(start, int) and isinstance(end, int)
        window = Window(measure_start=start, measure_end=end, window_s=took)
        metrics["elapsed_s"] = Metric(
            formula="elapsed_s/v1",
            unit="s",
            better="lower",
            # whole seconds: 0 only says that it was quick, which is no measurement
            value=None if is_coarse and took == 0 else took,
        )
        if is_coarse and 0 <= took < _COARSE_BELOW:
            detail = "the wall time is known in whole seconds: of little use for a short command"
            flags.append(
                flag("coarse_clock", Severity.INFO, value=took, limit=_COARSE_BELOW, detail=detail)
            )
    known = isinstance(status, int) and not isinstance(status, bool)
    if not known:
        detail = "the command left no exit status (exit.json): it was killed or its node failed"
        flags.append(flag("no_result", Severity.ERROR, detail=detail))
    failed = known and status != 0
    return Measured(
        metrics=metrics,
        counts=Counts(
            scheduled=1,
            issued=1,
            ok=int(known and not failed),
            errors=int(failed),
            dropped=0,
            cancelled=int(not known),
            by_class={"exit_status": 1} if failed else {},
            first_errors=(f"exit status {status}: {last_line(text(files, 'err'))}",)
            if failed
            else (),
        ),
        workload={"kind": "generic"},
        times=window,
        flags=tuple(flags),
    )
