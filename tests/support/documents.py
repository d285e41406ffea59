"""Result documents with sensible defaults."""

from __future__ import annotations

from typing import Any

from benchd.core.model import Job
from benchd.core.results import Result
from support.builders import RUN_ID


def value(number: float, unit: str = "1/s", better: str = "higher") -> dict[str, Any]:
    """Return a metric that is one number."""
    return {"formula": "req_s/v1", "unit": unit, "better": better, "value": number}


def spread(middle: float, **percentiles: float) -> dict[str, Any]:
    """Return a latency whose percentiles beside the median are given as ``p99=...``."""
    known = {"50": middle, **{key[1:]: number for key, number in percentiles.items()}}
    return {
        "formula": "latency_service/v1",
        "unit": "ms",
        "better": "lower",
        "n": 1000,
        "mean": middle,
        "percentiles": known,
    }


def result(job: Job, *, flags: tuple[dict[str, Any], ...] = (), **over: Any) -> Result:
    """Return a valid result of a client job, unless a flag of severity error is given."""
    valid = all(flag["severity"] != "error" for flag in flags)
    document = {
        "id": f"id-{job.token}",
        "run": RUN_ID,
        "job": job.token,
        "cell": dict(job.spec.cell),
        "repeat": job.repeat,
        "status": "ok",
        "validity": {"valid": valid, "flags": list(flags)},
        "counts": {
            "scheduled": 10,
            "issued": 10,
            "ok": 10,
            "errors": 0,
            "dropped": 0,
            "cancelled": 0,
        },
        "metrics": {"req_s": value(1000.0), "latency_service": spread(2.0, p99=9.0)},
        **over,
    }
    return Result.model_validate(document)
