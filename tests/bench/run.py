"""``make bench``: what benchd costs on a real Slurm, beside baselines of the same run.

Absolute times belong to the machine; the ratios belong to benchd. Nothing here is a test: the
limits are printed, and the exit status says whether all were kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 0)]

# ruff: noqa: E402 - the tests' support is importable only from here on
import bombs
import books
import loads
import pages
from figures import Figure, median_of

from support.daemon import REPO, RunningDaemon, environment, until

IDLE = 20.0  # seconds over which the idle daemon is watched
SCAN = 2.0  # seconds between two looks at the inbox: the default
MIB = 1024 * 1024

JOB = """\
name: {name}
service:
  name: idle
  kind: generic
  command: sleep
  args: ["600"]
  resources: {{cpus_per_task: 1, time: "00:15:00"}}
"""

PAIR = """\
name: {name}
service:
  name: redis
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
  health_check: {{type: redis, interval: 1}}
client:
  name: redis-benchmark
  target_service: {{name: redis}}
  parameters: {{requests: 2000, clients: 4, tests: set}}
  resources: {{cpus_per_task: 1, time: "00:05:00"}}
"""


def timed(argv: list[str], stdin: bytes = b"") -> float:
    """Return the wall time of a whole process, in seconds."""
    start = time.perf_counter()
    subprocess.run(argv, input=stdin, capture_output=True, check=True, env=environment())
    return time.perf_counter() - start


def status(daemon: RunningDaemon) -> Figure:
    """Time ``benchctl status`` against an interpreter that only imports what it needs."""
    ctl = [sys.executable, "-m", "benchd.cli.ctl", "--socket", str(daemon.socket), "status"]
    bare = [sys.executable, "-c", "import argparse, json, http.client, socket"]
    mine, base = median_of(lambda: timed(ctl)), median_of(lambda: timed(bare))
    return Figure("benchctl status, whole process", mine, "s", 0.1, base, "python with its imports")


def ssh_sbatch(daemon: RunningDaemon) -> Callable[[], float]:
    """Return the baseline of a submission: one ``ssh host sbatch`` by hand."""
    ssh = next(iter(daemon.settings["clusters"].values()))["ssh"]
    options = [
        "-o",
        f"UserKnownHostsFile={ssh['known_hosts']}",
        "-o",
        "BatchMode=yes",
        "-F",
        "none",
    ]
    where = ["-i", ssh["identity"], "-p", str(ssh["port"]), f"{ssh['user']}@{ssh['host']}"]
    argv = ["ssh", *options, *where, "sbatch --parsable --hold -J bench -o /dev/null"]
    return lambda: timed(argv, b"#!/bin/sh\nsleep 600\n")


def drop_to_accepted(daemon: RunningDaemon) -> Figure:
    """Time from a complete file in the inbox to Slurm's id, above the scan interval."""

    def one() -> float:
        # People do not drop files in step with the scan: start anywhere between two looks.
        time.sleep(random.uniform(0.0, SCAN))
        name = f"bench-{time.monotonic_ns()}"
        beside = daemon.state / f"{name}.part"
        beside.write_text(JOB.format(name="bench"))
        dropped = time.time()
        beside.rename(daemon.state / "inbox" / f"{name}.yaml")

        def accepted() -> float | None:
            jobs = [j for j in daemon.jobs() if j["times"]["created"] >= dropped]
            return jobs[0]["times"]["submitted"] if jobs else None

        submitted: float = until(accepted, 30.0, "the job is accepted")
        return submitted - dropped - SCAN

    value = median_of(one, 15)
    base = median_of(ssh_sbatch(daemon))
    what = f"drop -> accepted by Slurm, above {SCAN:g} s scan"
    return Figure(what, value, "s", 0.5, base, "ssh + sbatch by hand")


def ready_to_submitted(daemon: RunningDaemon) -> Figure:
    """Time from the probe that answered to the client's Slurm id."""
    gaps = []
    for number in range(3):
        name = f"pair-{number}-{time.monotonic_ns()}.yaml"
        before = len(daemon.runs())
        (daemon.state / "inbox" / name).write_text(PAIR.format(name=f"pair-{number}"))
        until(lambda known=before: len(daemon.runs()) > known, 10.0, "it is taken in")
        daemon.wait_run()
        service, client = daemon.job("service"), daemon.job("client")
        gaps.append(client["times"]["submitted"] - service["times"]["ready"])
    return Figure("service answered -> client accepted by Slurm", statistics.median(gaps), "s", 0.3)


def idle(daemon: RunningDaemon) -> list[Figure]:
    """Watch a daemon that has nothing to do."""
    assert daemon.process is not None
    pid = daemon.process.pid
    start, began = cpu_seconds(pid), time.monotonic()
    deadline = began + IDLE
    until(lambda: time.monotonic() > deadline, IDLE + 5, "the watch is over")
    share = 100 * (cpu_seconds(pid) - start) / (time.monotonic() - began)
    program = (
        "import asyncio, asyncssh, aiohttp.web, pydantic, structlog, prometheus_client\n"
        "print(open('/proc/self/statm').read().split()[1])"
    )
    bare = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    page = os.sysconf("SC_PAGESIZE")
    base = int(bare.stdout) * page / MIB
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page / MIB
    return [
        Figure("idle daemon, resident memory", resident, "MiB", 80.0, base, "its libraries alone"),
        Figure("idle daemon, share of a core", share, "%", 1.0),
    ]


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def demo() -> Figure:
    """Time the demo as a stranger sees it, after installation."""
    with contextlib.chdir(REPO):
        return Figure(
            "make demo, after installation",
            timed([sys.executable, "-m", "benchd.cli.daemon", "demo"]),
            "s",
            60.0,
        )


def main() -> int:
    """Run everything and print the table; 1 if a limit was not kept."""
    config = Path(os.environ["BENCHD_CONFIG"])
    usual = yaml.safe_load(config.read_text()) | {"scan_interval": SCAN}
    config.write_text(yaml.safe_dump(usual))
    daemon = RunningDaemon(config).start()
    try:
        figures = [*idle(daemon), status(daemon), drop_to_accepted(daemon)]
        daemon.ctl("cancel", "--all")
        until(lambda: all(run["outcome"] for run in daemon.runs()), 60.0, "all is over")
        figures += [ready_to_submitted(daemon), demo()]
    finally:
        daemon.close()
    figures += [*books.figures(), *bombs.figures(), *pages.figures(), *loads.figures()]
    print(*figures, sep="\n")
    report = {f.what: {"value": f.value, "unit": f.unit, "limit": f.limit} for f in figures}
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(f.kept for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
