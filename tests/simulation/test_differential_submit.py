"""Submitting and sealing: the virtual login node and real bash do and say the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchd.edge import submission
from benchd.edge.submission import Record, SubmitOrder
from simulation import heaps
from simulation.bash import Answer
from simulation.heaps import JOB, Prepare, job_dir, order, place
from simulation.twosided import TwoSided
from support.builders import RUN_ID

pytestmark = pytest.mark.asyncio


@pytest.fixture
def sides(tmp_path: Path) -> TwoSided:
    """Make a workdir of ours with an epoch, on both sides."""
    return heaps.sides_in(tmp_path)


async def submit(sides: TwoSided, wanted: SubmitOrder) -> Record:
    """Send a submission try to both sides."""
    stdin, lengths = submission.payload(wanted)
    done = await sides.run(
        submission.command(wanted, place(sides), lengths), op="submit", stdin=stdin, timeout=60
    )
    return submission.read(done.stdout, place(sides), heaps.NOW)


@pytest.mark.parametrize(
    ("prepare", "over", "stop"),
    [
        (heaps.nothing, {}, ""),
        (heaps.nothing, {"make_run_dir": False}, "rundir"),
        (heaps.nothing, {"job_record": '{"a": 1}\n', "run_record": "{}\n"}, ""),
        (heaps.nothing, {"secrets": {"TOKEN": "it's $HOME"}}, ""),
        (heaps.nothing, {"targets": (), "script": "#!/bin/sh\n"}, ""),
        (heaps.no_workdir, {}, "workdir"),
        (heaps.workdir_is_file, {}, "workdir"),
        (heaps.no_epoch, {}, "epoch"),
        (heaps.other_epoch, {}, "epoch"),
        (heaps.run_dir_is_file, {}, "mkdir"),
        (heaps.run_dir_is_file, {"make_run_dir": False}, "rundir"),
        (heaps.job_dir_is_file, {}, "mkdir"),
        (heaps.try_is_file, {}, "mkdir"),
        (heaps.lost, {}, ""),
        (heaps.lost, {"k": 2}, ""),
        (heaps.done, {}, ""),
        (heaps.done, {"make_run_dir": False, "k": 2}, ""),
        (heaps.failed, {}, ""),
        (heaps.claimed, {}, ""),
        (heaps.sealed, {}, "sealed"),
        (heaps.odd_claim, {}, ""),
        (heaps.full, {}, "write"),
        (heaps.cut, {}, "short"),
        (heaps.cut_all, {}, "short"),
    ],
)
async def test_a_submission_does_the_same_in_bash(
    sides: TwoSided, prepare: Prepare, over: dict[str, object], stop: str
) -> None:
    """Whatever lies in the way, answer, files and what sbatch was asked are those of bash."""
    sides.answer("sbatch", Answer(0, b"7\n"))
    prepare(sides, job_dir(sides))
    record = await submit(sides, order(**over))
    assert stop == record.stop
    again = await submit(sides, order(**over))
    assert record.slurm_id == again.slurm_id


@pytest.mark.parametrize(
    "answer",
    [
        Answer(0, b"7\n"),
        Answer(0, b"7"),
        Answer(0, b"7;alpha\n"),
        Answer(0, b"welcome\n7\n"),
        Answer(0, b"7\nbye\n"),
        Answer(0, b"7\n\n"),
        Answer(0, b""),
        Answer(0, b"\n"),
        Answer(0, b"7a\n"),
        Answer(0, b" 7\n"),
        Answer(0, b"\xff\xfe 7\n", b"noise\n"),
        Answer(1, b"", b"sbatch: error: Batch job submission failed: Socket timed out\n"),
        Answer(1, b"7\n", b""),
        Answer(124, b"", b""),
        Answer(137, b"", b""),
        Answer(143, b"7\n", b""),
        Answer(0, b"x" * 70000 + b"\n8\n", b"y" * 70000),
    ],
)
async def test_what_sbatch_says_is_kept_as_in_bash(sides: TwoSided, answer: Answer) -> None:
    """Id, status and words of sbatch are written and shown as bash does it."""
    sides.answer("sbatch", answer)
    record = await submit(sides, order())
    assert (True, answer.status) == (record.won, record.rc)


@pytest.mark.parametrize("seed", range(12))
async def test_random_heaps_of_files_are_met_alike(sides: TwoSided, seed: int) -> None:
    """From any mixture of what may lie there, any mixture of commands ends alike on both sides."""
    rng = Random(seed)
    job = job_dir(sides)
    rng.choice((heaps.lost, heaps.done, heaps.failed, heaps.try_is_file, heaps.nothing))(sides, job)
    rng.choice((heaps.claimed, heaps.sealed, heaps.odd_claim, heaps.nothing))(sides, job)
    rng.choice((heaps.full, heaps.cut, heaps.nothing, heaps.nothing))(sides, job)
    for _ in range(3):
        said = (Answer(0, b"%d\n" % rng.randrange(99)), Answer(0, b"no\n"), Answer(1, b"", b"no\n"))
        sides.answer("sbatch", rng.choice(said))
        if rng.random() < 0.3:
            command = submission.seal(RUN_ID, JOB.token, rng.choice((1, 2)), place(sides))
            await sides.run(command, op="seal", timeout=30)
        else:
            await submit(sides, order(k=rng.choice((1, 2)), make_run_dir=rng.random() < 0.7))


@pytest.mark.parametrize(
    "prepare",
    [
        heaps.nothing,
        heaps.lost,
        heaps.done,
        heaps.claimed,
        heaps.sealed,
        heaps.odd_claim,
        heaps.no_workdir,
        heaps.job_dir_is_file,
        heaps.full,
    ],
)
@pytest.mark.parametrize("run_dir", [True, False])
async def test_sealing_does_the_same_in_bash(
    sides: TwoSided, prepare: Prepare, run_dir: bool
) -> None:
    """A seal takes the claim, or shows whose it is, as in bash."""
    prepare(sides, job_dir(sides))
    if run_dir and prepare is not heaps.no_workdir:
        sides.make_dir(job_dir(sides).parent.parent)
    command = submission.seal(RUN_ID, JOB.token, 1, place(sides))
    await sides.run(command, op="seal", timeout=30)
    await sides.run(command, op="seal", timeout=30)
