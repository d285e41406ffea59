"""Reckons the numbers of a report again, from raw samples: knows nothing of what made it."""

import gzip
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, median, quantiles, stdev

# What the report calls a latency: from where to where in a line of samples.jsonl.gz.
SPANS = {
    "TTFT, service": ("send", "first"),
    "TTFT, scheduled": ("sched", "first"),
    "End-to-end, service": ("send", "last"),
    "End-to-end, scheduled": ("sched", "last"),
}
NEEDED = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}  # samples for a percentile
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776}  # 0.975 quantile of t for so many repeats


def percentile(samples: list[float], q: str) -> float | None:
    """Return a percentile by linear interpolation; None of too few samples."""
    ways = quantiles(samples, n=1000, method="inclusive") if len(samples) >= NEEDED[q] else None
    return ways[round(float(q) * 10) - 1] if ways else None


def one_repeat(path: Path, limit: float) -> tuple[dict[str, float | None], dict[str, list[float]]]:
    """Return the plain numbers of a repeat, and its latencies in milliseconds."""
    with gzip.open(path, "rt") as file:
        lines = [line for line in map(json.loads, file) if line["phase"] == "measure"]
    good = [line for line in lines if line["status"] == "ok"]
    window = max(line["end"] for line in lines) - min(line["sched"] for line in lines)
    tokens = sum(line["n_out"] for line in good) / window
    numbers = {"Done": len(good), "Errors": len(lines) - len(good), "Window": window}
    times = {w: [1e3 * (line[b] - line[a]) for line in good] for w, (a, b) in SPANS.items()}
    many = [s for s in good if min(s["n_out"], s["m"]) > 1]
    times["TPOT"] = [1e3 * (s["last"] - s["first"]) / (s["n_out"] - 1) for s in many]
    times["End-to-end by token"] = [1e3 * (s["last"] - s["send"]) / s["n_out"] for s in good]
    numbers["Goodput"] = sum(t <= limit for t in times["TTFT, scheduled"]) / window
    return {**numbers, "Requests": len(good) / window, "Output tokens": tokens}, times


def everything(folder: Path) -> dict[tuple[str, ...], float | None]:
    """Return each number by its point, its name, and the repeat or what else tells it apart."""
    found: dict[tuple[str, ...], float | None] = {}
    pooled: dict[tuple[str, str], list[float]] = defaultdict(list)
    repeats: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in sorted((folder / "results").glob("*.json")):
        said = json.loads(path.read_text())
        cell = (f"{key.rpartition('.')[2]}={value}" for key, value in said["cell"].items())
        point, raw = ", ".join(cell), folder / "raw" / said["job"] / "result/samples.jsonl.gz"
        numbers, times = one_repeat(raw, said["workload"]["slo"]["ttft_sched_ms"])
        found[point, "Offered"] = said["workload"]["load"]["rate"]
        valid = said["validity"]["valid"]
        for name, samples in times.items():
            pooled[point, name] += samples if valid else []
            numbers |= {f"{name} p{q}": percentile(samples, q) for q in NEEDED}
        for name, value in numbers.items():
            found[point, name, str(said["repeat"] + 1)] = value
            repeats[point, name] += [value] if valid and value is not None else []
    for (point, name), values in repeats.items():
        found[point, name] = median(values) if values else None
        found[point, name, "lowest"] = min(values, default=None)
        found[point, name, "highest"] = max(values, default=None)
        if len(values) in STUDENT:
            reach = STUDENT[len(values)] * stdev(values) / len(values) ** 0.5
            found[point, name, "low"] = mean(values) - reach
            found[point, name, "high"] = mean(values) + reach
    for (point, name), samples in pooled.items():
        found[point, name, "samples"] = len(samples)
        found |= {(point, f"{name} p{q}", "pooled"): percentile(samples, q) for q in NEEDED}
    return found
