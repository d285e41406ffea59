"""Streams and numbers of the load generator, and the delays of the synthetic server."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core import results
from benchd.core.numbers import effective_size
from benchd.ship.llm.delays import DISTRIBUTIONS, Delays
from benchd.ship.load import llm, quality, summary, tokens
from benchd.ship.load.prompts import Prompts
from benchd.ship.load.sending import Phase, Stop
from benchd.ship.load.streams import APIS, Lines, Piece
from benchd.ship.load.target import Target
from benchd.ship.load.tokens import Sample

COMPLETION = b'data: {"choices":[{"text":"a","finish_reason":null}]}'


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8))
def test_lines_do_not_depend_on_cuts(lines: list[bytes]) -> None:
    """Lines are the same whether they come at once or byte by byte."""
    text = b"".join(line + b"\n" for line in lines)
    slow = Lines()
    found = [line for i in range(len(text)) for line in slow.feed(text[i : i + 1])]
    assert found == Lines().feed(text)
    assert slow.rest() == b""


@pytest.mark.parametrize(
    ("api", "line", "expected"),
    [
        ("openai-completions", COMPLETION, Piece(content=True)),
        ("openai-completions", b"data:[DONE]", Piece(done=True)),
        (
            "openai-completions",
            b'data: {"choices":[],"usage":{"completion_tokens":5,"prompt_tokens":7}}',
            Piece(tokens=5, prompt_tokens=7),
        ),
        (
            "openai-completions",
            b'data: {"choices":[{"text":"","finish_reason":"stop"}],"usage":null}',
            Piece(finish="stop"),
        ),
        ("openai-completions", b'data: {"error":"x"}', Piece(error="x")),
        ("openai-completions", b'data: {"error":{"message":"x","code":1}}', Piece(error="x")),
        ("openai-completions", b'{"error":{"code":1}}', Piece(error="{'code': 1}")),
        ("openai-completions", b"data: [1]", Piece(bad="not a JSON object: b'[1]'")),
        (
            "openai-chat",
            b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}',
            Piece(),
        ),
        ("openai-chat", b'data: {"choices":[{"delta":{"content":"a"}}]}', Piece(content=True)),
        (
            "openai-chat",
            b'data: {"choices":[{"delta":{"reasoning_content":"a"}}]}',
            Piece(reasoning=True),
        ),
        ("openai-chat", b'data: {"choices":[{"delta":[1]}]}', Piece(bad="delta is not an object")),
        ("ollama-generate", b'{"response":"a","done":false}', Piece(content=True)),
        ("ollama-generate", b'{"thinking":"a","done":false}', Piece(reasoning=True)),
        (
            "ollama-generate",
            b'{"response":"","done":true,"done_reason":"length","eval_count":5}',
            Piece(done=True, finish="length", tokens=5),
        ),
        ("ollama-generate", b'{"error":"no"}', Piece(error="no")),
        ("ollama-chat", b'{"message":{"content":"a"},"done":false}', Piece(content=True)),
        ("ollama-chat", b'{"done":true}', Piece(done=True, finish="stop")),
    ],
)
def test_pieces(api: str, line: bytes, expected: Piece) -> None:
    """Each line of each interface says what it says, and a role alone is no content."""
    assert APIS[api].pieces(line) == [expected]


@pytest.mark.parametrize("line", [b"", b": ping", b"event: x", b"id: 1", b"retry: 5"])
def test_lines_that_say_nothing(line: bytes) -> None:
    """Comments and other fields of server-sent events are passed over."""
    assert APIS["openai-chat"].pieces(line) == []


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1, max_size=80))
def test_client_and_daemon_agree(samples: list[float]) -> None:
    """The load generator's own statistics are those of the daemon."""
    made = results.Metric.model_validate(summary.distribution("ttft_service", samples))
    usual = results.summarise([x * 1000 for x in samples], formula="ttft_service/v1")
    assert (made.n, made.min, made.max) == (usual.n, usual.min, usual.max)
    assert made.mean == pytest.approx(usual.mean)
    assert made.stdev == pytest.approx(usual.stdev)
    assert made.percentiles == usual.percentiles
    assert made.ci == {"n_eff": effective_size(samples)}


