"""Recipes of other projects on a real Slurm: every script that comes of them finds a place."""

from __future__ import annotations

import pytest

from support.realslurm import RealSlurm
from support.seed_cases import NAMES, OWN, absent, present, scripts_of

pytestmark = pytest.mark.real("slurm", "sshd")


@pytest.mark.parametrize("name", NAMES)
def test_slurm_takes_the_scripts_of_other_projects_recipes(
    name: str, real_slurm: RealSlurm
) -> None:
    """``sbatch --test-only`` reads every line, with the scripts they name and without."""
    script = real_slurm.workdir() / "script.sh"
    # What only some sites have is replaced; it was read and understood all the same.
    ours = ["--partition=debug", "--qos=", "--gres=none", "--cpus-per-task=1", "--mem=50"]
    said = []
    for files in (present, absent) if name != OWN else (present,):
        for part, text in scripts_of(name, files).items():
            script.write_text(text)
            argv = ["sbatch", "--test-only", *ours, str(script), "/j", "1"]
            done = real_slurm.lease.testbed.run(*argv)
            said.append((part, done.returncode, " to start at " in done.stderr, done.stderr[:300]))
    assert [row for row in said if row[1:3] != (0, True)] == []
    assert said
