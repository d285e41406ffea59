"""What is shipped for monitoring, as a compute node runs it: the exporter and the relay."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchd.catalog.dashboard import DATASOURCE
from benchd.catalog.services.grafana_panels import services_dashboard
from support.shipped import PATIENCE, get, sim_llm, unpack

NUMBER = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
# A job of Slurm 4711: its script, a step that srun started, a program in a clean container; a
# neighbour. Fields of stat: state, parent, seven we do not read, four of faults, then times.
STAT = "{pid} ({name}) S {parent} 0 0 0 0 0 0 0 0 0 {times} 20 0 {threads} 0 0 0 {pages} 0\n"
GPUS = """#!/bin/sh
echo '0, GPU-a, NVIDIA A100, 37, 1024, 40960, 41, [N/A]'
echo '1, GPU-b, NVIDIA A100, 0, 0, 40960, 30, 50.5'
"""


def process(proc: Path, pid: int, name: str, parent: int, **said: str) -> None:
    """Put a process into a directory that looks like /proc."""
    home = proc / str(pid)
    home.mkdir(parents=True, exist_ok=True)
    values = {"times": "100 50 0 0", "threads": "1", "pages": "10", **said}
    (home / "stat").write_text(STAT.format(pid=pid, name=name, parent=parent, **values))
    (home / "environ").write_text(said.get("environ", "PATH=/bin\0"))
    (home / "io").write_text("rchar: 100\nwchar: 20\nread_bytes: 4096\nwrite_bytes: 0\n")


@pytest.fixture(name="proc")
def make_proc(tmp_path: Path) -> Path:
    """Return what the kernel says of a node with one job and a neighbour."""
    proc = tmp_path / "proc"
    process(proc, 100, "slurm_script", 1, environ="SLURM_JOB_ID=4711\0")
    process(proc, 101, "redis (server)", 100, threads="5", pages="1000")
    process(proc, 102, "bench", 7, environ="A=b\0SLURM_JOB_ID=4711\0", times="0 0 25 25")
    process(proc, 103, "neighbour", 7, environ="SLURM_JOB_ID=471\0", times="9999 0 0 0")
    (proc / "self").mkdir()
    (proc / "self" / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_4711/step_batch\n")
    (proc / "stat").write_text("cpu  100 0 50 850 0 0 0 0 0 0\n")
    (proc / "loadavg").write_text("0.50 0.40 0.30 1/100 4242\n")
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
    (proc / "net").mkdir()
    (proc / "net" / "dev").write_text("h\nh\n  lo: 1 0 0 0 0 0 0 0 1\n  ib0: 7 0 0 0 0 0 0 0 9\n")
    group = tmp_path / "sys/fs/cgroup/system.slice/slurmstepd.scope/job_4711"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (group / "memory.current").write_text("123\n")
    (group / "memory.max").write_text("max\n")
    return proc


def page(proc: Path, **environment: str) -> dict[str, float]:
    """Return what the exporter says of that node: name with labels -> number."""
    argv = [sys.executable, "-I", "-W", "error", str(unpack("exporter", proc.parent))]
    argv += ["--proc", str(proc), "--sys", str(proc.parent / "sys"), "--pid", "100"]
    done = subprocess.run(
        [*argv, "--job", "4711", "--once"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return {f"{name}{{{labels}}}": float(n) for name, labels, n in NUMBER.findall(done.stdout)}


def test_a_job_is_told_from_its_neighbours(proc: Path) -> None:
    """What descends from its script or names it counts; counters know the children waited for."""
    tick = 1 / os.sysconf("SC_CLK_TCK")
    own = page(proc)
    jobs = {name: number for name, number in own.items() if "_job_" in name}
    resident = 'benchd_job_program_resident_memory_bytes{program="redis (server)"}'

    assert {
        "benchd_job_processes{}": 3,
        "benchd_job_threads{}": 7,
        'benchd_job_cpu_seconds_total{mode="user"}': 225 * tick,
        'benchd_job_cpu_seconds_total{mode="system"}': 125 * tick,
        'benchd_job_program_cpu_seconds_total{program="redis (server)"}': 150 * tick,
        resident: 1000 * os.sysconf("SC_PAGE_SIZE"),
        'benchd_job_io_bytes_total{direction="read",layer="calls"}': 300,
        'benchd_job_io_bytes_total{direction="read",layer="storage"}': 3 * 4096,
        "benchd_job_cgroup_cpu_seconds_total{}": 2.5,
        "benchd_job_cgroup_memory_bytes{}": 123,
    }.items() <= jobs.items()
    assert not [name for name in own if "neighbour" in name or "limit" in name]


def test_a_node_is_told_of_as_a_whole(proc: Path) -> None:
    """Cores, memory, load and devices other than the loopback are the whole node's."""
    assert {
        'benchd_node_cpu_seconds_total{mode="idle"}': 850 / os.sysconf("SC_CLK_TCK"),
        "benchd_node_memory_available_bytes{}": 600 * 1024,
        "benchd_node_load1{}": 0.5,
        'benchd_node_network_receive_bytes_total{device="ib0"}': 7,
        'benchd_node_network_transmit_bytes_total{device="ib0"}': 9,
    }.items() <= page(proc).items()


