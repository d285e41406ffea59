"""What must be true of every number of the load generator, as checks that a mutant must fail."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

from benchd.ship.load.arrivals import Load, schedule
from support.truth import Answer, Ran, Seen, Truth, delta, end, event, load, stream, truth
from support.truth_steps import peak, saturation

LLM = ("--output-tokens", "2", "--prompt-tokens", "8")
# Milliseconds that a number may be off because the machine has other things to do.
SLACK = 25.0


def percentile(values: list[float], q: float) -> float:
    """Return a percentile by linear interpolation, written again and not imported."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    low = math.floor(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


async def stall(home: Path, out: Path) -> None:
    """Check that a stall of a second is in the scheduled latencies of an open loop."""
    async with truth(lambda _: stream(0.002)) as (server, url):
        server.stall = (1.0, 1.0)
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "constant", "--rate", "160"),
            *("--requests", "480", "--warmup", "4"),
        )
    assert ran.stderr == ""
    metrics, counts = ran.result["metrics"], ran.result["counts"]
    assert (counts["ok"], counts["scheduled"]) == (480, 480)
    assert metrics["e2e_sched"]["percentiles"]["99"] >= 900
    assert metrics["ttft_sched"]["percentiles"]["99"] >= 900
    by_the_log(ran, server, "ttft_sched", "first", 160.0)


def zero(ran: Ran) -> float:
    """Return the moment from which the times of samples count."""
    return float(ran.result["times"]["zero_monotonic"])


def by_the_log(ran: Ran, server: Truth, metric: str, moment: str, rate: float) -> None:
    """Check latencies from the schedule against the times at which the server sent answers.

    That an answer is read late on a busy machine is no mistake. So what is compared is the schedule
    (which is exact), each time (none is earlier than the server's, and not all of them are later),
    and the percentiles with those of the samples.
    """
    begin = ran.samples[0]["sched"]
    assert max(abs(s["sched"] - begin - s["i"] / rate) for s in ran.samples) <= 1e-5
    late = [s[moment] + zero(ran) - server.measured[s["i"]].sent[0] for s in ran.samples]
    assert min(late) >= -0.0005
    assert percentile(late, 10) <= SLACK / 1000
    own = [1000 * (s[moment] - s["sched"]) for s in ran.samples]
    found = ran.result["metrics"][metric]["percentiles"]
    for q in ("50", "90", "95"):
        assert abs(found[q] - percentile(own, float(q))) <= 0.01


async def cap(home: Path, out: Path) -> None:
    """Check that the wait is in the numbers where a server takes two at a time."""
    async with truth(lambda _: stream(0.04, tokens=1), slots=2) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "constant", "--rate", "100"),
            *("--duration", "1.5", "--warmup", "0"),
        )
    starts = sorted(seen.received for seen in server.measured.values())
    assert len(starts) == 150
    # Nothing waited for an answer: the last one was sent when it was due.
    assert starts[-1] - starts[0] <= 1.6
    assert ran.result["metrics"]["e2e_sched"]["percentiles"]["95"] >= 1000
    by_the_log(ran, server, "e2e_sched", "last", 100.0)
    assert ran.result["facts"]["not_steady"] is True


async def dropped(home: Path, out: Path) -> None:
    """Check that what does not fit under the limit is dropped, and nothing waits."""
    async with truth(lambda _: stream(0.2, tokens=1)) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "constant", "--rate", "100"),
            *("--duration", "1", "--warmup", "0", "--max-in-flight", "10"),
            *("--slo", "ttft_sched_ms<=5000"),
        )
    counts, metrics = ran.result["counts"], ran.result["metrics"]
    assert server.most <= 10
    assert counts["dropped"] >= 30
    assert counts["ok"] + counts["dropped"] == counts["scheduled"] == 100
    assert (counts["issued"], counts["errors"]) == (counts["ok"], 0)
    assert ran.result["times"]["window_s"] <= 1.5
    assert metrics["slo_attainment"]["value"] == 1.0  # of those that were sent


