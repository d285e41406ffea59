"""What an LLM server counts itself: its page read, and the client judged by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchd.catalog.readings import load
from benchd.core.results import Measured
from benchd.core.spec import JobSpec, Role
from benchd.ship.load.counters import parse
from benchd.ship.load.streams import APIS
from benchd.ship.load.tokens import Sample, cached_share

SPEC = JobSpec(role=Role.CLIENT, name="c", kind="llm-load")
MADE, ASKED, FOUND = (
    f"vllm:{name}_total"
    for name in ("generation_tokens", "prefix_cache_queries", "prefix_cache_hits")
)
BEGAN = "process_start_time_seconds"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b'vllm:a_total{engine="0",model_name="m"} 12.0', {"vllm:a_total": 12}),
        (b'sglang:a_total{a="x} 9 \\"",b="{"} 1e1 17000 # {t="1"} 3', {"sglang:a_total": 10}),
        (b'vllm:a_total{engine="0"} 1\r\nvllm:a_total{engine="1"} 2\r\n', {"vllm:a_total": 3}),
        (b"llamacpp:a_total 7\nprocess_start_time_seconds 2", {"llamacpp:a_total": 7, BEGAN: 2}),
        (b'# TYPE vllm:a_total counter\nvllm:a_total_bucket{le="1"} 4\nvllm:b 3\nup_total 1', {}),
        (b"vllm:a_total NaN\nvllm:b_total +Inf\nvllm:c_total -1\nvllm:d_total x\nvllm:e_total", {}),
        (b'vllm:a_total{model_name="cut', {}),
        (b'{"data": [{"id": "m"}]}', {}),
        (b"\xff\xfe\x00", {}),
        (b"", {}),
    ],
)  # fmt: skip
def test_page_of_counters(page: bytes, expected: dict[str, float]) -> None:
    """Counters are added up over their labels; what is none, or no number, is not taken."""
    assert parse(page) == expected


def test_endless_page_is_bounded() -> None:
    """A page with ever other names gives no more of them than a server can have."""
    page = b"".join(b"vllm:a%d_total 1\n" % number for number in range(5000))
    assert len(parse(page)) == 200


def measured(before: Any, after: Any, **more: Any) -> Measured:
    """Return what is read of 100 answers with 1000 tokens by a server that counted so."""
    facts = {"client_tokens": 1000, **more.pop("facts", {})}
    prompt = {"cache_mode": more.pop("cache_mode", "unique")}
    document = {
        "schema": "benchd.load/1",
        "workload": {"kind": "llm", "prompt": prompt, "output_tokens": 10},
        "counts": {"scheduled": 100, "issued": 100, "ok": 100, "errors": 0},
        "counters": {"before": before, "after": after},
        "facts": facts,
    }
    return load({"result/result.json": json.dumps(document).encode()}, SPEC)


@pytest.mark.parametrize(
    ("after", "more", "expected"),
    [
        ([{MADE: 1500}], {}, {}),
        ([{MADE: 1504}], {}, {}),
        ([{MADE: 1506}], {}, {"token_mismatch": "warn"}),
        ([{MADE: 1526}], {"facts": {"unfinished": 3}}, {}),
        ([{MADE: 1494}], {}, {"token_mismatch": "warn"}),
        ([{MADE: 1479}], {"facts": {"unfinished": 3}}, {"token_mismatch": "error"}),
        ([{MADE: 499}], {}, {"server_restarted": "error"}),
        ([{MADE: 1500, BEGAN: 8}], {}, {"server_restarted": "error"}),
        ([{}], {}, {"not_cross_checked": "info"}),
        ([], {}, {"not_cross_checked": "info"}),
        ([{MADE: 1500, ASKED: 1000, FOUND: 10}], {}, {}),
        ([{MADE: 1500, ASKED: 1000, FOUND: 11}], {}, {"cache_hit_rate": "warn"}),
        ([{MADE: 1500, ASKED: 1000, FOUND: 900}], {"cache_mode": "repeat"}, {}),
        ([{MADE: 1500}], {"facts": {"cached_share": 0.011}}, {"cache_hit_rate": "warn"}),
        ([{MADE: 1500}], {"facts": {"cached_share": 0.01}}, {}),
    ],
)
def test_doubts_by_the_servers_counters(
    after: Any, more: dict[str, Any], expected: dict[str, str]
) -> None:
    """Tokens may differ by half a percent and by what was given up, new prompts be known by one."""
    found = measured([{MADE: 500}], after, **more)
    assert {flag.code: str(flag.severity) for flag in found.flags} == expected


def test_counters_of_replicas_are_added_up() -> None:
    """The result has the counters of all replicas, their growth, and the hit rate of the cache."""
    before = [{MADE: 5, FOUND: 0, ASKED: 0, BEGAN: 1}, {MADE: 7, BEGAN: 2}]
    after = [
        {MADE: 605, FOUND: 4, ASKED: 500, BEGAN: 1},
        {MADE: 407, FOUND: 0, ASKED: 500, BEGAN: 2},
    ]
    found = measured(before, after)
    assert found.server_metrics == {
        "before": {MADE: 12, FOUND: 0, ASKED: 0},
        "after": {MADE: 1012, FOUND: 4, ASKED: 1000},
        "delta": {MADE: 1000, FOUND: 4, ASKED: 1000, "prefix_cache_hit_rate": 0.004},
    }
    assert found.flags == ()
    assert measured(before, [after[0], {}]).server_metrics == {}


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ({"vllm:gpu_prefix_cache_hits": 0}, {"vllm:gpu_prefix_cache_hits": 1}, 0.25),
        ({"sglang:cached_tokens": 3}, {"sglang:cached_tokens": 4}, 0.25),
        # what llama.cpp found is not among what it had to compute
        ({"llamacpp:prompt_tokens_cached": 1}, {"llamacpp:prompt_tokens_cached": 2}, 0.2),
        ({"vllm:prefix_cache_hits": 9}, {"vllm:prefix_cache_hits": 1}, None),
    ],
)
def test_hit_rate_of_each_server(
    before: dict[str, float], after: dict[str, float], rate: float | None
) -> None:
    """Each server, and each version of vLLM, has names of its own for what its cache has found."""
    asked = ("vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries", "sglang:prompt_tokens")
    among = {f"{name}_total": 4 for name in (*asked, "llamacpp:prompt_tokens")}
    rows = [{f"{name}_total": value for name, value in row.items()} for row in (before, after)]
    delta: Any = measured([rows[0]], [rows[1] | among]).server_metrics["delta"]
    assert delta.get("prefix_cache_hit_rate") == rate


def answer(**said: Any) -> Sample:
    """Return a sample that says so."""
    sample = Sample("measure", 0, 0, 0.0)
    for name, value in said.items():
        setattr(sample, name, value)
    return sample


def test_cached_tokens_of_answers() -> None:
    """OpenAI's usage and Ollama's last line tell what of a prompt was cached; silence is 0."""
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}
    event = b"data: " + json.dumps({"choices": [], "usage": usage}).encode()
    (openai,) = APIS["openai-chat"].pieces(event)
    last = {"done": True, "prompt_eval_count": 9, "prompt_eval_cached_count": 3, "eval_count": 2}
    (ollama,) = APIS["ollama-generate"].pieces(json.dumps(last).encode())
    assert (openai.cached, ollama.cached) == (4, 3)
    told = [answer(prompt_tokens=9, cached=3), answer(prompt_tokens=3, cached=0)]
    assert cached_share([*told, answer(prompt_tokens=8)], 0) == 0.15
    # an old Ollama leaves the length of a prompt out that it has cached as a whole
    assert cached_share([*told, answer()], 8) == 0.55
    assert cached_share([answer(prompt_tokens=8), answer()], 0) is None
