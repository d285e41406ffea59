"""The virtual login node and real bash do and say the same for every command of ours."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from benchd.config import Budget, ClusterSettings, SSHSettings
from benchd.core.model import Accepted, Binding, JobState
from benchd.edge import submission
from benchd.edge.cluster import Cluster
from benchd.edge.submission import Place, Record, SubmitOrder
from benchd.errors import BenchdError
from benchd.metrics import Metrics
from simulation.bash import Answer
from simulation.twosided import TwoSided
from support.builders import INSTANCE, RUN_ID, client, service
from support.near_slurm import Words

pytestmark = pytest.mark.asyncio

# Any moment; nothing here waits for another.
NOW = 1_800_000_000.0
EPOCH = 4
SCRIPT = "#!/bin/bash\ncat <<'E'\n\n $(rm -rf /) `id` \"'\\ \u00e9\u65e5 !x %j\nE\n\n\n"
JOB = client(script=SCRIPT, slurm_id=None)
TARGET = Binding(name="redis-a", token="t", generation=1, host="node-7", ports=(7000,))

Prepare = Callable[[TwoSided, Path], None]


@pytest.fixture
def sides(tmp_path: Path) -> TwoSided:
    """Make a workdir of ours with an epoch, on both sides."""
    root = tmp_path / "sides"
    root.mkdir()
    both = TwoSided(root)
    both.write(root / "work" / f"epoch-{INSTANCE}", b"%d\n" % EPOCH)
    return both


def place(sides: TwoSided) -> Place:
    """Return where things are."""
    return Place(workdir=str(sides.root / "work"), instance=INSTANCE, epoch=EPOCH)


def job_dir(sides: TwoSided) -> Path:
    """Return the job's directory."""
    return Path(place(sides).job_dir(RUN_ID, JOB.token))


def order(**over: object) -> SubmitOrder:
    """Return a submission try."""
    values: dict[str, object] = {
        "token": JOB.token,
        "run_id": RUN_ID,
        "k": 1,
        "attempted_at": NOW,
        "script": SCRIPT,
        "targets": (TARGET,),
        "make_run_dir": True,
    }
    return SubmitOrder(**{**values, **over})  # type: ignore[arg-type] # the fields of SubmitOrder


async def submit(sides: TwoSided, wanted: SubmitOrder) -> Record:
    """Send a submission try to both sides."""
    stdin, lengths = submission.payload(wanted)
    done = await sides.run(
        submission.command(wanted, place(sides), lengths), op="submit", stdin=stdin, timeout=60
    )
    return submission.read(done.stdout, place(sides))


# --- submitting -----------------------------------------------------------------------------------


def nothing(sides: TwoSided, job: Path) -> None:
    """Leave all as it is."""


def no_workdir(sides: TwoSided, job: Path) -> None:
    """Take the workdir away."""
    shutil.rmtree(sides.root / "work")
    sides.disk.remove(str(sides.root / "work"))


def workdir_is_file(sides: TwoSided, job: Path) -> None:
    """Put a file in the workdir's place."""
    no_workdir(sides, job)
    sides.write(sides.root / "work", b"")


def no_epoch(sides: TwoSided, job: Path) -> None:
    """Take the epoch away."""
    epoch = sides.root / "work" / f"epoch-{INSTANCE}"
    epoch.unlink()
    sides.disk.unlink(str(epoch))


def other_epoch(sides: TwoSided, job: Path) -> None:
    """Let another daemon have been here."""
    sides.write(sides.root / "work" / f"epoch-{INSTANCE}", b"5\n")


def run_dir_is_file(sides: TwoSided, job: Path) -> None:
    """Put a file in the run directory's place."""
    sides.write(job.parent.parent, b"x")


def job_dir_is_file(sides: TwoSided, job: Path) -> None:
    """Put a file in the job directory's place."""
    sides.write(job, b"x")


def try_is_file(sides: TwoSided, job: Path) -> None:
    """Put a file in the try directory's place."""
    sides.write(job / "try-1", b"x")


def lost(sides: TwoSided, job: Path) -> None:
    """Let somebody have made the try, and no more."""
    sides.make_dir(job / "try-1")


def done(sides: TwoSided, job: Path) -> None:
    """Let somebody have made the try and submitted."""
    for name, data in (("rc", b"0\n"), ("id", b"77\n"), ("out", b"77\n"), ("err", b"")):
        sides.write(job / "try-1" / name, data)


def failed(sides: TwoSided, job: Path) -> None:
    """Let somebody have made the try, and sbatch have failed with much to say."""
    for name, data in (("rc", b"1\n"), ("out", b""), ("err", b"sbatch: error: no\n" * 5000)):
        sides.write(job / "try-1" / name, data)


def claimed(sides: TwoSided, job: Path) -> None:
    """Let a Slurm job have the claim, and a client's result lie there."""
    sides.link(job / "claim", "41")


def sealed(sides: TwoSided, job: Path) -> None:
    """Let the claim be sealed."""
    sides.link(job / "claim", "sealed")


def odd_claim(sides: TwoSided, job: Path) -> None:
    """Let the claim be a directory, which is nobody's."""
    sides.make_dir(job / "claim")


def full(sides: TwoSided, job: Path) -> None:
    """Let no byte be written."""
    sides.disk.full = "blocks"


def cut(sides: TwoSided, job: Path) -> None:
    """Let the last byte of standard input be lost."""
    sides.cut = sum(submission.payload(order())[1]) - 1


