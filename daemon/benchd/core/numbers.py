"""Numbers that can be trusted: metrics, their statistics, and the flags that say otherwise.

A number that was not measured is null or absent, never 0, NaN or Infinity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

# Samples needed before a percentile is estimable at all: the smallest n with q**n <= 0.025, so
# that an order-statistic interval of 95 % exists. Below it the tail is made up.
SAMPLES_NEEDED: Mapping[str, int] = {"50": 6, "90": 36, "95": 72, "99": 368, "99.9": 3688}

# Levels of free-form JSON that are kept; pydantic writes 255, nobody reads ten.
_DEEPEST = 32


def whole(text: str) -> str:
    """Return text that can be written: a client's JSON may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


Text = Annotated[str, AfterValidator(whole)]


def is_finite(number: float) -> bool:
    """Tell whether a number is one, and small enough to reckon with."""
    try:
        return math.isfinite(number)
    except OverflowError:  # an int beyond every float
        return False


def known(number: float | None) -> float | None:
    """Return a number that JSON has, or None."""
    return number if number is not None and is_finite(number) else None


Known = Annotated[float | None, AfterValidator(known)]


def plain(value: object, levels: int = _DEEPEST) -> JsonValue:
    """Return free-form JSON that can surely be written: what is no such thing is null."""
    match value:
        case None | bool():
            return value
        case str():
            return whole(value)
        case int() | float():
            return value if is_finite(value) else None
        case Mapping() if levels > 0:
            return plain_object(value, levels)
        case list() | tuple() if levels > 0:
            return [plain(inner, levels - 1) for inner in value]
    return None


def plain_object(value: Mapping[str, JsonValue], levels: int = _DEEPEST) -> dict[str, JsonValue]:
    """Return the same for an object."""
    return {whole(str(key)): plain(inner, levels - 1) for key, inner in value.items()}


class Record(BaseModel):
    """Frozen and closed, but tolerant of odd numbers: the gate finds and names those."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Severity(StrEnum):
    """What a flag does to a result: nothing, a badge, or it makes the result invalid."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Flag(Record):
    """One reason to read a result with care, or not to use it."""

    code: Text
    severity: Severity
    value: Known = None
    limit: Known = None
    detail: Text = ""


