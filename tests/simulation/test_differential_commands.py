"""The virtual login node and real bash do and say the same for all but submissions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchd.config import Budget, ClusterSettings, SSHSettings
from benchd.core.model import Accepted, JobState
from benchd.core.monitoring import TARGETS
from benchd.edge.cluster import Cluster
from benchd.edge.pack import build
from benchd.errors import BenchdError
from benchd.metrics import Metrics
from simulation import heaps
from simulation.bash import Answer
from simulation.heaps import ENDPOINT, EPOCH, JOB, NOW, Prepare, job_dir, order, place
from simulation.twosided import TwoSided
from support.builders import INSTANCE, service
from support.near_slurm import Words

pytestmark = pytest.mark.asyncio

LIVE = replace(JOB, state=JobState.RUNNING, slurm_id="41")


@pytest.fixture
def sides(tmp_path: Path) -> TwoSided:
    """Make a workdir of ours with an epoch, on both sides."""
    return heaps.sides_in(tmp_path)


def cluster_on(sides: TwoSided, *, workdir: str = "", epoch: str = f"{EPOCH} {EPOCH}") -> Cluster:
    """Return a cluster whose every command goes to both sides."""
    words = Words()
    if epoch:
        words.words["epoch:alpha"] = epoch
    return Cluster(
        "alpha",
        shell=sides,
        settings=ClusterSettings(
            ssh=SSHSettings(host="login"),
            workdir=workdir or str(sides.root / "work"),
            budget=Budget(rpc_per_minute=60_000.0, burst=1000, submits_per_minute=60_000.0),
        ),
        instance=INSTANCE,
        metrics=Metrics(),
        epochs=words,
        clock=lambda: NOW,
    )


async def outcome(answering: object) -> object:
    """Return what was answered, or why not, as something to look at."""
    try:
        return await answering  # type: ignore[misc] # whatever the cluster answers
    except BenchdError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("workdir", "epoch", "prepare"),
    [
        ("", f"{EPOCH} {EPOCH}", heaps.nothing),
        ("", "- -", heaps.nothing),
        ("", "9 9", heaps.nothing),
        ("", f"3 {EPOCH}", heaps.nothing),
        ("", "", heaps.no_epoch),
        ("", "2 2", heaps.no_epoch),
        ("", f"{EPOCH} {EPOCH}", heaps.old_epoch),
        ("", "", heaps.old_epoch),
        ("", "9 9", heaps.old_epoch),
        ("", "", heaps.no_workdir),
        ("", "2 2", heaps.no_workdir),
        ("", "", heaps.workdir_is_file),
        ("$HOME/bench d", "", heaps.nothing),
        ("~/benchd", "", heaps.nothing),
        ("$HOME/a/b", "", heaps.nothing),
        ("${NOWHERE}/b", "", heaps.nothing),
        ("", f"{EPOCH} {EPOCH}", heaps.full),
    ],
)
async def test_opening_a_workdir_does_the_same_in_bash(
    sides: TwoSided, workdir: str, epoch: str, prepare: Prepare
) -> None:
    """Finding the workdir and raising its epoch is done as bash does it, whatever is there."""
    prepare(sides, job_dir(sides))
    first = await outcome(cluster_on(sides, workdir=workdir, epoch=epoch).open())
    again = await outcome(cluster_on(sides, workdir=workdir, epoch=epoch).open())
    assert {"open"} == {op for op, _ in sides.said}
    assert first is not None
    assert again is not None


@pytest.mark.parametrize(
    "prepare",
    [
        heaps.nothing,
        heaps.left,
        heaps.left_little,
        heaps.only_result,
        heaps.claimed,
        heaps.sealed,
        heaps.no_workdir,
        heaps.job_dir_is_file,
    ],
)
async def test_what_jobs_left_is_seen_as_in_bash(sides: TwoSided, prepare: Prepare) -> None:
    """Witness, fetch, logs and endpoint of a job say what they say in bash."""
    job = job_dir(sides)
    cluster = cluster_on(sides)
    await cluster.open()
    prepare(sides, job)
    service_job = replace(service(script=""), state=JobState.RUNNING, slurm_id="41", generation=0)
    for answering in (
        cluster.poll([LIVE, service_job]),
        cluster.fetch(replace(LIVE, state=JobState.COMPLETED)),
        cluster.log(LIVE, "out", 0, 100),
        cluster.log(LIVE, "out", 7, 3),
        cluster.log(LIVE, "err", -5, 100),
        cluster.probe(service_job),
        cluster.seal([LIVE, service_job]),
    ):
        await outcome(answering)
    said = {op for op, _ in sides.said}
    assert {"open", "poll", "witness", "fetch", "log", "endpoint"} <= said


@pytest.mark.parametrize("prepare", [heaps.nothing, heaps.claimed, heaps.lost, heaps.no_workdir])
async def test_free_claims_are_taken_as_in_bash(sides: TwoSided, prepare: Prepare) -> None:
    """Sealing many jobs takes the claims that are free, and no others, as in bash."""
    cluster = cluster_on(sides)
    await cluster.open()
    prepare(sides, job_dir(sides))
    free = await outcome(cluster.seal([LIVE, service(script="")]))
    assert (frozenset({LIVE.token}) == free) == (prepare is heaps.lost)


@pytest.mark.parametrize("endpoint", [b"", b"{", ENDPOINT, b"\xff"])
async def test_an_endpoint_is_read_as_in_bash(sides: TwoSided, endpoint: bytes) -> None:
    """The endpoint of a service, whole, broken or missing, is read as bash reads it."""
    job = replace(service(script=""), state=JobState.RUNNING, slurm_id="41", generation=0)
    path = Path(place(sides).job_dir(job.run_id, job.token)) / "endpoint.json"
    if endpoint:
        sides.write(path, endpoint)
    answer = await cluster_on(sides).probe(job)
    assert (endpoint == ENDPOINT) == (answer.endpoint is not None)


@pytest.mark.parametrize("trouble", ["", "no directory", "full", "cut"])
async def test_a_list_of_targets_is_written_as_in_bash(sides: TwoSided, trouble: str) -> None:
    """A file in a job's directory is replaced whole, or stays as it was, as in bash."""
    cluster = cluster_on(sides)
    await cluster.open()
    path = job_dir(sides) / TARGETS
    if trouble != "no directory":
        sides.write(path, b"[0]")
    sides.disk.full = "blocks" if trouble == "full" else ""
    sides.cut = 1 if trouble == "cut" else None
    answers = [await outcome(cluster.put(LIVE, TARGETS, data)) for data in (b"[1]", b"[]")]
    assert answers == ["NotYet" if trouble else None] * 2
    left = b"[0]" if trouble else b"[]"
    assert path.read_bytes() == left if trouble != "no directory" else not path.parent.exists()