def cut_all(sides: TwoSided, job: Path) -> None:
    """Let nothing of standard input arrive."""
    sides.cut = 0


@pytest.mark.parametrize(
    ("prepare", "over", "stop"),
    [
        (nothing, {}, ""),
        (nothing, {"make_run_dir": False}, "rundir"),
        (nothing, {"job_record": '{"a": 1}\n', "run_record": "{}\n"}, ""),
        (nothing, {"secrets": {"TOKEN": "it's $HOME"}}, ""),
        (nothing, {"targets": (), "script": "#!/bin/sh\n"}, ""),
        (no_workdir, {}, "workdir"),
        (workdir_is_file, {}, "workdir"),
        (no_epoch, {}, "epoch"),
        (other_epoch, {}, "epoch"),
        (run_dir_is_file, {}, "mkdir"),
        (run_dir_is_file, {"make_run_dir": False}, "rundir"),
        (job_dir_is_file, {}, "mkdir"),
        (try_is_file, {}, "mkdir"),
        (lost, {}, ""),
        (lost, {"k": 2}, ""),
        (done, {}, ""),
        (done, {"make_run_dir": False, "k": 2}, ""),
        (failed, {}, ""),
        (claimed, {}, ""),
        (sealed, {}, "sealed"),
        (odd_claim, {}, ""),
        (full, {}, "write"),
        (cut, {}, "short"),
        (cut_all, {}, "short"),
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
    rng.choice((lost, done, failed, try_is_file, nothing))(sides, job)
    rng.choice((claimed, sealed, odd_claim, nothing))(sides, job)
    rng.choice((full, cut, nothing, nothing))(sides, job)
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
    [nothing, lost, done, claimed, sealed, odd_claim, no_workdir, job_dir_is_file, full],
)
@pytest.mark.parametrize("run_dir", [True, False])
async def test_sealing_does_the_same_in_bash(
    sides: TwoSided, prepare: Prepare, run_dir: bool
) -> None:
    """A seal takes the claim, or shows whose it is, as in bash."""
    prepare(sides, job_dir(sides))
    if run_dir and prepare is not no_workdir:
        sides.make_dir(job_dir(sides).parent.parent)
    command = submission.seal(RUN_ID, JOB.token, 1, place(sides))
    await sides.run(command, op="seal", timeout=30)
    await sides.run(command, op="seal", timeout=30)


# --- everything else, as the daemon itself says it ------------------------------------------------


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
        ("", f"{EPOCH} {EPOCH}", nothing),
        ("", "- -", nothing),
        ("", "9 9", nothing),
        ("", f"3 {EPOCH}", nothing),
        ("", "", no_epoch),
        ("", "2 2", no_epoch),
        ("", "", no_workdir),
        ("", "2 2", no_workdir),
        ("", "", workdir_is_file),
        ("$HOME/bench d", "", nothing),
        ("~/benchd", "", nothing),
        ("$HOME/a/b", "", nothing),
        ("${NOWHERE}/b", "", nothing),
        ("", f"{EPOCH} {EPOCH}", full),
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


LIVE = replace(JOB, state=JobState.RUNNING, slurm_id="41")
EXIT = b'{"slurm_id":"41","generation":0,"status":0,"started_at":1,"ended_at":2}\n'
ENDPOINT = b'{"slurm_id":"41","generation":0,"host":"n1","ports":[7000]}\n'


def left(sides: TwoSided, job: Path) -> None:
    """Let a job have left all that jobs leave."""
    sides.link(job / "claim", "41")
    sides.write(job / "exit.json", EXIT)
    sides.write(job / "41.out", b"hello\n" * 100)
    sides.write(job / "41.err", b"")
    sides.write(job / "result" / "deep" / "a b.json", b"{}")
    sides.write(job / "result" / "metrics.json", b"[1]")


def left_little(sides: TwoSided, job: Path) -> None:
    """Let a job have left only its words."""
    sides.write(job / "41.out", b"hello\n")


def only_result(sides: TwoSided, job: Path) -> None:
    """Let a job have left an empty result."""
    sides.make_dir(job / "result")


@pytest.mark.parametrize(
    "prepare",
    [nothing, left, left_little, only_result, claimed, sealed, no_workdir, job_dir_is_file],
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


@pytest.mark.parametrize("endpoint", [b"", b"{", ENDPOINT, b"\xff"])
async def test_an_endpoint_is_read_as_in_bash(sides: TwoSided, endpoint: bytes) -> None:
    """The endpoint of a service, whole, broken or missing, is read as bash reads it."""
    job = replace(service(script=""), state=JobState.RUNNING, slurm_id="41", generation=0)
    path = Path(place(sides).job_dir(job.run_id, job.token)) / "endpoint.json"
    if endpoint:
        sides.write(path, endpoint)
    answer = await cluster_on(sides).probe(job)
    assert (endpoint == ENDPOINT) == (answer.endpoint is not None)


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
    await outcome(cluster_on(sides).submit(order(ship=("load",))))
    assert [] == list((sides.root / "work" / "ship").iterdir())
    sides.cut = None
    answers = [await cluster_on(sides, epoch="5 5").submit(order(ship=("load",)))]
    package = next((sides.root / "work" / "ship").iterdir())
    sides.write(package, b"broken")
    answers.append(await cluster_on(sides, epoch="6 6").submit(order(ship=("load",))))
    assert all(isinstance(answer, Accepted) for answer in answers)
