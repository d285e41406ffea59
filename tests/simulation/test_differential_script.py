"""A job's script does in the virtual world what it does in real bash: fence, record, leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from benchd.core.payload import Sh
from benchd.core.spec import RestartPolicy, Role
from simulation.batch import Batch, Plan
from simulation.process import Process
from simulation.said_script import BOOK
from simulation.twosided import Tree, TwoSided
from support.script_cases import TOKEN, case

# The Slurm id of the job that runs.
ID = "41"
# Seconds after which a real script that does not end is a failure.
PATIENCE = 20.0

Prepare = Callable[[TwoSided, Path], None]


class Node:
    """The world around a virtual script."""

    def __init__(self, sides: TwoSided) -> None:
        self.disk = sides.disk
        self.rng = Random(0)
        self.sides = sides
        self.twins = 0
        self.starts = 0

    def now(self) -> float:
        """Return virtual time."""
        return self.sides.time()

    def late(self) -> float:
        """Hide nothing."""
        return 0.0

    def started(self, batch: Batch) -> None:
        """Count."""
        self.starts += 1

    def finished(self, batch: Batch, status: int | None) -> None:
        """Do not care."""

    def lost(self, batch: Batch) -> None:
        """Count."""
        self.twins += 1

    def listen(self, batch: Batch, *, on: bool) -> None:
        """Listen nowhere."""


@pytest.fixture
def sides(tmp_path: Path) -> TwoSided:
    """Make two empty sides."""
    root = tmp_path / "sides"
    root.mkdir()
    return TwoSided(root)


def job_dir(sides: TwoSided) -> Path:
    """Return the job's directory."""
    return sides.root / "work" / "runs" / "r" / "jobs" / TOKEN


def script_of(role: Role, command: str, *, requeue: bool = False) -> str:
    """Return the script of a job that runs this in a shell."""
    more = {"ports": ("auto",)} if role is Role.SERVICE else {}
    return case(
        *("sh", "-c", Sh(f"'{command}'")),
        role=role,
        restart=RestartPolicy(requeue=requeue),
        **more,
    ).render()


