"""What may lie on a cluster's disk when one of our commands comes: made on both sides."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchd.core.model import Binding
from benchd.edge import submission
from benchd.edge.submission import Place, SubmitOrder
from simulation.twosided import TwoSided
from support.builders import INSTANCE, RUN_ID, client

# Any moment; nothing here waits for another.
NOW = 1_800_000_000.0
EPOCH = 4
EPOCH_NAME = f"epoch-{INSTANCE}-alpha"
SCRIPT = "#!/bin/bash\ncat <<'E'\n\n $(rm -rf /) `id` \"'\\ \u00e9\u65e5 !x %j\nE\n\n\n"
JOB = client(script=SCRIPT, slurm_id=None)
TARGET = Binding(name="redis-a", token="t", generation=1, host="node-7", ports=(7000,))

Prepare = Callable[[TwoSided, Path], None]


def sides_in(tmp_path: Path) -> TwoSided:
    """Make a workdir of ours with an epoch, on both sides."""
    root = tmp_path / "sides"
    root.mkdir()
    both = TwoSided(root)
    both.write(root / "work" / EPOCH_NAME, b"%d\n" % EPOCH)
    return both


def place(sides: TwoSided) -> Place:
    """Return where things are."""
    return Place(workdir=str(sides.root / "work"), instance=INSTANCE, cluster="alpha", epoch=EPOCH)


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
    epoch = sides.root / "work" / EPOCH_NAME
    epoch.unlink()
    sides.disk.unlink(str(epoch))


def other_epoch(sides: TwoSided, job: Path) -> None:
    """Let another daemon have been here."""
    sides.write(sides.root / "work" / EPOCH_NAME, b"5\n")


def old_epoch(sides: TwoSided, job: Path) -> None:
    """Let the epoch be of a time when clusters did not stand in its name."""
    work = sides.root / "work"
    no_epoch(sides, job)
    sides.write(work / f"epoch-{INSTANCE}", b"%d\n" % EPOCH)
    sides.make_dir(work / f"epoch-{INSTANCE}.{EPOCH}")


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