async def fast_failures(home: Path, out: Path) -> None:
    """Check that failing a third at once gives no throughput and no goodput."""

    def behave(seen: Seen) -> Answer:
        if seen.index % 10 < 3:
            return Answer([(0.0, b'{"error": "no"}')], status="500 Internal Server Error")
        return stream(0.02 if seen.index % 2 else 0.06)

    async with truth(behave) as (_, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--concurrency", "4", "--requests", "120"),
            *("--warmup", "8", "--slo", "ttft_service_ms<=45,e2e_service_ms<=5000"),
        )
    samples, metrics = ran.samples, ran.result["metrics"]
    ok = [s for s in samples if s["status"] == "ok"]
    good = [s for s in ok if s["first"] - s["send"] <= 0.045]
    window = max(s["end"] for s in samples) - min(s["sched"] for s in samples)
    assert (len(samples), len(ok)) == (120, 84)
    assert ran.result["counts"]["by_class"] == {"http_5xx": 36}
    assert 0 < len(good) < len(ok)
    for name, wanted in (
        ("req_s", len(ok) / window),
        ("goodput", len(good) / window),
        ("out_tok_s", 2 * len(ok) / window),
        ("slo_attainment", len(good) / 120),
        ("error_rate", 36 / 120),
    ):
        assert math.isclose(metrics[name]["value"], wanted, rel_tol=1e-3), name
    assert metrics["ttft_service"]["n"] == 84
    assert metrics["ttft_service"]["min"] >= 20
    # Recomputed from the samples: latencies are those of successes alone.
    own = [1000 * (s["first"] - s["send"]) for s in ok]
    for q in ("50", "90", "95"):
        found = metrics["ttft_service"]["percentiles"][q]
        assert abs(found - percentile(own, float(q))) <= 0.01


async def warmup(home: Path, out: Path) -> None:
    """Check that what happens while it warms up is in no number, and no prompt is sent twice."""

    def behave(seen: Seen) -> Answer:
        return stream(0.4 if seen.phase == "warmup" else 0.01)

    async with truth(behave) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--concurrency", "4", "--requests", "40"),
            *("--warmup", "8"),
        )
    assert ran.result["metrics"]["ttft_service"]["n"] == 40
    assert ran.result["metrics"]["ttft_service"]["max"] <= 300
    assert ran.result["counts"]["scheduled"] == 40
    assert ran.result["times"]["window_s"] <= 0.8
    prompts = [seen.prompt for seen in server.seen]
    assert len(set(prompts)) == len(prompts) >= 48


async def chunks(home: Path, out: Path) -> None:
    """Check that tokens are what the server counts, the first the first with text."""
    wide = event("\N{SNOWMAN}" * 3)
    middle = wide.index("\N{SNOWMAN}".encode()) + 1

    def behave(seen: Seen) -> Answer:
        role, thought = delta(role="assistant", content=""), delta(reasoning_content="hm")
        text = delta(content="four tokens at once")
        answers = [
            [(0.0, role), (0.06, text), (0.03, text), (0.0, end(8))],
            [(0.0, role), (0.06, thought), (0.03, text), (0.0, end(9))],
            [(0.06, wide[:middle]), (0.03, wide[middle:]), (0.0, end(3))],
        ]
        return Answer(answers[seen.index % 3])

    async with truth(behave) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, "--api", "openai-chat", "--output-tokens", "9"),
            *("--prompt-tokens", "8", "--requests", "9", "--warmup", "0"),
        )
    for s in ran.samples:
        seen, kind = server.measured[s["i"]], s["i"] % 3
        sent = [moment - zero(ran) for moment in seen.sent]
        if kind == 2:  # a chat has no text: no_tokens is right
            assert s["status"] == "no_tokens"
            continue
        assert s["status"] == "ok"
        assert s["n_out"] == (8 if kind == 0 else 9)
        assert -0.0005 <= s["first"] - sent[1] <= SLACK / 1000
        assert -0.0005 <= s["last"] - sent[2] <= SLACK / 1000
        assert (s["first_out"] == s["first"]) == (kind == 0)
    tpots = [
        1000 * (s["last"] - s["first"]) / (s["n_out"] - 1)
        for s in ran.samples
        if s["status"] == "ok"
    ]
    assert math.isclose(
        ran.result["metrics"]["tpot"]["mean"], statistics.fmean(tpots), rel_tol=0.01
    )


