"""Plays the histories of a seed: one without a crash, one for each moment at which one may come.

A crash leaves the disk, the inbox and the site; where none of them changed between two steps, a
crash before the one or the other leaves the same, so one trial stands for both. Each trial is a
history of its own: crash, restart, recovery (with a second and a third crash in it, sometimes), the
end of all runs, and the judge's look after every life.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchd.edge.store import migrate, store
from benchd.metrics import Metrics
from simulation.inlinedisk import Disk
from simulation.invariants import Judge, Violation
from simulation.machine import Fell, Machine
from simulation.scenario import Scenario, draw
from simulation.silence import Silent, overheard
from simulation.virtualloop import Stuck

# Seconds between a crash and the restart: systemd's five, mostly.
_DOWN = (0.5, 5.0, 5.0, 5.0, 40.0, 400.0, 4000.0)
# Seconds for which the site goes on after the last run has ended: what is late lands.
_AFTER = 1800.0
# Crashes in one history, at most.
_CRASHES = 3
# Trials after which the dead are disposed of.
_FORGOTTEN = 25


@dataclass
class Tally:
    """What was played."""

    seeds: int = 0
    steps: int = 0  # at each of which the first life could have been ended
    moments: int = 0  # of them, those that leave different things
    trials: int = 0
    crashes: int = 0
    lives: int = 0
    payloads: int = 0
    pauses: int = 0
    accepted_per_try: int = 0
    starts_per_generation: int = 0
    extra_tries: int = 0
    twins: int = 0
    virtual: float = 0.0  # seconds of virtual time
    cpu: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what another has played."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif each.name in ("accepted_per_try", "starts_per_generation"):
                setattr(self, each.name, max(mine, theirs))
            else:
                setattr(self, each.name, mine + theirs)


class Broken(Exception):
    """A trial that failed, and how to play it again."""

    def __init__(self, seed: int, k: int | None, why: str) -> None:
        self.seed, self.k, self.why = seed, k, why
        crash = "without a crash" if k is None else f"crash before step {k}"
        super().__init__(f"seed {seed}, {crash}: {why}")


class Player:
    """Two machines on one disk: the one that lives through a seed, and the one that crashes."""

    def __init__(self, root: Path, metrics: Metrics | None = None) -> None:
        self._disk = Disk()
        measured: Any = metrics or Silent()
        self._machine = Machine(root / "first", self._disk, measured)
        self._other = Machine(root / "crashed", self._disk, measured)
        for machine in (self._machine, self._other):
            machine.root.mkdir(mode=0o700)
        migrate.migrate(self._machine.disk, self._machine.root, migrate.scripts())  # type: ignore[arg-type] # it looks like a connection
        self._unforgotten = 0

    def play(
        self, seed: int, *, most: int | None = None, scenario: Scenario | None = None
    ) -> Tally:
        """Play a seed without a crash, and with one at each moment, or at ``most`` of them."""
        scenario = scenario or draw(str(seed))
        tally, started = Tally(seeds=1), time.process_time()
        share = self._share(seed, scenario, most)
        chooser, last = Random(f"{seed} choice"), (-1, -1, -1)

        def watch(step: int) -> None:
            nonlocal last
            if self._machine.version == last:
                return
            last = self._machine.version
            tally.moments += 1
            if share >= 1 or chooser.random() < share:
                self._crash_here(seed, step, tally)

        with self._disk.aside(), overheard(self._machine.note):
            self._machine.begin(scenario)
            self._live_through(seed, watch if share else None)
            tally.steps = self._machine.steps
            self._count(self._machine, tally)
        self._forget(now=True)
        tally.cpu = time.process_time() - started
        return tally

    def _share(self, seed: int, scenario: Scenario, most: int | None) -> float:
        if most is None:
            return 1.0
        if most == 0:
            return 0.0
        return min(1.0, most / max(1, self.moments(seed, scenario)))

    def moments(self, seed: int, scenario: Scenario | None = None) -> int:
        """Return how many moments a seed has at which a crash leaves something else."""
        seen: set[tuple[int, int, int]] = set()
        with self._disk.aside(), overheard(self._machine.note):
            self._machine.begin(scenario or draw(str(seed)))
            self._live_through(seed, lambda _: seen.add(self._machine.version))
        self._forget()
        return len(seen)

    def _live_through(self, seed: int, watch: Any) -> None:
        machine, judge = self._machine, Judge(self._machine)
        with told(seed, None):
            if not machine.live(watch=watch):
                raise Fell("the daemon ended by itself")
            judge.look()
            machine.rest(_AFTER)
            judge.end()

    def _crash_here(self, seed: int, step: int, tally: Tally) -> None:
        """Play what follows when the process dies before this step."""
        moment, luck = self._machine.moment(step), random.getstate()
        machine = self._other
        with self._disk.aside(), overheard(machine.note), told(seed, step):
            machine.restore(moment)
            machine.world.site.daemon_died()
            tally.crashes += recover(machine, Random(f"{seed} before {step}"))
            self._count(machine, tally)
        random.setstate(luck)
        tally.trials += 1
        self._forget()

    def replay(
        self, seed: int, k: int | None, *, scenario: Scenario | None = None
    ) -> tuple[Machine, str | None]:
        """Play one history by itself, and return its machine and what was wrong with it.

        Its log has all that the daemon said. To be read before the next history is played.
        """
        machine = self._machine
        with overheard(machine.note, level=logging.INFO):
            machine.begin(scenario or draw(str(seed)))
            try:
                if k is None:
                    self._live_through(seed, None)
                else:
                    machine.live(ends_before=k)
                    recover(machine, Random(f"{seed} before {k}"))
            except (Violation, Fell, Stuck, Broken) as error:
                return machine, str(error)
        return machine, None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Play what is played inside on a disk that is taken back at the end."""
        with self._disk.aside():
            yield
        self._forget(now=True)

    def _count(self, machine: Machine, tally: Tally) -> None:
        site = machine.world.site
        tally.lives += machine.lives
        tally.virtual += machine.world.age
        tally.pauses += len(machine.world.pauses)
        tally.payloads += len(site.starts)
        tally.twins += len(site.twins)
        tries = Counter((each.token, each.k) for each in site.accepted)
        starts = Counter((each.token, each.generation) for each in site.starts)
        tally.accepted_per_try = max(tally.accepted_per_try, *tries.values(), 0)
        tally.starts_per_generation = max(tally.starts_per_generation, *starts.values(), 0)
        tally.extra_tries += len(tries) - len({token for token, _ in tries})
        tally.struck.update(site.struck)
        tally.struck.update(machine.world.struck)
        tally.outcomes.update(
            row["outcome"] for row in machine.disk.execute("SELECT outcome FROM runs")
        )

    def _forget(self, *, now: bool = False) -> None:
        self._unforgotten += 1
        if now or self._unforgotten >= _FORGOTTEN:
            self._unforgotten = 0
            self._other.forget()
            if now:
                self._machine.forget()


