"""AIPerf's two files: the summary for what failed, the records for everything that is measured.

Its ITL is ours ``tpot``, its inter-chunk latency ours ``icl``. A stream that ends with an error in
the middle is a success to it, and its "effective latency" begins when a request got a place among
those in flight, not when it was due: neither is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from benchd.catalog.readings import llm_requests, tools
from benchd.catalog.readings.llm_requests import Request
from benchd.catalog.readings.loose import fields, number, parsed, rows
from benchd.catalog.readings.text import last_line, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

OUTPUT_TOKENS = 128  # of an answer, where the recipe does not say
WARMUP = 16  # requests before the measurement
_SUMMARY = {
    "time_to_first_token": "ttft_service",
    "time_to_first_output_token": "ttfo",
    "request_latency": "e2e_service",
    "inter_token_latency": "tpot",
    "inter_chunk_latency": "icl",
}
_PERCENTILES = {"50": "p50", "90": "p90", "95": "p95", "99": "p99", "99.9": "p99.9"}
# Its units -> seconds.
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}


def _seconds(metrics: Mapping[str, JsonValue], name: str) -> float | None:
    """Return a time by its unit; None where it is none, or in a unit that nobody knows."""
    said = fields(metrics.get(name))
    value, scale = number(said.get("value")), _SECONDS.get(str(said.get("unit")))
    return value * scale if value is not None and scale is not None else None


def _whole(metrics: Mapping[str, JsonValue], *names: str) -> int | None:
    for name in names:
        value = number(fields(metrics.get(name)).get("value"))
        if value is not None:
            return int(value)
    return None


def _request(record: Mapping[str, JsonValue]) -> Request:
    about, metrics = fields(record.get("metadata")), fields(record.get("metrics"))
    start, end = number(about.get("request_start_ns")), number(about.get("request_end_ns"))
    chunks = fields(metrics.get("inter_chunk_latency"))
    scale, values = _SECONDS.get(str(chunks.get("unit"))), chunks.get("value")
    gaps = rows(values) if scale is not None else []
    return Request(
        ttft=_seconds(metrics, "time_to_first_token"),
        ttfo=_seconds(metrics, "time_to_first_output_token"),
        e2e=_seconds(metrics, "request_latency"),
        n_out=_whole(metrics, "usage_completion_tokens", "output_sequence_length"),
        n_in=_whole(metrics, "usage_prompt_tokens", "input_sequence_length"),
        gaps=tuple(gap * (scale or 0.0) for row in gaps if (gap := number(row)) is not None),
        start=start / 1e9 if start is not None else None,
        end=end / 1e9 if end is not None else None,
    )


def _records(data: str) -> list[Mapping[str, JsonValue]]:
    """Return the records of the measurement, without those of a warm-up."""
    found = [parsed(line) for line in data.splitlines() if line.strip()]
    return [
        record
        for record in found
        if fields(record.get("metadata")).get("benchmark_phase", "profiling") == "profiling"
    ]


def _both(
    records: list[Mapping[str, JsonValue]],
) -> list[tuple[Mapping[str, JsonValue], Request]]:
    return [(record, _request(record)) for record in records]


def _whole_of(summary: Mapping[str, JsonValue], name: str) -> int:
    return int(number(fields(summary.get(name)).get("avg")) or 0)


def _failure(record: Mapping[str, JsonValue], request: Request, wanted: int | None) -> str | None:
    """Return what is wrong with a request that AIPerf has recorded; None when nothing is."""
    error = record.get("error")
    if error:
        said = fields(error)
        kind = " ".join(str(said.get(key) or "") for key in ("code", "type", "message")).strip()
        return f"code {kind}" if said.get("code") else kind or str(error)
    if not request.n_out or request.ttft is None:
        return "a success without a token"
    if wanted is not None and request.n_out < wanted:
        return f"{request.n_out} tokens of {wanted} that ignore_eos asks for"
    return None


def _class(said: str) -> str:
    if said.startswith("a success"):
        return "no_tokens"
    return "short_output" if said.endswith("asks for") else llm_requests.classified(said)


def _told(summary: Mapping[str, JsonValue]) -> Iterator[tuple[str, int, str]]:
    """Yield the errors that the summary admits: class, how many, in its words."""
    for row in rows(summary.get("error_summary")):
        said = fields(row)
        about = fields(said.get("error_details"))
        words = " ".join(str(about.get(key) or "") for key in ("code", "type", "message")).strip()
        kind = llm_requests.classified(f"code {words}" if about.get("code") else words)
        yield kind, int(number(said.get("count")) or 1), words


def _summaries(summary: Mapping[str, JsonValue], ok: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for theirs, ours in _SUMMARY.items():
        said = fields(summary.get(theirs))
        scale = _SECONDS.get(str(said.get("unit")))
        if scale is None or number(said.get("avg")) is None or not ok:
            continue
        told = {**said, "mean": said.get("avg"), "stdev": said.get("std")}
        found[ours] = llm_requests.summarised(ours, ok, told, scale=scale * 1000, keys=_PERCENTILES)
    return found


def _flags(
    summary: Mapping[str, JsonValue], good: Sequence[Request], said: int, spec: JobSpec
) -> Iterator[Flag]:
    if spec.parameters.get("rate") is None:
        detail = (
            "closed loop: when the server stalls the client stops sending (coordinated omission)"
        )
        yield flag("closed_loop", Severity.INFO, detail=detail)
    else:
        detail = "AIPerf does not tell when a request was due: its wait for a place among those in "
        yield flag("tool_not_co_safe", Severity.WARN, detail=f"{detail}flight is in no latency")
    if good and said != len(good):
        detail = f"AIPerf counts {said} successes, of which {len(good)} are answers"
        yield flag("recounted", Severity.INFO, value=len(good), limit=said, detail=detail)
    if summary.get("was_cancelled") is True:
        yield flag("client_cancelled", Severity.ERROR, detail="AIPerf was stopped before its end")
    yield from llm_requests.prompt_flags(good, spec.parameters.get("prompt_tokens"))


def aiperf(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``profile_export_aiperf.json`` and ``profile_export.jsonl``."""
    summary = parsed(files.get("result/profile_export_aiperf.json", b""))
    records = _records(text(files, "result/profile_export.jsonl"))
    ended = last_line(text(files, "err"))
    if not summary and not records:
        return Measured.nothing("no_result", f"aiperf left no results: {ended or 'no output'}")
    whole = spec.parameters.get("ignore_eos", True)
    wanted = int(spec.parameters.get("output_tokens", OUTPUT_TOKENS)) if whole else None
    judged = [(record, each, _failure(record, each, wanted)) for record, each in _both(records)]
    good = [each for _, each, words in judged if words is None]
    # What failed may be in the records, or in the summary alone; what it calls good is judged here.
    recorded = [words for record, _, words in judged if words is not None and record.get("error")]
    doubted = [
        words for record, _, words in judged if words is not None and not record.get("error")
    ]
    told, said = list(_told(summary)), _whole_of(summary, "request_count")
    errors = Counter({kind: count for kind, count, _ in told})
    if len(recorded) >= errors.total():
        errors = Counter(_class(words) for words in recorded)
    first = {_class(words): words for words in reversed([*recorded, *doubted])}
    first |= {kind: words for kind, _, words in told if kind not in first}
    complete = len(records) - len(recorded) >= said
    took = llm_requests.span([each for _, each, _ in judged]) if complete else None
    flags = [*_flags(summary, good if complete else (), said, spec)]
    if complete:
        errors += Counter(_class(words) for words in doubted)
        ok, measured = len(good), llm_requests.metrics(good, took)
    else:
        flags.append(llm_requests.not_recomputed("AIPerf", len(records), said))
        ok, measured = said, _summaries(summary, said)
    server, checked = llm_requests.by_the_server(
        "AIPerf",
        files,
        sum(each.n_out or 0 for _, each, _ in judged) if complete else None,
        int(spec.parameters.get("warmup", WARMUP)) + errors.total(),
        int(spec.parameters.get("output_tokens", OUTPUT_TOKENS)),
    )
    return Measured(
        metrics=measured,
        counts=llm_requests.counts(ok, errors, 0, list(first.values())),
        workload=llm_requests.workload(spec.parameters, seed=tools.seed(files)),
        times=llm_requests.times(window(files), took),
        flags=(
            *flags,
            *llm_requests.delivery("AIPerf", good, ok + errors.total(), spec.parameters),
            *tools.troubles("AIPerf", files, "aiperf.err"),
            *tools.troubles("AIPerf", files, "aiperf.txt"),
            *checked,
        ),
        client=tools.client(
            files,
            "aiperf",
            co_safe=False,
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=True,
            errors_counted=False,  # a stream that fails in the middle is a success to it
        ),
        server_metrics=server,
    )
