"""Real faults of Slurm and of the disk, in short: each run ends as without them."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from support.realslurm import RealSlurm
from torture.table import FAR, Scenario

SHORT = [pytest.param(s, id=s.name, marks=pytest.mark.real(*s.needs)) for s in FAR if s.quick]


@pytest.mark.parametrize("scenario", SHORT)
def test_a_run_survives_what_happens_to_its_cluster(
    scenario: Scenario, real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """The run passes, nothing is sent or started twice, status answers, no hand is needed."""
    seed = secrets.randbelow(10**6)
    verdict = scenario.play(real_slurm, tmp_path, seed=seed, quick=True)
    assert () == verdict.violations, f"seed {seed}"
    assert verdict.faults > 0
    assert (1, 1) == (verdict.sbatch_per_try, verdict.starts_per_generation)