@pytest.mark.parametrize("status", [0, 1])
async def test_cancelling_asks_slurm_as_in_bash(sides: TwoSided, status: int) -> None:
    """Cancelling by id and by name, also when scancel fails, asks and ends as in bash."""
    sides.answer("scancel", Answer(status, b"", b"scancel: error: no\n" if status else b""))
    cluster = cluster_on(sides)
    unknown = replace(LIVE, state=JobState.SUBMITTED, slurm_id=None)
    attempted = replace(JOB, tries=1, attempted_at=NOW)
    for job in (LIVE, unknown, attempted):
        await outcome(cluster.cancel(job))
    await outcome(cluster.end_by_name(["a-b", "c.d"]))
    assert {"cancel", "seal"} <= {op for op, _ in sides.said}


async def test_zipapps_are_sent_as_in_bash(sides: TwoSided) -> None:
    """A zipapp that is missing, broken or cut on its way ends up as it does in bash."""
    sides.answer("sbatch", Answer(0, b"7\n"))
    sides.cut = 1000
    await outcome(cluster_on(sides).submit(order(ship=(build("load").file_name,))))
    assert [] == list((sides.root / "work" / "ship").iterdir())
    sides.cut = None
    answers = [await cluster_on(sides, epoch="5 5").submit(order(ship=(build("load").file_name,)))]
    package = next((sides.root / "work" / "ship").iterdir())
    sides.write(package, b"broken")
    answers.append(
        await cluster_on(sides, epoch="6 6").submit(order(ship=(build("load").file_name,)))
    )
    assert all(isinstance(answer, Accepted) for answer in answers)
