"""Spark on two nodes of a real Slurm, with its own Java: loads, documents, and what is left."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import gettempdir

import pytest

from support.daemon import RunningDaemon, until
from support.reality import CHROMA, SPARK
from support.realslurm import RealSlurm

pytestmark = [pytest.mark.heavy, pytest.mark.real("slurm", "sshd", "java", "spark")]

# Two nodes of this machine share its cores, and Java takes long to start on them.
PATIENCE = 150.0
LLM = """\
service:
  name: sim-llm
  resources: {time: "00:05:00", cpus_per_task: 1}
  parameters: {ttft_ms: 60, tpot_ms: 10}
  health_check: {interval: 1}
"""
STORE = f"""\
service:
  name: chroma
  command: "{CHROMA}"
  resources: {{time: "00:05:00", cpus_per_task: 1}}
  health_check: {{type: http, endpoint: /api/v2/heartbeat, interval: 1}}
"""
CLIENT = f"""\
client:
  name: spark
  nodes: 2
  command: {SPARK}
  resources: {{time: "00:05:00", cpus_per_task: 1}}
"""
LOAD = """\
  target_service: {name: sim-llm}
  parameters:
    {partitions: 4, executor_memory: 512, requests: 82, concurrency: 8, warmup: 8, output_tokens: 6}
"""
LONG = """\
  target_service: {name: sim-llm}
  duration: 120
  parameters: {executor_memory: 512, concurrency: 2, warmup: 0, output_tokens: 4}
"""
INGEST = """\
  target_service: {name: chroma}
  parameters:
    {workload: ingest, executor_memory: 512, documents: 3050, dimension: 32, words: 16, batch: 100,
     concurrency: 4, seed: 7}
"""


@pytest.fixture(name="daemon")
def a_daemon(real_config: Callable[..., Path], real_slurm: RealSlurm) -> Iterator[RunningDaemon]:
    """Run a daemon on the private cluster."""
    with closing(RunningDaemon(real_config()).start()) as daemon:
        yield daemon


def drop(daemon: RunningDaemon, folder: Path, *parts: str) -> None:
    """Drop the recipe that these parts make."""
    recipe = folder / "spark.yaml"
    recipe.write_text("name: spark\n" + "".join(parts))
    daemon.drop(recipe)


def job_directory(daemon: RunningDaemon, token: str) -> Path:
    """Return the directory of a job on the cluster, which is this machine."""
    workdir = Path(next(iter(daemon.settings["clusters"].values()))["workdir"])
    (found,) = workdir.glob(f"runs/*/jobs/{token}")
    return found


def running(token: str) -> dict[int, str]:
    """Return the processes of a job on this machine, with their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"BENCHD_TOKEN={token}\0".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text()
    return found


def test_partitions_on_two_workers_are_one_measurement(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    """Delays that are known come out, and every request of every partition counts once."""
    before = set(Path(gettempdir()).glob("benchd-spark-*"))
    drop(daemon, tmp_path, LLM, CLIENT, LOAD)
    run = daemon.wait_run(PATIENCE)
    client = daemon.job("client")
    said = daemon.ctl("logs", client["token"], "--stderr").stdout
    assert "PASSED" == run["outcome"], f"{run}\n{said}\n{daemon.tail()}"
    (result,) = daemon.ask("results", run["id"])["results"]
    spark = result["provenance"]["client"]["spark"]
    assert {0: 2, 1: 2} == Counter(row["node"] for row in spark["ran"])
    assert [21, 21, 20, 20] == [row["ok"] for row in result["provenance"]["client"]["nodes"]]
    assert (82, 82) == (result["counts"]["scheduled"], result["counts"]["ok"])
    lines = [
        (path.parent.name, json.loads(line))
        for path in job_directory(daemon, client["token"]).glob("result/node-*/samples.jsonl.gz")
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    sent = Counter((node, line["i"]) for node, line in lines if line["phase"] == "measure")
    assert (82, {1}) == (len(sent), set(sent.values()))
    first, whole = (result["metrics"][name] for name in ("ttft_service", "e2e_service"))
    assert 82 == first["n"] == whole["n"]
    assert 60.0 == pytest.approx(first["percentiles"]["50"], abs=15.0)
    assert 110.0 == pytest.approx(whole["percentiles"]["50"], abs=25.0)
    assert {} == running(client["token"])
    assert set(Path(gettempdir()).glob("benchd-spark-*")) <= before


@pytest.mark.real("chroma")
def test_documents_come_into_chroma_from_all_partitions(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    """Chroma counts what Spark made, the batches are what was measured, and nothing is left."""
    drop(daemon, tmp_path, STORE, CLIENT, INGEST)
    run = daemon.wait_run(PATIENCE)
    client = daemon.job("client")
    said = daemon.ctl("logs", client["token"], "--stderr").stdout
    assert "PASSED" == run["outcome"], f"{run}\n{said}\n{daemon.tail()}"
    (result,) = daemon.ask("results", run["id"])["results"]
    spark = result["provenance"]["client"]["spark"]
    assert (3050, 3050) == (spark["documents"], spark["stored"])
    assert {0: 1, 1: 1} == Counter(row["node"] for row in spark["ran"])
    # 1525 documents in each partition: 15 batches of a hundred, and one of the rest
    assert (32, 32) == (result["counts"]["scheduled"], result["counts"]["ok"])
    metrics, seconds = result["metrics"], result["times"]["window_s"]
    assert 3050 / seconds == pytest.approx(metrics["docs_s"]["value"], rel=0.01)
    assert 32 == metrics["latency_service"]["n"]


def test_a_spark_that_is_cancelled_leaves_nothing(daemon: RunningDaemon, tmp_path: Path) -> None:
    """Its secret is on no command line and for its user only; in the end all of it is gone."""
    drop(daemon, tmp_path, LLM, CLIENT, LONG)
    client = daemon.wait_job("client", "RUNNING", PATIENCE)
    home = job_directory(daemon, client["token"])
    until(lambda: len(list(home.glob("result/node-*/start.json"))), PATIENCE, "the load begins")
    (settings,) = home.glob("spark-*/spark-defaults.conf")
    words = dict(line.split(" ", 1) for line in settings.read_text().splitlines())
    commands = running(client["token"]).values()
    assert 2 == sum("CoarseGrainedExecutorBackend" in command for command in commands)
    assert not [command for command in commands if words["spark.authenticate.secret"] in command]
    assert (0o600, 0o700) == (
        settings.stat().st_mode & 0o777,
        settings.parent.stat().st_mode & 0o777,
    )
    daemon.ctl("cancel", daemon.runs()[0]["id"])
    daemon.wait_job("client", "CANCELLED", PATIENCE)
    until(lambda: not running(client["token"]), 30.0, "its processes are gone")
    assert not settings.parent.exists()
