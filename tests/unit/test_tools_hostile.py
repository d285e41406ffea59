"""What tools of others have really left, and the same spoilt: numbers where there are numbers.

Every kept file is read here as it is. Then numbers in it are replaced, parts cut out or doubled:
whatever comes of that, nothing is raised, and no number is one that JSON has not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchd.catalog import readings
from benchd.core.results import Measured, count_flags
from benchd.core.spec import JobSpec, Role

DATA = Path(__file__).parent.parent / "data"
Reading = Callable[[Mapping[str, bytes], JobSpec], Measured]
# There is no file of a real run of vLLM's client: this one is made after its source.
VLLM = json.dumps(
    {
        "completed": 8,
        "duration": 9.0,
        "request_rate": "inf",
        "ttfts": [0.1] * 8,
        "itls": [[0.01, 0.03]] * 8,
        "output_lens": [3] * 8,
        "input_lens": [7] * 8,
        "start_times": [100.0 + n for n in range(8)],
        "queue_times": [0.5] * 8,
        "errors": [""] * 8,
    }
).encode()
PAGE: Final = b'vllm:generation_tokens_total{engine="0"} %d.0\nvllm:prefix_cache_hits_total %d\n'
COUNTED = {"metrics-before.txt": PAGE % (1, 0), "metrics-after.txt": PAGE % (25, 1)}


def kept(name: str) -> bytes:
    """Return a file that a tool has left."""
    return (DATA / name).read_bytes()


def aiperf(which: str) -> dict[str, bytes]:
    """Return the two files of AIPerf, of whose requests three are kept."""
    return {
        "profile_export_aiperf.json": kept(f"aiperf-0.13.0-{which}.json"),
        "profile_export.jsonl": kept(f"aiperf-0.13.0-{which}.first3.jsonl"),
    }


# What a tool left -> how it is read, and the number that must come of it (None: it has no rate).
LEFT: dict[str, tuple[Reading, dict[str, bytes], str, float]] = {
    "redis-benchmark": (
        readings.redis_benchmark,
        {"redis-benchmark.csv": kept("redis-benchmark-7.0.15.csv")},
        "req_s.set",
        61919.5,
    ),
    "memtier": (
        readings.memtier,
        {"memtier.json": kept("memtier-378cbb9.json")},
        "req_s",
        48536.0,
    ),
    "sysbench": (
        readings.sysbench,
        {"sysbench.txt": kept("sysbench-1.0.20-oltp_read_write.txt")},
        "ops_s",
        1426.91,
    ),
    "sysbench's hook": (
        readings.sysbench,
        {
            "sysbench.txt": kept("sysbench-1.0.20-hook.txt"),
            "sysbench.json": kept("sysbench-1.0.20-hook.json"),
        },
        "ops_s",
        471.92,
    ),
    "mysqlslap": (
        readings.mysqlslap,
        {"mysqlslap.csv": kept("mariadb-slap-10.11.19.csv").splitlines(keepends=True)[0]},
        "ops_s",
        6250.0,
    ),
    "pgbench": (
        readings.pgbench,
        {
            "pgbench.txt": kept("pgbench-15.18.txt"),
            "pgbench.txt.err": kept("pgbench-15.18.err"),
            "latency-service.txt": b"0.4 200\n1.9 7\n",
        },
        "ops_s",
        104.47,
    ),
    "vllm": (readings.vllm_bench, {"vllm.json": VLLM, **COUNTED}, "req_s", 8 / 7.14),
    "guidellm": (
        readings.guidellm,
        {"guidellm.json": kept("guidellm-0.8.1-capped.trimmed.json"), **COUNTED},
        "req_s",
        9.0727,
    ),
    "aiperf, capped": (readings.aiperf, aiperf("capped"), "ttft_service", 201.85),
    "aiperf, open": (readings.aiperf, aiperf("open"), "ttft_service", 21.78),
    "vectordbbench": (
        readings.vectordbbench,
        {"vectordbbench.json": kept("vectordbbench-2.0.0-chroma.trimmed.json")},
        "req_s",
        415.53,
    ),
}
CLOCK = {"started.txt": b"1700000000.0\n", "ended.txt": b"1700000002.5\n"}
WORDS = (
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"-1",
    b"0",
    b"null",
    b'"inf"',
    b"9" * 400,
    b"",
    b"{",
    b"\xff",
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def read(tool: str, **files: bytes) -> Measured:
    """Read what a tool has left, with some of it replaced."""
    parse, left, _, _ = LEFT[tool]
    parameters: dict[str, Any] = {"output_tokens": 3 if tool == "vllm" else 8}
    spec = JobSpec(role=Role.CLIENT, name="c", kind="x", parameters=parameters)
    return parse(
        {f"result/{name}": data for name, data in {**CLOCK, **left, **files}.items()}, spec
    )


def spoilt(data: bytes, where: float, how: str, word: bytes) -> bytes:
    """Return a file with something replaced, cut off, cut out or doubled."""
    at = int(where * len(data))
    found = list(_NUMBER.finditer(data, at)) if how == "number" else []
    match how:
        case "number" if found:
            return data[: found[0].start()] + word + data[found[0].end() :]
        case "end":
            return data[:at]
        case "part":
            return data[:at] + word + data[at + 40 :]
        case "twice":
            return data[:at] + data
    return data + word


def numbers(value: object) -> Iterator[float]:
    """Yield every number in what came of it."""
    match value:
        case bool() | None | str():
            return
        case int() | float():
            yield value
        case Mapping():
            for inner in value.values():
                yield from numbers(inner)
        case list() | tuple():
            for inner in value:
                yield from numbers(inner)


def judged(measured: Measured) -> None:
    """Check that there are only numbers, and none of a measurement that has not been."""
    metrics = {name: metric.model_dump() for name, metric in measured.metrics.items()}
    counts = measured.counts.model_dump()
    all_of_it = (metrics, counts, measured.timeline, measured.server_metrics, measured.workload)
    assert [each for each in numbers(all_of_it) if not math.isfinite(each)] == []
    flags = {
        f.code for f in (*measured.flags, *count_flags(measured.counts)) if f.severity == "error"
    }
    if not measured.counts.ok:
        assert flags
        assert not any(metric.get("n") for metric in metrics.values())


@pytest.mark.parametrize("tool", LEFT)
def test_what_a_tool_really_left_is_read(tool: str) -> None:
    """Each kept file gives the number that stands in it."""
    _, _, name, expected = LEFT[tool]
    metric = read(tool).metrics[name]
    assert (metric.value or metric.mean) == pytest.approx(expected, rel=2e-3)


SPOILS = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["number", "number", "end", "part", "twice"]),
    st.sampled_from(WORDS),
)


@pytest.mark.parametrize("tool", LEFT)
@settings(max_examples=60, deadline=None)
@given(spoils=st.lists(SPOILS, min_size=1, max_size=4), which=st.integers(0, 9))
def test_a_spoilt_file_gives_no_numbers_that_are_none(
    tool: str, spoils: list[tuple[float, str, bytes]], which: int
) -> None:
    """Nothing is raised, nothing is infinite, and no work is an error."""
    name, data = list(LEFT[tool][1].items())[which % len(LEFT[tool][1])]
    for where, how, word in spoils:
        data = spoilt(data, where, how, word)
    judged(read(tool, **{name: data}))


EMPTY = {
    "redis-benchmark": kept("redis-benchmark-7.0.15.csv").splitlines(keepends=True)[0],
    "memtier": b'{"ALL STATS": {"Totals": {"Count": 0, "Time-Serie": {}}}}',
    "sysbench": b"FATAL: unable to connect to MySQL server\n",
    "mysqlslap": b",mixed,0.000,0.000,0.000,8,50\n",
    "pgbench": b"number of transactions actually processed: 0\ntps = 0.000000\n",
    "vllm": b'{"completed": 0, "mean_ttft_ms": 0.0, "request_throughput": 0.0, "ttfts": []}',
    "guidellm": b'{"benchmarks": [{"metrics": {"request_latency": {"successful": {"mean": 0}}}}]}',
    "aiperf, capped": b'{"request_count": {"avg": 0.0}, "request_throughput": {"avg": 0.0}}',
    "vectordbbench": b'{"results": [{"label": ":)", "metrics": {"conc_qps_list": [0.0]}}]}',
}


@pytest.mark.parametrize("tool", EMPTY)
def test_zeros_of_a_run_without_samples_are_no_numbers(tool: str) -> None:
    """A header without a row and a summary of zeros are errors, and leave no number."""
    first, *others = LEFT[tool][1]
    measured = read(tool, **{first: EMPTY[tool]}, **dict.fromkeys(others, b""))
    judged(measured)
    assert [metric.value for metric in measured.metrics.values() if metric.value is not None] == []