@contextmanager
def told(seed: int, k: int | None) -> Iterator[None]:
    """Say of which trial it was that something was wrong."""
    try:
        yield
    except (Violation, Fell, Stuck) as error:
        raise Broken(seed, k, str(error)) from error


def recover(machine: Machine, rng: Random) -> int:
    """Restart until all is over, and look at everything after each life; return the crashes."""
    judge, crashes = Judge(machine), 1
    while True:
        machine.rest(rng.choice(_DOWN))
        again = crashes < _CRASHES and rng.random() < 0.3
        # Most of what is delicate is done soon after a start.
        last = int(rng.choice((30, 100, 300)) * rng.random()) + 1 if again else None
        over = machine.live(ends_before=last, gently=rng.random() < 0.15)
        judge.look()
        if over:
            break
        crashes += 1
    machine.rest(_AFTER)
    judge.end()
    return crashes


def digest(machine: Machine) -> str:
    """Return one word for everything that happened: the same for the same history."""
    site, books = machine.world.site, machine.disk
    told: list[object] = [
        [tuple(row) for row in books.execute(f"SELECT * FROM {table} ORDER BY rowid")]
        for table in ("runs", "jobs", "transitions")
    ]
    told += [site.accepted, site.starts, site.twins, site.rpcs, machine.world.age]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@contextmanager
def playing(metrics: Metrics | None = None) -> Iterator[Player]:
    """Make a player, in memory where there is a place for files in it; take all away at the end."""
    shared = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="sim-", dir=shared if shared.is_dir() else None))
    read, store.scripts = store.scripts, cache(store.scripts)  # read once, not in each life
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()  # modules are not looked through again and again
    gc.disable()  # a coroutine of a dead life must not be closed inside of another's step
    try:
        yield Player(home, metrics)
    finally:
        store.scripts = read
        gc.unfreeze()
        if was_on:
            gc.enable()
        shutil.rmtree(home, ignore_errors=True)
