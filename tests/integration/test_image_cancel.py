"""A run that is cancelled while its image is made on the login node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchd.core.model import JobState, RunOutcome
from benchd.core.spec import Role
from benchd.sim import EmbeddedCluster
from support.crate import Crate
from support.inside import PATIENCE, daemon_on
from support.near import until

pytestmark = pytest.mark.asyncio

RECIPE = """\
client:
  name: a
  kind: generic
  command: echo done
  container: {docker_source: "docker://shelf:1", build: login}
  resources: {cpus_per_task: 1, time: "00:05:00"}
"""


async def test_a_run_is_cancelled_while_its_image_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over at once, and whoever made what nobody wants any more is stopped: no lock stays."""
    crate = Crate(tmp_path / "crate")
    monkeypatch.setenv("PATH", crate.path)
    runtime = {"name": "apptainer", "cache": str(tmp_path / "images")}
    async with (
        EmbeddedCluster(tmp_path / "sim") as slurm,
        daemon_on(slurm, tmp_path, runtime=runtime) as inside,
    ):
        crate.hold()
        try:
            inside.drop(RECIPE)
            await until(lambda: len(crate.pulls) == 1)
            (run,) = await inside.daemon.store.runs()
            await inside.daemon.steering.cancel(run.id)
            async with asyncio.timeout(8):  # the image would take for ever
                assert RunOutcome.CANCELLED is (await inside.wait_run()).outcome
            states = {job.role: job.state for job in (await inside.jobs()).values()}
            expected = {Role.IMAGE: JobState.CANCELLED, Role.CLIENT: JobState.CANCELLED}
            assert expected == states
            owner = tmp_path / "images" / "shelf_1.sif.lock" / "owner"
            maker = Path("/proc", owner.read_text().split()[1])
            await until(lambda: not maker.exists())
            await until(lambda: [] == list((tmp_path / "images").iterdir()))
        finally:
            crate.release()


@pytest.mark.parametrize("build", ["job", "login"])
async def test_a_run_is_tried_again_after_its_image_could_not_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    """`benchctl retry` makes the image that is there to be had now, and measures with it."""
    crate = Crate(tmp_path / "crate")
    monkeypatch.setenv("PATH", crate.path)
    runtime = {"name": "apptainer", "cache": str(tmp_path / "images")}
    async with (
        EmbeddedCluster(tmp_path / "sim") as slurm,
        daemon_on(slurm, tmp_path, runtime=runtime) as inside,
    ):
        crate.break_down()
        inside.drop(RECIPE.replace("build: login", f"build: {build}"))
        run = await inside.wait_run()
        assert RunOutcome.FAILED is run.outcome
        (crate.directory / "broken").unlink()
        await inside.daemon.steering.retry(run.id)
        await until(lambda: len(crate.pulls) == 2)
        async with asyncio.timeout(PATIENCE):
            while (await inside.daemon.store.runs())[0].outcome is not RunOutcome.PASSED:
                await inside.turn()
