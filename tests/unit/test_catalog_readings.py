"""What clients leave, read: numbers where there are numbers, flags for everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.readings import command, load, redis_benchmark
from benchd.core.results import Measured, count_flags
from benchd.core.spec import JobSpec, Role

DATA = Path(__file__).parent.parent / "data"
CSV = (DATA / "redis-benchmark-7.0.15.csv").read_bytes()
HEADER = CSV.splitlines(keepends=True)[0]


def spec(**parameters: Any) -> JobSpec:
    """Return a client's spec."""
    return JobSpec(role=Role.CLIENT, name="c", kind="redis-benchmark", parameters=parameters)


def codes(measured: Measured) -> dict[str, str]:
    """Return code -> severity of the flags."""
    return {flag.code: str(flag.severity) for flag in measured.flags}


def info(commands: int) -> bytes:
    """Return what ``INFO`` says after so many commands."""
    said = f"# Server\r\nredis_version:7.0.15\r\n# Stats\r\ntotal_commands_processed:{commands}\r\n"
    return said.encode()


def redis_files(**over: bytes) -> dict[str, bytes]:
    """Return what a good run of two tests with 100,000 requests each leaves."""
    files = {
        "redis-benchmark.csv": CSV,
        "info-before.txt": info(10),
        "info-after.txt": info(200_015),
        "started.txt": b"1700000000.250000000\n",
        "ended.txt": b"1700000004.000000000\n",
    }
    named = {name.replace("__", ".").replace("_", "-"): data for name, data in over.items()}
    return {f"result/{name}": data for name, data in (files | named).items()}


def test_redis_benchmark_two_tests() -> None:
    """Each test has a rate and latencies of its own, and all together one overall rate."""
    metrics = redis_benchmark(redis_files(), spec()).metrics
    assert set(metrics) == {
        "req_s",
        "req_s.set",
        "req_s.get",
        "latency_service.set",
        "latency_service.get",
    }
    assert metrics["req_s.set"].value == 61919.5
    overall = 200_000 / (100_000 / 61919.50 + 100_000 / 49504.95)
    assert metrics["req_s"].value == pytest.approx(overall)
    latency = metrics["latency_service.set"]
    assert latency.percentiles == {"50": 0.151, "95": 0.439, "99": 0.791}
    assert (latency.unit, latency.n, latency.mean, latency.min, latency.max) == (
        "ms",
        100_000,
        0.21,
        0.048,
        4.607,
    )


def test_redis_benchmark_one_test() -> None:
    """One single test has the plain metric names."""
    files = redis_files(redis_benchmark__csv=b"".join(CSV.splitlines(keepends=True)[:2]))
    assert set(redis_benchmark(files, spec(tests="set")).metrics) == {"req_s", "latency_service"}


def test_redis_benchmark_good_run() -> None:
    """A good run adds up, knows its times and the server, and says that it was a closed loop."""
    measured = redis_benchmark(redis_files(), spec())
    assert codes(measured) == {"closed_loop": "info"}
    assert list(count_flags(measured.counts)) == []
    assert (measured.times.measure_start, measured.times.window_s) == (1_700_000_000.25, 3.75)
    assert measured.service == {"version": "7.0.15"}


@pytest.mark.parametrize(
    ("requests", "known"),
    [(5, set()), (6, {"50"}), (71, {"50"}), (72, {"50", "95"}), (368, {"50", "95", "99"})],
)
def test_redis_benchmark_percentiles_need_samples(requests: int, known: set[str]) -> None:
    """A percentile that the tool printed for too few requests is null."""
    measured = redis_benchmark(redis_files(), spec(requests=requests))
    printed = measured.metrics["latency_service.set"].percentiles
    assert printed is not None
    assert {key for key, value in printed.items() if value is not None} == known


