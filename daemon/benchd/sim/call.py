"""One call of a Slurm command, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchd.sim.clock import TimeSource
from benchd.sim.slurmctld import Slurmctld
from benchd.sim.text import UsageError


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command prints, and its exit status."""

    status: int = 0
    out: str = ""
    err: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asked what, from where. ``script`` is what sbatch reads: a file by name, or stdin."""

    model: Slurmctld
    argv: tuple[str, ...]
    clock: TimeSource
    cwd: str = "/"
    environment: Mapping[str, str]
    user: str
    uid: int
    script: Callable[[str | None], bytes]
    accounting: bool = True

    @property
    def now(self) -> float:
        """The time at which slurmctld does it."""
        return self.clock.now()


Command = Callable[[Call], Answer]


def answer(command: Command, call: Call) -> Answer:
    """Run a command; its usage errors are answers too."""
    try:
        return command(call)
    except UsageError as wrong:
        return Answer(wrong.status, wrong.out, wrong.text)


def parse_job_id(text: str) -> int | None:
    """Read a job id, or return None."""
    return int(text) if text.isascii() and text.isdigit() else None
