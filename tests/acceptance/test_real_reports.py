"""From a recipe to a report on a real Slurm: what is printed is what was measured."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm.testbed import until as idle
from support import recompute
from support.daemon import REPO, RunningDaemon, until
from support.printed import claims, in_markdown
from support.reality import CHROMA
from support.realslurm import NODES_S, RealSlurm
from support.reckoned import Found, Truth, doubts, stated
from support.tiny_llm import write_model

pytestmark = pytest.mark.real(
    *("slurm", "sshd", "redis-server", "redis-benchmark", "mariadb", "sysbench", "chroma"),
    *("postgresql", "xllamacpp"),
)

SERVER = REPO / "tests" / "support" / "llm_server.py"
RESOURCES = 'resources: {cpus_per_task: 1, time: "00:05:00"}'
# All at once, on one daemon and one cluster. Each measures as long as its percentiles need: a p99
# wants 368 samples.
RECIPES = {
    "redis-benchmark": """
service: {{name: redis, health_check: {{type: redis, interval: 0.5}}, {resources}}}
client:
  {{name: redis-benchmark, target_service: {{name: redis}}, {resources},
    parameters: {{requests: 10000}}}}
""",
    "redis-load": """
service: {{name: redis, health_check: {{type: redis, interval: 0.5}}, {resources}}}
client:
  {{name: redis-load, target_service: {{name: redis}}, {resources},
    parameters: {{load: poisson, rate: 200, requests: 1000, keys: 500, reads: 0.7,
                 slo: latency_sched_ms<=200}}}}
""",
    "sysbench": """
service:
  name: mysql
  secrets: {{MYSQL_ROOT_PASSWORD: {{generate: 24}}}}
  health_check: {{type: mysql, interval: 0.5}}
  {resources}
client:
  {{name: sysbench, target_service: {{name: mysql}}, {resources}, duration: 2,
    parameters: {{tables: 2, table_size: 1000, threads: 2, warmup: 0}}}}
""",
    "chroma-load": """
service:
  name: chroma
  command: "{chroma}"
  health_check: {{type: http, endpoint: /api/v2/heartbeat, interval: 0.5}}
  {resources}
client:
  {{name: chroma-load, target_service: {{name: chroma}}, {resources},
    parameters: {{vectors: 2000, dimension: 32, batch: 100, requests: 400, recall_queries: 20,
                 ef_search: 100}}}}
""",
    "llm-load": """
service:
  name: tiny-llm
  kind: generic
  command: {python}
  args: [{server}, {model}, "$BENCHD_PORT"]
  ports: [auto]
  health_check: {{type: http, endpoint: /health, interval: 0.5}}
  {resources}
client:
  {{name: llm-load, target_service: {{name: tiny-llm}}, {resources},
    parameters: {{api: openai-completions, model: tiny, requests: 380, concurrency: 4,
                 prompt_tokens: 32, output_tokens: 4}}}}
""",
    "pgbench": """
service:
  name: postgresql
  storage: local
  secrets: {{POSTGRES_PASSWORD: {{generate: 24}}}}
  health_check: {{type: postgres, interval: 0.5}}
  {resources}
client:
  {{name: pgbench, target_service: {{name: postgresql}}, {resources}, duration: 2,
    parameters: {{scale: 1, clients: 2, warmup: 0, rate: 100}}}}
