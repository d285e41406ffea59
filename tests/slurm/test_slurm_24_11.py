"""Only under ``make test-heavy``, which runs the tests on real Slurm once more, on Slurm 24.11."""

from __future__ import annotations

import pytest

from benchd.core.slurm import classify_sbatch, read_config
from support.realslurm import RealSlurm

pytestmark = [pytest.mark.heavy, pytest.mark.real("slurm", "sshd")]


def test_this_is_the_newer_slurm(real_slurm: RealSlurm) -> None:
    """Commands, controller and nodes are those of 24.11, or the other tests proved nothing."""
    asked = ["ssh", "-F", "none", "-p", str(real_slurm.port), "-i", str(real_slurm.key)]
    asked += ["-o", f"UserKnownHostsFile={real_slurm.known_hosts}", "-o", "BatchMode=yes"]
    told = real_slurm.run(*asked, f"{real_slurm.user}@{real_slurm.host}", "scontrol show config")
    nodes = real_slurm.run("sinfo", "-h", "-N", "-O", "Version").split()
    assert read_config(told).version.startswith("24.11.")
    assert {"24.11"} == {version.rpartition(".")[0] for version in nodes}


def test_a_refused_submission_leaves_a_row_that_is_no_job_of_ours(real_slurm: RealSlurm) -> None:
    """What this version refuses for its size it lists as FAILED; the answer says for good."""
    done = real_slurm.lease.testbed.run(
        *("sbatch", "--parsable", "-J", "too-large", "-N", "5", "--wrap", "true")
    )
    said = classify_sbatch(done.returncode, done.stdout, done.stderr)
    rows = real_slurm.run("squeue", "-h", "-t", "all", "-n", "too-large", "-O", "State,Reason")
    assert (True, "", ["FAILED", "BadConstraints"]) == (said.final, said.quota, rows.split())
