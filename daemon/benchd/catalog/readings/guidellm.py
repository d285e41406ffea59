"""GuideLLM's JSON: everything again from its requests, where it has left all of them.

What it calls TPOT is ours ``ntpot``, its ITL is ours ``tpot``; some of its times are seconds, some
milliseconds; it writes 0 for all of them where nothing succeeded, and ends with status 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import llm_requests, tools
from benchd.catalog.readings.llm_requests import Request
from benchd.catalog.readings.loose import fields, number, parsed, rows
from benchd.catalog.readings.text import last_line, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

OUTPUT_TOKENS = 128  # of an answer, where the recipe does not say
# Its name -> ours, and what makes milliseconds of it.
_SUMMARY = {
    "time_to_first_token_ms": ("ttft_service", 1.0),
    "time_to_first_output_token_ms": ("ttfo", 1.0),
    "time_per_output_token_ms": ("ntpot", 1.0),
    "inter_token_latency_ms": ("tpot", 1.0),
    "request_latency": ("e2e_service", 1000.0),
    "request_scheduled_latency": ("e2e_sched", 1000.0),
    "request_dispatch_delay": ("send_lag", 1000.0),
}
_PERCENTILES = {"50": "p50", "90": "p90", "95": "p95", "99": "p99", "99.9": "p999"}


def _benchmarks(data: bytes) -> list[Mapping[str, JsonValue]]:
    document = parsed(data)
    return [fields(each) for each in rows(document.get("benchmarks"))]


def _request(row: Mapping[str, JsonValue], *, is_open: bool) -> Request:
    at = fields(fields(row.get("info")).get("timings"))
    start, first = number(at.get("request_start")), number(at.get("first_token_iteration"))
    last, due = number(at.get("last_token_iteration")), number(at.get("targeted_start"))
    answer = number(at.get("first_output_token_iteration"))

    def since(moment: float | None) -> float | None:
        return moment - start if moment is not None and start is not None else None

    n_out, n_in = number(row.get("output_tokens")), number(row.get("prompt_tokens"))
    late = since(due)
    return Request(
        ttft=since(first),
        ttfo=since(answer),
        e2e=since(last),
        n_out=int(n_out) if n_out is not None else None,
        n_in=int(n_in) if n_in is not None else None,
        late=-late if is_open and late is not None else None,  # in a closed loop nothing is due
        start=start,
        end=number(at.get("request_end")) or last,
    )


def _summaries(metrics: Mapping[str, JsonValue], ok: int, *, is_open: bool) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for theirs, (ours, scale) in _SUMMARY.items():
        said = fields(fields(metrics.get(theirs)).get("successful"))
        is_due = ours in ("e2e_sched", "send_lag")
        if not said.get("count") or (is_due and not is_open):  # its zeros are no measurements
            continue
        told = {**fields(said.get("percentiles")), **said, "stdev": said.get("std_dev")}
        found[ours] = llm_requests.summarised(ours, ok, told, scale=scale, keys=_PERCENTILES)
    return found


def _errors(failed: list[JsonValue], total: int) -> tuple[Counter[str], list[str]]:
    """Return the classes of the errors, and the first of each in its words."""
    words = [str(fields(fields(row).get("info")).get("error") or "error") for row in failed]
    classes = Counter(llm_requests.classified(said) for said in words)
    first = {llm_requests.classified(said): said for said in reversed(words)}
    if total > len(words):
        classes["error"] += total - len(words)
    return classes, list(first.values())


def _flags(
    benchmark: Mapping[str, JsonValue], requests: list[Request], spec: JobSpec, ok: int
) -> Iterator[Flag]:
    if spec.parameters.get("rate") is None:
        detail = (
            "closed loop: when the server stalls the client stops sending (coordinated omission)"
        )
        yield flag("closed_loop", Severity.INFO, detail=detail)
    if ok and len(requests) < ok:
        yield llm_requests.not_recomputed("GuideLLM", len(requests), ok)
    for warning in rows(benchmark.get("warnings")):
        said = fields(warning)
        yield flag(
            f"client_{str(said.get('code') or 'warned')[:40]}",
            Severity.WARN,
            value=number(said.get("observed")),
            limit=number(said.get("threshold")),
            detail=f"GuideLLM says: {str(said.get('message'))[:300]}",
        )
    yield from llm_requests.prompt_flags(requests, spec.parameters.get("prompt_tokens"))


def guidellm(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``--output kind=json``: the one benchmark that one set of parameters gives."""
    found, said = _benchmarks(files.get("result/guidellm.json", b"")), last_line(text(files, "err"))
    if len(found) != 1:
        what = f"{len(found)} benchmarks, not one: {said or 'nothing was said'}"
        return Measured.nothing("no_result", f"guidellm left {what}")
    samples, metrics = fields(found[0].get("requests")), fields(found[0].get("metrics"))
    totals = fields(metrics.get("request_totals"))

    def total(name: str) -> int:
        return int(number(totals.get(name)) or len(rows(samples.get(name))))

    ok = total("successful")
    is_open = spec.parameters.get("rate") is not None
    requests = [_request(fields(r), is_open=is_open) for r in rows(samples.get("successful"))]
    errors, first = _errors(rows(samples.get("errored")), total("errored"))
    complete = len(requests) == ok
    rest = [*rows(samples.get("errored")), *rows(samples.get("incomplete"))]
    others = [_request(fields(r), is_open=is_open) for r in rest]
    failed = [(each.start, each.end) for each in others]
    took = llm_requests.span(requests, failed) if complete else number(found[0].get("duration"))
    measured = (
        llm_requests.metrics(requests, took)
        if complete
        else {
            **_summaries(metrics, ok, is_open=is_open),
            "req_s": llm_requests.rate("req_s", ok / took if took else None),
        }
    )
    cut = total("incomplete")
    server, checked = llm_requests.by_the_server(
        "GuideLLM",
        files,
        sum(each.n_out or 0 for each in requests) if complete else None,
        errors.total() + cut,
        int(spec.parameters.get("output_tokens", OUTPUT_TOKENS)),
    )
    return Measured(
        metrics=measured,
        counts=llm_requests.counts(ok, errors, cut, first),
        workload=llm_requests.workload(spec.parameters, seed=tools.seed(files)),
        times=llm_requests.times(window(files), took),
        flags=(
            *_flags(found[0], requests, spec, ok),
            *llm_requests.delivery(
                "GuideLLM", requests, ok + errors.total() + cut, spec.parameters
            ),
            *tools.troubles("GuideLLM", files, "guidellm.err", r"\|\s*CRITICAL\s*\|"),
            *checked,
        ),
        client=tools.client(
            files,
            "guidellm",
            co_safe=is_open,
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=True,
            errors_counted=True,
        ),
        server_metrics=server,
    )
