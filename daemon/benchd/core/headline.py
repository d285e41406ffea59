"""Which numbers of a result come first, and how numbers are written. Standard library only.

Shared by the report and by ``benchctl``, which may not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# What a reader looks for first, workload by workload: throughput, then latency, then trouble.
ORDER = (
    "peak_rate",
    "knee_rate",
    "ceiling_rate",
    "goodput",
    "req_s",
    "ops_s",
    "docs_s",
    "out_tok_s",
    "ttft_sched",
    "ttft_service",
    "tpot",
    "e2e_sched",
    "e2e_service",
    "latency_sched",
    "latency_service",
    "recall_at_k",
    "error_rate",
)
# What helps to find causes and is no result: told apart, never compared unless asked for.
DIAGNOSTICS = ("icl", "itl", "ttfb", "send_lag", "concurrency")
LABELS = {
    "peak_rate": "Highest good rate",
    "knee_rate": "Knee",
    "ceiling_rate": "Ceiling",
    "goodput": "Goodput",
    "req_s": "Requests",
    "ops_s": "Operations",
    "docs_s": "Documents",
    "out_tok_s": "Output tokens",
    "in_tok_s": "Prompt tokens",
    "total_tok_s": "All tokens",
    "ttft_sched": "TTFT, scheduled",
    "ttft_service": "TTFT, service",
    "tpot": "TPOT",
    "icl": "Inter-chunk latency",
    "itl": "Inter-token latency",
    "e2e_sched": "End-to-end, scheduled",
    "e2e_service": "End-to-end, service",
    "latency_sched": "Latency, scheduled",
    "latency_service": "Latency, service",
    "ttfb": "First byte",
    "ttfo": "First output",
    "ntpot": "End-to-end by token",
    "send_lag": "Send lag",
    "slo_attainment": "Within objectives",
    "concurrency": "In flight",
    "recall_at_k": "Recall at k",
    "queries_s": "Queries",
    "query_latency": "Latency of queries",
    "bytes_s": "Bytes",
    "buffer_pool_hits": "Buffer pool hits",
    "hit_rate": "Hit rate",
    "hit_ratio": "Hit ratio",
    "elapsed_s": "Elapsed",
    "error_rate": "Errors",
}
NONE = "\N{EN DASH}"  # what stands for a number that was not measured
# Findings of their own, although the knee may well be the highest good rate.
_FOUND = ("peak_rate", "knee_rate", "ceiling_rate")
_MIDDLE, _TAIL = ("p50",), ("p99", "p95", "p90")  # of a tail, the farthest that is known
PERCENTILES = ("50", "90", "95", "99", "99.9")


class Column(NamedTuple):
    """One number of a metric: its value, or a statistic (``mean``, ``p50`` ...).

    A plain tuple, because ``dataclasses`` takes 6 ms of ``benchctl``'s start.
    """

    rank: tuple[int, str, int]
    metric: str
    statistic: str  # "value", "mean", "p50", "p99" ...
    unit: str
    better: str = ""

    @property
    def title(self) -> str:
        """Name for people: what, and which statistic of it."""
        name = label(self.metric)
        return name if self.statistic == "value" else f"{name} {self.statistic}"

    @property
    def head(self) -> str:
        """The same with its unit."""
        return with_unit(self.title, self.unit)


def shown(unit: str) -> str:
    """Return the unit as people want to see it: what counts in ones has none."""
    return "" if unit == "1" else unit


def with_unit(name: str, unit: str) -> str:
    """Write a name with its unit."""
    return f"{name} [{unit}]" if shown(unit) else name


def family(metric: str) -> str:
    """Return the known metric that this one is a case of: ``ops_s.set`` is an ``ops_s``."""
    if metric in LABELS:
        return metric
    hits = [known for known in LABELS if metric.startswith((f"{known}_", f"{known}."))]
    return max(hits, key=len, default=metric)


def label(metric: str) -> str:
    """Return the metric's name for people."""
    known = family(metric)
    name = LABELS.get(known, known)
    rest = metric[len(known) :].strip("_.")
    return f"{name} ({rest})" if rest else name


def rank(metric: str) -> tuple[int, str]:
    """Return a sort key: what matters first, then by name."""
    known = family(metric)
    last = len(ORDER) + (known in DIAGNOSTICS)
    return (ORDER.index(known) if known in ORDER else last, metric)