def run_real(sides: TwoSided, script: str, *, generation: int = 0, term_at: str = "") -> int:
    """Run the script in bash, as slurmd does; return its exit status, negative for a signal."""
    job = job_dir(sides)
    file = sides.root.parent / "slurm_script"
    file.write_text(script)
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": ID, "HOME": str(sides.home)}
    if generation:
        environment["SLURM_RESTART_COUNT"] = str(generation)
    process = subprocess.Popen(
        ["bash", str(file), str(job), "1"],
        cwd=job if job.is_dir() else "/",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if term_at:
            deadline = time.monotonic() + PATIENCE
            while not (job / term_at).exists():
                assert time.monotonic() < deadline, f"{term_at} never came"
                process.poll()
                assert process.returncode is None
            os.kill(process.pid, signal.SIGTERM)
        return process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


def run_virtual(
    sides: TwoSided, script: str, plan: Plan, *, generation: int = 0, term: bool = False
) -> tuple[int, Node]:
    """Run the script in the virtual world."""
    node = Node(sides)
    batch = Batch(
        world=node,
        id=ID,
        generation=generation,
        token=TOKEN,
        home=str(job_dir(sides)),
        attempt="1",
        node="n1",
        stack=list(BOOK.read(script)),
        plan=plan,
        is_blind=False,
    )
    ended: list[int] = []
    process = Process(sides.agenda, batch, ended.append)
    process.start()
    if term:
        sides.agenda.run_until(sides.agenda.now + 60.0)
        batch.terminate(process)
    while not ended and sides.agenda.next_at is not None:
        sides.agenda.run_until(sides.agenda.next_at)
    return ended[0], node


def compared(tree: Tree) -> Tree:
    """Return a tree without what Slurm writes, or what is of one machine: times, names, ports."""
    shown: Tree = {}
    for name, (kind, data) in tree.items():
        if name.endswith((".err", ".out")):
            continue
        said = b"" if name.endswith("/benchd-node.json") else data
        timeless = re.sub(rb'"(started_at|ended_at)":\d+', rb'"\1":T', said)
        shown[name] = (kind, re.sub(rb'"host":"[^"]*","ports":\[\d+\]', b"HERE", timeless))
    return shown


# --- what lies there before -----------------------------------------------------------------------


def ready(sides: TwoSided, job: Path) -> None:
    """Let the job be submitted and no more."""
    sides.write(job / "try-1" / "targets.env", b"")


def no_try(sides: TwoSided, job: Path) -> None:
    """Let the try directory not be seen."""
    sides.make_dir(job)


def no_job(sides: TwoSided, job: Path) -> None:
    """Let the job's directory be gone."""
    sides.make_dir(job.parent)


def no_targets(sides: TwoSided, job: Path) -> None:
    """Let what is measured not be said."""
    sides.make_dir(job / "try-1")


def taken(sides: TwoSided, job: Path) -> None:
    """Let another Slurm job have the work, and its words lie there."""
    ready(sides, job)
    sides.link(job / "claim", "40")
    sides.write(job / "exit.json", b"{}")
    sides.write(job / "endpoint.json", b"{}")


def sealed(sides: TwoSided, job: Path) -> None:
    """Let the job be sealed."""
    ready(sides, job)
    sides.link(job / "claim", "sealed")


def closed(sides: TwoSided, job: Path) -> None:
    """Let a directory stand in the claim's place."""
    ready(sides, job)
    sides.make_dir(job / "claim")


def again(sides: TwoSided, job: Path) -> None:
    """Let the same job have run before, and have left something."""
    ready(sides, job)
    sides.link(job / "claim", ID)
    for name in ("exit.json", "endpoint.json", "result/old.json"):
        sides.write(job / name, b"{}")


def result_is_file(sides: TwoSided, job: Path) -> None:
    """Let a file stand where results go."""
    ready(sides, job)
    sides.write(job / "result", b"x")


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("prepare", "generation", "status"),
    [
        (ready, 0, 3),
        (no_try, 0, 78),
        (no_job, 0, 78),
        (taken, 0, 75),
        (taken, 1, 75),
        (sealed, 0, 75),
        (closed, 0, 78),
        (again, 0, 3),
        (again, 2, 3),
        (result_is_file, 0, 1),
    ],
)
def test_a_script_does_the_same_in_bash(
    sides: TwoSided, prepare: Prepare, generation: int, status: int, role: Role
) -> None:
    """Whatever a script finds, its exit status and what it leaves are those of real bash."""
    prepare(sides, job_dir(sides))
    script = script_of(role, 'echo 42 >"$BENCHD_RESULT_DIR/a"; exit 3')
    plan = Plan(start_up=0.0, seconds=1.0, status=3, files={"a": b"42\n"})
    real = run_real(sides, script, generation=generation)
    virtual, node = run_virtual(sides, script, plan, generation=generation)
    assert (status, status) == (real, virtual)
    assert compared(sides.real_tree()) == compared(sides.virtual_tree())
    assert (int(status == 3), int(status == 75)) == (node.starts, node.twins)


def test_a_client_needs_its_targets(sides: TwoSided) -> None:
    """Without targets.env a client ends with 1, and says so in exit.json, as in bash."""
    no_targets(sides, job_dir(sides))
    script = script_of(Role.CLIENT, "true")
    real = run_real(sides, script)
    virtual, _ = run_virtual(sides, script, Plan(start_up=0.0, seconds=0.0))
    assert (1, 1) == (real, virtual)
    assert compared(sides.real_tree()) == compared(sides.virtual_tree())


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("requeue", [True, False])
def test_sigterm_ends_a_payload_as_in_bash(sides: TwoSided, role: Role, requeue: bool) -> None:
    """SIGTERM while the payload runs leaves an exit.json with 143, as in bash."""
    ready(sides, job_dir(sides))
    sides.write(job_dir(sides) / "try-1" / "secret.env", b"")
    script = script_of(role, 'echo >"$BENCHD_RESULT_DIR/a"; exec sleep 60', requeue=requeue)
    real = run_real(sides, script, term_at="result/a")
    virtual, _ = run_virtual(sides, script, Plan(start_up=0.0, seconds=600.0), term=True)
    (job_dir(sides) / "result" / "a").unlink()
    assert (143, 143) == (real, virtual)
    assert compared(sides.real_tree()) == compared(sides.virtual_tree())
