"""memtier's JSON: what is counted again, and what its status 0 does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import hdr, memtier
from benchd.core.results import Measured, count_flags
from benchd.core.spec import JobSpec, Role

# Written by memtier_benchmark 378cbb9 on a Redis 7.0.15, closed loop, 4 connections, 2 s.
REAL = json.loads((Path(__file__).parent.parent / "data" / "memtier-378cbb9.json").read_text())
GOOD = b"error replies: 0\nconnection errors: 0\n"


def spec(**parameters: Any) -> JobSpec:
    """Return a client's spec."""
    return JobSpec(role=Role.CLIENT, name="m", kind="memtier", parameters=parameters)


def left(document: object = REAL, err: bytes = GOOD, **more: bytes) -> dict[str, bytes]:
    """Return the files of a run of two and a half seconds by the wrapper's clock."""
    files = {
        "memtier.json": json.dumps(document).encode(),
        "memtier.err": err,
        "started.txt": b"1700000000.0\n",
        "ended.txt": b"1700000002.5\n",
        **{name.replace("__", ".").replace("_", "-"): data for name, data in more.items()},
    }
    return {f"result/{name}": data for name, data in files.items()}


def codes(measured: Measured) -> dict[str, str]:
    """Return code -> severity of what is doubtful, beside a closed loop with few hits."""
    usual = ("closed_loop", "misses", "not_cross_checked")
    flags = [*measured.flags, *count_flags(measured.counts)]
    return {flag.code: str(flag.severity) for flag in flags if flag.code not in usual}


def test_rates_are_counted_again_and_latencies_decoded() -> None:
    """Rates are of the whole seconds, the cut last one is left out; percentiles are decoded."""
    measured = memtier(left(), spec(clients=4, threads=1))
    metrics = measured.metrics
    assert codes(measured) == {}
    assert metrics["req_s"].value == (46086 + 50986) / 2  # in the third second there were 4
    assert metrics["req_s.get"].value == pytest.approx(88249 / 2, rel=1e-3)
    assert measured.times.window_s == 2.0
    latency = metrics["latency_service"]
    assert (latency.n, latency.max) == (97076, 4.127)
    found = latency.percentiles or {}
    assert [found[q] for q in ("50", "95", "99", "99.9")] == [0.071, 0.151, 0.223, 0.471]
    assert metrics["hit_ratio"].value == pytest.approx(0.589, abs=1e-3)
    assert measured.client["co_safe"] is False


def test_seconds_that_are_not_written_down_count() -> None:
    """Where the wrapper ran for much longer, answers were waited for: its clock makes the rate."""
    measured = memtier(left(ended__txt=b"1700000010.0\n"), spec())
    assert measured.metrics["req_s"].value == pytest.approx(97076 / 10.0)


def edited(part: str, **values: object) -> object:
    """Return the real document with keys of a part replaced."""
    document = json.loads(json.dumps(REAL))
    document["ALL STATS"][part].update({k.replace("_", " "): v for k, v in values.items()})
    return document


def test_a_second_without_an_answer_stands_in_the_timeline() -> None:
    """A stall is a row of no operations and of no latency."""
    seconds = dict(REAL["ALL STATS"]["Totals"]["Time-Serie"])
    document = edited("Totals", **{"Time-Serie": {**seconds, "9": {"Count": 0}}})
    assert [9.0, 0, None, None] == memtier(left(document), spec()).timeline["rows"][-1]


REJECTED = b"""# Server
redis_version:7.0.15
cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=%d,failed_calls=0
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (left(None), {"no_result": "error", "no_work": "error"}),
        (left("text"), {"no_result": "error", "no_work": "error"}),
        (
            left(edited("Totals", **{"Time-Serie": {}})),
            {"no_result": "error", "no_work": "error"},
        ),
        (left(edited("Totals", Count=5)), {"incomplete": "error"}),
        (left(edited("Totals", Connection_Errors=3)), {"conn_errors": "error"}),
        (left(err=b"error replies: 0\nconnection errors: 2\n"), {"conn_errors": "error"}),
        (left(started__txt=b""), {"no_window": "warn"}),
        (
            left(err=b"error replies: 97076\nconnection errors: 0\n"),
            {"error_rate": "error", "no_work": "error"},
        ),
        (
            left(info_before__txt=REJECTED % 0, info_after__txt=REJECTED % 97076),
            {"error_rate": "error", "no_work": "error"},
        ),
    ],
)
def test_status_0_is_not_believed(files: dict[str, bytes], expected: dict[str, str]) -> None:
    """No work, lost connections, and error replies that count as work, are said."""
    assert codes(memtier(files, spec())) == expected


def test_error_replies_are_no_work() -> None:
    """What was answered by an error is an error: the rate falls by it."""
    err = b"handle error response: -OOM command not allowed\nerror replies: 48538\n"
    measured = memtier(left(err=err), spec())
    assert (measured.counts.ok, measured.counts.by_class) == (48538, {"error_reply": 48538})
    assert measured.metrics["req_s"].value == pytest.approx(48538 / 2, rel=1e-3)
    assert measured.metrics["req_s.set"].value is None  # nobody tells which of them failed
    assert measured.counts.first_errors == ("handle error response: -OOM command not allowed",)


@pytest.mark.parametrize(
    "text", ["", "HISTFAAA", "not base64", "AAAAAAAAAAAAAAAA", "HISTFAAAACF4nJNp"]
)
def test_what_is_no_histogram_counts_nothing(text: str) -> None:
    """A histogram that is cut or none at all is empty, and no exception."""
    assert hdr.decode(text) == {}
