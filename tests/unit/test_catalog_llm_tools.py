"""What vLLM's client, GuideLLM and AIPerf leave: computed again, by our formulas, from requests.

The files were written by guidellm 0.8.1 and aiperf 0.13.0 on a server whose answers were fixed: 200
ms to the first of 8 tokens, 2 ms between them; 100 requests at 20/s with at most 2 in flight, so
that the last one waited 5.9 s for its place. Of guidellm's requests two are kept, of aiperf's
three. vLLM's file is made by hand after its source: there is none of a real run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import aiperf, guidellm, vllm_bench
from benchd.core.results import Measured, count_flags
from benchd.core.spec import JobSpec, Role

DATA = Path(__file__).parent.parent / "data"
VLLMS = "vLLM's client"
GUIDELLM = json.loads((DATA / "guidellm-0.8.1-capped.trimmed.json").read_text())
AIPERF = json.loads((DATA / "aiperf-0.13.0-capped.json").read_text())
RECORDS = (DATA / "aiperf-0.13.0-capped.first3.jsonl").read_text()
OPEN: dict[str, Any] = {"rate": 20.0, "concurrency": 2, "output_tokens": 8, "prompt_tokens": 7}


def spec(**parameters: Any) -> JobSpec:
    """Return a client's spec."""
    said = {key: value for key, value in {**OPEN, **parameters}.items() if value is not None}
    return JobSpec(role=Role.CLIENT, name="c", kind="x", parameters=said)


def codes(measured: Measured) -> dict[str, str]:
    """Return code -> severity of what is doubtful, beside few samples and an unasked server."""
    flags = [*measured.flags, *count_flags(measured.counts)]
    return {flag.code: str(flag.severity) for flag in flags if flag.code != "not_cross_checked"}


def p50(measured: Measured, name: str) -> float | None:
    """Return a median; of fewer than six samples the mean."""
    metric = measured.metrics[name]
    return (metric.percentiles or {}).get("50") or metric.mean


def two(**totals: int) -> dict[str, Any]:
    """Return guidellm's document as if the two requests that are kept had been all of them."""
    document = copy.deepcopy(GUIDELLM)
    found = {"successful": 2, "errored": 0, "incomplete": 0, **totals}
    document["benchmarks"][0]["metrics"]["request_totals"] = found
    return document


def guide(document: object, **parameters: Any) -> Measured:
    """Read guidellm's file."""
    files = {"result/guidellm.json": json.dumps(document).encode(), "result/seed.txt": b"7\n"}
    return guidellm(files, spec(**parameters))


def test_guidellm_is_computed_again_from_its_requests() -> None:
    """Its ITL is our tpot, its TPOT our ntpot, and latencies begin when they were due as well."""
    measured = guide(two())
    # of the two requests: 27 ms is what it calls TPOT, 2.05 ms what it calls ITL
    assert p50(measured, "ntpot") == pytest.approx(26.96, abs=0.05)
    assert p50(measured, "tpot") == pytest.approx(2.05, abs=0.05)
    assert p50(measured, "ttft_service") == pytest.approx(201.35, abs=1)
    assert measured.metrics["e2e_sched"].max == pytest.approx(220, abs=10)
    assert measured.metrics["tpot"].formula == "tpot/v1"
    assert (measured.counts.ok, measured.counts.errors) == (2, 0)
    assert measured.workload["seed"] == 7
    assert codes(measured) == {"client_root_late": "warn"}


def test_guidellm_failures_are_in_the_window() -> None:
    """Ten seconds in which only errors came make the rate of good answers fall, not rise."""
    document = two(errored=1)
    requests = document["benchmarks"][0]["requests"]
    rate = guide(document).metrics["req_s"].value
    late = copy.deepcopy(requests["successful"][-1])
    for name in ("request_start", "request_end"):
        late["info"]["timings"][name] += 10
    requests["errored"] = [{"info": {**late["info"], "error": "status 503"}}]
    slower = guide(document).metrics["req_s"].value
    assert (rate, slower) == (pytest.approx(7.44, rel=0.01), pytest.approx(0.195, rel=0.02))