async def split(home: Path, out: Path) -> None:
    """Check that a character whose bytes come in two segments is one character, and no error."""
    wide = event("\N{SNOWMAN}" * 3)
    middle = wide.index("\N{SNOWMAN}".encode()) + 1
    pieces = [(0.01, wide[:middle]), (0.02, wide[middle:]), (0.0, end(3))]
    async with truth(lambda _: Answer(pieces)) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--requests", "4", "--warmup", "0"),
        )
    assert [s["status"] for s in ran.samples] == ["ok"] * 4
    for s in ran.samples:
        sent = server.measured[s["i"]].sent[1] - zero(ran)
        assert -0.0005 <= s["first"] - sent <= SLACK / 1000


async def delays(home: Path, out: Path) -> None:
    """Check that times are those at which the server really sent: fixed and lognormal delays."""
    draw = random.Random(5)

    def behave(seen: Seen) -> Answer:
        first = 0.03 if seen.index % 2 else min(0.3, draw.lognormvariate(-3.5, 0.5))
        return stream(first, 0.01, 3)

    async with truth(behave) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "poisson", "--rate", "60"),
            *("--duration", "2", "--warmup", "4", "--seed", "3"),
        )
    errors = []
    for s in ran.samples:
        sent = server.measured[s["i"]].sent
        errors += [s["first"] + zero(ran) - sent[0], s["last"] + zero(ran) - sent[2]]
    assert min(errors) >= -0.0005
    assert statistics.median(errors) <= 0.005
    # The arrivals are those of the seed, by the server's own clock.
    wanted = schedule(Load("poisson", rate=60.0, seed=3), None, 2.0)
    assert len(ran.samples) == len(wanted)
    begin = ran.samples[0]["sched"] - wanted[0]
    lags = [
        server.measured[n].received - zero(ran) - begin - offset for n, offset in enumerate(wanted)
    ]
    assert statistics.median(lags) <= 0.01
    assert lags[-1] <= 0.05


async def errors(home: Path, out: Path) -> None:
    """Check that every way to fail is an error of its class, never a success."""
    token, broken = (0.0, event("a")), b'data: {"error": {"message": "full"}}\n\n'
    answers = {
        1: Answer([(0.0, b"oops")], status="500 Internal Server Error"),
        2: Answer([(0.0, b'{"error": "no such model"}')], status="404 Not Found"),
        3: Answer([token], cut=True),
        4: Answer([token, (0.0, broken), (0.0, end(2))]),
        5: Answer([token, (0.0, event("a", finish_reason="stop"))]),
        6: Answer([(0.0, end(0))]),
        7: Answer([(0.0, b"SSH-2.0-OpenSSH\r\n")], raw=True),
        8: stream(2.0),
        9: Answer([token, (0.0, b"data: {no json\n\n"), (0.0, end(2))]),
        10: Answer([token, (0.0, end(1))]),
    }
    classes = {
        0: "ok",
        1: "http_5xx",
        2: "http_4xx",
        3: "conn_lost",
        4: "stream_error",
        5: "truncated",
        6: "no_tokens",
        7: "bad_frame",
        8: "timeout",
        9: "bad_frame",
        10: "short_output",
        11: "ok",
    }
    async with truth(lambda seen: answers.get(seen.index, stream(0.0))) as (_, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--requests", "12", "--warmup", "0"),
            *("--timeout", "0.6", "--ignore-eos"),
        )
    assert ran.status == 1
    assert {s["i"]: s["status"] for s in ran.samples} == classes
    counts = ran.result["counts"]
    assert (counts["ok"], counts["errors"], counts["cancelled"]) == (2, 10, 0)
    assert ran.result["metrics"]["ttft_service"]["n"] == 2
    assert len(counts["by_class"]) == len(counts["first_errors"]) == 9


