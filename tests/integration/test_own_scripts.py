"""Scripts of users as clients: read when a recipe is accepted, run, and read for numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchd.app import Daemon
from benchd.core.spec import Role
from benchd.sim import EmbeddedCluster
from support.inside import settings_for, working

pytestmark = pytest.mark.asyncio

BENCH = """\
import json, os, sys, urllib.request

said = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
with urllib.request.urlopen(said["endpoint"] + "/health") as answer:
    status = answer.status
document = {
    "benchmark_config": {"words": len(sys.argv)},
    "results": {"requests_per_second": 12.5, "successful_requests": 9, "failed_requests": 1},
    "status": status,
    "user": said["user"],
    "has_password": len(os.environ["PW"]) == len(said["password"]),
    "ready": os.path.exists(said["marker"]),
}
with open(said["output-file"], "w") as file:
    json.dump(document, file)
print(said["endpoint"] == os.environ["TARGET_ENDPOINT"], os.environ["BENCHD_DURATION"])
"""

RECIPE = """\
service:
  name: sim_llm
  ports: [auto]
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  setup_script: |
    sleep 0.2
    echo "set up beside $BENCHD_PORT" > {marker}
  health_check: {{endpoint: "http://localhost/health", interval: 0.2, timeout: 2}}
client:
  name: my_bench
  duration: 60
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  environment: {{BENCH_USER: somebody}}
  secrets: {{PW: {{generate: 20}}}}
  target_service: {{name: sim_llm, health_check_endpoint: /health}}
  parameters: {{output_file: /tmp/my_bench.json, wait_for_service: 20, marker: "{marker}"}}
  args: ["--user=${{BENCH_USER}}", "--password=${{PW}}"]
  output: {{shared_dir: "{shared}"}}
  script: {{name: bench.py, local_path: benchmark_scripts/, remote_path: "{remote}"}}
"""


async def test_a_script_of_the_user_measures_the_service(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """It gets endpoint, options and variables, its numbers are metrics, and copies lie about."""
    scripts = tmp_path / "project" / "benchmark_scripts"
    scripts.mkdir(parents=True)
    (scripts / "bench.py").write_text(BENCH)
    places = {name: tmp_path / name for name in ("marker", "shared", "remote")}
    settings = settings_for(slurm, tmp_path).model_copy(
        update={"scripts_dir": str(tmp_path / "project")}
    )
    async with working(Daemon(settings), slurm) as inside:
        inside.drop(RECIPE.format(**places))
        client = await inside.wait_job(Role.CLIENT)
        (scripts / "bench.py").write_text("raise SystemExit('changed afterwards')\n")
        run = await inside.wait_run()
        out = inside.daemon.state_dir / "runs" / run.id / "logs" / f"{client.token}.out"
        (document,) = map(json.loads, await inside.daemon.store.results(run.id))
        told = out.read_text()

    values = {name: metric.get("value") for name, metric in document["metrics"].items()}
    assert (12.5, 200) == (values["results.requests_per_second"], values["status"])
    assert {"benchmark_config": {"words": 6}} == document["workload"]["conditions"]
    assert (9, 1) == (document["counts"]["ok"], document["counts"]["errors"])
    ran = document["provenance"]["client"]
    assert ("bench.py", hashlib.sha256(BENCH.encode()).hexdigest()) == (ran["tool"], ran["sha256"])
    assert ("python3", "host") == (Path(ran["path"]).name, ran["source"])
    assert ran["interpreter_version"].startswith("3.")
    raw = tmp_path / "shared" / client.token / "my_bench.json"
    left = json.loads(raw.read_text())
    assert ("somebody", True, True) == (left["user"], left["has_password"], left["ready"])
    assert "True 60\n" == told
    assert BENCH == (tmp_path / "remote" / "bench.py").read_text()
    flags = [flag["code"] for flag in document["validity"]["flags"] if flag["severity"] == "error"]
    assert ["error_rate"] == flags  # one in ten failed, and the script says so


ELSEWHERE = """\
client:
  name: elsewhere
  kind: script
  resources: {cpus_per_task: 1, time: "00:05:00"}
  output: {file: $HOME/their/results/out.json}
  script:
    name: elsewhere.sh
    text: |
      echo '{"done": 3}' > "$BENCHD_OUTPUT_FILE"
"""


async def test_the_directory_of_an_output_file_is_made(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A script may write where no directory is yet, and what it writes there comes home."""
    async with working(Daemon(settings_for(slurm, tmp_path)), slurm) as inside:
        inside.drop(ELSEWHERE)
        run = await inside.wait_run()
        (document,) = map(json.loads, await inside.daemon.store.results(run.id))
    assert (slurm.home / "their" / "results" / "out.json").is_file()
    assert 3 == document["metrics"]["done"]["value"]


ENDLESS = """\
client:
  name: endless
  kind: script
  duration: 1
  resources: {cpus_per_task: 1, time: "00:05:00"}
  script:
    name: endless.sh
    text: |
      echo '{"done": 3}' > part.json
      sleep 300
"""


async def test_a_script_is_ended_after_its_duration(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """What it has left by then is kept as a part of a result, which is not valid."""
    async with working(Daemon(settings_for(slurm, tmp_path)), slurm) as inside:
        inside.drop(ENDLESS)
        run = await inside.wait_run()
        (document,) = map(json.loads, await inside.daemon.store.results(run.id))
        (job,) = await inside.daemon.store.jobs()
        err = inside.daemon.state_dir / "runs" / run.id / "logs" / f"{job.token}.err"
        said = err.read_text()

    assert (True, False) == (document["partial"], document["validity"]["valid"])
    assert 3 == document["metrics"]["done"]["value"]
    assert "it was ended after 1 s, the duration that the recipe gives it" in said


UNHEARD = """\
service:
  name: sim-llm
  ports: [auto]
  resources: {cpus_per_task: 1, time: "00:05:00"}
client:
  name: llm-load
  resources: {cpus_per_task: 1, time: "00:05:00"}
  target_service: {name: sim-llm, health_check_endpoint: /nowhere}
  parameters: {requests: 1, wait_for_service: 1}
"""


async def test_nothing_is_measured_before_the_endpoint_answers(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """The job says what did not answer, where, and for how long it waited."""
    async with working(Daemon(settings_for(slurm, tmp_path)), slurm) as inside:
        inside.drop(UNHEARD)
        run = await inside.wait_run()
        client = await inside.job(Role.CLIENT)
        assert client is not None
        err = inside.daemon.state_dir / "runs" / run.id / "logs" / f"{client.token}.err"
        said = err.read_text()

    assert 69 == client.exit_code
    assert "/nowhere did not answer well within 1 s (it said: HTTP/1.1 404" in said


LACKING = """\
client:
  name: lacking
  kind: script
  resources: {cpus_per_task: 1, time: "00:05:00"}
  environment: {PIP_NO_INDEX: "1"}
  script:
    name: lacking.py
    packages: [benchd-has-no-such-package]
    text: "print('never reached')"
"""


async def test_a_package_that_cannot_be_had_ends_the_job_with_advice(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """The script is not begun without what it imports."""
    async with working(Daemon(settings_for(slurm, tmp_path)), slurm) as inside:
        inside.drop(LACKING)
        run = await inside.wait_run()
        (job,) = await inside.daemon.store.jobs()
        logs = inside.daemon.state_dir / "runs" / run.id / "logs"
        out, err = ((logs / f"{job.token}.{each}").read_text() for each in ("out", "err"))

    assert (1, "") == (job.exit_code, out)
    assert "benchd: pip could not install benchd-has-no-such-package\n" in err
    assert "better have them in the image: container.build_commands" in err
