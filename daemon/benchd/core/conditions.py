"""Under which conditions a point was measured: rate, objectives, and on how many GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchd.core.placement import nodes_of

_GPUS = re.compile(r"(?:^|,)gres/gpu(:[^=,]+)?=(\d+)")

Document = Mapping[str, Any]


def offered_rate(documents: Sequence[Document]) -> float | None:
    """Return how many requests a second were offered, where all results say the same."""
    rates = {_rate(document) for document in documents}
    return rates.pop() if len(rates) == 1 else None


def _rate(document: Document) -> float | None:
    workload = document.get("workload") or {}
    load = workload.get("load")
    rate = load.get("rate") if isinstance(load, Mapping) else None
    match load.get("model") if isinstance(load, Mapping) else None:
        case "ramp":  # its rate is only the first one
            return None
        case "find-peak":  # where the search began; measured was what it found
            rate = (workload.get("search") or {}).get("peak_rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
        return None
    return float(rate)


def limits(documents: Sequence[Document]) -> dict[str, float]:
    """Return what latencies may be, in ms, as the workloads say it."""
    found: dict[str, float] = {}
    for document in documents:
        said = (document.get("workload") or {}).get("slo")
        for key, value in said.items() if isinstance(said, Mapping) else ():
            if isinstance(value, int | float) and str(key).endswith("_ms"):
                found[str(key).removesuffix("_ms")] = float(value)
    return found


def gpus(documents: Sequence[Document]) -> int | None:
    """Return how many GPUs the services had, where all results say the same."""
    counts = {_gpus(document.get("provenance") or {}) for document in documents}
    return counts.pop() if len(counts) == 1 else None


def _gpus(origin: Document) -> int | None:
    """Return what was seen on the nodes of the services; else what Slurm gave their jobs.

    Of a job on several nodes only the first one was looked at, so what was seen is not all.
    """
    cluster = origin.get("cluster") or {}
    services = origin.get("services") or [origin.get("service") or {}]
    seen = _seen(origin.get("hardware") or ())
    if seen and all(len(nodes_of(str(part.get("nodes") or ""))) < 2 for part in services):
        return seen
    given = sum(map(_given, services)) or _given(cluster.get("service_job"))
    return given or None


def _seen(hardware: Sequence[Document]) -> int:
    """Count GPUs; those that two jobs on one node saw are the same ones."""
    named: set[str] = set()
    unnamed = 0
    for node in hardware:
        if node.get("role") == "client":
            continue
        for gpu in node.get("gpus") or ():
            if not isinstance(gpu, Mapping):
                continue
            count, uuids = gpu.get("count", 1), gpu.get("uuids")
            if isinstance(uuids, list) and uuids:
                named.update(map(str, uuids))
            elif isinstance(count, int) and count > 0:
                unnamed += count
    return len(named) + unnamed


def _given(part: object) -> int:
    """Return the GPUs among trackable resources such as ``cpu=8,gres/gpu=4,gres/gpu:a100=4``."""
    tres = part.get("tres") if isinstance(part, Mapping) else None
    if isinstance(tres, Mapping):
        tres = ",".join(f"{name}={count}" for name, count in tres.items())
    found = _GPUS.findall(tres) if isinstance(tres, str) else []
    whole = [int(count) for kind, count in found if not kind]
    return whole[0] if whole else sum(int(count) for _, count in found)