@pytest.mark.parametrize(
    ("visible", "expected"), [("0", {"0"}), ("GPU-b", {"1"}), ("", {"0", "1"})]
)
def test_gpus_are_those_that_the_job_sees(proc: Path, visible: str, expected: set[str]) -> None:
    """By number or UUID; what the driver does not know is left out, never a zero."""
    program = proc.parent / "nvidia-smi"
    program.write_text(GPUS)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    found = page(proc, PATH=path, CUDA_VISIBLE_DEVICES=visible)
    gpus = {re.sub(r'.*gpu="(\d)".*', r"\1", name) for name in found if "benchd_gpu_" in name}
    powers = {re.sub(r'.*gpu="(\d)".*', r"\1", name) for name in found if "power" in name}

    assert expected == gpus
    assert expected - {"0"} == powers
    if "0" in expected:
        labels = '{gpu="0",model="NVIDIA A100",uuid="GPU-a"}'
        assert 0.37 == found[f"benchd_gpu_utilization_ratio{labels}"]


@asynccontextmanager
async def serving(directory: Path, name: str, *argv: str) -> AsyncIterator[tuple[str, int]]:
    """Run one of the shipped programs; give its first words and its pid."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-W", "error", str(unpack(name, directory)), *argv),
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    try:
        banner = await asyncio.wait_for(running.stdout.readline(), PATIENCE)
        yield banner.decode().split()[-1], running.pid
    finally:
        running.terminate()
        status = await asyncio.wait_for(running.wait(), PATIENCE)
    assert 0 == status


@pytest.mark.asyncio
@pytest.mark.real("prometheus")
async def test_the_metrics_follow_the_conventions(tmp_path: Path) -> None:
    """Promtool finds nothing to say about what the exporter answers of this very process."""
    async with serving(tmp_path, "exporter", "--port", "0", "--pid", str(os.getpid())) as (at, _):
        url = f"http://{at}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
    promtool = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(promtool.communicate(text), PATIENCE)

    assert (0, b"") == (promtool.returncode, said)
    assert b'benchd_job_program_cpu_seconds_total{program="' in text


@pytest.mark.asyncio
async def test_the_exporter_ends_with_its_job(tmp_path: Path) -> None:
    """When the process that the job descends from is gone, nobody is left to tell of it."""
    job = await asyncio.create_subprocess_exec("sleep", "300")
    async with asyncio.timeout(PATIENCE):
        exporter = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(unpack("exporter", tmp_path))),
            *("--port", "0", "--pid", str(job.pid)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert exporter.stdout is not None
        await exporter.stdout.readline()
        job.kill()
        await job.wait()
        assert 0 == await exporter.wait()


@pytest.mark.asyncio
async def test_the_relay_leads_to_where_the_service_is_now(tmp_path: Path) -> None:
    """A connection goes to the place of the last list; without one, the answer says so."""
    file = tmp_path / "targets.json"

    def publish(kind: str, url: str) -> None:
        labels = {"kind": kind}
        group = {"targets": [url.removeprefix("http://")], "labels": labels}
        file.write_text(json.dumps([group]))

    async with (
        serving(tmp_path, "relay", "--file", str(file), "0=prometheus") as (at, _),
        sim_llm(tmp_path, "--model", "first") as first,
        sim_llm(tmp_path, "--model", "second") as second,
    ):
        found: list[object] = []
        for kind, url in (("", ""), ("loki", first), ("prometheus", first), ("prometheus", second)):
            if url:
                publish(kind, url)
            found.append(await seen(f"http://{at}/v1/models"))

    assert [502, 502, "first", "second"] == found


async def seen(url: str) -> object:
    """Return the model that answers there, or the status."""
    try:
        _, body = await get(url)
    except ValueError:  # words, not JSON: the relay's own
        return 502
    return body["data"][0]["id"]


def test_the_dashboard_asks_only_for_what_targets_are_labelled_with() -> None:
    """Every panel has a query, is keyed on run and service, and names the chosen source."""
    panels = [p for p in services_dashboard()["panels"] if p["type"] != "row"]

    assert [] == [p["title"] for p in panels if p["datasource"] != DATASOURCE]
    for panel in panels:
        queries = [target["expr"] for target in panel["targets"]]
        assert queries
        assert all('run=~"$run", service=~"$service"' in query for query in queries), queries
        assert not any("name=~" in query for query in queries)