async def parsing(home: Path, out: Path) -> None:
    """Check that the time of an answer has no reading of it in it."""
    long = event("x" * 24_000_000)
    pieces = [(0.0, long[:-2]), (0.3, long[-2:]), (0.0, end(2))]
    async with truth(lambda _: Answer(pieces)) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--requests", "3", "--warmup", "0"),
        )
    late = [s["first"] + zero(ran) - server.measured[s["i"]].sent[1] for s in ran.samples]
    assert -0.0005 <= min(late) <= 0.01


async def rate(home: Path, out: Path) -> None:
    """Check that the rate is the one that was asked for, within a percent, to the last request."""
    async with truth(lambda _: stream(0.001, tokens=1)) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "constant", "--rate", "150"),
            *("--duration", "2", "--warmup", "4"),
        )
    times = sorted(seen.received for seen in server.measured.values())
    assert len(times) == 300
    found = (len(times) - 1) / (times[-1] - times[0])
    assert abs(found / 150 - 1) <= 0.02
    assert ran.result["metrics"]["req_s"]["windows"]["steady"] >= 140


async def share(home: Path, out: Path) -> None:
    """Check that processes share one schedule: nothing is lost, doubled or moved."""
    async with truth(lambda _: stream(0.005, 0.01)) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "poisson", "--rate", "100"),
            *("--duration", "1.5", "--warmup", "6", "--seed", "9", "--processes", "3"),
        )
    wanted = schedule(Load("poisson", rate=100.0, seed=9), None, 1.5)
    samples = ran.samples
    assert [s["i"] for s in samples] == list(range(len(wanted)))
    begin = samples[0]["sched"] - wanted[0]
    assert max(abs(s["sched"] - begin - wanted[s["i"]]) for s in samples) <= 1e-5
    assert len({seen.prompt for seen in server.seen}) == len(server.seen)
    assert 0.5 * len(samples) <= ran.result["metrics"]["icl"]["n"] <= len(samples)
    assert ran.left == ["result.json", "samples.jsonl.gz"]


async def pooled(home: Path, out: Path) -> None:
    """Check that percentiles are those of all processes' samples together."""

    def behave(seen: Seen) -> Answer:
        return stream(0.15 if seen.index % 2 else 0.01, tokens=1)

    async with truth(behave) as (_, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--load", "constant", "--rate", "80"),
            *("--requests", "100", "--warmup", "0", "--processes", "2"),
        )
    own = [1000 * (s["first"] - s["send"]) for s in ran.samples]
    found = ran.result["metrics"]["ttft_service"]
    for q in ("50", "90", "95"):
        assert abs(found["percentiles"][q] - percentile(own, float(q))) <= 0.01
    assert found["n"] == sum(count for _, count in found["hist"]["buckets"]) == 100


async def together(home: Path, out: Path) -> None:
    """Check that the requests of a query begin together, and that it ends with the last."""

    def behave(seen: Seen) -> Answer:
        return stream(0.08 if seen.index % 8 == 3 else 0.01, tokens=1)

    async with truth(behave) as (server, url):
        ran = await load(
            *(home, out, "llm", "--url", url, *LLM, "--scenario", "multi-stream"),
            *("--requests", "64", "--warmup", "8"),
        )
    found = ran.result["metrics"]["query_latency"]
    assert found["n"] == 8
    assert 80 <= found["min"] <= found["percentiles"]["50"] <= 80 + SLACK
    for first in range(0, 64, 8):
        times = [server.measured[n].received for n in range(first, first + 8)]
        assert max(times) - min(times) <= 0.05
    assert ran.result["workload"]["load"]["scenario"] == "multi-stream"


CHECKS = {
    check.__name__: check
    for check in (
        *(stall, cap, dropped, fast_failures, warmup, chunks, split, delays),
        *(errors, parsing, rate, share, pooled, peak, saturation, together),
    )
}
