"""Requests that another tool measured, one by one -> metrics by our formulas.

Tools call different things by one name, and one thing by different names, so nothing is taken over
by its name: a reader says what its tool measured, and everything is computed from that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from benchd.catalog.readings import llm_counters, tools
from benchd.catalog.readings.loose import number
from benchd.core.numbers import SAMPLES_NEEDED, flag, histogram, summarise
from benchd.core.results import Counts, Flag, Metric, Severity, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that succeeded: seconds, and tokens as the server or the tool counts them."""

    ttft: float | None  # sending -> first token, of reasoning or answer
    e2e: float | None  # sending -> last token
    n_out: int | None
    n_in: int | None = None
    ttfo: float | None = None  # sending -> first token of the answer
    late: float | None = None  # schedule -> sending, where the tool knows the schedule
    gaps: tuple[float, ...] = ()  # between chunks
    start: float | None = None  # of sending, on any clock
    end: float | None = None


def _ms(seconds: Iterable[float | None]) -> list[float]:
    return [s * 1000 for s in seconds if s is not None and s >= 0]


def _tpot(each: Request) -> float | None:
    if each.ttft is None or each.e2e is None or not each.n_out or each.n_out < 2:
        return None
    return (each.e2e - each.ttft) / (each.n_out - 1)


def _ntpot(each: Request) -> float | None:
    return each.e2e / each.n_out if each.e2e is not None and each.n_out else None


def _scheduled(each: Request, seconds: float | None) -> float | None:
    return seconds + each.late if seconds is not None and each.late is not None else None


def metrics(requests: Sequence[Request], window: float | None) -> dict[str, Metric]:
    """Return every metric that the samples support; what none of them has is absent."""
    samples = {
        "ttft_service": _ms(r.ttft for r in requests),
        "ttft_sched": _ms(_scheduled(r, r.ttft) for r in requests),
        "ttfo": _ms(r.ttfo for r in requests),
        "e2e_service": _ms(r.e2e for r in requests),
        "e2e_sched": _ms(_scheduled(r, r.e2e) for r in requests),
        "tpot": _ms(_tpot(r) for r in requests),
        "ntpot": _ms(_ntpot(r) for r in requests),
        "icl": _ms(gap for r in requests for gap in r.gaps),
        "send_lag": _ms(r.late for r in requests),
    }
    found: dict[str, Metric] = {}
    for name, values in samples.items():
        if values:
            metric = summarise(values, formula=f"{name}/v1")
            found[name] = metric.model_copy(update={"hist": histogram(values)})
    if window and requests:
        found["req_s"] = rate("req_s", len(requests) / window)
        tokens = [r.n_out for r in requests]
        if all(n is not None for n in tokens):
            total = math.fsum(n for n in tokens if n is not None)
            found["out_tok_s"] = rate("out_tok_s", total / window, "tok/s")
    return found


def rate(name: str, value: float | None, unit: str = "1/s") -> Metric:
    """Return a rate."""
    return Metric(formula=f"{name}/v1", unit=unit, better="higher", value=value)


def span(
    requests: Sequence[Request], failed: Iterable[tuple[float | None, float | None]] = ()
) -> float | None:
    """Return the seconds from the first schedule, or sending, to the last end.

    Those that ``failed`` (sending, end) belong to it: a server that has stopped answering well
    does not make the rate of good answers rise.
    """
    others = [*failed]
    starts = [r.start - (r.late or 0.0) for r in requests if r.start is not None]
    starts += [start for start, _ in others if start is not None]
    ends = [r.end for r in requests if r.end is not None]
    ends += [end for _, end in others if end is not None]
    return max(ends) - min(starts) if starts and ends and max(ends) > min(starts) else None


def counts(ok: int, errors: Mapping[str, int], cancelled: int, first: Sequence[str]) -> Counts:
    """Return the counts: what was sent either succeeded, failed or was cut off by the end."""
    failed = sum(errors.values())
    return Counts(
        scheduled=ok + failed + cancelled,
        issued=ok + failed + cancelled,
        ok=ok,
        errors=failed,
        dropped=0,
        cancelled=cancelled,
        by_class={name: n for name, n in sorted(errors.items()) if n},
        first_errors=tuple(text[:300] for text in first),
    )


