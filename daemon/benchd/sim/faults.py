"""What goes wrong on purpose: named switches with a count."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from benchd.errors import UserError


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault: what its argument means (count, seconds, name, none), and what it does."""

    name: str
    argument: str
    forever: bool
    doc: str

    @property
    def takes(self) -> str:
        """Say what may follow the name and ``=``."""
        often = "for ever" if self.forever else "once"
        return {
            "count": f"how often, or `all` (without it: {often})",
            "seconds": "seconds",
            "name": "a job's name (without it: the next that runs)",
            "none": "nothing",
        }[self.argument]


KINDS = {
    kind.name: kind
    for kind in (
        FaultKind("answer-lost", "count", False, "sbatch is accepted, then the connection drops"),
        FaultKind("login-killed", "count", False, "sbatch is accepted, then its session is killed"),
        FaultKind(
            "socket-timeout", "count", False, "sbatch says 'timed out', but the job is queued"
        ),
        FaultKind(
            "stall", "seconds", True, "slurmctld hangs that long, then does what it was asked"
        ),
        FaultKind("slurmctld-down", "none", True, "no command reaches slurmctld"),
        FaultKind("sbatch-error", "count", False, "sbatch cannot reach the controller: not queued"),
        FaultKind("squeue-error", "count", False, "squeue cannot reach the controller"),
        FaultKind("sacct-down", "count", True, "slurmdbd refuses connections"),
        FaultKind("sacct-off", "none", True, "the site has no accounting"),
        FaultKind("sacct-lag", "seconds", True, "accounting is that far behind"),
        FaultKind("slow", "seconds", True, "every Slurm command answers that late"),
        FaultKind("purge", "none", True, "MinJobAge 0: finished jobs vanish from squeue at once"),
        FaultKind(
            "requeue", "name", False, "requeue a running job: by name, or the next that runs"
        ),
        FaultKind("preempt", "name", False, "preempt a running job"),
        FaultKind("oom", "name", False, "a running job ends OUT_OF_MEMORY"),
        FaultKind("node-fail", "name", False, "the node under a running job is lost"),
        FaultKind("drop", "seconds", False, "drop all connections now, or every so many seconds"),
        FaultKind("host-key", "none", False, "the login node shows another host key from now on"),
        FaultKind("auth", "none", True, "the client's key is revoked, connections are dropped"),
        FaultKind("no-forwarding", "none", True, "AllowTcpForwarding no"),
    )
}


class Faults:
    """The switches that are on, with how often each will still act."""

    def __init__(self) -> None:
        self._left: dict[str, float] = {}
        self._values: dict[str, str] = {}

    def arm(self, name: str, value: str | float | None = None) -> FaultKind:
        """Switch a fault on. ``value``: a count (``all``: for ever), seconds or a job name."""
        kind = KINDS.get(name)
        if kind is None:
            known = ", ".join(KINDS)
            raise UserError(f"there is no fault {name!r}; the faults are: {known}")
        text = "" if value is None else str(value)
        count: float = inf if kind.forever else 1
        try:
            if kind.argument == "count" and text:
                count = inf if text == "all" else int(text)
            elif kind.argument == "seconds":
                count = inf if text else 1
                text = str(float(text)) if text else ""
            elif kind.argument == "none" and text:
                raise ValueError(text)
        except ValueError:
            wants = {"count": "a count or 'all'", "seconds": "seconds", "none": "no argument"}
            raise UserError(
                f"fault {name}={value}: it takes {wants[kind.argument]}, for example {name}"
                + ("" if kind.argument == "none" else "=2")
            ) from None
        self._left[name], self._values[name] = count, text
        return kind

    def clear(self, name: str | None = None) -> None:
        """Switch one fault off, or all."""
        for each in [name] if name is not None else list(self._left):
            self._left.pop(each, None)
            self._values.pop(each, None)

    def is_on(self, name: str) -> bool:
        """Whether the fault would act now."""
        return self._left.get(name, 0) > 0

    def take(self, name: str) -> bool:
        """Whether the fault acts now; uses up one of its count."""
        if not self.is_on(name):
            return False
        self._left[name] -= 1
        return True

    def value(self, name: str) -> str:
        """Return the argument it was switched on with."""
        return self._values.get(name, "")


def parse(text: str) -> tuple[str, str | None]:
    """Split ``name=argument`` as the command line has it."""
    name, equals, value = text.partition("=")
    return name, value if equals else None