def test_guidellm_without_its_requests_is_shown_by_its_own_formulas() -> None:
    """A summary is no sample: its numbers are milliseconds, and compared with nothing of ours."""
    measured = guide(GUIDELLM)
    scheduled = measured.metrics["e2e_sched"]
    assert scheduled.percentiles is not None
    assert scheduled.percentiles["95"] == pytest.approx(5832.49, abs=0.01)
    assert scheduled.percentiles["99"] is None  # of 100 samples, nobody knows it
    assert (scheduled.formula, p50(measured, "tpot")) == (
        "e2e_sched/tool",
        pytest.approx(1.95, 0.01),
    )
    assert codes(measured) == {"client_root_late": "warn", "not_recomputed": "warn"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"benchmarks": []}, {"no_result": "error", "no_work": "error"}),
        ({"benchmarks": [{}, {}]}, {"no_result": "error", "no_work": "error"}),
        ("text", {"no_result": "error", "no_work": "error"}),
        ({"benchmarks": [{}]}, {"no_work": "error"}),
        ({"benchmarks": [{"requests": 3, "metrics": [1]}]}, {"no_work": "error"}),
    ],
)
def test_guidellm_without_samples_has_no_numbers(
    document: object, expected: dict[str, str]
) -> None:
    """No benchmark, several, or one in which nothing succeeded: null, and never its zeros."""
    measured = guide(document)
    assert (codes(measured), dict(measured.metrics)) == (expected, {})


def test_guidellm_zeros_are_not_taken_over() -> None:
    """Where all of 40 streams failed it writes zeros and ends well: these are no numbers."""
    document = two(successful=0, errored=40)
    benchmark = document["benchmarks"][0]
    benchmark["requests"] = {
        "successful": [],
        "errored": [{"info": {"error": "Server error: status 503"}}] * 40,
        "incomplete": [],
    }
    measured = guide(document)
    assert dict(measured.metrics) == {}
    assert measured.counts.by_class == {"http_5xx": 40}
    assert {"no_work": "error", "error_rate": "error"}.items() <= codes(measured).items()


def perf(summary: object, records: str = RECORDS, **parameters: Any) -> Measured:
    """Read aiperf's two files."""
    files = {
        "result/profile_export_aiperf.json": json.dumps(summary).encode(),
        "result/profile_export.jsonl": records.encode(),
    }
    return aiperf(files, spec(**parameters))


def three(**changes: object) -> dict[str, Any]:
    """Return aiperf's summary as if the three records had been all."""
    return {**AIPERF, "request_count": {"unit": "requests", "avg": 3.0}, **changes}


def test_aiperf_is_computed_again_from_its_records() -> None:
    """Its ITL is our tpot, its chunks our icl, by the unit that stands beside each number."""
    measured = perf(three())
    metrics = measured.metrics
    assert p50(measured, "ttft_service") == pytest.approx(203, abs=2)
    assert p50(measured, "tpot") == pytest.approx(1.9, abs=0.2)
    assert (metrics["icl"].n, metrics["ttft_service"].n) == (21, 3)
    assert "e2e_sched" not in metrics  # it does not tell when a request was due
    assert codes(measured) == {"tool_not_co_safe": "warn"}


def test_aiperf_calls_broken_streams_successes() -> None:
    """A record with fewer tokens than ignore_eos asks for, or with none, is an error."""
    lines = [json.loads(line) for line in RECORDS.splitlines()]
    lines[0]["metrics"]["usage_completion_tokens"]["value"] = 3
    for name in ("usage_completion_tokens", "output_sequence_length"):
        del lines[1]["metrics"][name]
    measured = perf(three(), "\n".join(json.dumps(line) for line in lines))
    assert measured.counts.by_class == {"no_tokens": 1, "short_output": 1}
    assert measured.metrics["ttft_service"].n == 1
    assert codes(measured)["recounted"] == "info"
    assert perf(three(), ignore_eos=False).counts.by_class == {}


def test_aiperf_errors_are_those_of_its_summary_too() -> None:
    """An error that only the summary admits is counted, with its class."""
    told = [{"error_details": {"code": 503, "type": "X", "message": "busy"}, "count": 4}]
    measured = perf(three(error_summary=told))
    assert measured.counts.by_class == {"http_5xx": 4}
    assert (measured.counts.ok, measured.counts.scheduled) == (3, 7)