def number(metric: Mapping[str, Any], statistic: str) -> float | None:
    """Return one number of a metric, or None where it was not measured."""
    if statistic.startswith("p") and statistic[1:2].isdigit():
        value = (metric.get("percentiles") or {}).get(statistic[1:])
    else:
        value = metric.get(statistic)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def columns(results: Iterable[Mapping[str, Any]], limit: int | None = None) -> list[Column]:
    """Return the numbers worth a column, the most telling first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for name, metric in (result.get("metrics") or {}).items():
            found.setdefault(name, []).append(metric)
    chosen = [
        Column(
            (*rank(name), place),
            name,
            statistic,
            str(metrics[0].get("unit") or ""),
            str(metrics[0].get("better") or ""),
        )
        for name, metrics in found.items()
        for place, statistic in enumerate(_statistics(metrics))
    ]
    return sorted(chosen)[:limit]


def distinct(
    among: Iterable[Column], results: Iterable[Mapping[str, Any]], limit: int | None = None
) -> list[Column]:
    """Leave out numbers that are always those of one before: requests of one operation each."""
    metrics = [result.get("metrics") or {} for result in results]
    kept: dict[tuple[object, ...], Column] = {}
    for column in among:
        if len(kept) == limit:
            break
        of = (number(each.get(column.metric) or {}, column.statistic) for each in metrics)
        name = column.metric if column.metric in _FOUND else ""
        kept.setdefault((name, column.unit, column.better, *of), column)
    return list(kept.values())


def _statistics(metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return which numbers of a metric to show: its value, or its middle and its known tail."""
    known = {
        statistic
        for metric in metrics
        for statistic in ("value", "mean", *_MIDDLE, *_TAIL)
        if number(metric, statistic) is not None
    }
    if "value" in known:
        return ["value"]
    middle = next((s for s in (*_MIDDLE, "mean") if s in known), None)
    tail = next((s for s in _TAIL if s in known), None)
    return [s for s in (middle, tail) if s is not None]


def figure(value: float | None, apart: str = "\N{NARROW NO-BREAK SPACE}") -> str:
    """Write a number with about four significant digits; ``apart`` stands between thousands."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}".replace(",", apart)
    digits = 1 if size >= 100 else 2 if size >= 1 else 3
    text = f"{value:.{digits}f}"
    return text if float(text) else f"{value:.2g}"


def rough(value: float | None) -> str:
    """Write a number in little room: three or four digits, with k or M behind large ones."""
    if value is None or abs(value) < 10_000:
        return figure(value)
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}\N{NARROW NO-BREAK SPACE}{sign}"
    return figure(value)


def changed(share: float | None, difference: float) -> str:
    """Write a change: as a share of the base, or of a base that is zero, what came to it."""
    if share is not None:
        return f"{round(share, 3) + 0.0:+.1%}"  # and no minus before a zero
    return f"{'+' if difference > 0 else ''}{figure(difference)}"


def cell_text(cell: Mapping[str, Any]) -> str:
    """Write a sweep point: the last word of every path is enough where it is unique."""
    short = [str(key).rpartition(".")[2] for key in cell]
    names = short if len(set(short)) == len(short) else [str(key) for key in cell]
    return ", ".join(f"{name}={value}" for name, value in zip(names, cell.values(), strict=True))


def span(seconds: float | None) -> str:
    """Write a duration as people say it: 4.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return NONE
    if seconds < 60:
        short = f"{seconds:.0f}" if seconds == int(seconds) else f"{seconds:.1f}"
        return f"{short}\N{NO-BREAK SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\N{NO-BREAK SPACE}min {rest:02d}\N{NO-BREAK SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\N{NO-BREAK SPACE}h {minutes:02d}\N{NO-BREAK SPACE}min"


def origin_text(origin: Mapping[str, str]) -> str:
    """Write where, when, by what and after which recipe something was measured."""
    sha = origin.get("recipe_sha256", "")[:12]
    return ", ".join(
        (
            f"cluster {origin.get('cluster') or NONE}",
            f"measured {_second(origin.get('from'))} to {_second(origin.get('until'))} UTC",
            f"benchd {origin.get('benchd') or NONE}",
            f"recipe {origin.get('recipe') or NONE} {sha}".rstrip(),
        )
    )


def _second(iso: str | None) -> str:
    """Write a moment without its fraction, which tells nobody when it was."""
    return iso.partition(".")[0].rstrip("Z").replace("T", " ") if iso else NONE
