"""Images on the embedded cluster: made once, before what needs them, whatever goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import CancelWhy, Job, JobState, RunOutcome
from benchd.core.spec import Role
from benchd.sim import EmbeddedCluster
from support.crate import Crate
from support.inside import PATIENCE, Inside, daemon_on
from support.near import until

pytestmark = pytest.mark.asyncio

SOURCE = "docker://shelf:1"
JOB = """\
  - name: {name}
    kind: generic
    command: {command}
    container: {{docker_source: "docker://shelf:1"{more}}}
    resources: {{cpus_per_task: 1, time: "00:05:00"}}
"""


def recipe(*names: str, command: str = "echo done", more: str = "") -> str:
    """Return a recipe of clients that measure nothing, in one image."""
    parts = (JOB.format(name=name, command=command, more=more) for name in names)
    return "clients:\n" + "".join(parts)


@dataclass
class Ground:
    """A daemon on a cluster whose nodes have the stand-in."""

    inside: Inside
    crate: Crate
    images: Path

    @property
    def image(self) -> Path:
        """Where the image of the recipes goes."""
        return self.images / "shelf_1.sif"

    async def over(self, runs: int = 1) -> list[RunOutcome | None]:
        """Wait until so many runs are over; return how they ended, the newest first."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.inside.daemon.store.runs()
                if len(found) == runs and all(run.outcome for run in found):
                    return [run.outcome for run in found]
                await self.inside.turn()

    async def of(self, role: Role) -> list[Job]:
        """Return the jobs of a role."""
        return [job for job in (await self.inside.jobs()).values() if job.role is role]

    async def pulling(self, number: int = 1) -> None:
        """Wait until so many pulls have begun."""
        await until(lambda: len(self.crate.pulls) == number)


@pytest_asyncio.fixture
async def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    """Run a daemon on an embedded cluster that has a stand-in for a container runtime."""
    crate, images = Crate(tmp_path / "crate"), tmp_path / "images"
    monkeypatch.setenv("PATH", crate.path)
    runtime = {"name": "apptainer", "cache": str(images)}
    async with (
        EmbeddedCluster(tmp_path / "sim") as slurm,
        daemon_on(slurm, tmp_path, runtime=runtime) as inside,
    ):
        yield Ground(inside, crate, images)


async def test_ten_jobs_of_five_recipes_want_one_image_at_once(ground: Ground) -> None:
    """It is brought once, by one job; all ten find it, and every result names it."""
    for number in range(5):
        text = recipe(f"a{number}", f"b{number}")
        ground.inside.drop(text, f"r{number}.yaml")
    assert [RunOutcome.PASSED] * 5 == await ground.over(5)
    assert [SOURCE] == ground.crate.pulls
    rows = await ground.of(Role.IMAGE)
    submitted = [job.token for job in rows if ground.inside.accepted(job.token)]
    assert (5, 1) == (len(rows), len(submitted))
    digest = "sha256:" + hashlib.sha256(ground.image.read_bytes()).hexdigest()
    results = [json.loads(text) for text in await ground.inside.daemon.store.results()]
    assert [digest] * 10 == [each["provenance"]["client"]["image_digest"] for each in results]


async def test_an_image_that_is_there_costs_no_job(ground: Ground) -> None:
    """Its row ends at the look, with the digest of what somebody else put there."""
    ground.images.mkdir()
    ground.image.write_text("made elsewhere")
    ground.inside.drop(recipe("a"))
    assert [RunOutcome.PASSED] == await ground.over()
    (row,) = await ground.of(Role.IMAGE)
    digest = hashlib.sha256(b"made elsewhere").hexdigest()
    assert (JobState.CANCELLED, CancelWhy.DONE, 0) == (row.state, row.cancel_why, row.tries)
    assert f"the image is there already: {ground.image}, sha256:{digest}" == row.detail
    assert [] == ground.crate.pulls


async def test_a_link_that_is_lost_while_an_image_is_made_on_the_login_node(
    ground: Ground,
) -> None:
    """What was begun goes on there; the lock is respected, and the image is brought once."""
    ground.crate.hold()
    ground.inside.drop(recipe("a", more=", build: login"))
    await ground.pulling()
    ground.inside.cluster.drop_connections()
    job = (await ground.of(Role.IMAGE))[0]
    logins = ground.inside.cluster.logins
    await until(lambda: ground.inside.cluster.logins > logins)
    ground.crate.release()
    assert [RunOutcome.PASSED] == await ground.over()
    assert ([SOURCE], 0) == (ground.crate.pulls, ground.inside.accepted(job.token))


async def test_a_process_that_is_killed_while_it_makes_an_image_on_the_login_node(
    ground: Ground,
) -> None:
    """It is tried again after a pause: nobody said that the image cannot be made."""
    ground.crate.hold()
    ground.inside.drop(recipe("a", more=", build: login"))
    await ground.pulling()
    owner = ground.image.with_suffix(".sif.lock") / "owner"
    os.kill(int(owner.read_text().split()[1]), signal.SIGKILL)
    ground.crate.release()
    row = await ground.inside.wait_job(Role.IMAGE, submit_failures=1)
    assert (JobState.CREATED, False) == (row.state, row.is_attempted)
    assert "could not be made on the login node" in str(row.detail)