@pytest.mark.parametrize(
    ("summary", "records", "expected"),
    [
        ({}, "", {"no_result": "error", "no_work": "error"}),
        ({"request_count": {"avg": 0}}, "", {"tool_not_co_safe": "warn", "no_work": "error"}),
        (AIPERF, RECORDS, {"tool_not_co_safe": "warn", "not_recomputed": "warn"}),
        (
            three(was_cancelled=True),
            RECORDS,
            {"tool_not_co_safe": "warn", "client_cancelled": "error"},
        ),
        (three(), RECORDS + "cut {", {"tool_not_co_safe": "warn", "error_rate": "error"}),
    ],
)
def test_aiperf_flags(summary: object, records: str, expected: dict[str, str]) -> None:
    """What is missing or cut short is said."""
    assert codes(perf(summary, records)).items() >= expected.items()


# Two answers of three tokens, one that failed, one that ended early.
VLLM: dict[str, Any] = {
    "completed": 3,
    "duration": 9.0,
    "request_rate": "inf",
    "mean_ttft_ms": 0.0,
    "ttfts": [0.1, 0.2, 0.0, 0.1],
    "itls": [[0.01, 0.03], [0.02, 0.02], [], []],
    "output_lens": [3, 3, 0, 1],
    "input_lens": [7, 7, 7, 7],
    "start_times": [100.0, 100.5, 101.0, 101.0],
    "errors": ["", "", "Traceback\naiohttp.ClientPayloadError: not completed", ""],
}


def vllm(
    *documents: object, beside: Mapping[str, bytes] | None = None, **parameters: Any
) -> Measured:
    """Read vLLM's file, in which every run may have left an object, and what lies beside it."""
    data = "\n".join(json.dumps(document) for document in documents).encode()
    files = {"vllm.json": data, "seed.txt": b"9\n", **(beside or {})}
    return vllm_bench({f"result/{name}": text for name, text in files.items()}, spec(**parameters))


def test_vllm_is_computed_again_from_its_arrays() -> None:
    """Formulas are ours, a cut answer is an error, and the last of several runs counts."""
    measured = vllm({"errors": []}, VLLM, output_tokens=3)
    metrics = measured.metrics
    assert metrics["ttft_service"].mean == pytest.approx(150)
    assert metrics["e2e_service"].mean == pytest.approx((140 + 240) / 2)
    assert metrics["tpot"].mean == pytest.approx(20)
    assert metrics["ntpot"].mean == pytest.approx((140 + 240) / 6)
    assert metrics["icl"].n == 4
    # not 3 / 9 s, and not 2 / 0.74 s: those that failed were sent, and answered, after that
    assert metrics["req_s"].value == pytest.approx(2 / 1.1)
    assert metrics["out_tok_s"].value == pytest.approx(6 / 1.1)
    assert measured.counts.by_class == {"conn_lost": 1, "short_output": 1}
    assert codes(measured)["recounted"] == "info"


def test_vllm_counts_from_the_schedule_where_it_can() -> None:
    """With the time that requests waited for a place, latencies begin when they were due."""
    waited = {**VLLM, "queue_times": [0.0, 1.0, 0.0, 0.0]}
    measured = vllm(waited, output_tokens=3)
    assert measured.metrics["e2e_sched"].max == pytest.approx(1240)
    assert (measured.client["co_safe"], "tool_not_co_safe" in codes(measured)) == (True, False)
    assert codes(vllm(VLLM, output_tokens=3))["tool_not_co_safe"] == "warn"


def test_nothing_is_due_in_a_closed_loop() -> None:
    """Users send when they are answered, so no number begins at a schedule."""
    waited = {**VLLM, "queue_times": [0.0, 1.0, 2.0, 3.0]}
    closed = [vllm(waited, output_tokens=3, rate=None), guide(two(), rate=None)]
    assert [set(), set()] == [
        {name for name in each.metrics if name.endswith("_sched") or name == "send_lag"}
        for each in closed
    ]