def test_limits_agree() -> None:
    """The load generator and the daemon need the same number of samples for a percentile."""
    assert summary.NEEDED == dict(results.SAMPLES_NEEDED)


def sample(status: str, sent: float, first: float, last: float, count: int) -> Sample:
    """Return an answered request."""
    made = Sample("measure", 0, 0, sent)
    made.sent, made.first, made.last, made.end = sent, first, last, last
    made.status, made.tokens, made.chunks = status, count, count
    return made


def workload(*slos: str, is_open: bool = False) -> llm.Workload:
    """Return a workload of streams."""
    options = llm.Options("openai-completions", "m", 8, 8, 0, False)
    made = llm.Workload(Target("h", 1, "", False), 1.0, "r", options)
    made.is_open = is_open
    made.slos = quality.parse(slos) if slos else []
    return made


def test_metrics_by_their_formulas() -> None:
    """Every metric follows its formula, and failures count in the error rate alone."""
    samples = [
        sample("ok", 10.0, 10.1, 10.5, 5),
        sample("ok", 11.0, 11.3, 12.0, 8),
        sample("timeout", 12.0, 12.1, 14.0, 3),
    ]
    made = tokens.metrics(workload(), samples, tokens.Gaps())
    assert made["ttft_service"]["mean"] == pytest.approx(200.0)
    assert made["e2e_service"]["mean"] == pytest.approx(750.0)
    assert made["tpot"]["mean"] == pytest.approx(100.0)
    assert made["req_s"]["value"] == pytest.approx(2 / 4.0)
    assert made["out_tok_s"]["value"] == pytest.approx(13 / 4.0)
    assert made["error_rate"]["value"] == pytest.approx(1 / 3)
    assert made["icl"]["n"] == 0


@pytest.mark.parametrize(("spare", "expected"), [(0, True), (1, False)])
def test_a_chunk_is_a_token_only_where_there_are_as_many(spare: int, *, expected: bool) -> None:
    """Times between chunks are those between tokens, or there are none of these."""
    samples = [sample("ok", 10.0, 10.1, 10.5, 5), sample("ok", 11.0, 11.3, 12.0, 8)]
    samples[1].chunks -= spare
    gaps = tokens.Gaps()
    gaps.add([0.1] * 11)
    made = tokens.metrics(workload(), samples, gaps)
    assert ("itl" in made, made["icl"]["n"]) == (expected, 11)


def test_more_than_was_asked_for_is_counted() -> None:
    """Of eight tokens asked for, ten are too many; nine may be eight and the end of the text."""
    counts = (("ok", 8), ("ok", 9), ("ok", 10), ("timeout", 10))
    samples = [sample(status, 1.0, 1.1, 1.5, count) for status, count in counts]
    assert workload().facts(samples)["long_outputs"] == 1


def test_gaps_are_kept_on_demand() -> None:
    """A line has its gaps in microseconds when they are to be kept, and no such key otherwise."""
    kept, bare = (sample("ok", 0.0, 0.5, 0.9, 5) for _ in range(2))
    kept.gaps = [0.1, 0.2000004]
    assert (kept.line(0.0)["gaps_us"], "gaps_us" in bare.line(0.0)) == ([100000, 200000], False)


def test_counts_add_up_when_stopped() -> None:
    """What was planned and not sent, or cut off, is cancelled."""
    samples = [sample("ok", 1, 2, 3, 4), sample("cancelled", 1, 2, 3, 0)]
    made = summary.counts(samples, 10)
    expected = (10, 2, 1, 0, 0, 9)
    names = ("scheduled", "issued", "ok", "errors", "dropped", "cancelled")
    assert tuple(made[name] for name in names) == expected


