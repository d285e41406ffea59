"""The embedded cluster and the real Slurm of this machine, side by side on the same scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchd.sim import Config, EmbeddedCluster
from support.realslurm import RealSlurm
from support.transcripts import FOLDER, Place, differences, play

# A time limit takes a minute on the real one; that transcript is replayed on the embedded one only.
SCRIPTS = sorted(file for file in FOLDER.glob("*.txt") if file.stem != "timeout")


@pytest.mark.real("slurm")
@pytest.mark.asyncio
@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.stem)
async def test_both_clusters_say_the_same(
    tmp_path: Path, real_slurm: RealSlurm, file: Path
) -> None:
    """One script gives one transcript, on the embedded cluster and on the real one."""
    work = tmp_path / "work"
    work.mkdir()
    script = file.read_text()  # noqa: ASYNC240 - a small file
    real = Place(real_slurm.env, real_slurm.workdir())
    async with EmbeddedCluster(
        tmp_path / "sim", nodes=4, cpus=2, memory_mb=2000, config=Config(requeue_delay=60.0)
    ) as cluster:
        embedded = Place(cluster.login_environment, work, host=cluster.config.host)
        wrong = differences(await play(script, real), await play(script, embedded))
    assert not wrong, "\n".join(wrong)
