"""The recipes that come with benchd on a real Slurm: every script of theirs finds a place."""

from __future__ import annotations

import pytest

from support.realslurm import RealSlurm
from support.recipe_cases import NAMES, first_of_each

pytestmark = pytest.mark.real("slurm", "sshd")


@pytest.mark.parametrize("recipe", NAMES)
def test_slurm_takes_the_scripts_of_a_recipe(recipe: str, real_slurm: RealSlurm) -> None:
    """``sbatch --test-only`` reads every line of them and finds nodes for it."""
    script = real_slurm.workdir() / "script.sh"
    # What only some sites have is replaced; it was read and understood all the same.
    ours = ["--partition=debug", "--constraint=", "--gres=none", "--cpus-per-task=1", "--mem=50"]
    said = {}
    for name, job in first_of_each(recipe).items():
        script.write_text(job.script)
        fewer = ["--gpus-per-node=1"] if "--gpus-per-node=" in job.script else []
        argv = ["sbatch", "--test-only", *ours, *fewer, str(script), "/j", "1"]
        done = real_slurm.lease.testbed.run(*argv)
        said[name] = (done.returncode, " to start at " in done.stderr, done.stderr[:300])
    assert [row for row in said.values() if row[:2] != (0, True)] == []
    assert said
