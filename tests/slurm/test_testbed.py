"""The testbed itself: it runs jobs, can be hurt and healed, and never outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchd.config import Settings
from slurm.testbed import Testbed, started, until
from support.realslurm import RealSlurm

pytestmark = pytest.mark.real("slurm", "sshd")


def submit(slurm: RealSlurm, name: str, command: str) -> None:
    """Send a batch job the way a user on the login node would."""
    script = slurm.workdir() / "job.sh"
    script.write_text(f"#!/bin/bash\n{command}\n")
    slurm.run("sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null", str(script))


def accounted(slurm: RealSlurm, name: str) -> list[tuple[str, str]]:
    """Return state and exit code of every job of this name, once there is an end."""
    assert until(lambda: slurm.squeue().get(name) in {"COMPLETED", "FAILED"}, 30.0)
    return [(row["State"], row["ExitCode"]) for row in slurm.sacct(name)]


def test_a_job_runs_and_is_accounted_for(real_slurm: RealSlurm) -> None:
    """A batch job runs on a node and accounting tells its real exit status."""
    submit(real_slurm, "testbed-exit", "exit 7")

    assert [("FAILED", "7:0")] == accounted(real_slurm, "testbed-exit")


def test_the_login_node_lets_our_key_in(real_slurm: RealSlurm) -> None:
    """A command through sshd reaches this cluster and not another one on this machine."""
    argv = ["ssh", "-F", "none", "-p", str(real_slurm.port), "-i", str(real_slurm.key)]
    argv += ["-o", f"UserKnownHostsFile={real_slurm.known_hosts}", "-o", "IdentitiesOnly=yes"]
    argv += ["-o", "BatchMode=yes", f"{real_slurm.user}@{real_slurm.host}", "scontrol show config"]

    told = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout

    assert f"{real_slurm.dir}/slurm.conf" in told


def test_daemons_go_down_and_come_back(real_slurm: RealSlurm) -> None:
    """A stopped daemon is gone for its clients, and knows the same jobs when it is up again."""
    submit(real_slurm, "testbed-survives", "exit 0")
    before = accounted(real_slurm, "testbed-survives")

    real_slurm.ctl("down", "sshd", "slurmctld")
    testbed = real_slurm.lease.testbed
    gone = [testbed.pid("sshd"), testbed.pid("slurmctld")]
    real_slurm.ctl("up", "sshd", "slurmctld")

    assert [None, None] == gone
    assert "testbed-survives" in real_slurm.squeue()
    assert [("COMPLETED", "0:0")] == before


def test_a_configuration_for_benchd(real_config: Callable[..., Path]) -> None:
    """The configuration handed to tests is one that benchd accepts."""
    settings = Settings.model_validate(yaml.safe_load(real_config().read_text()))

    assert "testbed" == settings.default_cluster
    assert settings.clusters["testbed"].testbed


OWNER = """
import sys
from slurm.lease import Lease
from slurm.testbed_files import Options
lease = Lease(Options(nodes=1, accounting=False))
lease.testbed.run("sbatch", "--output=/dev/null", "--wrap=sleep 600")
print(lease.testbed.dir, flush=True)
sys.stdin.read()
"""


def test_nothing_outlives_a_killed_owner() -> None:
    """SIGKILL of the process that holds a cluster takes its daemons, jobs and files away."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        home = Path(owner.stdout.readline().strip())
        testbed = Testbed(home)
        pids = [pid for name in testbed.plan.daemons if (pid := testbed.pid(name))]
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=10)

    assert 4 == len(pids)
    assert until(lambda: not home.exists(), 40.0)
    assert not [pid for pid in pids if started(pid)]
