"""The real Slurm of the tests: one per session, in a directory of its own, always taken down."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurm.lease import Lease
from slurm.testbed import until
from slurm.testbed_files import Options
from support.reality import missing

LAG_S = 20.0  # until slurmdbd must know what slurmctld knows; it took up to 5 s on a busy machine
LIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED"}
NODES_S = 60.0  # seconds for all nodes to be idle again after a test that took daemons down
SACCT_FIELDS = ("JobIDRaw", "JobName", "State", "ExitCode", "NodeList", "Submit", "Start", "End")


@dataclass(frozen=True, slots=True)
class RealSlurm:
    """How to reach the cluster, and how to hurt it.

    >>> slurm.ctl("down", "sshd")        # down, up, pause, resume, kill, drop
    >>> slurm.sacct(token)               # [{"JobIDRaw": "7", "State": "COMPLETED", ...}]
    """

    lease: Lease
    host: str = "127.0.0.1"
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def env(self) -> dict[str, str]:
        """An environment for Slurm commands (SLURM_CONF and PATH)."""
        return self.lease.testbed.env

    @property
    def dir(self) -> Path:
        """Everything of this cluster lies below it."""
        return self.lease.testbed.dir

    @property
    def port(self) -> int:
        """The port of the login node's sshd."""
        return self.lease.port

    @property
    def rest_port(self) -> int:
        """The port of slurmrestd, once it was taken ``up``."""
        return self.lease.testbed.port("slurmrestd")

    def token(self, lifespan: int = 600) -> str:
        """Return a JSON web token that slurmctld accepts for so many seconds."""
        told = self.run("scontrol", "token", f"lifespan={lifespan}")
        return told.strip().partition("=")[2]

    @property
    def user(self) -> str:
        """The account to log in as: ours."""
        return self.lease.testbed.plan.user

    @property
    def key(self) -> Path:
        """The private key that sshd accepts."""
        return self.dir / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the right host key."""
        return self.dir / "ssh" / "known_hosts"

    @property
    def nodes(self) -> list[str]:
        """The names of the compute nodes."""
        return [name.removeprefix("slurmd-") for name in self.lease.testbed.plan.slurmds]

    def workdir(self) -> Path:
        """Make a new work directory on the "shared file system"."""
        path = self.dir / "work" / f"w{next(self._numbers)}"
        path.mkdir()
        return path

    def ctl(self, action: str, *names: str) -> None:
        """Take daemons ``down`` or ``up``, ``pause``, ``resume``, ``kill`` them, ``drop`` sessions.

        Names: munged mariadbd slurmdbd slurmctld slurmd-n1.. sshd, and slurmrestd.
        """
        self.lease.testbed.ctl(action, *names)

    def run(self, *argv: str, timeout: float = 30.0) -> str:
        """Run a command against the cluster; return its output, raise if it failed."""
        done = self.lease.testbed.run(*argv, timeout=timeout)
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def sacct(self, token: str) -> list[dict[str, str]]:
        """Return what accounting knows about every Slurm job of this name, duplicates included.

        Accounting lags: this waits until it knows what slurmctld knows about jobs of this name.
        """
        rows: list[dict[str, str]] = []

        def is_settled() -> bool:
            rows[:] = self._accounted(token)
            ended = {row["JobIDRaw"] for row in rows if row["End"] != "Unknown"}
            live = {row["JobIDRaw"] for row in rows} - ended
            argv = ["squeue", "-h", "-t", "all", f"--name={token}", "-o", "%A|%T"]
            known = dict(line.split("|") for line in self.run(*argv).splitlines())
            return all(
                job in (live | ended if state in LIVE else ended) for job, state in known.items()
            )

        until(is_settled, LAG_S)
        return rows

    def _accounted(self, token: str) -> list[dict[str, str]]:
        argv = ["sacct", "-X", "-n", "-P", "-D", "-S", "now-1days", f"--name={token}"]
        rows = self.run(*argv, f"--format={','.join(SACCT_FIELDS)}").splitlines()
        return [dict(zip(SACCT_FIELDS, row.split("|"), strict=True)) for row in rows]

    def make_whole(self) -> None:
        """End all jobs and have every daemon run again."""
        testbed = self.lease.testbed
        self.ctl("resume", *testbed.plan.daemons)
        testbed.up(*testbed.plan.daemons)
        testbed.end_jobs()

    def is_idle(self) -> bool:
        """Tell whether all nodes take jobs and have none."""
        asked = ("sinfo", "-h", "-N", "-p", "debug", "-o", "%t")
        return set(self.run(*asked).split()) == {"idle"}

    def squeue(self) -> dict[str, str]:
        """Return job name -> state of everything slurmctld remembers."""
        rows = self.run("squeue", "-h", "-t", "all", "-o", "%j|%T").splitlines()
        return dict(row.split("|") for row in rows)


@pytest.fixture(scope="session")
def _slurm_session() -> Iterator[RealSlurm]:
    with Lease(Options(tokens=missing("slurmrestd") is None)) as lease:
        yield RealSlurm(lease)


@pytest.fixture
def real_slurm(_slurm_session: RealSlurm) -> Iterator[RealSlurm]:
    """Hand out a real Slurm cluster with an sshd: one per session, whole again after each test.

    A test that uses it says ``@pytest.mark.real("slurm", "sshd")``.
    """
    # A node that a controller has just met again is not available yet, and Slurm remembers that as
    # the reason for which jobs had to wait.
    assert until(_slurm_session.is_idle, NODES_S)
    yield _slurm_session
    _slurm_session.make_whole()


@pytest.fixture
def real_config(real_slurm: RealSlurm, tmp_path: Path) -> Callable[..., Path]:
    """Write a benchd configuration for the real cluster, with its own state and work directory.

    ``real_config()`` or ``real_config(home)``; returns the path of ``benchd.yaml``, beside which
    ``state/`` and ``control.sock`` will be. ``way``: how benchd gets at the cluster, see ``lease``.
    """

    def write(home: Path = tmp_path, *, way: str = "ssh") -> Path:
        if "rest" in way:
            real_slurm.ctl("up", "slurmrestd")
        return real_slurm.lease.write_config(home, workdir=real_slurm.workdir(), way=way)

    return write