class Metric(Record):
    """One number (``value``) or one distribution (``n``, ``mean``, ``percentiles`` ...)."""

    formula: Text = Field(description="metric id and version of its formula, e.g. tpot/v1")
    unit: Text
    better: Literal["lower", "higher"] | None = None
    value: float | None = None
    n: int | None = Field(None, description="samples behind the distribution")
    mean: float | None = None
    stdev: float | None = Field(None, description="of the sample, n - 1")
    min: float | None = None
    max: float | None = None
    percentiles: dict[str, float | None] | None = Field(
        None, description="null: too few samples to estimate it"
    )
    hist: dict[str, JsonValue] | None = Field(
        None,
        description="samples counted by buckets (`kind: loglinear`): lower bounds in microseconds, "
        "rounded down to so many digits; a percentile read from it is at most 5 % off",
    )
    ci: dict[str, JsonValue] | None = Field(
        None,
        description="intervals within this one measurement: of the `mean` and of percentiles, at "
        "`level`, reckoned with `n_eff` independent samples, because neighbours are alike",
    )
    windows: dict[str, float | None] | None = Field(
        None, description="the same number over other windows: full, steady"
    )


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return the ``q``-th percentile of sorted samples by linear interpolation (numpy type 7)."""
    place = (len(ordered) - 1) * q / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def effective_size(values: Sequence[float]) -> float:
    """Return how many independent values a series in time order is worth.

    ``n (1 - r) / (1 + r)`` with the autocorrelation ``r`` at lag one, as for an AR(1) process;
    never more than there are, never less than one.
    """
    n = len(values)
    mean = math.fsum(values) / n if n else 0.0
    off = [x - mean for x in values]
    total = math.fsum(x * x for x in off)
    if n < 3 or total == 0 or min(values) == max(values):  # whose mean may be rounded
        return float(n)
    r = math.fsum(a * b for a, b in pairwise(off)) / total
    return min(float(n), max(1.0, n * (1 - r) / (1 + r))) if -1 < r < 1 else 1.0


def summarise(
    samples: Sequence[float],
    *,
    formula: str,
    unit: str = "ms",
    better: Literal["lower", "higher"] = "lower",
) -> Metric:
    """Summarise raw samples in the order of time; too few samples make a percentile None."""
    n = len(samples)
    if not n:
        return Metric(formula=formula, unit=unit, better=better, n=0)
    ordered = sorted(samples)
    mean = math.fsum(ordered) / n
    spread = math.fsum((x - mean) ** 2 for x in ordered)
    return Metric(
        formula=formula,
        unit=unit,
        better=better,
        n=n,
        mean=mean,
        stdev=math.sqrt(spread / (n - 1)) if n > 1 else None,
        min=ordered[0],
        max=ordered[-1],
        percentiles={
            key: percentile(ordered, float(key)) if n >= needed else None
            for key, needed in SAMPLES_NEEDED.items()
        },
        ci={"n_eff": effective_size(samples)},
    )


# Significant digits of the bounds of a histogram's buckets. With two, a bucket is at most a tenth
# of its bound wide, so its middle is at most 5 % off what is in it; with three, 0.5 %.
FINE, COARSE = 3, 2
# Buckets that a fine histogram may have: 1.5 kB. A wide distribution would have thousands of them
# in every result, and needs no third digit.
MOST_FINE = 128
HISTOGRAM = "loglinear"


def histogram(samples_ms: Iterable[float], digits: int | None = None) -> dict[str, JsonValue]:
    """Count samples in milliseconds by buckets: what ``metrics.<name>.hist`` of a result holds.

    ``{"kind": "loglinear", "unit": "us", "digits": 2, "buckets": [[lower_bound_us, count], ...]}``,
    in ascending order, empty buckets left out. A sample is rounded to whole microseconds
    (``round(ms * 1000)``), and its bucket's lower bound is that number with everything but its
    first ``digits`` digits set to zero: 41 234 us counts at 41 000, 412 us at 410, 7 us at 7. So a
    bucket is ``10 ** (len(str(us)) - digits)`` us wide, and never narrower than 1. Unless told,
    there are three digits where that makes no more than 128 buckets, and two otherwise. Histograms
    are merged by adding counts, at the digits of the coarsest; nothing else is lost by merging.
    """
    return counted(((sample, 1) for sample in samples_ms), digits)


def counted(
    samples_ms: Iterable[tuple[float, int]], digits: int | None = None
) -> dict[str, JsonValue]:
    """Return the same of samples that are counted already: value in milliseconds, how often."""
    fine = _coarser(((round(value * 1000), count) for value, count in samples_ms), digits or FINE)
    if digits is not None or len(fine) <= MOST_FINE:
        return _histogram(fine, digits or FINE)
    return _histogram(_coarser(fine.items(), COARSE), COARSE)


def _coarser(counts: Iterable[tuple[int, int]], digits: int) -> dict[int, int]:
    """Count by buckets whose bounds have so many digits."""
    found: dict[int, int] = {}
    for us, count in counts:
        bound = us - us % _width(us, digits)
        found[bound] = found.get(bound, 0) + count
    return found


def _width(us: int, digits: int) -> int:
    """Return how wide the bucket is in which so many microseconds lie."""
    return int(10 ** max(len(str(us)) - digits, 0))


def _histogram(counts: Mapping[int, int], digits: int) -> dict[str, JsonValue]:
    buckets: list[JsonValue] = [[bound, counts[bound]] for bound in sorted(counts)]
    return {"kind": HISTOGRAM, "unit": "us", "digits": digits, "buckets": buckets}


def bucket_counts(hist: Mapping[str, JsonValue] | None) -> list[tuple[int, int]]:
    """Return lower bounds in microseconds and counts, ascending; none where it is no histogram."""
    if not hist or hist.get("kind") != HISTOGRAM or hist.get("unit") != "us":
        return []
    found: list[tuple[int, int]] = []
    buckets = hist.get("buckets")
    for bucket in buckets if isinstance(buckets, list) else ():
        match bucket:
            case [int() as bound, int() as count] if bound >= 0 and count > 0:
                found.append((bound, count))
            case _:
                return []
    return sorted(found)


def merged(hists: Sequence[Mapping[str, JsonValue] | None]) -> dict[str, JsonValue] | None:
    """Return the histogram of all samples together; None unless all of them have samples."""
    digits, counts = FINE, list[tuple[int, int]]()
    for hist in hists:
        found, said = bucket_counts(hist), hist.get("digits") if hist else None
        if not found or not isinstance(said, int) or said < 1:
            return None
        digits, counts = min(digits, said), counts + found
    return _histogram(_coarser(counts, digits), digits) if counts else None


def percentile_of(hist: Mapping[str, JsonValue], q: float) -> float | None:
    """Return the ``q``-th percentile in milliseconds; None where it is not estimable.

    Linear interpolation (numpy type 7) between samples that are taken to lie in the middle of their
    buckets; of buckets one microsecond wide, at their bound. At most 5 % off with two digits.
    """
    counts, digits = bucket_counts(hist), hist.get("digits")
    total = sum(count for _, count in counts)
    if not counts or not isinstance(digits, int) or total < samples_needed(q):
        return None
    place = (total - 1) * q / 100
    low = _at(counts, math.floor(place), digits)
    high = _at(counts, min(math.floor(place) + 1, total - 1), digits)
    return (low + (high - low) * (place - math.floor(place))) / 1000


def at_place(hist: Mapping[str, JsonValue], place: int) -> float | None:
    """Return the sample at a place in milliseconds, as if those of a bucket lay evenly in it."""
    counts, digits, below = bucket_counts(hist), hist.get("digits"), 0
    if not isinstance(digits, int):
        return None
    for bound, count in counts:
        if place < below + count:
            width = _width(bound, digits)
            within = width * (place - below + 0.5) / count if width > 1 else 0.0
            return (bound + within) / 1000
        below += count
    return None


def samples_needed(q: float) -> int:
    """Return how many samples the ``q``-th percentile needs (see SAMPLES_NEEDED)."""
    known = SAMPLES_NEEDED.get(f"{q:g}")
    return known if known is not None else math.ceil(math.log(0.025) / math.log(q / 100))


def _at(counts: Sequence[tuple[int, int]], place: int, digits: int) -> float:
    """Return the middle of the bucket of the sample at a place, in microseconds."""
    below = 0
    for bound, count in counts:
        below += count
        if place < below:
            width = _width(bound, digits)
            return bound + (width / 2 if width > 1 else 0)
    return float(counts[-1][0])


def _numbers(metric: Metric) -> Iterator[tuple[str, float | None]]:
    """Yield every number of a metric with its path."""
    for name in ("value", "n", "mean", "stdev", "min", "max"):
        yield name, getattr(metric, name)
    for name in ("percentiles", "windows"):
        for key, number in (getattr(metric, name) or {}).items():
            yield f"{name}.{key}", number


def bad_numbers(metric: Metric) -> list[str]:
    """Return the paths of numbers that are NaN, infinite or negative."""
    return [path for path, x in _numbers(metric) if x is not None and not (is_finite(x) and x >= 0)]


def _without(metric: Metric, paths: Sequence[str]) -> Metric:
    """Return the metric with the numbers at ``paths`` set to None."""
    changes: dict[str, object] = {p: None for p in paths if "." not in p}
    for name in ("hist", "ci"):
        if getattr(metric, name) is not None:
            changes[name] = plain_object(getattr(metric, name))
    for name in ("percentiles", "windows"):
        inner = getattr(metric, name)
        if inner:
            changes[name] = {k: None if f"{name}.{k}" in paths else x for k, x in inner.items()}
    return metric.model_copy(update=changes)


def refuse_bad_numbers(metrics: Mapping[str, Metric]) -> tuple[dict[str, Metric], list[Flag]]:
    """Return the metrics with every bad number as None, and the flag that names them."""
    clean: dict[str, Metric] = {}
    bad: list[str] = []
    for name, metric in metrics.items():
        paths = bad_numbers(metric)
        clean[name] = _without(metric, paths)
        bad += [f"{name}.{path}" for path in paths]
    if not bad:
        return clean, []
    detail = f"NaN, infinite or negative, written as null: {', '.join(bad)}"
    return clean, [flag("bad_number", Severity.ERROR, value=len(bad), limit=0, detail=detail)]


def iso(at: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds; None when no calendar has it."""
    if at is None:
        return None
    try:
        moment = datetime.fromtimestamp(at, timezone.utc)
    except (ValueError, OverflowError, OSError):  # NaN, the year 10000, milliseconds for seconds
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def flag(
    code: str,
    severity: Severity,
    *,
    value: float | None = None,
    limit: float | None = None,
    detail: str = "",
) -> Flag:
    """Make a flag."""
    return Flag(code=code, severity=severity, value=value, limit=limit, detail=detail)


def thin_flags(metrics: Mapping[str, Metric]) -> Iterator[Flag]:
    """Name the usual percentiles (up to p99) that could not be given for want of samples."""
    for name, metric in sorted(metrics.items()):
        for key in ("50", "90", "95", "99"):
            absent = (metric.percentiles or {}).get(key, 0.0) is None
            if absent and metric.n is not None and metric.n < SAMPLES_NEEDED[key]:
                needed = SAMPLES_NEEDED[key]
                detail = f"{name}: p{key} and above need {needed} samples or more"
                yield flag(
                    "insufficient_samples",
                    Severity.INFO,
                    value=metric.n,
                    limit=needed,
                    detail=detail,
                )
                break