""",
}
TOOLS = {"redis-benchmark", "sysbench", "pgbench"}  # which leave no samples of ours
# What may be said of a measurement here: the machine is busy, tools measure for a moment, and words
# of the tiny model have five tokens each, so that no prompt is as long as asked, and the first
# tokens of all are the same; llama.cpp's server closes connections on which a request is under way.
EXPECTED = {"send_lag_p99", "loop_lag_p99", "not_steady", "cache_hit_rate", "prompt_len_mismatch"}
EXPECTED |= {"short_window", "resent"}


@dataclass(frozen=True)
class Reported:
    """What came of one recipe."""

    folder: Path
    result: dict[str, Any]
    page: str
    text: str

    def percentile(self, metric: str, q: str) -> float:
        """Return a percentile of the result."""
        return float(self.result["metrics"][metric]["percentiles"][q])

    def value(self, metric: str) -> float:
        """Return a number of the result that is no distribution."""
        return float(self.result["metrics"][metric]["value"])


@pytest.fixture(scope="module")
def reported(
    _slurm_session: RealSlurm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Reported]]:
    """Drop every recipe at once and have benchctl write the report of each run."""
    home = tmp_path_factory.mktemp("reports")
    model = home / "tiny.gguf"
    write_model(model)
    words = {"chroma": CHROMA, "python": sys.executable, "server": SERVER, "model": model}
    words["resources"] = RESOURCES
    config = _slurm_session.lease.write_config(home, workdir=_slurm_session.workdir())
    assert idle(_slurm_session.is_idle, NODES_S)
    try:
        with closing(RunningDaemon(config).start()) as daemon:
            for name, text in RECIPES.items():
                recipe = home / f"{name}.yaml"
                recipe.write_text(f"name: {name}\n{text.format(**words)}")
                daemon.drop(recipe)
            until(lambda: _is_over(daemon.runs()), 120.0, "all runs end")
            yield {run["name"]: _reported(daemon, run, home) for run in daemon.runs()}
    finally:
        _slurm_session.make_whole()


def _is_over(runs: list[dict[str, Any]]) -> bool:
    return len(runs) == len(RECIPES) and all(run["outcome"] for run in runs)


def _reported(daemon: RunningDaemon, run: dict[str, Any], home: Path) -> Reported:
    assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
    folder = daemon.state / "runs" / run["id"]
    (file,) = (folder / "results").glob("*.json")
    result = json.loads(file.read_bytes())
    files = [home / f"{run['name']}.{form}" for form in ("html", "md")]
    for file in files:
        said = daemon.ctl("report", run["id"], "-o", str(file))
        assert (said.returncode, said.stdout.strip()) == (0, str(file)), said.stderr
    return Reported(folder, result, *(file.read_text() for file in files))


@pytest.mark.parametrize("name", RECIPES)
def test_a_report_shows_what_was_measured(name: str, reported: dict[str, Reported]) -> None:
    """Page and Markdown have the result's numbers, and nothing that raises a doubt in it."""
    told = reported[name]
    flags = [flag for flag in told.result["validity"]["flags"] if flag["severity"] != "info"]
    assert [flag for flag in flags if flag["code"] not in EXPECTED] == []
    assert all(flag["code"].replace("_", " ") in told.page for flag in flags)
    assert told.result["validity"]["valid"]
    truth, page = Truth(told.folder, stated(told.folder)), claims(told.page)
    assert (doubts(page, truth), len(page) > 15) == ([], True)
    text = in_markdown(told.text)
    assert (doubts(text, truth), len(text) > 5) == ([], True)


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - TOOLS))
def test_the_samples_of_a_job_say_the_same(name: str, reported: dict[str, Reported]) -> None:
    """Whatever the page has of our own load generator is reckoned again from the samples."""
    told = reported[name]
    found = recompute.everything(told.folder) | _of_chroma(told)
    assert doubts(claims(told.page), Truth(told.folder, found)) == []


def _of_chroma(told: Reported) -> Found:
    """Return what the samples have besides the measurement: the filling, and what was found."""
    job, folder = told.result["job"], told.folder / "raw" / told.result["job"] / "result"
    data = gzip.decompress((folder / "samples.jsonl.gz").read_bytes()).splitlines()
    lines = [json.loads(line) for line in data]
    inserts = [line | {"phase": "measure"} for line in lines if line["phase"] == "insert"]
    if not inserts:
        return {}
    numbers = recompute.one_repeat(inserts, {})
    recalls = [line["recall"] for line in lines if line["phase"] == "recall"]
    rate = told.result["workload"]["vectors"] / numbers["window"][0]
    found = {"recall_at_k": [sum(recalls) / len(recalls)], "ops_s.insert": [rate]}
    for name, values in numbers.items():
        if name.startswith("latency_send"):
            found[name.replace("latency_send", "latency_service.insert")] = values
    point = job.rpartition("r")[0]
    keys = ((), ("1",), ("0.",))
    return {(point, name, *key): values for name, values in found.items() for key in keys} | {
        (point, "latency_service.insert", "samples"): [len(inserts)]
    }


def test_each_is_measured_as_asked(reported: dict[str, Reported]) -> None:
    """Rates are kept, requests counted, neighbours found and tokens streamed."""
    load, chroma, llm = (reported[name] for name in ("redis-load", "chroma-load", "llm-load"))
    assert (1000, 400, 380) == tuple(each.result["counts"]["ok"] for each in (load, chroma, llm))
    assert load.value("ops_s") == pytest.approx(200, rel=0.15)
    assert load.percentile("latency_sched", "99") >= load.percentile("latency_service", "50") > 0
    assert load.value("hit_rate") == 1.0
    assert 0.9 < chroma.value("recall_at_k") <= 1.0
    assert chroma.value("ops_s.insert") > 0
    assert llm.percentile("e2e_service", "99") > llm.percentile("ttft_service", "50") > 0
    assert llm.value("out_tok_s") > 0
    assert reported["pgbench"].value("ops_s") == pytest.approx(100, rel=0.5)
    assert reported["pgbench"].percentile("latency_sched", "50") > 0
    assert reported["sysbench"].percentile("latency_service", "99") > 0
    assert reported["redis-benchmark"].value("req_s") > 0