def test_kept_gaps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many gaps a uniform sample is kept, and their number is still known."""
    monkeypatch.setattr(tokens, "_KEPT_GAPS", 100)
    gaps = tokens.Gaps()
    gaps.add([float(x) for x in range(10_000)])
    assert (gaps.seen, len(gaps.kept)) == (10_000, 100)
    assert statistics.fmean(gaps.kept) == pytest.approx(5_000, rel=0.25)


def test_timeline_covers_the_window() -> None:
    """Each second has its starts, ends, errors and tokens."""
    samples = [sample("ok", 0.0, 0.5, 0.9, 5), sample("timeout", 0.5, 0.6, 2.5, 2)]
    made = summary.timeline(samples, 0.0, "out_tokens")
    assert made["rows"] == [
        [0, 2, 1, 0, 5, 1.4],
        [1, 0, 0, 0, 0, 1.0],
        [2, 0, 0, 1, 0, 0.5],
    ]


def test_a_timeline_begins_with_the_first_of_several_nodes() -> None:
    """What another node sent earlier stands where it happened, not in the last row."""
    samples = [sample("ok", -9.5, -9.5, -9.0, 5), sample("ok", 0.0, 0.0, 0.2, 5)]
    rows = summary.timeline(samples, 0.0)["rows"]
    assert [(0, 1, 1), (9, 1, 1)] == [tuple(row[:3]) for row in rows if row[1] or row[2]]


def test_timeline_is_bounded() -> None:
    """A long run has wider buckets, not more rows."""
    made = summary.timeline([sample("ok", 0.0, 1.0, 86_400.0, 5)], 0.0)
    assert (made["bucket_s"], len(made["rows"])) == (144, 601)


def test_requests_are_planned() -> None:
    """With a number of requests alone, all of them were scheduled, even if it was stopped."""
    phase = Phase("measure", Stop(3, None))
    assert [phase.next_index() for _ in range(4)] == [0, 1, 2, None]
    assert Phase("measure", Stop(3, None)).scheduled == 3
    assert Phase("measure", Stop(3, 1.0)).scheduled == 0


def test_prompts_are_unique_and_repeatable() -> None:
    """A prompt follows from run, seed, phase and number, and has the words that were asked for."""
    made = Prompts("run", 0, 40)
    keys = [("warmup", 0), ("measure", 0), ("measure", 1)]
    prompts = [made.prompt(*key) for key in keys]
    assert len(set(prompts)) == 3
    assert prompts == [Prompts("run", 0, 40).prompt(*key) for key in keys]
    assert {len(prompt.split()) for prompt in prompts} == {40}
    assert prompts[0] != Prompts("other", 0, 40).prompt("warmup", 0)


@pytest.mark.parametrize("words", [1, 15, 16, 17])
def test_prompts_of_any_length(words: int) -> None:
    """Short prompts have the right length too."""
    assert len(Prompts("run", 0, words).prompt("measure", 3).split()) == words


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_delays_have_their_mean(distribution: str) -> None:
    """Every distribution has the mean that was asked for, and never goes back in time."""
    delays = Delays(50.0, 10.0, 0.3, distribution, 7)
    schedules = [delays.schedule(n, 101) for n in range(100)]
    gaps = [b - a for s in schedules for a, b in itertools.pairwise(s)]
    assert statistics.fmean(gaps) * 1000 == pytest.approx(10.0, rel=0.05)
    assert statistics.fmean(s[0] for s in schedules) * 1000 == pytest.approx(50.0, rel=0.35)
    assert min(gaps) >= 0.0


def test_delays_of_a_seed() -> None:
    """The same seed and request give the same delays, another request or seed gives others."""
    first = Delays(50.0, 10.0, 0.3, "normal", 7).schedule(1, 5)
    assert first == Delays(50.0, 10.0, 0.3, "normal", 7).schedule(1, 5)
    assert first != Delays(50.0, 10.0, 0.3, "normal", 7).schedule(2, 5)
    assert first != Delays(50.0, 10.0, 0.3, "normal", 8).schedule(1, 5)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_no_delay(distribution: str) -> None:
    """A mean of zero is no delay in any distribution."""
    assert Delays(0.0, 0.0, 0.0, distribution, 0).schedule(0, 3) == [0.0, 0.0, 0.0]
