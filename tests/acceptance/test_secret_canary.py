"""Where a secret is seen, from the recipe to the end of its run, on a real Slurm: nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.daemon import RunningDaemon, until
from support.realslurm import RealSlurm
from support.watching import Watch

pytestmark = pytest.mark.real("slurm", "sshd", "redis-server", "redis-benchmark")

FROM_FILE = "CANARY-file-b6c1f0a97e"
LITERAL = "CANARY-literal-4d02e8c355"
GENERATED = 31  # characters; no other secret of the recipe is as long

RECIPE = """\
name: canary
service:
  name: redis
  ports: [auto]
  environment: {{MYSQL_ROOT_PASSWORD: {literal}}}
  secrets: {{REDIS_PASSWORD: {{file: "{file}"}}, SPARE_KEY: {{generate: {generated}}}}}
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  health_check: {{type: redis, interval: 1}}
client:
  name: redis-benchmark
  target_service: {{name: redis}}
  parameters: {{requests: 60000, clients: 4, tests: "set,get"}}
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
"""
# What people and scripts ask; RUN and JOB stand for what there is.
QUESTIONS = """status --json; runs --json; jobs --json; services; clients; show RUN --json;
show JOB --json; why JOB --json; logs JOB; logs JOB --stderr; results RUN --json; report RUN"""


def holders(words: tuple[bytes, ...], scratch: Path, *places: Path) -> set[Path]:
    """Return the files below some places in which one of the words stands."""
    patterns = scratch / "patterns"  # not on grep's own command line
    patterns.write_bytes(b"\n".join(words) + b"\n")
    done = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", "-f", patterns, *places],
        capture_output=True,
        check=False,
    )
    return {Path(os.fsdecode(line)) for line in done.stdout.splitlines()}


def answers(daemon: RunningDaemon, slurm: RealSlurm) -> str:
    """Return all that benchd and Slurm say about everything, to whoever asks."""
    run = daemon.runs()[0]["id"]
    jobs = daemon.jobs()
    said = []
    for question in QUESTIONS.split(";"):
        for job in jobs if "JOB" in question else jobs[:1]:
            words = question.replace("RUN", run).replace("JOB", job["token"]).split()
            said.append(daemon.ctl(*words).stdout)
    for page in ("metrics", "sd"):
        with contextlib.suppress(OSError):
            url = daemon.metrics_url.replace("metrics", page)
            said.append(urllib.request.urlopen(url, timeout=10).read().decode())
    for words in ("scontrol -a -d show job", "squeue -a -O ALL", "sacct -a -P -o ALL"):
        done = subprocess.run(
            words.split(), capture_output=True, text=True, env=slurm.env, check=False
        )
        said.append(done.stdout)
    return "\n".join(said)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder apart from all others, with the file in which a user keeps a password."""
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "secret").write_text(FROM_FILE + "\n")
    (folder / "secret").chmod(0o600)
    return folder


def recipe(scratch: Path) -> str:
    """Return the recipe with secrets of all three sorts."""
    return RECIPE.format(literal=LITERAL, file=scratch / "secret", generated=GENERATED)


def kept_results(daemon: RunningDaemon, run: str) -> list[dict[str, Any]]:
    """Return the results of a run as they were kept for people."""
    folder = daemon.state / "runs" / run / "results"
    return [json.loads(path.read_text()) for path in folder.iterdir()]


def test_no_secret_is_seen_anywhere(
    real_config: Callable[..., Path], real_slurm: RealSlurm, scratch: Path
) -> None:
    """No spool, ps, scontrol, log, database, metric, answer or report shows one, then or later."""
    watch = Watch(words=(FROM_FILE.encode(), LITERAL.encode()))
    daemon = RunningDaemon(real_config()).start()
    home = daemon.config.parent
    try:
        with watch.looking():
            (daemon.state / "inbox" / "canary.yaml").write_text(recipe(scratch))
            keys = until(lambda: [*daemon.state.glob("secrets/*.json")], 20.0, "it is accepted")
            secrets = json.loads(keys[0].read_text())["redis"]
            words = (*watch.words, secrets["SPARE_KEY"].encode())
            watch.words = words
            daemon.wait_job("client", "RUNNING")
            during = holders(words, scratch, home, real_slurm.dir)
            said = answers(daemon, real_slurm)
            run = daemon.wait_run()
        until(lambda: not keys[0].exists(), 20.0, "benchd has forgotten them")
        said += answers(daemon, real_slurm)
        after = holders(words, scratch, home, real_slurm.dir)
    finally:
        daemon.close()

    assert run["outcome"] == "PASSED", f"{run}\n{daemon.tail()}"
    assert [True] == [each["validity"]["valid"] for each in kept_results(daemon, run["id"])]
    assert (FROM_FILE, LITERAL) == (secrets["REDIS_PASSWORD"], secrets["MYSQL_ROOT_PASSWORD"])
    assert GENERATED == len(secrets["SPARE_KEY"])
    assert {"sbatch", "redis-server", "redis-benchmark"} <= watch.looked_at  # it did look then
    assert set() == watch.seen
    assert [] == [word for word in words if word.decode() in said]
    assert run["id"] in said  # they did answer
    assert {p.name for p in during} <= {keys[0].name, "secret.env"}
    assert set() == after


def test_only_their_owner_can_read_the_files_of_secrets(
    real_config: Callable[..., Path], real_slurm: RealSlurm, scratch: Path
) -> None:
    """While a job waits in the queue its secrets lie in two files of mode 0600, until its end."""
    daemon = RunningDaemon(real_config()).start()
    # A node that is not there to be had: the job waits until it is cancelled.
    text = recipe(scratch).replace("cpus_per_task: 1", "cpus_per_task: 2, nodelist: n1", 1)
    busy = ["sbatch", "--parsable", "-w", "n1", "--exclusive", "-o", "/dev/null", "--wrap"]
    holder = subprocess.run(
        [*busy, "sleep 60"], env=real_slurm.env, check=True, capture_output=True, text=True
    )
    try:
        (daemon.state / "inbox" / "canary.yaml").write_text(text)
        daemon.wait_job("service", "PENDING")
        words = (FROM_FILE.encode(), LITERAL.encode())
        found = holders(words, scratch, daemon.config.parent, real_slurm.dir)
        modes = {p.name: stat.filemode(p.stat().st_mode) for p in found}
        daemon.ctl("cancel", "--all")
        daemon.wait_run()
        until(lambda: not any(p.exists() for p in found), 20.0, "they are gone")
    finally:
        daemon.close()
        subprocess.run(["scancel", holder.stdout.strip()], env=real_slurm.env, check=False)

    key = next(p.name for p in found if p.suffix == ".json")
    assert {key: "-rw-------", "secret.env": "-rw-------"} == modes
