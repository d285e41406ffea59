"""The way to a cluster with everything that protects it: gate, circuit breaker, budget."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchd.edge.breaker import Breaker
from benchd.edge.budget import Purse, Urgency
from benchd.edge.shell import OUTPUT_LIMIT, ByteReader, ByteWriter, Completed, Paused, Shell
from benchd.errors import NeedsHuman, Unreachable

# Seconds for a command that only touches files.
FILES_TIMEOUT = 30.0
# Seconds for a Slurm query: a dead slurmdbd lets sacct wait for 45.
QUERY_TIMEOUT = 60.0
# Slurm's words, on stderr, when the controller limits our calls (SlurmctldParameters=rl_enable).
_LIMITED = re.compile(r"rate.?limit", re.IGNORECASE)


def is_limited(said: bytes | str) -> bool:
    """Tell whether Slurm says that it limits our calls."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return _LIMITED.search(text) is not None


async def _unheard(_: NeedsHuman) -> None:
    """Tell nobody: the shell itself does not try again."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether anything may be sent to a cluster at all: all that is sent passes here.

    ``paused`` says why nothing may, or None. ``close`` is told of what needs a human, whoever met
    it first, so that nobody else, nor the next daemon, tries it again.
    """

    paused: Callable[[], str | None] = lambda: None
    close: Callable[[NeedsHuman], Awaitable[None]] = _unheard

    def check(self, cluster: str) -> None:
        """Raise ``Paused`` when nothing may be sent."""
        why = self.paused()
        if why is not None:
            raise Paused(f"{cluster} is paused: {why}")


class Remote:
    """Runs commands near one Slurm."""

    def __init__(
        self, name: str, shell: Shell, *, gate: Gate, purse: Purse, breaker: Breaker
    ) -> None:
        self.name = name
        self.gate = gate
        self.shell = shell
        self.purse = purse
        self.breaker = breaker
        self.trouble: str | None = None  # why the last command was not answered

    async def run(
        self,
        command: str,
        *,
        op: str,
        stdin: bytes = b"",
        timeout: float = FILES_TIMEOUT,  # noqa: ASYNC109 - it also bounds the far side
        limit: int = OUTPUT_LIMIT,
    ) -> Completed:
        """Run a command unless the cluster is paused or the circuit is open."""
        self.gate.check(self.name)
        try:
            with self.breaker.guard(op):
                done = await self.shell.run(
                    command, op=op, stdin=stdin, timeout=timeout, limit=limit
                )
        except NeedsHuman as error:
            self.trouble = str(error)
            await self.gate.close(error)
            raise
        except Unreachable as error:
            self.trouble = str(error)
            raise
        self.trouble = None
        return done

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - told apart from the target's own refusal
    ) -> tuple[ByteReader, ByteWriter]:
        """Open a connection to a compute node, as ``Shell.connect``, under the same conditions."""
        self.gate.check(self.name)
        self.breaker.require_closed()
        try:
            return await self.shell.connect(host, port, timeout)
        except NeedsHuman as error:
            await self.gate.close(error)
            raise

    async def ask(
        self,
        command: str,
        *,
        program: str,
        op: str,
        urgency: Urgency = Urgency.QUEUED,
        rpcs: float | None = None,
    ) -> Completed:
        """Run a Slurm command within the budget; its failure is an answer like any other.

        ``rpcs``: what it costs the controller, when that is not what the program usually does.
        """
        self.gate.check(self.name)
        self.breaker.check(op)
        paid = await self.purse.spend(program, urgency=urgency, rpcs=rpcs)
        began = self.purse.clock()
        try:
            done = await self.run(command, op=op, timeout=QUERY_TIMEOUT)
        except Unreachable as error:
            if error.sent:
                self.purse.made(program, "lost", self.purse.clock() - began, rpcs=rpcs)
            else:
                self.purse.unspent(program, paid)
            raise
        outcome = "ok" if done.status == 0 else "error"
        limited = is_limited(done.stderr)
        self.purse.made(program, outcome, done.seconds, rpcs=rpcs, limited=limited)
        return done
