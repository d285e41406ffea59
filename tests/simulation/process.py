"""Something that runs in steps: between any two of them it can be killed, or something else acts.

What is still to be done is a stack of plain functions and what they are given, so that a running
process can be copied with all the rest of the virtual world, and go on in both copies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from simulation.agenda import Agenda

# What is done, with what. A step returns for how many seconds the process pauses then; None: for
# as long as one step usually takes.
Step = tuple[Callable[[Any, Any], "float | None"], Any]


class Exit(Exception):
    """The process ends here, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Runner(Protocol):
    """What the steps of a process are about: a shell and its variables, a job's script."""

    stack: list[Step]
    pause: float  # seconds that a step takes
    last: int  # the exit status, when it ends without saying one

    def at_exit(self, status: int) -> tuple[Step, ...]:
        """Return what it does on its way out, once."""
        ...

    def gone(self) -> None:
        """Undo what ends with it."""
        ...


def then(runner: Runner, *steps: Step) -> None:
    """Have these steps done next, in this order."""
    runner.stack.extend(reversed(steps))


class Process:
    """A running process. ``ended`` hears its status, unless it was killed."""

    def __init__(
        self,
        agenda: Agenda,
        runner: Runner,
        ended: Callable[[int], None],
        *,
        strike_at: int | None = None,
        strike: Callable[[], None] | None = None,
    ) -> None:
        """``strike`` is called before the step of that number, if it comes to that."""
        self._agenda = agenda
        self.runner = runner
        self._ended = ended
        self._strike_at = strike_at
        self._strike = strike
        self._taken = 0
        self._turn = 0  # of the pause that counts: an interrupted one does not
        self._status: int | None = None  # of an end that is under way
        self.is_alive = True

    def start(self, delay: float = 0.0) -> None:
        """Take the first step after so many seconds."""
        self._agenda.after(delay, partial(self._go_on, self._turn))

    def kill(self) -> None:
        """End it between two steps, as SIGKILL does; ``ended`` is not called."""
        if self.is_alive:
            self.is_alive = False
            self.runner.stack.clear()
            self.runner.gone()

    def go_elsewhere(self, *steps: Step) -> None:
        """Leave the pause, and do these steps instead of what it was about to do."""
        self._turn += 1
        self.runner.stack[:] = reversed(steps)
        self.start()

    def _go_on(self, turn: int) -> None:
        if turn != self._turn or not self.is_alive:
            return
        if self._taken == self._strike_at and self._strike is not None:
            self._strike()
            if not self.is_alive:
                return
        self._taken += 1
        runner, stack = self.runner, self.runner.stack
        while True:
            try:
                if not stack:
                    raise Exit(runner.last)
                act, given = stack.pop()
                pause = act(runner, given)
            except Exit as end:
                if not self._leave(end.status):
                    return
                continue
            if pause is None:
                pause = runner.pause
            if pause > 0.0:
                self._agenda.after(pause, partial(self._go_on, self._turn))
                return

    def _leave(self, status: int) -> bool:
        """End, or do first what is done on the way out; tell whether there is such a thing."""
        if self._status is None:
            self._status = status
            steps = self.runner.at_exit(status)
            if steps:
                self.runner.stack[:] = reversed(steps)
                return True
        self.is_alive = False
        self.runner.gone()
        self._ended(self._status)
        return False
