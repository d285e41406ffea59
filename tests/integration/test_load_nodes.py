"""Several load generators that share a load: one start, one result, and what is lost is told."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog.readings import load as read_load
from benchd.core.results import Severity
from benchd.core.spec import JobSpec, Role
from support.near import until
from support.shipped import PATIENCE, Client, sim_llm, start_load

pytestmark = pytest.mark.asyncio

SPEC = JobSpec(role=Role.CLIENT, name="llm-load", kind="llm-load")
QUICK = ("--output-tokens", "4", "--warmup", "4", "--concurrency", "5")


async def start_two(folder: Path, *options: str) -> tuple[Client, Client]:
    """Start two load generators that share a load, as two nodes of a job do."""
    first, second = [
        await start_load(folder, "llm", "--nodes", "2", "--node", str(node), *options, *QUICK)
        for node in (0, 1)
    ]
    return first, second


def samples(out: Path, node: int) -> list[dict[str, Any]]:
    """Return the measured samples of one node."""
    text = gzip.decompress((out / f"node-{node}" / "samples.jsonl.gz").read_bytes()).decode()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["phase"] == "measure"]


async def test_two_nodes_make_one_result(tmp_path: Path) -> None:
    """Users and requests are shared, and what is told is of all samples, on one clock."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        first, second = await start_two(tmp_path, "--url", url, "--requests", "81")
        assert [0, 0] == await asyncio.gather(first.wait(), second.wait())
    result = first.result
    each = [samples(first.out, node) for node in (0, 1)]
    assert ([41, 40], [3, 2]) == (
        [len(lines) for lines in each],
        [len({line["u"] for line in lines}) for lines in each],
    )
    times = [(s["last"] - s["send"]) * 1000 for lines in each for s in lines]
    metrics = result["metrics"]
    gaps = sum(line["m"] - 1 for lines in each for line in lines)
    assert (81, gaps) == (metrics["e2e_service"]["n"], metrics["icl"]["n"])
    assert metrics["e2e_service"]["max"] == pytest.approx(max(times), abs=0.01)
    assert metrics["e2e_service"]["mean"] == pytest.approx(sum(times) / 81, abs=0.01)
    assert (81, 81, False) == (
        result["counts"]["scheduled"],
        result["counts"]["ok"],
        result["partial"],
    )
    assert [41, 40] == [node["ok"] for node in result["client"]["nodes"]]
    assert result["facts"]["start_spread_ms"] < 100.0  # clocks of one machine, and a busy one
    assert not list(first.out.glob("node-*/gaps.bin"))


async def test_a_lost_node_costs_the_result_its_validity(tmp_path: Path) -> None:
    """Of a node that was killed there is nothing; the rest is told, and said to be a part."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        first, second = await start_two(tmp_path, "--url", url, "--duration", "60")
        begun = first.out / "node-0" / "samples.jsonl"
        await until(lambda: begun.exists() and b'"measure"' in begun.read_bytes(), PATIENCE)
        second.process.kill()
        first.process.terminate()  # as srun does when one of them is gone
        assert 1 == await first.wait()
        await second.wait()
    data = (first.out / "result.json").read_bytes()
    measured = read_load({"result/result.json": data}, SPEC)
    lost = [flag for flag in measured.flags if flag.code == "nodes_missing"]
    assert (True, [(Severity.ERROR, 1)]) == (
        measured.partial,
        [(flag.severity, flag.value) for flag in lost],
    )
    assert measured.counts.ok


async def test_a_node_that_cannot_begin_stops_the_others(tmp_path: Path) -> None:
    """None measures alone: the first one says which node could not begin, and why."""
    async with sim_llm(tmp_path, "--ttft-ms", "5", "--tpot-ms", "1") as url:
        first = await start_load(
            tmp_path, "llm", "--nodes", "2", "--node", "0", "--url", url, *QUICK
        )
        nowhere = "http://127.0.0.1:1"  # tcpmux, which nobody runs
        options = ("--nodes", "2", "--node", "1", "--url", nowhere, *QUICK)
        second = await start_load(tmp_path, "llm", *options)
        assert [1, 0] == await asyncio.gather(first.wait(), second.wait())
    error = first.result["error"]
    assert f"cannot begin: nothing answers at {nowhere}" in error
    assert {} == first.result["metrics"]
