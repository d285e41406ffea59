"""A job's script on its compute node: what it is, what signals do to it, what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from simulation.bash import STEP
from simulation.disk import Disk
from simulation.process import Exit, Process, Step, then

# Seconds until a payload that was told to end has ended.
WIND_UP = 0.5
# Seconds that nobody waits for: a process that ignores SIGTERM.
FOR_EVER = 1e9


class Node(Protocol):
    """What a script needs of the world around it."""

    disk: Disk
    rng: Random

    def now(self) -> float:
        """Return what time it is."""
        ...

    def late(self) -> float:
        """Draw for how long the login node does not see the next change."""
        ...

    def started(self, batch: Batch) -> None:
        """Note that a payload starts."""
        ...

    def finished(self, batch: Batch, status: int | None) -> None:
        """Note how a payload ends; None: not by itself."""
        ...

    def lost(self, batch: Batch) -> None:
        """Note a job that is a twin."""
        ...

    def listen(self, batch: Batch, *, on: bool) -> None:
        """Have its ports answer, or answer no more."""
        ...


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a job's program will do. ``seconds`` None: it runs until it is ended."""

    start_up: float  # seconds until it answers
    seconds: float | None
    status: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # what it leaves in result/
    is_stubborn: bool = False  # it does not end at SIGTERM


@dataclass(slots=True, kw_only=True)
class Batch:
    """One run of one script; the same Slurm job has another one after a requeue."""

    world: Node
    id: str
    generation: int
    token: str
    home: str  # the job's directory
    attempt: str
    node: str
    stack: list[Step]
    plan: Plan
    is_blind: bool
    owner: str = ""
    last: int = 0
    status: int = 0  # of the payload
    began: float = 0.0
    pause: float = STEP
    looks: int = 0
    is_trapped: bool = False  # how it ends will be recorded
    is_deaf: bool = False  # signals do nothing
    is_started: bool = False  # the payload runs
    forgets: bool = False  # its secrets are removed at its end
    ports: list[int] = field(default_factory=list)
    shipped: dict[str, str] = field(default_factory=dict)

    @property
    def disk(self) -> Disk:
        """The shared file system, as the file server has it."""
        return self.world.disk

    # --- its end --------------------------------------------------------------------------------

    def at_exit(self, status: int) -> tuple[Step, ...]:
        """Leave exit.json, as the EXIT trap does; signals do nothing from here on."""
        self.world.listen(self, on=False)
        if not self.is_trapped:
            return ()
        self.is_deaf = True
        steps: tuple[Step, ...] = ((_write_exit, status), (_name_exit, None))
        return ((_forget, None), *steps) if self.forgets else steps

    def gone(self) -> None:
        """Leave nothing that answers."""
        self.world.listen(self, on=False)
        if self.is_started:
            self.world.finished(self, None)
            self.is_started = False

    def terminate(self, process: Process) -> None:
        """Take SIGTERM."""
        if self.is_deaf:
            return
        if not self.is_trapped:
            process.go_elsewhere((_die, 15))
        elif not self.is_started:
            process.go_elsewhere((_exit, 143))
        elif self.plan.is_stubborn:
            self.is_deaf = True
        else:
            self.is_deaf = True
            self.world.listen(self, on=False)
            process.go_elsewhere((_wind_up, None), (_exit, 143))

    # --- what the phrases do --------------------------------------------------------------------

    def trap(self) -> None:
        """Record from here on how the script ends."""
        self.began = self.world.now()
        self.is_trapped = True

    def complain(self, said: str) -> None:
        """Write into the job's error file."""
        path = f"{self.home}/{self.id}.err"
        try:
            self.disk.write(path, f"benchd: {said}\n".encode(), append=True)
        except OSError:
            return

    def run_payload(self) -> None:
        """Run the program to its end."""
        self.is_started = True
        self.world.started(self)
        then(self, (_start_up, None), (_answer, None), *self._leaving(), (_finish, None))

    def _leaving(self) -> list[Step]:
        return [(_leave, (name, data)) for name, data in self.plan.files.items()]

    # --- changes that the login node may see late -----------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """Write a file."""
        self.disk.write(path, data, late=self.world.late())

    def symlink(self, target: str, path: str) -> None:
        """Make a link."""
        self.disk.symlink(target, path, late=self.world.late())

    def rename(self, old: str, new: str) -> None:
        """Rename."""
        self.disk.rename(old, new, late=self.world.late())

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        if self.disk.entry(path) is not None:
            self.disk.unlink(path, late=self.world.late())

    def make_dirs(self, path: str) -> None:
        """Make a directory."""
        self.disk.make_dirs(path, late=self.world.late())


# --- the steps of an end --------------------------------------------------------------------------


def _die(batch: Batch, signal: int) -> None:
    raise Exit(-signal)


def _exit(batch: Batch, status: int) -> None:
    raise Exit(status)


def _wind_up(batch: Batch, _: None) -> float:
    return WIND_UP


def _forget(batch: Batch, _: None) -> None:
    tries = [path for path, _ in batch.disk.walk(batch.home) if path.endswith("/secret.env")]
    for path in tries:
        batch.remove(path)


def _write_exit(batch: Batch, status: int) -> None:
    said = '{"slurm_id":"%s","generation":%d,"status":%d,"started_at":%d,"ended_at":%d}\n'
    ended = int(batch.world.now())
    values = (batch.id, batch.generation, status, int(batch.began), ended)
    try:
        batch.write(f"{batch.home}/.exit.json.{batch.id}", (said % values).encode())
    except OSError as error:
        batch.complain(str(error))
        batch.stack.clear()


def _name_exit(batch: Batch, _: None) -> None:
    try:
        batch.rename(f"{batch.home}/.exit.json.{batch.id}", f"{batch.home}/exit.json")
    except OSError as error:
        batch.complain(str(error))


# --- the steps of a payload -----------------------------------------------------------------------


def _start_up(batch: Batch, _: None) -> float:
    return batch.plan.start_up


def _answer(batch: Batch, _: None) -> float:
    batch.world.listen(batch, on=True)
    return FOR_EVER if batch.plan.seconds is None else batch.plan.seconds


def _leave(batch: Batch, given: tuple[str, bytes]) -> None:
    name, data = given
    try:
        batch.write(f"{batch.home}/result/{name}", data)
    except OSError:
        batch.plan.status = batch.plan.status or 1


def _finish(batch: Batch, _: None) -> float:
    batch.world.listen(batch, on=False)
    batch.status = batch.plan.status
    batch.world.finished(batch, batch.status)
    batch.is_started = False
    return 0.0
