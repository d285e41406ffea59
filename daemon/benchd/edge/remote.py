"""The way to a cluster with everything that protects it: circuit breaker, budget, bookkeeping."""

from __future__ import annotations

from benchd.edge.budget import Breaker, Purse, Urgency
from benchd.edge.shell import OUTPUT_LIMIT, Completed, Resting, Shell
from benchd.errors import NeedsHuman, Unreachable

# Seconds for a command that only touches files.
FILES_TIMEOUT = 30.0
# Seconds for a Slurm query: a dead slurmdbd lets sacct wait for 45.
QUERY_TIMEOUT = 60.0


class Remote:
    """Runs commands near one Slurm."""

    def __init__(self, name: str, shell: Shell, *, purse: Purse, breaker: Breaker) -> None:
        self.name = name
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
        """Run a command unless the circuit is open."""
        self.breaker.check()
        try:
            done = await self.shell.run(command, op=op, stdin=stdin, timeout=timeout, limit=limit)
        except (Resting, NeedsHuman) as error:
            self.trouble = str(error)
            raise  # nothing was tried, or trying again is not the breaker's to decide
        except Unreachable as error:
            self.trouble = str(error)
            self.breaker.failed()
            raise
        self.trouble = None
        self.breaker.succeeded()
        return done

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
        self.breaker.check()
        paid = await self.purse.spend(program, urgency=urgency, rpcs=rpcs)
        try:
            done = await self.run(command, op=op, timeout=QUERY_TIMEOUT)
        except Unreachable as error:
            if error.sent:
                self.purse.made(program, "lost", QUERY_TIMEOUT, rpcs=rpcs)
            else:
                self.purse.unspent(program, paid)
            raise
        outcome = "ok" if done.status == 0 else "error"
        self.purse.made(program, outcome, done.seconds, rpcs=rpcs)
        return done
