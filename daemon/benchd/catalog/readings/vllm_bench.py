"""``vllm bench serve --save-detailed``: everything again from the arrays, nothing from the summary.

Its summary is 0 where nothing succeeded, its "ITL" is between chunks, and without a tokenizer it
leaves latencies out. A stream that fails in the middle counts as a success there, so an answer that
is shorter than ``ignore_eos`` allows is an error here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from benchd.catalog.readings import llm_requests, tools
from benchd.catalog.readings.llm_requests import Request
from benchd.catalog.readings.loose import number, rows
from benchd.catalog.readings.text import last_line, text, window
from benchd.core.numbers import flag
from benchd.core.results import SAMPLES_NEEDED, Flag, Measured, Severity
from benchd.core.spec import JobSpec

OUTPUT_TOKENS = 128  # of an answer, where the recipe does not say
PROMPT_TOKENS = 1024
WARMUP = 16  # requests before the measurement
_ARRAYS = ("ttfts", "itls", "output_lens", "errors")


def _document(data: bytes) -> Mapping[str, JsonValue]:
    """Return the last JSON object of a file to which several may have been appended."""
    said, decoder = data.decode("utf-8", "replace").strip(), json.JSONDecoder()
    found: Mapping[str, JsonValue] = {}
    while said:
        try:
            value, end = decoder.raw_decode(said)
        except (ValueError, RecursionError):
            return found
        found = value if isinstance(value, dict) else found
        said = said[end:].strip()
    return found


def _at(values: Sequence[JsonValue], index: int) -> float | None:
    return number(values[index]) if index < len(values) else None


def _requests(
    document: Mapping[str, JsonValue], wanted: int | None, *, is_open: bool
) -> Iterator[tuple[Request | None, str, str]]:
    """Yield each request, or the class of its error and what was said of it.

    In a closed loop nothing is due, so what is said of waiting is no lateness.
    """
    arrays = {name: rows(document.get(name)) for name in (*_ARRAYS, "latencies", "queue_times")}
    starts, inputs = rows(document.get("start_times")), rows(document.get("input_lens"))
    for index, error in enumerate(arrays["errors"]):
        ttft, n_out = _at(arrays["ttfts"], index), _at(arrays["output_lens"], index)
        if error:
            yield None, llm_requests.classified(str(error)), str(error).strip().splitlines()[-1]
            continue
        if not ttft or not n_out:
            yield None, "no_tokens", "a success without a token"
            continue
        if wanted is not None and n_out < wanted:
            said = f"{n_out:.0f} tokens of {wanted} that ignore_eos asks for"
            yield None, "short_output", said
            continue
        row = arrays["itls"][index] if index < len(arrays["itls"]) else None
        gaps = (
            tuple(g for each in row if (g := number(each)) is not None)
            if isinstance(row, list)
            else ()
        )
        # The tool takes the last chunk's time for the end, so first token and gaps make it up.
        e2e = _at(arrays["latencies"], index) or ttft + sum(gaps)
        start, n_in = _at(starts, index), _at(inputs, index)
        yield (
            Request(
                ttft=ttft,
                e2e=e2e,
                n_out=int(n_out),
                n_in=int(n_in) if n_in is not None else None,
                late=_at(arrays["queue_times"], index) if is_open else None,
                gaps=gaps,
                start=start,
                end=start + e2e if start is not None else None,
            ),
            "",
            "",
        )


def _sent(document: Mapping[str, JsonValue]) -> Iterator[tuple[float | None, float | None]]:
    """Yield when each request was sent, and when it ended as far as that is told."""
    lasted, first = rows(document.get("latencies")), rows(document.get("ttfts"))
    for index, row in enumerate(rows(document.get("start_times"))):
        start, took = number(row), _at(lasted, index) or _at(first, index) or 0.0
        yield start, start + took if start is not None else None


def _flags(
    document: Mapping[str, JsonValue], good: Sequence[Request], spec: JobSpec, *, is_open: bool
) -> Iterator[Flag]:
    if is_open and not any(each.late is not None for each in good):
        detail = "this version does not tell how long requests waited for a place among those in "
        detail += "flight, so latencies begin when they were sent"
        yield flag("tool_not_co_safe", Severity.WARN, detail=detail)
    if not is_open:
        detail = (
            "closed loop: when the server stalls the client stops sending (coordinated omission)"
        )
        yield flag("closed_loop", Severity.INFO, detail=detail)
    said = number(document.get("completed"))
    if said is not None and said != len(good):
        detail = f"vLLM's client counts {said:.0f} successes, of which {len(good)} are answers"
        yield flag("recounted", Severity.INFO, value=len(good), limit=said, detail=detail)
    if spec.parameters.get("seed") is not None:
        detail = "a seed of one's own: every run sends the same prompts, which a prefix cache knows"
        yield flag("fixed_seed", Severity.WARN, detail=detail)
    yield from llm_requests.prompt_flags(good, spec.parameters.get("prompt_tokens", PROMPT_TOKENS))


def vllm_bench(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read ``--save-result --save-detailed``."""
    document = _document(files.get("result/vllm.json", b""))
    said = last_line(text(files, "err"))
    lacking = [name for name in _ARRAYS if not rows(document.get(name))]
    if not document or lacking:
        what = f"has no {', '.join(lacking)}: --save-detailed" if document else said or "no output"
        return Measured.nothing("no_result", f"vllm bench serve left no samples: {what}")
    whole = spec.parameters.get("ignore_eos", True)
    wanted = int(spec.parameters.get("output_tokens", OUTPUT_TOKENS)) if whole else None
    is_open = spec.parameters.get("rate") is not None
    found = list(_requests(document, wanted, is_open=is_open))
    good = [each for each, _, _ in found if each is not None]
    errors = Counter(kind for each, kind, _ in found if each is None)
    first = {kind: words for each, kind, words in reversed(found) if each is None}
    took = llm_requests.span(good, _sent(document)) or number(document.get("duration"))
    received = sum(int(number(n) or 0) for n in rows(document.get("output_lens")))
    server, checked = llm_requests.by_the_server(
        "vLLM's client",
        files,
        received,
        # it sends one request to see that the server answers, and those of its warm-up
        1 + int(spec.parameters.get("warmup", WARMUP)) + errors.total(),
        int(spec.parameters.get("output_tokens", OUTPUT_TOKENS)),
    )
    return Measured(
        metrics=llm_requests.metrics(good, took),
        counts=llm_requests.counts(len(good), errors, 0, list(first.values())),
        workload=llm_requests.workload(
            spec.parameters,
            seed=tools.seed(files),
            schedule_normalized=is_open,
        ),
        times=llm_requests.times(window(files), took),
        flags=(
            *_flags(document, good, spec, is_open=is_open),
            *llm_requests.delivery("vLLM's client", good, len(found), spec.parameters),
            *tools.troubles("vLLM's client", files, "vllm.err"),
            *checked,
        ),
        client=tools.client(
            files,
            "vllm bench serve",
            co_safe=is_open and all(each.late is not None for each in good) and bool(good),
            percentiles=tuple(SAMPLES_NEEDED),
            raw_samples=True,
            errors_counted=False,  # a stream that fails in the middle is a success to it
        ),
        server_metrics=server,
    )
