"""The embedded cluster answers word for word what real Slurm 22.05 answered when recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchd.sim import Clock, Config, EmbeddedCluster
from support.transcripts import FOLDER, Place, differences, play


@pytest.mark.asyncio
@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
async def test_the_embedded_cluster_talks_like_slurm(tmp_path: Path, file: Path) -> None:
    """Replaying a recorded script gives the recorded transcript."""
    clock = Clock() if file.stem == "timeout" else None
    config = Config(host="testhost", requeue_delay=60.0)
    work = tmp_path / "work"
    work.mkdir()
    async with EmbeddedCluster(
        tmp_path / "sim", nodes=4, cpus=2, memory_mb=2000, clock=clock, config=config
    ) as cluster:
        script = file.read_text()  # noqa: ASYNC240 - a small file
        place = Place(cluster.login_environment, work, clock, host="testhost")
        wrong = differences(script, await play(script, place))
        assert not wrong, "\n".join(wrong)
