"""The document of our own load generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from benchd.catalog.readings import counters, llm_counters, load_steps
from benchd.catalog.readings.text import last_line, of_planned, text
from benchd.core import flags as limits
from benchd.core.numbers import flag
from benchd.core.results import Counts, Flag, Measured, Metric, Severity, Window
from benchd.core.spec import JobSpec


class _Raw(BaseModel):
    """Numbers as the load generator wrote them; what a newer one adds is kept out of the way."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _RawTimes(_Raw):
    measure_start: float | None = None
    measure_end: float | None = None
    warmup_s: float | None = None
    window_s: float | None = None


class _RawFacts(_Raw):
    """What the generator noticed about itself and about the answers."""

    cpu_share: float | None = None
    loop_lag_p99_ms: float | None = None
    tokens_estimated: int = 0
    short_outputs: int = 0
    long_outputs: int = 0
    resent: int = 0
    warmup_errors: int = 0
    ended_early: bool = False
    model_listed: bool | None = None
    prompt_tokens_mean: float | None = None
    offered_rate: float | None = None
    achieved_rate: float | None = None
    too_late: int = 0
    not_steady: bool | None = None
    ceiling_reached: bool | None = None
    peak_held: bool | None = None
    peak_cpu_share: float | None = None
    peak_send_lag_ms: float | None = None
    client_ops: int | None = None
    server_ops: int | None = None
    client_tokens: int | None = None
    unfinished: int = 0
    cached_share: float | None = None
    nodes_missing: int = 0
    start_spread_ms: float | None = None
    clock_error_ms: float | None = None


class _RawCounters(_Raw):
    """What the service has counted itself, a row for each replica."""

    before: list[dict[str, float]] = Field([])
    after: list[dict[str, float]] = Field([])


class _RawLoad(_Raw):
    schema_: str = Field(alias="schema")
    error: str | None = None
    partial: bool = False
    workload: dict[str, JsonValue] = Field({})
    client: dict[str, JsonValue] = Field({})
    server: dict[str, JsonValue] = Field({})
    times: _RawTimes = _RawTimes()
    counts: Counts = Counts()
    metrics: dict[str, Metric] = Field({})
    facts: _RawFacts = _RawFacts()
    counters: _RawCounters = _RawCounters()
    timeline: dict[str, JsonValue] = Field({})