@pytest.mark.parametrize(
    ("documents", "parameters", "expected"),
    [
        ((), {}, {"no_result": "error"}),
        (({"completed": 5},), {}, {"no_result": "error"}),
        (({**VLLM, "ttfts": 3},), {}, {"no_result": "error"}),
        (({**VLLM, "errors": ["x"] * 4},), {}, {"no_work": "error", "error_rate": "error"}),
        ((VLLM,), {"seed": 1}, {"fixed_seed": "warn"}),
        ((VLLM,), {"prompt_tokens": 8, "output_tokens": 3}, {"prompt_len_mismatch": "warn"}),
        ((VLLM,), {"rate": None}, {"closed_loop": "info"}),
    ],
)
def test_vllm_flags(
    documents: tuple[object, ...], parameters: dict[str, Any], expected: dict[str, str]
) -> None:
    """No samples is no result; what makes a run doubtful is said."""
    assert codes(vllm(*documents, **parameters)).items() >= expected.items()


def counted(tokens: int) -> bytes:
    """Return the page of a vLLM that has made so many tokens."""
    return b'vllm:generation_tokens_total{engine="0"} %d.0\n' % tokens


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (7, []),
        (7 + 19 * 3, []),  # 16 of the warm-up, one that asks for an answer, two that failed
        (80, [("token_mismatch", "warn")]),
        (6, [("token_mismatch", "error")]),
        (None, [("not_cross_checked", "info")]),
    ],
)
def test_tokens_are_compared_with_the_servers_own_count(
    made: int | None, expected: list[tuple[str, str]]
) -> None:
    """A tool cannot have received more than was made, and what nobody told of is said."""
    pages = {"metrics-before.txt": counted(100)}
    if made is not None:
        pages["metrics-after.txt"] = counted(100 + made)
    flags = vllm(VLLM, beside=pages, output_tokens=3).flags
    wanted = ("token_mismatch", "not_cross_checked")
    assert expected == [(flag.code, flag.severity) for flag in flags if flag.code in wanted]


@pytest.mark.parametrize(
    ("cap", "expected"), [(2, [("under_delivery", "warn")]), (None, [("under_delivery", "error")])]
)
def test_a_rate_that_was_not_kept_is_said(cap: int | None, expected: list[tuple[str, str]]) -> None:
    """Half of the rate is another load: an error, or a word where so many in flight were asked."""
    starts = [n / 10 for n in range(100)]
    many = {
        **{name: [VLLM[name][0]] * 100 for name in ("ttfts", "itls", "output_lens", "errors")},
        "start_times": starts,
    }
    said = {rate: vllm(many, output_tokens=3, rate=rate, concurrency=cap) for rate in (10.0, 20.0)}
    flags = {
        rate: [(f.code, f.severity) for f in each.flags if f.code == "under_delivery"]
        for rate, each in said.items()
    }
    assert flags == {10.0: [], 20.0: expected}


FELL = b"""INFO: fine
Traceback (most recent call last):
  File "serve.py", line 1, in main
    raise ValueError
ValueError: no such tokenizer
"""


def test_a_traceback_is_an_error_whatever_the_numbers_say() -> None:
    """What Python tools say when they fall is found behind its indented lines."""
    files = {"result/guidellm.json": json.dumps(two()).encode(), "result/guidellm.err": FELL}
    logs = {"result/profile_export_aiperf.json": json.dumps(three()).encode()}
    fallen = [
        vllm(VLLM, beside={"vllm.err": FELL}),
        guidellm(files, spec()),
        aiperf({**logs, "result/aiperf.txt": FELL}, spec()),
    ]
    said = [[f.detail for f in each.flags if f.code == "tool_error"] for each in fallen]
    words = [
        f"{tool} says: ValueError: no such tokenizer" for tool in (VLLMS, "GuideLLM", "AIPerf")
    ]
    assert said == [[each] for each in words]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"\xff{", b"[" * 100_000, b'{"errors": [1]}']
)
def test_garbage_is_no_exception(data: bytes) -> None:
    """Whatever comes home is read: garbage is no result."""
    for name, parse in (("vllm", vllm_bench), ("guidellm", guidellm)):
        measured = parse({f"result/{name}.json": data}, spec())
        assert "error" in codes(measured).values()
    names = ("profile_export_aiperf.json", "profile_export.jsonl")
    assert "error" in codes(aiperf({f"result/{n}": data for n in names}, spec())).values()