def classified(text: str) -> str:
    """Return the class of an error that a tool tells in words of its own."""
    said = text.lower()
    if "timeout" in said or "timed out" in said:
        return "timeout"
    if "refused" in said or "cannot connect" in said or "connecterror" in said:
        return "connect"
    if any(
        word in said for word in ("payload", "disconnect", "reset", "incomplete", "peer closed")
    ):
        return "conn_lost"
    match = re.search(r"(?:status|code|http)\D{0,3}([45])\d\d\b", said)
    return f"http_{match[1]}xx" if match else "error"


def summarised(
    name: str, ok: int, told: Mapping[str, JsonValue], *, scale: float, keys: Mapping[str, str]
) -> Metric:
    """Return a tool's own summary, in ms, under a formula that is compared with no other.

    ``told`` are its numbers; ``keys`` says what it calls our percentiles; ``scale`` makes ms.
    """

    def of(key: str) -> float | None:
        value = number(told.get(key))
        return value * scale if value is not None else None

    return Metric(
        formula=f"{name}/tool",
        unit="ms",
        better="lower",
        n=ok,
        mean=of("mean"),
        stdev=of("stdev"),
        min=of("min"),
        max=of("max"),
        percentiles={q: of(key) if ok >= SAMPLES_NEEDED[q] else None for q, key in keys.items()},
    )


def not_recomputed(tool: str, kept: int, ok: int) -> Flag:
    """Say that a tool did not leave every request."""
    detail = f"{tool} left {kept} of {ok} requests: its own summary is shown, by its own formulas"
    return flag("not_recomputed", Severity.WARN, value=kept, limit=ok, detail=detail)


def by_the_server(
    tool: str, files: Mapping[str, bytes], received: int | None, uncounted: int, each: int
) -> tuple[dict[str, JsonValue], tuple[Flag, ...]]:
    """Return what the server counted, and what it says of the tokens that a tool has received.

    ``uncounted`` requests, of ``each`` tokens at most, were sent that the tool does not tell of:
    before the measurement, or without an end.
    """
    before, after = llm_counters.noted(files)
    server = llm_counters.server_metrics(before, after)
    slack = uncounted * each
    flags = llm_counters.judged(tool, before, after, received, slack=slack)
    return server, (*flags, *llm_counters.cached(server))


def delivery(
    tool: str, requests: Sequence[Request], sent: int, parameters: Mapping[str, object]
) -> Iterator[Flag]:
    """Judge the rate at which requests left; those that failed left like the others."""
    starts = [each.start for each in requests if each.start is not None]
    took = max(starts) - min(starts) if starts else 0.0
    share = sent / len(requests) if requests else 1.0
    achieved = (len(starts) - 1) * share / took if took > 0 else None
    capped = parameters.get("concurrency") is not None
    yield from tools.delivery(tool, parameters.get("rate"), achieved, sent, capped=capped)


def prompt_flags(requests: Sequence[Request], wanted: object) -> Iterator[Flag]:
    """Judge the length of prompts: of synthetic ones it is asked for (1 %)."""
    lengths = [r.n_in for r in requests if r.n_in is not None]
    asked = number(wanted)
    mean = math.fsum(lengths) / len(lengths) if lengths else None
    if mean is None or not asked or abs(mean - asked) <= 0.01 * asked:
        return
    detail = f"prompts had {mean:.1f} tokens on average, {asked:.0f} were asked for"
    off = abs(mean - asked) / asked
    yield flag("prompt_len_mismatch", Severity.WARN, value=off, limit=0.01, detail=detail)


def workload(parameters: Mapping[str, JsonValue], **more: JsonValue) -> dict[str, JsonValue]:
    """Return what was asked for; ``more`` is what the tool really took."""
    return {"kind": "llm", "load": loaded(parameters), **parameters, **more}


def loaded(parameters: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return the load model that the parameters of an LLM tool say."""
    rate_, users = number(parameters.get("rate")), number(parameters.get("concurrency"))
    cap = int(users) if users is not None else None
    if rate_ is None:
        return {"model": "closed", "concurrency": cap or 1}
    arrival = str(parameters.get("arrival", "poisson"))
    return {"model": "open", "arrival": arrival, "rate": rate_, "max_in_flight": cap}


def times(at: Window, window: float | None) -> Window:
    """Return the wrapper's times with the window that the samples show."""
    return Window(
        measure_start=at.measure_start, measure_end=at.measure_end, window_s=window or at.window_s
    )