@pytest.mark.parametrize(
    ("files", "parameters", "expected"),
    [
        (
            {"redis_benchmark__csv": HEADER, "redis_benchmark__err": b"Error: WRONGTYPE\n"},
            {},
            {
                "closed_loop": "info",
                "incomplete": "error",
                "no_result": "error",
                "tool_error": "error",
            },
        ),
        (
            {"redis_benchmark__err": b"Error from server: NOAUTH Authentication required.\n"},
            {},
            {"closed_loop": "info", "tool_error": "error"},
        ),
        (
            {"redis_benchmark__err": b"WARNING: Could not fetch server CONFIG\n"},
            {},
            {"closed_loop": "info"},
        ),
        (
            {"redis_benchmark__csv": b"\x00\xff\n1,2"},
            {},
            {"closed_loop": "info", "incomplete": "error", "no_result": "error"},
        ),
        ({}, {"tests": "set,get,mset"}, {"closed_loop": "info", "incomplete": "error"}),
        (
            {"info_after__txt": info(150_000)},
            {},
            {"closed_loop": "info", "counter_mismatch": "error"},
        ),
        (
            {"info_after__txt": info(250_000)},
            {},
            {"closed_loop": "info", "counter_mismatch": "warn"},
        ),
        ({"info_after__txt": b""}, {}, {"closed_loop": "info", "not_cross_checked": "info"}),
        (
            {"redis_benchmark__csv": CSV.replace(b"4.607", b"3000.319")},
            {},
            {"closed_loop": "info", "latency_clipped": "warn"},
        ),
    ],
)
def test_redis_benchmark_flags(
    files: dict[str, bytes], parameters: dict[str, Any], expected: dict[str, str]
) -> None:
    """Whatever makes the numbers doubtful is a flag, and the counts add up all the same."""
    measured = redis_benchmark(redis_files(**files), spec(**parameters))
    assert codes(measured) == expected
    assert "counts_mismatch" not in {flag.code for flag in count_flags(measured.counts)}
    assert measured.counts.errors is None  # it takes error replies for answers


def stats(sets: int, gets: int, failed: int, pings: int) -> bytes:
    """Return what ``INFO all`` says after so many commands."""
    said = f"""# Server
redis_version:7.0.15
uptime_in_seconds:60
# Commandstats
cmdstat_set:calls={sets},usec=1,usec_per_call=0.1,rejected_calls=0,failed_calls={failed}
cmdstat_get:calls={gets},usec=1,usec_per_call=0.1,rejected_calls=0,failed_calls=0
cmdstat_ping:calls={pings},usec=1,usec_per_call=0.1,rejected_calls=0,failed_calls=0
cmdstat_config|get:calls={pings},usec=1,usec_per_call=0.1,rejected_calls=0,failed_calls=0
"""
    return said.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((100_005, 100_000, 0, 90_000), {}),  # looks at its health are no load
        ((102_001, 100_105, 0, 0), {}),
        ((110_005, 100_000, 0, 0), {"counter_mismatch": "warn"}),
        ((95_000, 100_000, 0, 0), {"counter_mismatch": "error"}),
        ((100_005, 100_000, 7, 0), {"server_errors": "error"}),
        ((1, 0, 0, 0), {"server_restarted": "error"}),
    ],
)
def test_redis_benchmark_by_the_servers_own_commandstats(
    after: tuple[int, int, int, int], expected: dict[str, str]
) -> None:
    """Commands that the server was given are counted one kind by one, and so are its errors."""
    files = redis_files(info_before__txt=stats(5, 0, 0, 0), info_after__txt=stats(*after))
    measured = redis_benchmark(files, spec())
    assert codes(measured) == {"closed_loop": "info", **expected}
    delta = measured.server_metrics["delta"]
    assert isinstance(delta, dict)
    assert (delta["calls.set"], delta["uptime_in_seconds"]) == (after[0] - 5, 0)


def test_redis_benchmark_says_what_it_can_do() -> None:
    """The tool, its version as the preflight met it, and what it cannot be trusted with."""
    files = redis_files(tool__txt=b"/usr/bin/redis-benchmark\n\nredis-benchmark 7.0.15\n")
    assert redis_benchmark(files, spec()).client == {
        "tool": "redis-benchmark",
        "tool_version": "7.0.15",
        "path": "/usr/bin/redis-benchmark",
        "source": "host",
        "co_safe": False,
        "capabilities": {
            "co_safe": False,
            "percentiles": ["50", "95", "99"],
            "raw_samples": False,
            "errors_counted": False,
        },
    }


def test_redis_benchmark_says_why_it_failed() -> None:
    """A run without rows carries the last words of the tool."""
    files = redis_files(
        redis_benchmark__csv=HEADER, redis_benchmark__err=b"a\nError from server: OOM\n"
    )
    details = [flag.detail for flag in redis_benchmark(files, spec()).flags]
    assert "redis-benchmark measured nothing: Error from server: OOM" in details


