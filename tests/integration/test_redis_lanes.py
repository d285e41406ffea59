"""The closed loop of the redis workload against a server that knows what really happened."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.ship.load.punctual import Selector
from benchd.ship.load.redis import Sample
from support.near import until
from support.truth import PATIENCE, SHIP, load
from support.truth_resp import HEAD, TAIL, VALUE, Pieces, keys

READS = ("--reads", "1", "--keys", "1", "--warmup", "0", "--value-size", "20")
# What the server sends for a read, and how that must be counted. The first request on a fresh
# connection, and so the one after each that ends a connection, is not yet one of a lane.
ANSWERS: dict[int, tuple[Pieces | None, str]] = {
    0: (None, "ok"),
    1: (((0.0, HEAD), (0.06, TAIL)), "ok"),
    2: (((0.0, b"-LOADING of data\r\n"),), "error_reply"),
    3: (((0.0, b"$3\r\nabc\r\n"),), "unexpected"),
    4: (((0.0, b"$-1\r\n"),), "ok"),  # no such key: read, and no hit
    5: (((0.0, b"SSH-2.0-OpenSSH\r\n"),), "bad_frame"),
    6: (None, "ok"),
    7: (((0.0, None),), "conn_lost"),
    8: (None, "ok"),
    9: (((5.0, VALUE),), "timeout"),
    10: (None, "ok"),
    11: (((0.0, b"+a" + b"\r\n" + VALUE),), "unexpected"),
    12: (None, "ok"),
    13: (((0.0, b"$1\r\n1\r\n$20"),), "unexpected"),
    14: (None, "ok"),
    15: (((0.0, VALUE + b"$20\r\n"),), "ok"),
    16: (((5.0, VALUE),), "bad_frame"),
    17: (None, "ok"),
    18: (((0.0, b"$20\r\n01234567890123456789\r\n"),), "unexpected"),  # not what was written
}


async def classes(home: Path, out: Path) -> None:
    """Check that every way to fail is an error of its class, and that times are true."""
    answers = {place: said for place, (said, _) in ANSWERS.items() if said is not None}
    async with keys(answers) as (server, url):
        ran = await load(
            *(home, out, "redis", "--url", url, *READS, "--concurrency", "1"),
            *("--requests", str(len(ANSWERS)), "--timeout", "0.4"),
        )
    samples, zero = ran.samples, ran.result["times"]["zero_monotonic"]
    assert {s["i"]: s["status"] for s in samples} == {n: what for n, (_, what) in ANSWERS.items()}
    assert [s["hits"] for s in samples if s["status"] == "ok"].count(0) == 1
    cut = samples[1]
    for name, sent in zip(("fb", "end"), server.sent[1], strict=True):
        assert -0.0005 <= cut[name] + zero - sent <= 0.03
    assert 0.4 <= samples[9]["end"] - samples[9]["send"] <= 0.9
    assert (ran.status, ran.stderr.count("\n")) == (1, 0)


@pytest.mark.asyncio
async def test_every_failure_has_its_class(tmp_path: Path) -> None:
    """A lane's samples say what became of each request, and when."""
    await classes(SHIP, tmp_path / "out")


# What is wrong: file, what is written there, what the mistake would be.
MUTANTS = {
    "whatever comes is an answer": (
        "lanes.py",
        "if data == self._wanted and self._batch is None:",
        "if data and self._batch is None:",
    ),
    "failures are not written down": (
        "lanes.py",
        "        self._on_sample(sample)\n        if not sample.ok:",
        "        if sample.ok:\n            self._on_sample(sample)\n        if not sample.ok:",
    ),
    "an answer begins when it ends": ("resp.py", "self.waiting[0].first = now  #", "pass  #"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", MUTANTS)
async def test_mistakes_are_noticed(name: str, tmp_path: Path) -> None:
    """A lane with a mistake in it does not stand the test."""
    file, right, wrong = MUTANTS[name]
    shutil.copytree(SHIP / "load", tmp_path / "load")
    path = tmp_path / "load" / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    with pytest.raises(AssertionError):
        await classes(tmp_path, tmp_path / "out")


@pytest.mark.asyncio
async def test_sigterm_in_a_lane(tmp_path: Path) -> None:
    """What was asked and not answered when the job ended is in the samples, as cancelled."""
    async with keys({5: ((30.0, VALUE),)}) as (server, url):

        async def stop(process: asyncio.subprocess.Process) -> None:
            await until(lambda: len(server.sent) == 6, PATIENCE)
            process.terminate()

        ran = await load(
            *(SHIP, tmp_path / "out", "redis", "--url", url, *READS, "--concurrency", "1"),
            *("--requests", "9"),
            during=stop,
        )
    assert (ran.status, ran.stderr, ran.result["partial"]) == (1, "", True)
    assert [s["status"] for s in ran.samples] == ["ok"] * 5 + ["cancelled"]
    assert ran.samples[5]["send"] >= ran.samples[4]["end"]
    assert ran.result["counts"]["cancelled"] == 4


MOMENTS = st.floats(0.0, 1e6)


@given(st.tuples(MOMENTS, MOMENTS, MOMENTS, MOMENTS), st.integers(0, 10**9))
def test_a_line_is_written_as_it_would_be(times: tuple[float, ...], index: int) -> None:
    """The quick way to a line of samples.jsonl gives what the slow one does."""
    sample = Sample("measure", index, 3, times[0])
    sample.sent, sample.first_byte, sample.end = times[1:]
    sample.status, sample.command, sample.commands, sample.hits = "ok", "get", 2, 1
    assert json.loads(sample.text(17.25)) == sample.line(17.25)


def test_a_loop_wakes_within_a_millisecond() -> None:
    """A short wait is not rounded up to a whole millisecond."""

    def waited(selector: Selector) -> float:
        start = time.perf_counter()
        selector.select(0.0003)
        return time.perf_counter() - start

    with Selector() as selector:
        assert 0.0003 <= min(waited(selector) for _ in range(50)) < 0.0008