def load(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read the ``benchd.load/1`` document of our own load generator."""
    name = "result/result.json"
    if name not in files:
        said = last_line(text(files, "err"))
        detail = f"the load generator left no result.json{f': {said}' if said else ''}"
        return Measured.nothing("no_result", detail)
    try:
        raw = _RawLoad.model_validate_json(files[name])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        detail = f"result.json cannot be read: {where}: {first['msg']}".replace(": :", ":")
        return Measured.nothing("bad_result", detail)
    if raw.schema_ != "benchd.load/1":
        detail = f"result.json is {raw.schema_!r}, not 'benchd.load/1': client and benchd differ"
        return Measured.nothing("bad_result", detail)
    return Measured(
        metrics=raw.metrics,
        counts=raw.counts,
        workload=raw.workload,
        times=Window(**raw.times.model_dump()),
        flags=tuple(_load_flags(raw, spec)),
        client=raw.client,
        service=raw.server | _cached(raw.facts.cached_share),
        timeline=raw.timeline,
        server_metrics=llm_counters.server_metrics(raw.counters.before, raw.counters.after),
        partial=raw.partial,
    )


def _cached(share: float | None) -> dict[str, JsonValue]:
    return {} if share is None else {"cached_prompt_share": share}


# The shortest latency of each workload, in which lateness of the client shows first.
_SHORTEST = ("ttft_service", "latency_service")


def _median(metrics: Mapping[str, Metric]) -> float | None:
    """Return the median of the shortest latency that is known, in ms."""
    found = next((metrics[name] for name in _SHORTEST if name in metrics), None)
    return (found.percentiles or {}).get("50") if found else None


def _share_of_median(metrics: Mapping[str, Metric]) -> float | None:
    """Return how late the client may be, in ms, so that the median latency hardly shows it."""
    median = _median(metrics)
    return limits.OF_MEDIAN * median if median is not None else None


def _delivery(raw: _RawLoad) -> Iterator[Flag]:
    """Yield that less was sent than planned; arrivals that were dropped were declared to be.

    Not by a generator that was late: what it makes up for at once does not fit under any limit.
    """
    offered, achieved, counts = raw.facts.offered_rate, raw.facts.achieved_rate, raw.counts
    if not offered or achieved is None or achieved / offered >= limits.DELIVERY:
        return
    sent = achieved / offered
    dropped = (counts.dropped or 0) / counts.scheduled if counts.scheduled else 0.0
    severity, why = Severity.ERROR, "the load generator could not send more"
    if sent + dropped >= limits.DELIVERY:
        why = "max_in_flight dropped the others, but the load generator was late itself"
        if _is_punctual(raw):
            severity, why = Severity.WARN, "max_in_flight dropped the others"
    detail = f"{of_planned(achieved, offered)}: {why}"
    yield flag("under_delivery", severity, value=sent, limit=limits.DELIVERY, detail=detail)


def _allowed(raw: _RawLoad) -> tuple[float, float]:
    """Return by how many ms requests may leave late without a word, and without a warning."""
    share = _share_of_median(raw.metrics)
    low, high = sorted((limits.SEND_LAG, limits.SEND_LAG if share is None else share))
    return low, high


def _longest_lag(raw: _RawLoad) -> float:
    """Return by how many ms answers may be noticed late."""
    return max(limits.LOOP_LAG, _share_of_median(raw.metrics) or 0.0)


def _is_punctual(raw: _RawLoad) -> bool:
    """Return whether requests left when they were due, and answers were noticed at once."""
    sent = raw.metrics.get("send_lag")
    late = _tail(sent)[1] or (sent.max if sent else None) or 0.0
    is_awake = (raw.facts.loop_lag_p99_ms or 0.0) <= _longest_lag(raw)
    return is_awake and not raw.facts.too_late and late <= _allowed(raw)[1]


def _behind(raw: _RawLoad) -> Iterator[Flag]:
    """Yield that the generator could not keep its schedule, which is more than some pauses."""
    count, sent = raw.facts.too_late, raw.metrics.get("send_lag")
    if count:
        detail = f"{count:,} arrivals were so late that they were not sent any more"
        yield flag("generator_behind", Severity.ERROR, detail=detail)
        return
    middle = ((sent.percentiles or {}) if sent else {}).get("50")
    limit = max(_allowed(raw)[1], _median(raw.metrics) or 0.0)
    if middle is not None and middle > limit:
        detail = "half of the requests left so much later than planned (ms) that *_sched tells of "
        detail += "the load generator"
        yield flag("generator_behind", Severity.ERROR, value=middle, limit=limit, detail=detail)


def _tail(metric: Metric | None) -> tuple[str, float | None]:
    """Return the percentile that is farthest out, up to p99, of those that are known."""
    known = (metric.percentiles or {}) if metric else {}
    return next(
        ((q, late) for q in ("99", "95", "90") if (late := known.get(q)) is not None), ("", None)
    )


def _closed_loop(raw: _RawLoad) -> Iterator[Flag]:
    """Yield that users who wait spare a service that stalls."""
    load = raw.workload.get("load")
    if isinstance(load, dict) and load.get("model") == "closed":
        detail = "users who wait do not ask: while the service stalled, almost nothing was measured"
        yield flag("closed_loop", Severity.INFO, detail=detail)


def _open_loop(raw: _RawLoad) -> Iterator[Flag]:
    """Yield what is to be said of arrivals that were not as planned, or not kept up with."""
    yield from _delivery(raw)
    yield from _behind(raw)
    q, late = _tail(raw.metrics.get("send_lag"))
    allowed = _allowed(raw)
    if late is not None and late > allowed[0]:
        severity, limit = Severity.INFO, allowed[0]
        if late > allowed[1]:
            severity, limit = Severity.WARN, allowed[1]
        detail = f"requests left later than planned (p{q}, ms); *_sched has it in it, "
        detail += "*_service not"
        yield flag("send_lag_p99", severity, value=late, limit=limit, detail=detail)
    if raw.facts.not_steady:
        who = "the service did not keep up"
        if not _is_punctual(raw):
            who = "the load generator was late itself, so this need not be the service's"
        detail = f"latency and requests in flight grew all the time: {who}; the numbers depend on "
        detail += "how long this lasted"
        yield flag("not_steady", Severity.WARN, detail=detail)


def _peak(raw: _RawLoad) -> Iterator[Flag]:
    """Yield what is to be said of the highest rate that was found."""
    if raw.facts.peak_held is False:
        share = raw.metrics.get("slo_attainment")
        detail = "at the peak that the search found, the measurement did not meet the objectives"
        yield flag(
            "peak_not_held",
            Severity.WARN,
            value=share.value if share else None,
            limit=limits.PEAK_SHARE,
            detail=detail,
        )
    cpu = raw.facts.peak_cpu_share
    if cpu is not None and cpu > limits.CLIENT_CPU:
        detail = "the load generator was busy itself at the first rate beyond the peak: the service"
        detail += " may bear more"
        yield flag(
            "peak_of_client", Severity.WARN, value=cpu, limit=limits.CLIENT_CPU, detail=detail
        )
    elif (raw.facts.peak_send_lag_ms or 0.0) > _allowed(raw)[1]:
        detail = f"requests left {raw.facts.peak_send_lag_ms:,.0f} ms late (p99) at the first rate "
        detail += "beyond the peak: the service may bear more"
        yield flag("peak_of_client", Severity.WARN, detail=detail)


def _resent(count: int, counts: Counts) -> Iterator[Flag]:
    """Yield that requests were sent again; many of them are no coincidence."""
    if not count:
        return
    detail = "requests that crossed the server's closing of a connection were sent again; their "
    detail += "time runs from the first sending"
    share = count / (counts.issued or count)
    severity = Severity.WARN if share > limits.ERROR_RATE else Severity.INFO
    yield flag("resent", severity, value=share, limit=limits.ERROR_RATE, detail=detail)


def _long(count: int, ok: int) -> Iterator[Flag]:
    if count:
        detail = f"{count} of {ok} answers had more tokens than were asked for, or so they say"
        yield flag(
            "long_output", Severity.WARN, value=count / (ok or count), limit=0, detail=detail
        )


def _several(raw: _RawLoad) -> Iterator[Flag]:
    """Yield what is to be said of several nodes that load, or several replicas that answer."""
    facts, targets = raw.facts, raw.server.get("targets")
    if facts.nodes_missing:
        detail = f"{facts.nodes_missing} load generators left no samples: their load is not in this"
        yield flag(
            "nodes_missing", Severity.ERROR, value=facts.nodes_missing, limit=0, detail=detail
        )
    limit = limits.START_SPREAD + (facts.clock_error_ms or 0.0)
    if facts.start_spread_ms is not None and facts.start_spread_ms > limit:
        detail = "the load generators did not start together (ms between the first and the last)"
        yield flag(
            "start_spread",
            Severity.WARN,
            value=facts.start_spread_ms,
            limit=limit,
            detail=detail,
        )
    rows = [row for row in targets if isinstance(row, dict)] if isinstance(targets, list) else []
    idle = [str(row.get("url")) for row in rows if not row.get("ok")]
    if idle and len(idle) < len(rows):
        detail = f"{len(idle)} of {len(rows)} replicas answered nothing: {', '.join(idle[:3])}"
        yield flag("replica_idle", Severity.WARN, value=len(idle), limit=0, detail=detail)


def _counters(raw: _RawLoad) -> Iterator[Flag]:
    """Yield what is to be said when the server counted something else than was sent."""
    if raw.workload.get("kind") == "llm":
        yield from _tokens(raw)
        return
    ours, theirs = raw.facts.client_ops, raw.facts.server_ops
    again = list(counters.restarted(raw.counters.before, raw.counters.after))
    if again or not ours:
        yield from again
        return
    if theirs is None:
        detail = "Redis did not tell its own count of commands, or only once"
        yield flag("not_cross_checked", Severity.INFO, limit=limits.COUNTED, detail=detail)
        return
    share = abs(theirs - ours) / ours
    if share > limits.COUNTED:
        detail = f"the server counted {theirs} commands, {ours} were sent: is it used by others?"
        yield flag(
            "counter_mismatch", Severity.WARN, value=share, limit=limits.COUNTED, detail=detail
        )


def _tokens(raw: _RawLoad) -> Iterator[Flag]:
    """Yield what the counters of an LLM server say of the tokens, and of the prompts' novelty."""
    facts, rows = raw.facts, raw.counters
    prompt, length = raw.workload.get("prompt"), raw.workload.get("output_tokens")
    slack = facts.unfinished * float(length if isinstance(length, int) else 0)
    if raw.counts.ok:
        yield from llm_counters.judged(
            "llm-load", rows.before, rows.after, facts.client_tokens, slack=slack
        )
    if isinstance(prompt, dict) and prompt.get("cache_mode") == "unique":
        server = llm_counters.server_metrics(rows.before, rows.after)
        yield from llm_counters.cached(server, facts.cached_share)


def _load_flags(raw: _RawLoad, spec: JobSpec) -> Iterator[Flag]:
    facts, ok = raw.facts, raw.counts.ok or 0
    yield from _several(raw)
    if raw.error:
        yield flag("client_error", Severity.ERROR, detail=raw.error)
    if facts.cpu_share is not None and facts.cpu_share > limits.CLIENT_CPU:
        yield flag(
            "client_cpu",
            Severity.ERROR,
            value=facts.cpu_share,
            limit=limits.CLIENT_CPU,
            detail="the load generator was busy itself: it may be what was measured",
        )
    yield from _closed_loop(raw)
    yield from _open_loop(raw)
    yield from _peak(raw)
    yield from load_steps.judged(raw.workload, ceiling_reached=facts.ceiling_reached)
    yield from _counters(raw)
    lag, limit = facts.loop_lag_p99_ms, _longest_lag(raw)
    if lag is not None and lag > limit:
        detail = "the load generator noticed some answers late (p99, ms): a busy node?"
        yield flag("loop_lag_p99", Severity.WARN, value=lag, limit=limit, detail=detail)
    if facts.ended_early:
        detail = "as many requests were measured as are kept: what was asked for goes on for longer"
        count = raw.counts.scheduled
        yield flag("ended_early", Severity.WARN, value=count, limit=limits.KEPT, detail=detail)
    short = facts.short_outputs / ok if ok else 0.0
    if short > 0:
        severity = Severity.WARN if short > limits.SHORT_OUTPUT else Severity.INFO
        detail = f"{facts.short_outputs} of {ok} answers ended before the length asked for"
        yield flag("short_output", severity, value=short, limit=limits.SHORT_OUTPUT, detail=detail)
    yield from _long(facts.long_outputs, ok)
    if facts.tokens_estimated:
        detail = f"{facts.tokens_estimated} answers came without usage: tokens are counted chunks"
        yield flag(
            "tokens_estimated",
            Severity.WARN,
            value=facts.tokens_estimated,
            detail=detail,
        )
    if facts.warmup_errors:
        detail = "requests of the warm-up that failed"
        yield flag(
            "warmup_errors",
            Severity.WARN,
            value=facts.warmup_errors,
            limit=0,
            detail=detail,
        )
    yield from _resent(facts.resent, raw.counts)
    if facts.model_listed is False:
        detail = "the server answers to this model name but does not list it"
        yield flag("model_not_listed", Severity.INFO, detail=detail)
    yield from _prompts(facts.prompt_tokens_mean, float(spec.parameters.get("prompt_tokens", 128)))


def _prompts(got: float | None, wanted: float) -> Iterator[Flag]:
    """Yield what is to be said of prompts that were not as long as was asked for."""
    off = abs(got - wanted) / wanted if got is not None else 0.0
    if got is None or off <= limits.PROMPT_LENGTH:
        return
    cut = got < wanted - limits.WORD and off > limits.PROMPT_CUT
    detail = f"prompts had {got:.1f} tokens on average, {wanted:.0f} were asked for"
    detail += ": the server cuts them, so this is another workload" if cut else ""
    severity = Severity.ERROR if cut else Severity.WARN
    yield flag(
        "prompt_len_mismatch", severity, value=off, limit=limits.PROMPT_LENGTH, detail=detail
    )