def test_redis_benchmark_refused_connection() -> None:
    """When the preflight ended the job, its message is the reason."""
    files = {"err": b"benchd: no PONG from n1:1 within 5 s: refused\n"}
    details = [flag.detail for flag in redis_benchmark(files, spec()).flags]
    said = "redis-benchmark measured nothing: benchd: no PONG from n1:1 within 5 s: refused"
    assert said in details


@pytest.mark.parametrize(
    ("title", "metric"),
    [
        ("PING_INLINE", "ping_inline"),
        ("LRANGE_100 (first 100 elements)", "lrange_100"),
        ("LPUSH (needed to benchmark LRANGE)", "lpush"),
        ("MSET (10 keys)", "mset"),
    ],
)
def test_redis_benchmark_titles(title: str, metric: str) -> None:
    """Titles with remarks become plain metric names."""
    row = f'"{title}","10.00","1","1","1","1","1","1"\n'.encode()
    files = redis_files(redis_benchmark__csv=CSV + row)
    assert f"req_s.{metric}" in redis_benchmark(files, spec(tests=metric)).metrics


def raw(**over: Any) -> dict[str, bytes]:
    """Return the files of our own load generator."""
    document: dict[str, Any] = {
        "schema": "benchd.load/1",
        "error": None,
        "partial": False,
        "workload": {"kind": "llm"},
        "client": {"tool": "benchd-load"},
        "server": {"server": "sim-llm"},
        "times": {"measure_start": 1.0, "measure_end": 2.0, "warmup_s": 0.5, "window_s": 1.0},
        "counts": {
            "scheduled": 10,
            "issued": 10,
            "ok": 10,
            "errors": 0,
            "dropped": 0,
            "cancelled": 0,
        },
        "metrics": {"req_s": {"formula": "req_s/v1", "unit": "1/s", "value": 10.0}},
        "facts": {"prompt_tokens_mean": 128.0, "model_listed": True},
        "timeline": {},
        **over,
    }
    return {"result/result.json": json.dumps(document).encode()}


def test_load_good_run() -> None:
    """A good document is taken over without a flag."""
    measured = load(raw(), spec())
    assert (measured.flags, measured.metrics["req_s"].value) == ((), 10.0)
    assert list(count_flags(measured.counts)) == []
    assert (measured.times.window_s, measured.service) == (1.0, {"server": "sim-llm"})


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"error": "nothing answers"}, {"client_error": "error"}),
        ({"facts": {"cpu_share": 0.81}}, {"client_cpu": "error"}),
        ({"facts": {"cpu_share": 0.79}}, {}),
        ({"facts": {"loop_lag_p99_ms": 5.1}}, {"loop_lag_p99": "warn"}),
        ({"facts": {"short_outputs": 1}}, {"short_output": "warn"}),
        ({"facts": {"tokens_estimated": 1}}, {"tokens_estimated": "warn"}),
        ({"facts": {"warmup_errors": 1}}, {"warmup_errors": "warn"}),
        ({"facts": {"model_listed": False}}, {"model_not_listed": "info"}),
        ({"facts": {"prompt_tokens_mean": 150.0}}, {"prompt_len_mismatch": "warn"}),
        ({"schema": "benchd.load/2"}, {"bad_result": "error"}),
        ({"counts": {"ok": "many"}}, {"bad_result": "error"}),
        ({"new_in_a_later_version": 1}, {}),
    ],
)
def test_load_flags(over: dict[str, Any], expected: dict[str, str]) -> None:
    """What the load generator noticed about itself becomes flags."""
    assert codes(load(raw(**over), spec())) == expected


def test_load_lag_is_judged_by_the_latency() -> None:
    """A late event loop matters less when the latencies are long."""
    slow = {"formula": "ttft_service/v1", "unit": "ms", "n": 10, "percentiles": {"50": 2000.0}}
    files = raw(facts={"loop_lag_p99_ms": 50.0}, metrics={"ttft_service": slow})
    assert codes(load(files, spec())) == {}


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"[]", b"\xff", b"[" * 100_000, b'{"schema": 1}', b"null"]
)
def test_load_garbage(data: bytes) -> None:
    """Garbage becomes one flag, never an exception."""
    assert codes(load({"result/result.json": data}, spec())) == {"bad_result": "error"}