async def test_a_daemon_that_ends_while_an_image_is_made_on_the_login_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds the image, a lock or nothing, and goes on; no lock stays behind."""
    crate, images = Crate(tmp_path / "crate"), tmp_path / "images"
    monkeypatch.setenv("PATH", crate.path)
    runtime = {"name": "apptainer", "cache": str(images), "build": "login"}
    async with EmbeddedCluster(tmp_path / "sim") as slurm:
        crate.hold()
        async with daemon_on(slurm, tmp_path, runtime=runtime) as inside:
            inside.drop(recipe("a"))
            await until(lambda: len(crate.pulls) == 1)
        crate.release()
        async with daemon_on(slurm, tmp_path, runtime=runtime) as inside:
            assert RunOutcome.PASSED is (await inside.wait_run()).outcome
    found = sorted(path.name for path in images.iterdir())
    assert ["shelf_1.sif", "shelf_1.sif.benchd.json"] == found


async def test_a_job_that_is_killed_while_it_holds_the_lock(ground: Ground) -> None:
    """Its lock is known to be a dead job's, and the next attempt makes the image."""
    ground.crate.hold()
    ground.inside.drop(recipe("a"))
    await ground.pulling()
    (first,) = await ground.of(Role.IMAGE)
    # Of another node, where no process can be looked for.
    owner = ground.image.with_suffix(".sif.lock") / "owner"
    owner.write_text(f"elsewhere 1 0 {first.token}\n")
    ground.inside.cluster.inject("node-fail", first.token)
    await until(lambda: not ground.inside.cluster.faults.is_on("node-fail"))
    ground.crate.release()
    assert [RunOutcome.PASSED] == await ground.over()
    rows = await ground.of(Role.IMAGE)
    ends = [(row.attempt, row.state, row.why) for row in rows]
    assert [(1, JobState.FAILED, "NODE_FAIL"), (2, JobState.COMPLETED, None)] == ends
    assert [SOURCE] * 2 == ground.crate.pulls


async def test_an_image_in_use_is_made_anew_when_nobody_uses_it(ground: Ground) -> None:
    """Until then `benchctl why` names the user; the new image takes the place of the old one."""
    ground.inside.drop(recipe("user", command="sleep 300"), "first.yaml")
    user = await ground.inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    ground.inside.drop(recipe("b", more=", force_rebuild: true"), "second.yaml")
    async with asyncio.timeout(PATIENCE):
        while len(rows := await ground.of(Role.IMAGE)) < 2:
            await ground.inside.turn()
    said = await ground.inside.daemon.steering.waiting(rows[1].token)
    assert f"force_rebuild waits until nobody uses {ground.image}: {user.token}" == said
    assert (1, 0) == (len(ground.crate.pulls), ground.inside.accepted(rows[1].token))
    await ground.inside.daemon.steering.cancel(user.run_id)
    assert [RunOutcome.PASSED, RunOutcome.CANCELLED] == await ground.over(2)
    assert f"{SOURCE}, number 2\n" == ground.image.read_text()


@pytest.mark.parametrize("build", ["job", "login"])
async def test_an_image_that_cannot_be_made(ground: Ground, build: str) -> None:
    """The run fails with what the runtime said last; nothing that needs it was ever submitted."""
    ground.crate.break_down()
    ground.inside.drop(recipe("a", more=f", build: {build}"))
    assert [RunOutcome.FAILED] == await ground.over()
    (run,) = await ground.inside.daemon.store.runs()
    assert "image shelf-1 FAILED" in str(run.why)
    said = f"INFO: asking for {SOURCE} | FATAL: no such image on the shelf"
    assert said in str(run.why)
    (client,) = await ground.of(Role.CLIENT)
    assert (CancelWhy.SIBLING, 0) == (client.cancel_why, ground.inside.accepted(client.token))
    assert [] == list(ground.images.glob("shelf*"))


async def test_an_image_of_something_else_is_not_used(ground: Ground) -> None:
    """A recipe that names another source for the same file is refused, with both sources."""
    place = f', image_path: "{ground.image}"'
    ground.inside.drop(recipe("a", more=place), "first.yaml")
    await ground.over()
    other = recipe("b", more=place).replace("shelf:1", "shelf:2")
    ground.inside.drop(other, "second.yaml")
    assert [RunOutcome.FAILED, RunOutcome.PASSED] == await ground.over(2)
    run, _ = await ground.inside.daemon.store.runs()
    said = f"{ground.image} was made from {SOURCE}, and the recipe says docker://shelf:2"
    assert said in str(run.why)
    assert [SOURCE] == ground.crate.pulls
