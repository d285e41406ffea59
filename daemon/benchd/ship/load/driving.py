"""A load model at work: what sends, and which part of a phase this process has to do with."""

import math
import os
from typing import Callable, NamedTuple, Optional

from .arrivals import MOST, Load, schedule
from .closed import Users
from .nodes import share
from .opened import Arrivals
from .sending import Phase, Sender, Stop
from .work import STEP, Sample, Workload

# Users, and arrivals a second, that one process serves easily; beyond them there are more.
_USERS = 256
_RATE = 1000.0
# Users from which connections are opened one after another before they are wanted.
_MANY = 32


class Part(NamedTuple):
    """Which of so many equal parts of the load this is."""

    place: int = 0
    total: int = 1

    def of(self, total: int) -> int:
        """Return how many of so many are this part's."""
        return share(total, self.total, self.place)


def phase(name: str, load: Load, stop: Stop, part: Part) -> Phase:
    """Return one part of a phase, planned."""
    most = MOST // 10 if name.startswith(STEP) else MOST  # all steps are kept
    requests = min(stop.requests or most, most)
    if load.is_open:
        plan = schedule(load, requests, stop.duration, name)
        return Phase(name, stop, plan[part.place :: part.total])
    return Phase(name, stop._replace(requests=part.of(requests)))


def for_warmup(load: Load) -> Load:
    """Return the load of a warm-up: that of the measurement, as it begins."""
    if load.model in ("ramp", "find-peak"):
        return load._replace(model="poisson", rate=load.rate or 1.0)
    return load


class Driver:
    """Sends one part of the load, from this process."""

    def __init__(
        self, workload: Workload, load: Load, part: Part, on_sample: Callable[[Sample], None]
    ) -> None:
        self.workload = workload
        self.load = load
        self.part = part
        self.on_sample = on_sample
        self.sender: Sender = self._made(load)
        self._sent = 0

    def _made(self, load: Load) -> Sender:
        if load.is_open:
            most = load.max_in_flight
            own = None if most is None else self.part.of(most)
            return Arrivals(self.workload, own, self.on_sample)
        count = self.part.of(load.concurrency)
        return Users(self.workload, count, self.on_sample, load.think_time, load.is_grouped)

    def become(self, load: Load) -> None:
        """Send another load from now on; other users have connections of their own."""
        same = load.is_open or load.concurrency == self.load.concurrency
        if load.is_open != self.load.is_open or not same:
            self.sender.close()
            self.sender = self._made(load)
        self.workload.is_open = load.is_open
        self.load = load

    async def open_ahead(self) -> None:
        """Open connections, so that a measurement need not."""
        there = len(self.sender.connections)
        if not isinstance(self.sender, Arrivals):
            if there > _MANY:
                await self.sender.open_ahead(there)
            return
        # Twice what was needed so far: arrivals come in bursts.
        wanted = 2 * self.sender.busiest + 8
        if self.sender.most is not None:
            wanted = min(wanted, self.sender.most)
        await self.sender.open_ahead(wanted)

    async def run(self, what: Phase) -> None:
        """Run one phase to its end; a cancelled one leaves what it has."""
        # No step sends again what another one has sent.
        self.workload.numbering.base = self._sent if what.name.startswith(STEP) else 0
        try:
            if isinstance(self.sender, (Arrivals, Users)):
                await self.sender.run(what)
        finally:
            self._sent += what.issued if what.name.startswith(STEP) else 0

    def close(self) -> None:
        """Drop all connections."""
        self.sender.close()


def processes(load: Load, workload: Workload, wanted: Optional[int]) -> int:
    """Return how many processes share the load."""
    if not workload.forks or load.is_grouped:
        return 1
    if load.is_open:
        fastest = max(load.rate or 0.0, load.end_rate or 0.0)
        useful = int(math.ceil(fastest / _RATE))
        most = load.max_in_flight or 10**6
    else:
        useful = int(math.ceil(load.concurrency / float(_USERS)))
        most = load.concurrency
    if wanted is None:
        wanted = min(useful, len(os.sched_getaffinity(0)))
    return max(1, min(wanted, most))