def test_load_left_nothing() -> None:
    """A client that left nothing is explained by its last words."""
    (flag,) = load({"err": b"x\npython3: not found\n"}, spec()).flags
    expected = ("no_result", "the load generator left no result.json: python3: not found")
    assert (flag.code, flag.detail) == expected


EXIT = b'{"slurm_id":"1","generation":0,"status":0,"started_at":100.0,"ended_at":103.5}'


def test_command_wall_time() -> None:
    """A command that ended well is a result with its wall time."""
    measured = command({"exit.json": EXIT}, spec())
    assert measured.metrics["elapsed_s"].value == 3.5
    assert (measured.counts.ok, list(count_flags(measured.counts))) == (1, [])


@pytest.mark.parametrize(
    ("ended", "elapsed", "flags"),
    [
        (b"100", None, {"coarse_clock": "info"}),
        (b"199", 99.0, {"coarse_clock": "info"}),
        (b"200", 100.0, {}),
    ],
)
def test_command_coarse_clock(ended: bytes, elapsed: float | None, flags: dict[str, str]) -> None:
    """A wall time in whole seconds is said to be coarse where that matters, and 0 is none."""
    left = EXIT.replace(b"100.0", b"100").replace(b"103.5", ended)
    measured = command({"exit.json": left}, spec())
    assert (measured.metrics["elapsed_s"].value, codes(measured)) == (elapsed, flags)


def test_command_own_metrics() -> None:
    """What a command wrote to metrics.json is taken over with its unit."""
    own = b'{"metrics": {"loss": {"value": 0.5, "unit": "1", "better": "lower"}}}'
    metric = command({"exit.json": EXIT, "result/metrics.json": own}, spec()).metrics["loss"]
    expected = (0.5, "1", "lower", "loss/own")
    assert (metric.value, metric.unit, metric.better, metric.formula) == expected


@pytest.mark.parametrize(
    "entry",
    [
        b'"B": {"value": 1, "unit": "s"}',
        b'"b": 1',
        b'"b": {"value": "1", "unit": "s"}',
        b'"b": {"value": true, "unit": "s"}',
        b'"b": {"value": 1}',
        b'"b": {"value": 1, "unit": "\\n"}',
        b'"b": {"value": 1' + b"0" * 400 + b', "unit": "s"}',
        b'"elapsed_s": {"value": 1, "unit": "s"}',
    ],
)
def test_command_bad_metrics(entry: bytes) -> None:
    """A metric that cannot be one is left out and named; the good ones stay."""
    own = b'{"metrics": {"a": {"value": 1, "unit": "s"}, ' + entry + b"}}"
    measured = command({"exit.json": EXIT, "result/metrics.json": own}, spec())
    assert set(measured.metrics) == {"a", "elapsed_s"}
    assert measured.metrics["elapsed_s"].value == 3.5
    assert codes(measured) == {"bad_metrics": "warn"}


@pytest.mark.parametrize("own", [b"", b"{", b"[]", b'{"metrics": []}', b"[" * 100_000])
def test_command_metrics_garbage(own: bytes) -> None:
    """A metrics.json that is none is a flag."""
    assert codes(command({"exit.json": EXIT, "result/metrics.json": own}, spec())) == {
        "bad_metrics": "warn"
    }


def test_command_failed() -> None:
    """A command that failed counts as one error with its status and last words."""
    files = {"exit.json": EXIT.replace(b'"status":0', b'"status":3'), "err": b"boom\n"}
    counts = command(files, spec()).counts
    expected = (0, 1, {"exit_status": 1}, ("exit status 3: boom",))
    assert (counts.ok, counts.errors, counts.by_class, counts.first_errors) == expected


def test_command_killed() -> None:
    """A command without an exit status was not measured."""
    measured = command({}, spec())
    assert codes(measured) == {"no_result": "error"}
    assert (measured.metrics, measured.counts.cancelled) == ({}, 1)


@pytest.mark.parametrize("kind", CATALOG.clients.values(), ids=lambda kind: kind.name)
def test_every_kind_reads_nothing(kind: Any) -> None:
    """Every client kind makes something invalid of nothing at all."""
    measured = kind.parse({}, JobSpec(role=Role.CLIENT, name="c", kind=kind.name))
    assert "error" in codes(measured).values()
