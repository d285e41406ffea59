"""What a cluster's Slurm may be asked to bear: token buckets for questions and for submissions.

Budgets are enforced here, below everything that wants something, so no mistake above can turn
into a storm on somebody else's controller.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from benchd.config import Budget
from benchd.metrics import Metrics

# RPCs one call costs slurmctld (slurmdbd for sacct), as sdiag counts them: squeue loads jobs and
# partitions, scontrol asks the federation first.
RPCS = {"squeue": 2, "sbatch": 1, "sacct": 1, "scancel": 1, "scontrol": 2}
# Requests to slurmrestd, each of which counts as one; only /openapi costs slurmctld nothing.
RPCS |= {
    f"rest:{name}": 1 for name in ("jobs", "accounting", "cancel", "submit", "ping", "openapi")
}
# What is paid from the bucket for submissions.
_SUBMITS = frozenset({"sbatch", "rest:submit"})
# Seconds of a Slurm answer above which the controller is under pressure: one that limits us answers
# slowly instead of refusing, so slowness is the signal to ask less.
SLOW = 5.0
# Seconds a submission waits for its turn before it gives way to whatever else concerns its job.
PATIENCE = 5.0
# Seconds of submissions that may come at once: a burst is one recipe, more is a flood.
_SUBMIT_BURST = 10.0
# Seconds over which what was used is counted for people to read.
_MINUTE = 60.0
# How often a call that waits may be overtaken by polls.
_OVERTAKEN = 2
# Tokens that count as none, and the shortest sleep (s): floating point must not make us spin.
_DUST, _NAP = 1e-6, 0.001

Sleep = Callable[[float], Awaitable[None]]


class Urgency(Enum):
    """How a call waits for the budget."""

    QUEUED = "queued"  # behind those that came first
    POLL = "poll"  # before the line: everything else is decided from what polls say
    NOW = "now"  # not at all: it makes debts


@dataclass(slots=True, order=True)
class _Turn:
    """One that waits."""

    rank: int  # 0 goes before 1
    number: int
    cost: float = field(compare=False)
    overtaken: int = field(default=0, compare=False)
    woken: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Bucket:
    """A token bucket. Who comes first is served first; urgent work may go into debt.

    Without debts no window of t seconds ever sees more than burst + rate * t spent.
    """

    def __init__(self, *, per_minute: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = per_minute / _MINUTE
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()
        self._line: list[_Turn] = []
        self._numbers = itertools.count()

    @property
    def tokens(self) -> float:
        """What may be spent now; below 0 while in debt."""
        now = self._clock()
        # Were the clock ever set back, it must not take tokens away.
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._tokens

    async def take(self, cost: float, *, first: bool = False) -> float:
        """Wait for ``cost`` tokens, spend them, and return what was paid.

        ``first`` goes before those who are not, but before nobody for the third time. The head of
        the line waits for as long as the deepest debt takes to be paid: debts made meanwhile are
        for those who come later. So nobody starves.
        """
        turn = _Turn(0 if first else 1, next(self._numbers), min(cost, self._burst))
        self._stand_in_line(turn)
        try:
            await self._head_of_line(turn)
        finally:
            self._line.remove(turn)
            self._wake()
        return self.borrow(turn.cost)

    def _stand_in_line(self, turn: _Turn) -> None:
        for each in self._line:
            if each.rank > turn.rank:
                each.rank = 0 if each.overtaken == _OVERTAKEN else 1
                each.overtaken += 1
        self._line.append(turn)
        self._line.sort()
        self._wake()

    async def _head_of_line(self, turn: _Turn) -> None:
        """Wait until this turn is the first, and can be paid."""
        until: float | None = None
        while True:
            delay = None
            if turn is not self._line[0]:
                until = None
            else:
                until = until or self._clock() + (self._burst + turn.cost) / self._rate
                missing = turn.cost - self.tokens
                delay = min(missing / self._rate, until - self._clock())
                if min(missing, delay) <= _DUST:
                    return
                delay = max(_NAP, delay)
            turn.woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await turn.woken.wait()

    def _wake(self) -> None:
        if self._line:
            self._line[0].woken.set()

    def borrow(self, cost: float) -> float:
        """Spend at once, down to one burst of debt: a cancel must not queue behind polls.

        Return what was paid: of a large price less than all.
        """
        before = self.tokens
        self._tokens = max(-self._burst, before - cost)
        return before - self._tokens

    def give_back(self, cost: float) -> None:
        """Return what was not needed after all."""
        self._tokens = min(self._burst, self.tokens + cost)
        self._wake()


class Purse:
    """The budget of one cluster: one bucket for sbatch, one for everything else that asks Slurm.

    ``pressed`` is told of every answer that shows a controller under pressure.
    """

    def __init__(
        self,
        cluster: str,
        limits: Budget,
        *,
        metrics: Metrics,
        clock: Callable[[], float],
        patience: float = PATIENCE,
        pressed: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self._cluster = cluster
        self._patience = patience
        self._metrics = metrics
        self.clock = clock
        self._pressed = pressed
        self._rpcs = Bucket(per_minute=limits.rpc_per_minute, burst=limits.burst, clock=clock)
        self._submits = Bucket(
            per_minute=limits.submits_per_minute,
            burst=max(1.0, limits.submits_per_minute * _SUBMIT_BURST / _MINUTE),
            clock=clock,
        )
        self._made: deque[tuple[float, str, float]] = deque()  # when, command, RPCs: a minute's
        self._metrics.slurm_rate_limited.labels(cluster)  # 0 is a number, too
        gauge = metrics.slurm_budget_tokens.labels(cluster)
        gauge.set_function(lambda: self._rpcs.tokens)

    @property
    def tokens(self) -> float:
        """RPCs that may be made now."""
        return self._rpcs.tokens

    def used(self) -> tuple[float, float]:
        """Return the RPCs of questions, and the submissions, of the last minute."""
        self._forget()
        submits = sum(cost for _, command, cost in self._made if command in _SUBMITS)
        return sum(cost for _, _, cost in self._made) - submits, submits

    async def spend(
        self, command: str, *, urgency: Urgency = Urgency.QUEUED, rpcs: float | None = None
    ) -> float:
        """Wait until ``command`` may be called; return what was paid for it.

        ``rpcs``: what this call costs, when that is not what the command usually does.
        """
        cost = RPCS[command] if rpcs is None else rpcs
        if urgency is Urgency.NOW:
            return self._rpcs.borrow(cost)
        return await self._rpcs.take(cost, first=urgency is Urgency.POLL)

    async def afford_submission(self) -> bool:
        """Pay for one sbatch; False when that would take long, so that the job can be cancelled."""
        try:
            async with asyncio.timeout(self._patience):
                await self._submits.take(1)
        except TimeoutError:
            return False
        return True

    def unspent(self, command: str, paid: float | None = None) -> None:
        """Take back the price of a call that was not made."""
        bucket = self._submits if command in _SUBMITS else self._rpcs
        bucket.give_back(RPCS[command] if paid is None else paid)

    def made(
        self,
        command: str,
        outcome: str,
        seconds: float,
        *,
        rpcs: float | None = None,
        limited: bool = False,
    ) -> None:
        """Count a call that was made. ``limited``: the controller said that it limits us."""
        cost = RPCS[command] if rpcs is None else rpcs
        self._metrics.slurm_rpcs.labels(self._cluster, command, outcome).inc(cost)
        self._made.append((self.clock(), command, cost))
        self._forget()
        if limited:
            self._metrics.slurm_rate_limited.labels(self._cluster).inc()
        if limited or seconds > SLOW:
            self._pressed()
            if command in _SUBMITS:  # no interval grows for it, so it pays for its slowness
                self._submits.borrow(max(1.0, seconds // SLOW))

    def _forget(self) -> None:
        while self._made and self._made[0][0] <= self.clock() - _MINUTE:
            self._made.popleft()
