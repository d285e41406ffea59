"""The numbers of a run as somebody else has them, and what a report says that is not so."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from support.printed import NONE, Claim, Key

Found = dict[Key, list[float]]

# What the samples' six decimals and a sum of floats may move, in the unit of the number.
ROUNDING = 0.002
HISTOGRAM = 0.05  # share by which a percentile may be off that is read from a histogram
BUCKET = 0.1  # share by which the end of an interval may be, which lies somewhere in its bucket
# By how many places an interval may be shorter or longer: an effective size of 79.999 or of 80.
PLACES = 2

# What the independent script calls otherwise than results do.
SCRIPT = {
    "one/s": "req_s",
    "n/s": "ops_s",
    "n_out/s": "out_tok_s",
    "ttfo_send": "ttfo",
    "lag_sched": "send_lag",
}


class Truth:
    """The numbers of a run as somebody else has them, under the names that the report has."""

    def __init__(self, folder: Path, found: Found) -> None:
        results = [json.loads(path.read_bytes()) for path in (folder / "results").glob("*.json")]
        clients = {_client(result["job"]) for result in results}
        self.has_gaps = all(result["workload"].get("record_chunks") for result in results)
        self.flags = [flag for result in results for flag in result["validity"]["flags"]]
        self.names = {_point(r["job"]): _name(r, several=len(clients) > 1) for r in results}
        self.found: Found = {}
        for (point, name, *rest), values in found.items():
            base, _, q = name.partition(" ")
            base = SCRIPT.get(base, re.sub(r"_send\b", "_service", base))
            self.found[self.names[point], f"{base} {q}".strip(), *rest] = values
        for result in results:
            rate = (result["workload"].get("load") or {}).get("rate")
            if rate and result["validity"]["valid"]:
                self.found[self.names[_point(result["job"])], "offered"] = [rate]
        self.sorted: dict[Key, list[float]] = {}
        self.repeats: dict[Key, list[str]] = {}
        for key, values in self.found.items():
            if key[2:] and key[2].endswith("."):
                self.sorted.setdefault(key[:2], []).extend(values)
            elif key[2:] and key[2].isdigit():
                self.repeats.setdefault(key[:2], []).append(key[2])

    def __contains__(self, claim: Claim) -> bool:
        """Tell whether a number is what it should be, as exactly as it is written."""
        if claim.key[0] == "flags":
            return self._is_of_flags(claim)
        *key, last = claim.key
        if last in {"low", "high"}:
            return self._is_end(tuple(key), claim.text, first=last == "low")
        if last == "any":
            return any(is_written(claim.text, one) for one in self._each(tuple(key)))
        if last == "last":
            return is_written(claim.text, self._each(tuple(key))[-1])
        if last == "repeats":
            return is_written(claim.text, len(self._each(tuple(key))))
        if last == "wanted":
            return is_written(claim.text, len(self.repeats[claim.key[0], "done"]))
        base = claim.key[1].partition(" ")[0]
        hidden = base == "icl" and not self.has_gaps and last in {"pooled", "highest"}
        if hidden or (base == "concurrency" and last in {"samples", "highest"}):
            return claim.text == NONE
        values = self.found.get(self._known(claim.key), [])
        several = last == "pooled" and len(self._each((claim.key[0], "done"))) > 1
        return is_written(claim.text, values[0] if values else None, HISTOGRAM * several)

    def _is_of_flags(self, claim: Claim) -> bool:
        """Tell whether a number is what the flags of one kind have at one end."""
        _, code, side, scale, end = claim.key
        share = 100 if scale else 1
        if code == "repeats_differ":
            several = [values for values in self.sorted.values() if len(set(values)) > 1]
            found = [stdev(values) / fmean(values) for values in several]
            return any(is_written(claim.text, share * x) for x in ([0.1], found)[side == "value"])
        known = [flag[side] for flag in self.flags if flag["code"] == code]
        numbers = sorted(share * number for number in known if number is not None)
        return bool(numbers) and is_written(claim.text, numbers[0 if end == "least" else -1])

    def _known(self, key: Key) -> Key:
        """Return a key with the name of its point as tables have it: its parts in any order."""
        parts = frozenset(key[0].split(", "))
        names = [name for name in self.names.values() if frozenset(name.split(", ")) == parts]
        return (names[0], *key[1:]) if names else key

    def _each(self, key: Key) -> list[float]:
        """Return the numbers of valid repeats, the lowest first."""
        return self.sorted.get(key, [])

    def _is_end(self, key: Key, text: str, *, first: bool) -> bool:
        """Tell whether a number is the end of the interval at this place of the page."""
        side, each = 0 if first else -1, self._each(key[:2])
        if len(key) == 2 and len(each) > 1:
            ends = self.found[*key, "around"] if len(each) > 2 else each
            return is_written(text, ends[side])
        alone = [r for r in self.repeats.get(key[:2], ()) if self.found[*key[:2], r] == each]
        repeat = key[2] if len(key) > 2 else alone[0] if alone else ""
        ends = self.found.get((key[0], f"{key[1]} within", repeat), [])
        samples = sorted(self.found.get((key[0], key[1].partition(" ")[0], repeat), []))
        if len(ends) < 2:
            return False
        place = samples.index(ends[side])
        near = samples[max(place - PLACES, 0)], samples[min(place + PLACES, len(samples) - 1)]
        number, half = read(text)
        low, high = near[0] * (1 - BUCKET) - half, near[1] * (1 + BUCKET) + half
        return low - ROUNDING <= number <= high + ROUNDING


def _point(job: str) -> str:
    """Return which point a job belongs to, as the independent script has it."""
    return job.rpartition("r")[0]


def _client(job: str) -> str:
    return job.split("-c-")[1].rpartition("-p")[0]


def _name(result: dict[str, Any], *, several: bool) -> str:
    cell = ", ".join(f"{key.rpartition('.')[2]}={v}" for key, v in result["cell"].items())
    client = _client(result["job"])
    return (f"{client}: {cell}" if cell else client) if several or not cell else cell


def stated(folder: Path) -> Found:
    """Return the numbers of a run as its result files have them, of points measured once."""
    found: Found = {}
    for result in [json.loads(path.read_bytes()) for path in (folder / "results").glob("*.json")]:
        point, counts = _point(result["job"]), result["counts"]
        numbers = {"done": counts["ok"], "failed": counts.get("errors")}
        numbers |= {"window": result["times"]["window_s"]}
        for name, metric in result["metrics"].items():
            sides = {"mean": metric.get("mean"), "highest": metric.get("max")}
            sides |= {
                "samples": metric.get("n"),
                "mean" if "value" in metric else "": metric.get("value"),
            }
            found |= {
                (point, name, side): [value] for side, value in sides.items() if value is not None
            }
            numbers[name] = metric.get("value")
            known = {f"p{q}": value for q, value in (metric.get("percentiles") or {}).items()}
            for statistic, value in (known | {"mean": metric.get("mean")}).items():
                key, ends = f"{name} {statistic}", _ends(metric, statistic)
                numbers[key] = value
                found[point, key, "pooled"] = [] if value is None else [value]
                found[point, f"{key} within", "0"] = ends
                found.setdefault((point, name, "0"), []).extend(ends)
        for name, value in numbers.items():
            if value is not None:
                found |= {(point, name): [value], (point, name, "0."): [value]}
                found.setdefault((point, name, "0"), [value])
    return found


def _ends(metric: dict[str, Any], statistic: str) -> list[float]:
    """Return the interval that a result has of a number."""
    found = (metric.get("ci") or {}).get(statistic.removeprefix("p"))
    return list(found or ())


def read(text: str) -> tuple[float, float]:
    """Return a number and half its last digit; what is no number is equal to none."""
    plain = re.sub(r"(?<=\d)\s(?=\d)", "", text)
    shown = re.fullmatch(r"(-?\d+)(\.\d+)?(e-?\d+)?\s?([kMGs]?)", plain)
    if shown is None:
        return math.nan, 0.0
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(shown[4], 1.0) * float(f"1{shown[3] or 'e0'}")
    number = float(shown[1] + (shown[2] or "")) * scale
    return number, 0.5 * scale * 10.0 ** -len((shown[2] or ".")[1:])


def is_written(text: str, value: float | None, share: float = 0.0) -> bool:
    """Tell whether a number is written so: to half its last digit, or to a share of it."""
    if value is None or text == NONE:
        return value is None and text == NONE
    number, half = read(text)
    return abs(number - value) <= half + ROUNDING + (share + 1e-4) * abs(value)


def doubts(said: list[Claim], truth: Truth) -> list[tuple[Claim, object]]:
    """Return what is printed and not so, with what it should be."""
    return [(claim, truth.found.get(claim.key, "?")) for claim in said if claim not in truth]
