"""What a cluster may be asked to bear: a token bucket for Slurm RPCs, a circuit breaker.

Budgets are enforced here, below everything that wants something, so no mistake above can turn
into a storm on somebody else's controller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum

from benchd.config import Budget
from benchd.edge.shell import Resting
from benchd.metrics import Metrics

# RPCs one call costs slurmctld (slurmdbd for sacct), as sdiag counts them: squeue loads jobs and
# partitions, scontrol asks the federation first.
RPCS = {"squeue": 2, "sbatch": 1, "sacct": 1, "scancel": 1, "scontrol": 2}
# Seconds of a Slurm answer that cost one more token: a limiting controller answers slowly instead
# of refusing, so slowness is the signal to ask less.
_SLOW = 5.0
# Seconds a submission waits for its turn before it gives way to whatever else concerns its job.
PATIENCE = 5.0
# Link failures within so many seconds open the circuit for so many seconds.
_FAILURES, _WINDOW, _OPEN = 5, 120.0, 60.0

Sleep = Callable[[float], Awaitable[None]]


class Urgency(Enum):
    """How a call waits for the budget."""

    QUEUED = "queued"  # behind those that came first
    POLL = "poll"  # beside the line: everything else is decided from what polls say
    NOW = "now"  # not at all: it makes debts


class Bucket:
    """A token bucket. Who comes first is served first; urgent work may go into debt."""

    def __init__(
        self,
        *,
        per_minute: float,
        burst: float,
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._rate = per_minute / 60.0
        self._burst = float(burst)
        self._clock = clock
        self._sleep = sleep
        self._tokens = float(burst)
        self._at = clock()
        self._line = asyncio.Lock()

    @property
    def tokens(self) -> float:
        """What may be spent now; below 0 while in debt."""
        now = self._clock()
        # A wall clock may be set back; it must not take tokens away.
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._tokens

    async def take(self, cost: float, *, aside: bool = False) -> float:
        """Wait for ``cost`` tokens, spend them, and return what was paid.

        How long is settled when the turn comes, and is one burst's worth of time at most: debts
        made meanwhile are for those who come later, so nobody starves. ``aside`` does not stand in
        the line.
        """
        cost = min(cost, self._burst)  # more than the burst would wait for ever
        if aside:
            await self._wait(cost)
            return self.borrow(cost)
        async with self._line:
            await self._wait(cost)
            return self.borrow(cost)

    async def _wait(self, cost: float) -> None:
        missing = min(self._burst, cost - self.tokens)
        if missing > 0:
            await self._sleep(missing / self._rate)

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


class Purse:
    """The budget of one cluster, counted in Slurm RPCs."""

    def __init__(
        self,
        cluster: str,
        limits: Budget,
        *,
        metrics: Metrics,
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self._cluster = cluster
        self._patience = patience
        self._metrics = metrics
        self._rpcs = Bucket(
            per_minute=limits.rpc_per_minute, burst=limits.burst, clock=clock, sleep=sleep
        )
        # A burst of submissions is one recipe; more than a sixth of a minute's worth is a flood.
        self._submits = Bucket(
            per_minute=limits.submits_per_minute,
            burst=max(1.0, limits.submits_per_minute / 6),
            clock=clock,
            sleep=sleep,
        )
        self._line = asyncio.Lock()
        self._show()

    @property
    def tokens(self) -> float:
        """RPCs that may be made now."""
        return self._rpcs.tokens

    async def spend(
        self, command: str, *, urgency: Urgency = Urgency.QUEUED, rpcs: float | None = None
    ) -> float:
        """Wait until ``command`` may be called; return what was paid for it.

        ``rpcs``: what this call costs, when that is not what the command usually does.
        """
        cost = RPCS[command] if rpcs is None else rpcs
        if urgency is Urgency.NOW:
            paid = self._rpcs.borrow(cost)
        else:
            paid = await self._rpcs.take(cost, aside=urgency is Urgency.POLL)
        self._show()
        return paid

    async def afford_submission(self) -> bool:
        """Pay for one sbatch; False when that would take long, so that the job can be cancelled.

        A hundred submissions stand in a line of their own: a poll waits for one of them at most.
        """
        try:
            async with asyncio.timeout(self._patience), self._line:
                await self._submits.take(1)
                try:
                    await self._rpcs.take(RPCS["sbatch"])
                except BaseException:
                    self._submits.give_back(1)
                    raise
        except TimeoutError:
            return False
        self._show()
        return True

    def unspent(self, command: str, paid: float | None = None) -> None:
        """Take back the price of a call that was not made."""
        if command == "sbatch":
            self._submits.give_back(1)
        self._rpcs.give_back(RPCS[command] if paid is None else paid)
        self._show()

    def made(
        self, command: str, outcome: str, seconds: float, *, rpcs: float | None = None
    ) -> None:
        """Count a call that was made; a slow one makes the next ones rarer."""
        cost = RPCS[command] if rpcs is None else rpcs
        self._metrics.slurm_rpcs.labels(self._cluster, command, outcome).inc(cost)
        if seconds > _SLOW:
            self._rpcs.borrow(seconds // _SLOW)
        self._show()

    def _show(self) -> None:
        self._metrics.slurm_budget_tokens.labels(self._cluster).set(self._rpcs.tokens)


class Breaker:
    """Leaves a cluster alone for a minute after several link failures in a row."""

    def __init__(self, cluster: str, *, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._gauge = metrics.circuit_open.labels(cluster)
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=_FAILURES)
        self._open_until = 0.0
        self._gauge.set(0)

    @property
    def is_open(self) -> bool:
        """Whether calls are refused now."""
        return self._clock() < self._open_until

    def check(self) -> None:
        """Raise ``Resting`` while the circuit is open."""
        wait = self._open_until - self._clock()
        if wait > 0:
            raise Resting(
                f"{self._cluster}: {_FAILURES} link failures in a row; left alone for {wait:.0f} s"
            )
        self._gauge.set(0)

    def failed(self) -> None:
        """Count a link failure."""
        now = self._clock()
        self._failures.append(now)
        if len(self._failures) == _FAILURES and now - self._failures[0] <= _WINDOW:
            self._open_until = now + _OPEN
            self._gauge.set(1)

    def succeeded(self) -> None:
        """Forget the failures: it answers."""
        self._failures.clear()
        self._open_until = 0.0
        self._gauge.set(0)
