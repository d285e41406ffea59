"""Reckons the numbers of a report again, from raw samples: knows nothing of what made it.

Every number is a list: of one value, of the two ends of an interval, or of none where there are
too few samples.
"""

import gzip
import json
from bisect import bisect_left
from itertools import accumulate, pairwise
from math import comb
from statistics import mean, median, pstdev, quantiles

NEEDED = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}  # samples for a percentile
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776}  # 0.975 quantile of t for so many repeats
# Until when a latency lasts; it begins when the request was due (sched), or with its first byte.
TO = {"lag": "send", "ttft": "first", "ttfo": "first_out", "e2e": "last", "latency": "end"}


def percentile(values, q):
    """Return a percentile by linear interpolation."""
    ways = quantiles(values, n=1000, method="inclusive") if len(values) >= NEEDED[q] else None
    return [ways[round(float(q) * 10) - 1]] if ways else []


def within(values, q):
    """Return the order statistics around a percentile, of as many values as are independent."""
    middle, size, p = mean(values), len(values), float(q) / 100
    off = [x - middle for x in values]
    r = sum(a * b for a, b in pairwise(off)) / (sum(x * x for x in off) or 1)
    n = int(min(size, max(1, size * (1 - r) / (1 + r))))
    below = list(accumulate(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)))
    ranks = bisect_left(below, 0.025), bisect_left(below, 0.975) + 1
    return [sorted(values)[round((x - 0.5) / n * size - 0.5)] for x in ranks if 0 < x <= n]


def latencies(s):
    """Return what one answer took, in milliseconds."""
    n, m = s.get("n_out", 0), s.get("m", 0)
    found = {f"{w}_{a}": s[b] - s[a] for w, b in TO.items() if s.get(b) for a in ("sched", "send")}
    found |= {f"{what}.{s['command']}": time for what, time in found.items() if "command" in s}
    found |= {"ntpot": found["e2e_send"] / n} if n else {}
    found |= {"tpot": (s["last"] - s["first"]) / (n - 1)} if min(n, m) > 1 else {}
    found |= {"icl": (s["last"] - s["first"]) / (m - 1)} if m > 1 else {}
    return {what: 1e3 * time for what, time in found.items()}


def one_repeat(lines, slo):
    """Return the numbers of one measurement, and its latencies in the order of their schedule."""
    lines = sorted((s for s in lines if s["phase"] == "measure"), key=lambda s: s["sched"])
    good = [latencies(s) | s for s in lines if s["status"] == "ok"]
    window = max(s["end"] for s in lines) - min(s["sched"] for s in lines)
    kept = sum(all(s[k[:-3].replace("service", "send")] <= slo[k] for k in slo) for s in good)
    found = {"done": [len(good)], "failed": [len(lines) - len(good)], "window": [window]}
    found |= {"error_rate": [1 - len(good) / len(lines)], "goodput": [kept / window]}
    found |= {"concurrency": [sum(s["end"] - s["send"] for s in lines) / window]}
    found |= {f"{k}/s": [sum(s.get(k, 1) for s in good) / window] for k in ("one", "n", "n_out")}
    for what in {key for s in good for key in latencies(s)}:
        found[what] = [s[what] for s in good if what in s]
        found |= {f"{what} p{q}": percentile(found[what], q) for q in NEEDED}
        found |= {f"{what} p{q} within": within(found[what], q) for q in NEEDED}
    gaps = [s.get("gaps_us") or [1e3 * s["icl"]] * (s["m"] - 1) for s in good if "icl" in s]
    return found | {"icl": [gap / 1e3 for each in gaps for gap in each]}


def everything(folder):
    """Return each number by its point, its name, and the repeat or what else tells it apart."""
    found, repeats = {}, {}
    for said in (json.loads(path.read_bytes()) for path in (folder / "results").glob("*.json")):
        point, path = said["job"].rpartition("r")[0], folder / "raw" / said["job"] / "result"
        lines = gzip.decompress((path / "samples.jsonl.gz").read_bytes()).splitlines()
        for name, values in one_repeat(map(json.loads, lines), said["workload"]["slo"]).items():
            found[point, name, f"{said['repeat']}"] = values
            if said["validity"]["valid"] and values:
                repeats[point, name] = [*repeats.get((point, name), ()), *values]
    for (point, name), values in repeats.items():
        found |= {(point, name): [median(values)], (point, name, "mean"): [mean(values)]}
        found |= {(point, name, "samples"): [len(values)], (point, name, "highest"): [max(values)]}
        found |= {(point, name, f"{n}."): [value] for n, value in enumerate(sorted(values))}
        found |= {(point, f"{name} p{q}", "pooled"): percentile(values, q) for q in NEEDED}
        reach = STUDENT.get(len(values), 0) * pstdev(values) / max(len(values) - 1, 1) ** 0.5
        found[point, name, "around"] = [max(mean(values) - reach, 0), mean(values) + reach]
    return found
